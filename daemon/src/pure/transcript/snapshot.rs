//! A session as one who knows nothing of it is told it: what is open and the newest items first, older
//! items in further pieces.
//!
//! Nothing is kept for a reader but a [`Further`]. What was finished when the first piece was made is
//! the same whenever a later one is made, or has been taken back by a rewind that the reader will see.

use std::collections::BTreeMap;

use prost::Message as _;
use quire_proto::v1::{Approval, Item, ItemStatus, Job, JobState, Session, Snapshot, Speaker};

use super::{Transcript, marks::left_running};

#[cfg(test)]
mod tests;

/// Bytes of finished items after which a piece ends.
const PIECE_BYTES: usize = 128 << 10;

/// Where the next piece of a snapshot begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Further {
    /// The snapshot's.
    seq: u64,
    /// Items from this one on have been told.
    item: u64,
    /// Turns from this one on have been told.
    turn: u64,
}

/// One piece of a snapshot, and where the next begins, if there is one.
#[derive(Clone, Debug)]
pub struct Piece {
    /// What is sent.
    pub snapshot: Snapshot,
    /// `None` after the last.
    pub further: Option<Further>,
}

/// What belongs to one item.
#[derive(Default)]
struct Belongings<'a> {
    approvals: Vec<&'a Approval>,
    jobs: Vec<&'a Job>,
}

impl Transcript {
    /// The first piece of a snapshot, or the one that `further` names.
    #[must_use]
    pub fn piece(&self, further: Option<Further>) -> Piece {
        self.piece_of(PIECE_BYTES, further)
    }

    fn piece_of(&self, bytes: usize, further: Option<Further>) -> Piece {
        match further {
            None => self.first_piece(bytes),
            Some(further) => self.next_piece(bytes, further),
        }
    }

    fn first_piece(&self, room: usize) -> Piece {
        let from = Further {
            seq: self.head(),
            item: u64::MAX,
            turn: u64::MAX,
        };
        let Piece {
            mut snapshot,
            further,
        } = self.next_piece(room, from);
        snapshot.session = Some(Session {
            // Only what events tell, so that the next event that names it is no surprise.
            title: self.summary.title.clone(),
            ..self.summary()
        });
        snapshot.continued = false;
        let open = self.items.values().filter(|item| self.is_open(item));
        snapshot.items.extend(open.cloned());
        snapshot.items.sort_by_key(|item| item.id);
        snapshot.speakers = self.speakers_of(&snapshot.items);
        snapshot.approvals.extend(self.pending_approvals().cloned());
        snapshot.approvals.sort_by_key(|approval| approval.id);
        let running = self.jobs().filter(|job| job.state() == JobState::Running);
        snapshot.jobs.extend(running.cloned());
        snapshot.queue = self.queue.clone();
        Piece { snapshot, further }
    }

    fn next_piece(&self, room: usize, told: Further) -> Piece {
        let belongings = self.belongings(told.item);
        let mut items = Vec::new();
        let mut bytes = 0;
        // What a rewind has taken since the snapshot's seq may have given its number to something newer.
        let taken = self.rewinds.iter().filter(|(seq, _)| *seq > told.seq);
        let below = taken.fold(told.item, |below, (_, through)| {
            below.min(through.saturating_add(1))
        });
        let older = self.items.range(..below).rev();
        let mut older = older.filter(|(_, item)| !self.is_open(item)).peekable();
        while bytes < room
            && let Some((id, item)) = older.next()
        {
            bytes += item.encoded_len() + belongings.get(id).map_or(0, Belongings::bytes);
            items.push(item);
        }
        let next = older.peek().is_some().then(|| Further {
            seq: told.seq,
            item: items.last().map_or(told.item, |item| item.id),
            turn: self.oldest_turn(&items, told.turn),
        });
        let from = next.unwrap_or(Further {
            seq: told.seq,
            item: 0,
            turn: 0,
        });
        let mut snapshot = self.between(from, told, &belongings);
        snapshot.items = items.into_iter().rev().cloned().collect();
        snapshot.speakers = self.speakers_of(&snapshot.items);
        snapshot.more = next.is_some();
        Piece {
            snapshot,
            further: next,
        }
    }

    fn speakers_of(&self, items: &[Item]) -> Vec<Speaker> {
        let known = |item: &Item| Some((item.id, self.speakers.get(&item.id)?.clone()));
        let speakers = items.iter().filter_map(known);
        speakers
            .map(|(item, by)| Speaker { item, by: Some(by) })
            .collect()
    }

    /// The first turn that these items are of; the newest is always told at once.
    fn oldest_turn(&self, items: &[&Item], told: u64) -> u64 {
        let turns = items.iter().map(|item| item.turn).filter(|turn| *turn > 0);
        turns.fold(told.min(self.summary.turns), u64::min)
    }

    /// What is over and belongs to items from `from` on and before `told`.
    fn between(
        &self,
        from: Further,
        told: Further,
        belongings: &BTreeMap<u64, Belongings<'_>>,
    ) -> Snapshot {
        let range = from.item..told.item;
        let belongings = || belongings.range(range.clone()).map(|(_, held)| held);
        let approvals = belongings().flat_map(|held| held.approvals.iter().copied());
        let jobs = belongings().flat_map(|held| held.jobs.iter().copied());
        let marks = self.marks.iter();
        let marks = marks.filter(|mark| range.contains(&mark.after) && mark.seq <= told.seq);
        let turns = self.turns.range(from.turn..told.turn);
        let mut approvals: Vec<Approval> = approvals.cloned().collect();
        approvals.sort_by_key(|approval| approval.id);
        Snapshot {
            seq: told.seq,
            approvals,
            jobs: jobs.cloned().collect(),
            turns: turns.map(|(_, turn)| turn.clone()).collect(),
            marks: marks.cloned().collect(),
            continued: true,
            ..Snapshot::default()
        }
    }

    /// Decided approvals and ended jobs of items before `below`.
    fn belongings(&self, below: u64) -> BTreeMap<u64, Belongings<'_>> {
        let mut all: BTreeMap<u64, Belongings<'_>> = BTreeMap::new();
        let decided = self.approvals.values();
        for approval in decided.filter(|approval| approval.answer.is_some()) {
            if approval.item < below {
                all.entry(approval.item)
                    .or_default()
                    .approvals
                    .push(approval);
            }
        }
        for job in self.jobs().filter(|job| job.state() != JobState::Running) {
            if job.item < below {
                all.entry(job.item).or_default().jobs.push(job);
            }
        }
        all
    }

    /// Whether the item may still grow: it has not ended, or its command runs on.
    fn is_open(&self, item: &Item) -> bool {
        let job = left_running(item).and_then(|job| self.job(job));
        let runs_on = |job: &Job| job.item == item.id && job.state() == JobState::Running;
        item.status() == ItemStatus::Growing || job.is_some_and(runs_on)
    }
}

impl Belongings<'_> {
    fn bytes(&self) -> usize {
        let approvals = self.approvals.iter().map(|one| one.encoded_len());
        let jobs = self.jobs.iter().map(|one| one.encoded_len());
        approvals.sum::<usize>() + jobs.sum::<usize>()
    }
}
