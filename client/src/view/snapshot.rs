//! A view taken from a snapshot: the newest first, older items as they come.

use std::collections::BTreeMap;

use quire_proto::{
    id::{ApprovalId, ItemId, TurnId},
    v1::{self, mark::What},
};

use super::{Change, Mark, Marked, Turn, View, ViewItem};

impl View {
    /// Takes one piece in. One of a snapshot that is not newer than the view changes nothing.
    pub(super) fn snapshot(&mut self, piece: &v1::Snapshot) -> Vec<Change> {
        if piece.continued {
            return self.older(piece);
        }
        if piece.seq <= self.session.head_seq && self.awaits.is_none() {
            return vec![];
        }
        let old = std::mem::take(self);
        self.session = piece.session.clone().unwrap_or_default();
        self.session.head_seq = piece.seq;
        if self.session.clients.is_empty() {
            self.session.clients = old.session.clients;
        }
        self.queue.clone_from(&piece.queue);
        self.take(piece, &old.items);
        if let Some(id) = self.running_turn() {
            self.turns.entry(id).or_default();
        }
        self.derive();
        vec![Change::Replaced]
    }

    fn older(&mut self, piece: &v1::Snapshot) -> Vec<Change> {
        if self.awaits != Some(piece.seq) {
            return vec![];
        }
        self.take(piece, &BTreeMap::new());
        vec![Change::OlderItems]
    }

    /// Adds what the piece tells and is not known yet. What has grown of `grown` is kept.
    fn take(&mut self, piece: &v1::Snapshot, grown: &BTreeMap<ItemId, ViewItem>) {
        self.awaits = piece.more.then_some(piece.seq);
        for job in &piece.jobs {
            // As events tell it: they name no session.
            let session_id = String::new();
            let job = v1::Job {
                session_id,
                ..job.clone()
            };
            self.jobs.entry(job.id.clone()).or_insert(job);
        }
        for item in &piece.items {
            let Some(id) = ItemId::new(item.id).filter(|id| !self.items.contains_key(id)) else {
                continue;
            };
            let mut view = ViewItem::new(item.clone());
            if let Some(known) = grown.get(&id).filter(|_| view.is_growing()) {
                view = known.clone();
                view.replace(item.clone());
            }
            let speaker = piece.speakers.iter().find(|said| said.item == item.id);
            let speaker = speaker.and_then(|said| said.by.clone());
            self.items.insert(id, view.by(speaker));
            self.settle_job(id);
        }
        for approval in &piece.approvals {
            if let Some(id) = ApprovalId::new(approval.id) {
                let known = self.approvals.entry(id);
                known.or_insert_with(|| approval.clone());
            }
        }
        for turn in &piece.turns {
            if let Some(id) = TurnId::new(turn.turn) {
                self.turns.entry(id).or_insert_with(|| turn.into());
            }
        }
        self.add_marks(&piece.marks);
    }

    fn add_marks(&mut self, marks: &[v1::Mark]) {
        let known: Vec<u64> = self.marks.iter().map(|mark| mark.seq).collect();
        let new = marks.iter().filter(|mark| !known.contains(&mark.seq));
        self.marks.extend(new.filter_map(mark));
        self.marks.sort_by_key(|mark| mark.seq);
    }
}

fn mark(told: &v1::Mark) -> Option<Mark> {
    let what = match told.what.clone()? {
        What::LostEvents(events) => Marked::Lost { events },
        What::JobEnded(job) => Marked::JobEnded { job },
        What::Newer(_) => Marked::Newer,
    };
    Some(Mark {
        seq: told.seq,
        after: ItemId::new(told.after),
        what,
    })
}

impl From<&v1::Turn> for Turn {
    fn from(turn: &v1::Turn) -> Self {
        let suspended = turn.suspended.as_ref();
        Self {
            model: turn.model.clone(),
            started_ms: turn.started_ms,
            ended_ms: turn.ended_ms,
            suspended: suspended.map(|suspended| suspended.reason.clone()),
            wants_world: suspended.is_some_and(|suspended| suspended.wants_world),
            retried: turn.retried.clone(),
            ended: turn.ended.clone(),
        }
    }
}
