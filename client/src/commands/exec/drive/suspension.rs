//! A turn that is suspended: what it lacks of this client's world it is given; what it then still lacks, and
//! what a person must decide, is not waited for.

use std::time::Duration;

use quire_proto::v1::{SessionServiceWatchResponse, session_service_watch_response::Update};
use tokio::time::Instant;

use super::Drive;
use crate::{
    connect::Connection,
    failure::{Exit, Failure},
    view::{Change, Turn},
};

/// How long a turn may stay suspended that was not seen to be suspended again since a world was given.
const SUSPENDED_MAX: Duration = Duration::from_secs(10);

/// What is known of a turn's suspension.
#[derive(Debug, Default)]
pub(super) struct Suspension {
    /// When the run ends for it.
    pub(super) until: Option<Instant>,
    /// Seq of the newest event that suspended a turn; 0 when none was seen.
    seq: u64,
    /// The daemon that has this client's world, and the seq after which a turn is suspended in spite of it.
    lent: Option<(Connection, u64)>,
}

impl Suspension {
    pub(super) fn lent(daemon: &Connection, seq: u64) -> Self {
        Self {
            lent: Some((daemon.clone(), seq)),
            ..Self::default()
        }
    }

    /// Keeps what an update that made these changes tells.
    pub(super) fn note(&mut self, update: &SessionServiceWatchResponse, changes: &[Change]) {
        let mut changes = changes.iter();
        if let Some(Update::Event(event)) = &update.update
            && changes.any(|change| matches!(change, Change::TurnSuspended(_)))
        {
            self.seq = event.seq;
        }
    }

    /// Whether the daemon has this client's world and suspended the turn after that.
    fn is_in_spite_of_world(&mut self, daemon: &Connection) -> bool {
        match &self.lent {
            Some((lent, seq)) if lent.is(daemon) => self.seq > *seq,
            _ => {
                // The watch gives the world to a new daemon that asks for it.
                self.lent = Some((daemon.clone(), self.seq));
                false
            }
        }
    }
}

impl Drive {
    /// A turn that waits for a world goes on when it is given one; what a person must decide is not waited
    /// for at all.
    pub(super) fn look_at_suspension(&mut self) {
        let Some(turn) = self.suspended() else {
            self.suspension.until = None;
            return;
        };
        let wants_world = turn.wants_world;
        let connection = self.watch.link().connection().clone();
        let longest = match wants_world && !self.suspension.is_in_spite_of_world(&connection) {
            true => SUSPENDED_MAX,
            false => Duration::ZERO,
        };
        let until = Instant::now() + longest;
        let sooner = self.suspension.until.map_or(until, |set| set.min(until));
        self.suspension.until = Some(sooner);
    }

    /// The prompt's turn, or the one before which it waits, when that is suspended.
    fn suspended(&self) -> Option<&Turn> {
        let view = self.watch.view();
        let turn = view.turn(self.turn.or(view.running_turn())?)?;
        // What is read of the past may have gone on since.
        (turn.suspended.is_some() && view.is_synced()).then_some(turn)
    }

    /// Ends the run, and with it the prompt when that waits.
    pub(super) fn stays_suspended(&mut self) -> Result<(), Failure> {
        let session = self.watch.session();
        let turn = self.suspended();
        let reason = turn.and_then(|turn| turn.suspended.as_deref());
        let reason = reason.unwrap_or("nobody knows for what");
        let (exit, mut message) = match turn.is_some_and(|turn| turn.wants_world) {
            true => (
                Exit::Configuration,
                format!(
                    "the turn waits: {reason}; export the key and go on with `quire env {session} --refresh`"
                ),
            ),
            // It says itself how to go on.
            false => (Exit::Failed, format!("the turn waits: {reason}")),
        };
        if !self.waits() {
            return Err(Failure::new(exit, message));
        }
        message.push_str("; your prompt was taken back");
        self.take_back(Failure::new(exit, message));
        Ok(())
    }
}
