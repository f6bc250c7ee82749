//! What the user's own program is told of a session, once it is in the log: a background job ended, an approval
//! waits, a turn is suspended, a turn ended that nobody watched.
//!
//! Each is told when it happens. Only an approval is told again, once, by a daemon that finds it still
//! waiting: nobody knows whether the one before got to it.

use quire_proto::v1::{Approval, Event, event::Body};

use super::{actor::Actor, jobs::ended_or_left};
use crate::pure::news::{self, News};

impl Actor {
    /// Tells what `events`, just written, are about.
    pub(super) fn notify(&self, events: &[Event]) {
        for event in events {
            if let Some(news) = self.job_news(event).or_else(|| self.turn_news(event)) {
                (self.world.notify)(news);
            }
        }
        self.notify_of_waiting();
    }

    /// Tells of approvals that wait and that this daemon has not told of yet.
    pub(super) fn notify_of_waiting(&self) {
        let untold = |approval: &&Approval| self.world.board.tell_once(&self.id, approval);
        for approval in self.transcript.pending_approvals().filter(untold) {
            let session = self.transcript.summary();
            (self.world.notify)(news::approval_asked(&session, approval));
        }
    }

    fn job_news(&self, event: &Event) -> Option<News> {
        let id = ended_or_left(event)?;
        let job = self.transcript.job(id)?;
        let ended = self.transcript.job_end(id)?;
        let told = self.transcript.ran_in_background(id);
        told.then(|| news::job_ended(&self.transcript.summary(), job, ended))
    }

    fn turn_news(&self, event: &Event) -> Option<News> {
        let session = || self.transcript.summary();
        match event.body.as_ref()? {
            Body::TurnSuspended(suspended) => Some(news::turn_suspended(&session(), suspended)),
            Body::TurnEnded(ended) if self.feed.clients().is_empty() => {
                Some(news::turn_ended(&session(), ended))
            }
            _ => None,
        }
    }
}
