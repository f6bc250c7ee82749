//! How often a daemon may die before its clients stop bringing it back.
//!
//! A daemon that is killed while it gets on always comes back; one that dies by itself again and again
//! is given up with a sentence, or the machine would do nothing but start it. [`Patience`] is told of
//! each death and says whether to try again. It reads no clock and performs no I/O.

use std::time::Duration;

use quire_proto::v1::{
    self, Event, ItemStatus, SessionServiceWatchResponse, event::Body, item::Kind,
    session_service_watch_response::Update,
};

/// Barren deaths in a row, and starts in a row that never got ready, after which it is over.
pub const MOST: u32 = 3;

/// A connection that lived so long was no part of a crash loop.
const LONG_LIVED: Duration = Duration::from_secs(5);

/// Waits before the tries after the first and the second barren death in a row.
const PAUSES: [Duration; 2] = [Duration::ZERO, Duration::from_millis(100)];

/// How a connection ended, as far as that tells a crash loop from bad luck.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Death {
    /// Something came over it that was not there before: an event, text, output, the answer of a call.
    pub brought_news: bool,
    /// How long it was there.
    pub lived: Duration,
    /// The daemon said that it was about to end, because someone asked it to.
    pub announced: bool,
}

/// What to do after a death.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Try again, after this time.
    Again(Duration),
    /// It will not get better by itself.
    GiveUp,
}

/// Counts what led nowhere.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Patience {
    barren: u32,
}

impl Patience {
    /// Takes a death in.
    pub fn died(&mut self, death: Death) -> Verdict {
        let barren = !death.brought_news && !death.announced && death.lived < LONG_LIVED;
        self.barren = if barren { self.barren + 1 } else { 0 };
        self.verdict()
    }

    /// Takes in that a daemon was started and ended before it was ready.
    pub fn never_got_ready(&mut self) -> Verdict {
        self.barren += 1;
        self.verdict()
    }

    fn verdict(self) -> Verdict {
        if self.barren >= MOST {
            return Verdict::GiveUp;
        }
        let before = usize::try_from(self.barren.saturating_sub(1)).unwrap_or(0);
        Verdict::Again(PAUSES[before.min(PAUSES.len() - 1)])
    }
}

/// Whether an update tells something new to a reader at `seq`. What a daemon writes by itself when it
/// takes over from a dead one is not new: else a daemon that dies right after would seem to get on.
#[must_use]
pub fn is_news(update: &SessionServiceWatchResponse, seq: u64) -> bool {
    match &update.update {
        Some(Update::Event(event)) => event.seq > seq && !is_of_take_over(event),
        Some(Update::Delta(delta)) => !delta.data.is_empty(),
        Some(Update::Snapshot(snapshot)) => snapshot.seq > seq,
        Some(
            Update::Synced(_)
            | Update::Presence(_)
            | Update::Activity(_)
            | Update::Heartbeat(_)
            | Update::WorldWanted(_),
        )
        | None => false,
    }
}

