//! What stands between the items of a session and is none.

use quire_proto::id::ItemId;

use super::{Change, View};

/// A place in the transcript where an event stands that is no item.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mark {
    /// Its place in the log.
    pub seq: u64,
    /// The newest item before it.
    pub after: Option<ItemId>,
    /// What it is.
    pub what: Marked,
}

/// What a [`Mark`] stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Marked {
    /// An event that only a newer client knows.
    Newer,
    /// Events that the disk has lost, in a row.
    Lost {
        /// How many.
        events: u64,
    },
    /// The end of a command that went on past its call.
    JobEnded {
        /// Its job.
        job: String,
    },
}

impl View {
    /// The mark of the event `seq`.
    #[must_use]
    pub fn mark_at(&self, seq: u64) -> Option<&Mark> {
        self.marks.iter().find(|mark| mark.seq == seq)
    }

    pub(super) fn mark(&mut self, seq: u64, what: Marked) {
        let after = self.items.keys().next_back().copied();
        self.marks.push(Mark { seq, after, what });
    }

    /// Takes in that the event `seq` is lost.
    pub(super) fn lost(&mut self, seq: u64) {
        if let Some(Mark {
            seq: first,
            what: Marked::Lost { events },
            ..
        }) = self.marks.last_mut()
            && *first + *events == seq
        {
            *events += 1;
            return;
        }
        self.losing = Some(seq);
        self.mark(seq, Marked::Lost { events: 1 });
    }

    /// The run of lost events before this is whole, if there is one.
    pub(super) fn end_of_loss(&mut self) -> Option<Change> {
        self.losing.take().map(Change::EventsLost)
    }
}

/// A run of lost events, in words.
#[must_use]
pub fn words_of_loss(events: u64) -> String {
    match events {
        1 => "1 event was lost by the disk".to_owned(),
        events => format!("{events} events were lost by the disk"),
    }
}
