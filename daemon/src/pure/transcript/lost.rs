//! What the disk lost of the log: which events, and which names may have been given in them.

use std::{collections::BTreeMap, ops::RangeInclusive};

use quire_proto::v1::{Approval, Event, Item, event::Body};

use super::Transcript;

/// Events that are gone.
#[derive(Clone, Debug, Default)]
pub(super) struct Lost {
    /// Those after which nothing was written yet.
    at_end: Option<RangeInclusive<u64>>,
    items: u64,
    approvals: u64,
}

impl Lost {
    /// Takes one more event in, before it is in `items` and `approvals`. A lost event may have made an
    /// item or an approval that someone has seen, so a name is skipped for it.
    pub(super) fn apply(
        &mut self,
        event: &Event,
        items: &BTreeMap<u64, Item>,
        approvals: &BTreeMap<u64, Approval>,
    ) {
        let Some(Body::EventLost(_)) = event.body else {
            self.at_end = None;
            return;
        };
        let first = self
            .at_end
            .as_ref()
            .map_or(event.seq, |range| *range.start());
        self.at_end = Some(first..=event.seq);
        self.items = last(items).max(self.items) + 1;
        self.approvals = last(approvals).max(self.approvals) + 1;
    }

    /// The highest item that may have been lost.
    pub(super) fn items(&self) -> u64 {
        self.items
    }

    /// The highest approval that may have been lost.
    pub(super) fn approvals(&self) -> u64 {
        self.approvals
    }
}

fn last<T>(of: &BTreeMap<u64, T>) -> u64 {
    of.keys().next_back().copied().unwrap_or_default()
}

impl Transcript {
    /// The newest events, if the disk has lost them and nobody has said so yet.
    #[must_use]
    pub fn lost_at_end(&self) -> Option<RangeInclusive<u64>> {
        self.lost.at_end.clone()
    }
}
