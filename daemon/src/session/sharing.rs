//! One workspace, several sessions: what the model is told of files that others changed.
//!
//! Told when the model is asked next, as items of the transcript, so that what it is sent only grows.
//! Other sessions' edits come by the letterbox; what else happened to files that the model has seen is found
//! by looking at them. Nothing here wakes anybody.

use std::{path::PathBuf, time::Duration};

use quire_proto::v1::{
    Event, Item, NoticeItem, NoticeLevel, OutcomeStatus, ToolCallItem, event::Body, item::Kind,
};
use tokio::task::JoinHandle;

use super::{
    actor::{Actor, Ended},
    letterbox::{Change, Letterbox, Seat},
    writing::NoRoom,
};
use crate::{
    adapters::files::Stamps,
    ports::tool::Known,
    pure::{
        changed::{self, Author, Letter, Outdated},
        transcript::Transcript,
    },
};

/// Most files that are looked at before the model is asked, those seen last first.
const LOOKED_AT: usize = 500;

/// How long a look at them may hold up the session. A file system may hang.
const PATIENCE: Duration = Duration::from_secs(2);

/// What a session shares with others.
pub(super) struct Sharing {
    seat: Seat,
    looking: Looking,
}

/// The look at the files that the model has seen.
enum Looking {
    /// Nobody looks.
    Ready(Stamps),
    /// It took too long, and is not waited for.
    Late(JoinHandle<(Stamps, Vec<Outdated>)>),
}

impl Sharing {
    pub(super) fn new(letterbox: &Letterbox, transcript: &Transcript) -> Self {
        let workspace = PathBuf::from(transcript.workspace());
        Self {
            seat: letterbox.seat(&transcript.summary().id, &workspace),
            looking: Looking::Ready(Stamps::default()),
        }
    }

    /// Which of the files that the model believes to know hold something else.
    async fn outdated(&mut self, transcript: &Transcript) -> Vec<Outdated> {
        let believed = transcript.seen().believed(LOOKED_AT);
        let believed: Vec<_> = believed
            .into_iter()
            .map(|(path, content)| (PathBuf::from(path), content))
            .collect();
        if believed.is_empty() {
            return Vec::new();
        }
        let mut stamps =
            match std::mem::replace(&mut self.looking, Looking::Ready(Stamps::default())) {
                Looking::Ready(stamps) => stamps,
                Looking::Late(late) if late.is_finished() => {
                    late.await.map(|(stamps, _)| stamps).unwrap_or_default()
                }
                late => {
                    self.looking = late;
                    return Vec::new();
                }
            };
        let mut look = tokio::task::spawn_blocking(move || {
            let outdated = stamps.outdated(&believed);
            (stamps, outdated)
        });
        match tokio::time::timeout(PATIENCE, &mut look).await {
            Ok(Ok((stamps, outdated))) => {
                self.looking = Looking::Ready(stamps);
                outdated
            }
            Ok(Err(_panicked_or_stopped)) => Vec::new(),
            Err(_late) => {
                tracing::warn!("the files that a model has seen take too long to look at");
                self.looking = Looking::Late(look);
                Vec::new()
            }
        }
    }
}

/// What is told before the model is asked.
#[derive(Default)]
pub(super) struct Told {
    /// In order.
    pub(super) notices: Vec<NoticeItem>,
    letters: Vec<Letter>,
}

impl Actor {
    /// What is known of files as a call begins.
    pub(super) fn known(&self) -> Known {
        Known {
            seen: self.transcript.seen().clone(),
            authors: Some(self.sharing.seat.authors()),
        }
    }

    /// What happened to the workspace's files since the model was last told.
    pub(super) async fn news(&mut self) -> Told {
        let letters = self.sharing.seat.take();
        if self.transcript.summary().archived {
            return Told::default();
        }
        let outdated = self.sharing.outdated(&self.transcript).await;
        let cwd = PathBuf::from(self.transcript.cwd());
        let news = changed::write(self.transcript.seen(), &cwd, &letters, &outdated);
        let texts = [(news.people, false), (news.model, true)];
        let notices = texts.into_iter().filter(|(text, _)| !text.is_empty());
        let notices = notices.map(|(text, for_model)| NoticeItem {
            level: NoticeLevel::Info.into(),
            text,
            for_model,
        });
        Told {
            notices: notices.collect(),
            letters,
        }
    }

    /// The turn that was to begin with this was refused.
    pub(super) fn untell(&self, letters: Vec<Letter>) {
        self.sharing.seat.put_back(letters);
    }

    /// Writes the news down, so that the model is asked with them.
    pub(super) async fn tell_news(&mut self) -> Result<(), Ended> {
        for notice in self.news().await.notices {
            let notice = self.notice(notice);
            self.pending.push(notice.into());
            // The next one takes its name from what is written.
            self.write(NoRoom::Wait).await?;
        }
        Ok(())
    }

    /// Tells other sessions of the files that changed by `events`, which are in the log.
    pub(super) fn share(&self, events: &[Event]) {
        for (call, landed) in events.iter().filter_map(edit) {
            let changes = changes(call);
            let summary = self.transcript.summary();
            let author = Author {
                session: summary.id,
                title: summary.title,
            };
            if landed {
                self.sharing.seat.tell(&author, &changes);
            } else {
                self.sharing.seat.announce(&author, &changes);
            }
        }
    }
}

impl Told {
    /// What is put back if the notices are not written.
    pub(super) fn letters(self) -> Vec<Letter> {
        self.letters
    }
}

/// The edit that an event promises, or says to have landed.
fn edit(event: &Event) -> Option<(&ToolCallItem, bool)> {
    let (item, landed) = match event.body.as_ref()? {
        Body::ItemChanged(changed) => (changed.item.as_ref()?, false),
        Body::ItemCompleted(done) => (done.item.as_ref()?, true),
        _ => return None,
    };
    let Item {
        kind: Some(Kind::ToolCall(call)),
        ..
    } = item
    else {
        return None;
    };
    let edits = call
        .intent
        .as_ref()
        .is_some_and(|intent| !intent.files.is_empty());
    let outcome = call.outcome.as_ref().map(|outcome| outcome.status());
    let fits = !landed || outcome == Some(OutcomeStatus::Succeeded);
    (edits && fits).then_some((call, landed))
}

fn changes(call: &ToolCallItem) -> Vec<Change> {
    let files = call.intent.iter().flat_map(|intent| &intent.files);
    files
        .map(|file| Change {
            path: PathBuf::from(&file.path),
            before: file.before.as_slice().try_into().ok(),
            after: file.after.as_slice().try_into().ok(),
        })
        .collect()
}