/// An item that was cut off, the word that the model is asked again, the beginning of its answer
/// without any of it, what the disk has lost, a turn that is left suspended.
fn is_of_take_over(event: &Event) -> bool {
    match &event.body {
        Some(Body::ItemCompleted(v1::ItemCompleted { item: Some(item) })) => {
            item.status() == ItemStatus::CutOff
        }
        Some(Body::ItemStarted(v1::ItemStarted { item: Some(item) })) => {
            matches!(item.kind, Some(Kind::Message(_) | Kind::Reasoning(_)))
        }
        Some(Body::SampleRetried(_) | Body::EventLost(_) | Body::TurnSuspended(_)) => true,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BARREN: Death = Death {
        brought_news: false,
        lived: Duration::from_millis(200),
        announced: false,
    };
    const FRUITFUL: Death = Death {
        brought_news: true,
        ..BARREN
    };
    const ANNOUNCED: Death = Death {
        announced: true,
        ..BARREN
    };
    const OLD: Death = Death {
        lived: LONG_LIVED,
        ..BARREN
    };

    #[test]
    fn three_barren_deaths_in_a_row_are_the_end() {
        let table: [(&[Death], bool); 7] = [
            (&[BARREN, BARREN], false),
            (&[BARREN, BARREN, BARREN], true),
            (&[BARREN, BARREN, FRUITFUL], false),
            (&[BARREN, BARREN, OLD, BARREN, BARREN], false),
            (&[BARREN, BARREN, ANNOUNCED, BARREN, BARREN], false),
            (&[FRUITFUL, BARREN, BARREN, BARREN], true),
            (&[FRUITFUL; 100], false),
        ];
        for (deaths, over) in table {
            let mut patience = Patience::default();
            let last = deaths.iter().map(|death| patience.died(*death)).last();
            assert_eq!(last == Some(Verdict::GiveUp), over, "for {deaths:?}");
        }
    }

    #[test]
    fn the_first_try_is_at_once_and_later_ones_wait_a_little() {
        let mut patience = Patience::default();
        assert_eq!(patience.died(FRUITFUL), Verdict::Again(Duration::ZERO));
        assert_eq!(patience.died(BARREN), Verdict::Again(Duration::ZERO));
        assert_eq!(patience.died(BARREN), Verdict::Again(PAUSES[1]));
        assert_eq!(patience.died(FRUITFUL), Verdict::Again(Duration::ZERO));
    }

    #[test]
    fn three_starts_that_never_got_ready_are_the_end() {
        let mut patience = Patience::default();
        assert_eq!(patience.never_got_ready(), Verdict::Again(Duration::ZERO));
        assert_eq!(patience.never_got_ready(), Verdict::Again(PAUSES[1]));
        assert_eq!(patience.never_got_ready(), Verdict::GiveUp);
    }

    fn item(status: ItemStatus, kind: Kind) -> Option<v1::Item> {
        Some(v1::Item {
            id: 7,
            status: status.into(),
            kind: Some(kind),
            ..v1::Item::default()
        })
    }

    #[test]
    fn what_a_take_over_writes_by_itself_is_no_news() {
        let message = || Kind::Message(v1::MessageItem::default());
        let completed = |status| {
            let item = item(status, message());
            Body::ItemCompleted(v1::ItemCompleted { item })
        };
        let started = |kind| {
            let item = item(ItemStatus::Growing, kind);
            Body::ItemStarted(v1::ItemStarted { item })
        };
        let table = [
            (completed(ItemStatus::Completed), true),
            (completed(ItemStatus::CutOff), false),
            (started(message()), false),
            (started(Kind::ToolCall(v1::ToolCallItem::default())), true),
            (Body::SampleRetried(v1::SampleRetried::default()), false),
            (Body::EventLost(v1::EventLost {}), false),
            (Body::TurnSuspended(v1::TurnSuspended::default()), false),
            (Body::JobEnded(v1::JobEnded::default()), true),
        ];
        for (body, want) in table {
            let event = Event {
                seq: 9,
                body: Some(body),
                ..Event::default()
            };
            let told = Update::Event(event.clone());
            assert_eq!(is_news(&told_by(told), 8), want, "for {event:?}");
            assert!(!is_news(&told_by(Update::Event(event)), 9));
        }
    }

    #[test]
    fn text_is_news_and_who_is_there_is_not() {
        let delta = |data: &[u8]| {
            Update::Delta(v1::Delta {
                data: data.to_vec(),
                ..v1::Delta::default()
            })
        };
        let table = [
            (delta(b"x"), true),
            (delta(b""), false),
            (Update::Presence(v1::Presence::default()), false),
            (Update::Heartbeat(v1::Heartbeat::default()), false),
            (Update::Synced(v1::Synced::default()), false),
        ];
        for (update, want) in table {
            let update = told_by(update);
            assert_eq!(is_news(&update, 0), want, "for {update:?}");
        }
    }

    fn told_by(update: Update) -> SessionServiceWatchResponse {
        SessionServiceWatchResponse {
            update: Some(update),
        }
    }
}
