//! A title for a session that nobody named, made by the small model from its first prompt.
//!
//! Only when configuration names a small model: nobody's main model is spent on it. It is asked beside the
//! turn, which never waits for it and whose limits it does not count against; what it costs counts for the
//! session. Whatever goes wrong is for the log alone, and it is tried again with the next turns.

use std::{path::PathBuf, sync::Arc, time::Duration};

use futures_util::StreamExt as _;
use quire_proto::v1::{SampleEnded, SessionChanged, Usage, event::Body};

use super::{
    actor::{Actor, Ended},
    writing::NoRoom,
};
use crate::{
    ports::model::{Asker, Models},
    pure::{
        sample::{Delta, SampleError, SampleErrorKind},
        title,
        turn::Effect,
    },
};

/// Turns that a title is tried with, counted from the first.
const TURNS: u64 = 3;

/// Longest wait for a title.
const LONGEST: Duration = Duration::from_secs(60);

/// Most of an answer that is read, in bytes: a title is shorter.
const ANSWER: usize = 16 << 10;

/// What came of asking.
pub(super) struct Named {
    /// "provider/model".
    model: String,
    usage: Usage,
    title: Option<String>,
}

impl Actor {
    /// Asks for a title, if the session wants one and can have one. Returns at once.
    pub(super) fn ask_for_title(&mut self) {
        let turn = self.transcript.running_turn().map_or(0, |turn| turn.get());
        if self.transcript.is_named() || !(1..=TURNS).contains(&turn) || !self.titles.is_empty() {
            return;
        }
        let Some(prompt) = self.transcript.first_words().map(str::to_owned) else {
            return;
        };
        let asker = Asker {
            workspace: PathBuf::from(self.transcript.workspace()),
            environment: self.surroundings.environment.clone(),
        };
        let (models, id) = (self.world.models.clone(), self.id.clone());
        self.titles.spawn(async move {
            let asked = tokio::time::timeout(LONGEST, ask(models, asker, &prompt)).await;
            match asked {
                Ok(Ok(named)) => named,
                Ok(Err(error)) => {
                    tracing::debug!(session = %id, %error, "no title");
                    None
                }
                Err(_elapsed) => {
                    tracing::debug!(session = %id, "no title in {LONGEST:?}");
                    None
                }
            }
        });
    }

    /// Writes down what was spent, and the title unless someone gave one meanwhile. Without room neither.
    pub(super) async fn title_made(&mut self, named: Option<Named>) -> Result<(), Ended> {
        let Some(named) = named else { return Ok(()) };
        let ended = SampleEnded {
            turn: 0,
            model: named.model,
            usage: Some(named.usage),
        };
        let title = named.title.filter(|_| !self.transcript.is_named());
        let changed = title.map(|title| {
            Body::SessionChanged(SessionChanged {
                title: Some(title),
                ..SessionChanged::default()
            })
        });
        let bodies = [Body::SampleEnded(ended)].into_iter().chain(changed);
        let written = self.carry_out(bodies.map(Effect::append).collect(), NoRoom::Refuse);
        match written.await {
            Err(refused) if refused.is_refusal() => Ok(()),
            written => written,
        }
    }
}

/// Asks the small model; `None` when there is none, or nothing to name.
async fn ask(
    models: Arc<dyn Models>,
    asker: Asker,
    prompt: &str,
) -> Result<Option<Named>, SampleError> {
    let Some((model, opened)) = models.open_small(asker).await? else {
        return Ok(None);
    };
    let Some(mut request) = title::request(prompt, opened.max_output_tokens) else {
        return Ok(None);
    };
    request.model = opened.name;
    request.reasoning_effort = opened.reasoning_effort;
    let mut answer = opened.model.sample(request);
    let mut said = String::new();
    while let Some(deltas) = answer.next().await {
        for delta in deltas? {
            match delta {
                Delta::Text(text) if said.len() + text.len() <= ANSWER => said.push_str(&text),
                Delta::Text(_) => {
                    let message = "the small model writes no title but an essay";
                    return Err(SampleError::new(SampleErrorKind::TooLarge, message));
                }
                Delta::Ended { usage, .. } => {
                    let title = title::of_answer(&said);
                    return Ok(Some(Named {
                        model,
                        usage,
                        title,
                    }));
                }
                _ => {}
            }
        }
    }
    let message = "the answer ended before it was whole";
    Err(SampleError::new(SampleErrorKind::Cut, message))
}
