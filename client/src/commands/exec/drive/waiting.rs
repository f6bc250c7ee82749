//! The run's own prompt while it waits: how its turn is learnt, and how it is taken back. What others began
//! is neither interrupted nor answered for.

use std::mem;

use futures_util::FutureExt as _;
use quire_proto::{
    id::TurnId,
    v1::{
        SessionServiceWatchResponse, TurnServiceRemoveQueuedRequest, event::Body,
        session_service_watch_response::Update,
    },
};
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use super::{Called, Drive, call};
use crate::{
    commands::request_id,
    connect::Connection,
    context,
    failure::{Exit, Failure},
};

/// What is told of a prompt that will never run.
pub(super) const TAKEN_BACK: &str = "the prompt was taken back before a turn took it";

/// The prompt that the run is about.
#[derive(Debug, Default)]
pub(super) struct Prompt {
    /// The request that brought it; empty when its turn is known from the start.
    request: String,
    /// The turn that it began or was to join, as the daemon said; it may come into a later one.
    joins: Option<TurnId>,
    /// A turn has it, whether or not it is known which.
    taken: bool,
    /// It is being taken back, and so the run ends.
    leaving: Option<Failure>,
    /// The turn that has it is to be interrupted.
    stop: bool,
}

impl Prompt {
    pub(super) fn new(request: &str, joins: Option<TurnId>) -> Self {
        Self {
            request: request.to_owned(),
            joins,
            ..Self::default()
        }
    }

    /// Whether it is being taken back.
    pub(super) fn is_leaving(&self) -> bool {
        self.leaving.is_some()
    }
}

impl Drive {
    /// No turn has the prompt, as far as is known.
    pub(super) fn waits(&self) -> bool {
        self.turn.is_none() && !self.prompt.taken && !self.prompt.request.is_empty()
    }

    /// Ends what the run began and nothing else: its turn, or with `ending` the wait of its prompt.
    pub(super) fn stop(&mut self, ending: Failure) -> Result<(), Failure> {
        self.prompt.stop = true;
        if self.waits() {
            self.take_back(ending);
            return Ok(());
        }
        self.stop_if_taken()
    }

    /// Interrupts the turn as soon as it is known which, when that is wanted.
    pub(super) fn stop_if_taken(&mut self) -> Result<(), Failure> {
        let known = self.turn.is_some() || self.prompt.request.is_empty();
        if !known || !mem::take(&mut self.prompt.stop) {
            return Ok(());
        }
        self.interrupt();
        match self.interrupts {
            0 => Ok(()),
            _ => context::progress("interrupting; Ctrl-C again leaves the turn to the daemon\n"),
        }
    }

    /// The session waits for an answer that is not this run's to give.
    pub(super) fn leave_approval(&mut self) {
        // What is read of the past may have been answered since.
        if !self.waits() || self.prompt.is_leaving() || !self.watch.view().is_synced() {
            return;
        }
        let session = self.watch.session();
        let message = format!(
            "session {session} waits for an approval (`quire approve {session}`): {TAKEN_BACK}"
        );
        self.take_back(Failure::new(Exit::Denied, message));
    }

    /// Takes the prompt back and ends with `ending`, unless a turn is faster.
    pub(super) fn take_back(&mut self, ending: Failure) {
        if self.prompt.leaving.replace(ending).is_some() {
            return;
        }
        let request = TurnServiceRemoveQueuedRequest {
            request_id: request_id(),
            session: self.watch.session().to_owned(),
            prompt_request_id: self.prompt.request.clone(),
        };
        let link = self.watch.link().clone();
        self.calls.push(
            call(link, async move |connection: &Connection| {
                let removed = connection.turns().remove_queued(request.clone()).await;
                taken_back(removed.map(drop))
            })
            .boxed_local(),
        );
    }

    /// Goes on from what came of a call.
    ///
    /// # Errors
    ///
    /// How the run ends, when its prompt was taken back.
    pub(super) fn called(&mut self, called: Called) -> Result<(), Failure> {
        match called {
            Called::Done => Ok(()),
            Called::TakenBack => self.prompt.leaving.take().map_or(Ok(()), Err),
            Called::Taken => {
                self.prompt.taken = true;
                self.prompt.leaving = None;
                self.suspension.until = None;
                self.stop_if_taken()
            }
        }
    }

    /// A prompt that waited is taken by a turn, or taken back.
    pub(super) fn look_for_turn(
        &mut self,
        update: &SessionServiceWatchResponse,
    ) -> Result<(), Failure> {
        let Some(Update::Event(event)) = update.update.as_ref().filter(|_| self.turn.is_none())
        else {
            return Ok(());
        };
        match &event.body {
            Some(Body::ItemCompleted(done)) if event.request_id == self.prompt.request => {
                let item = done.item.as_ref();
                self.turn = item.and_then(|item| TurnId::new(item.turn));
            }
            Some(Body::PromptRemoved(removed)) if removed.request_id == self.prompt.request => {
                if let Some(ending) = self.prompt.leaving.take() {
                    return Err(ending);
                }
                let by = event.by.as_ref();
                let by = by.map(|by| format!(" from {} (pid {})", by.name, by.pid));
                let message = format!(
                    "the prompt was taken back{} before its turn",
                    by.unwrap_or_default()
                );
                return Err(Failure::new(Exit::Failed, message));
            }
            _ => {}
        }
        Ok(())
    }

    /// A snapshot tells what waits, and not which request brought the rest.
    pub(super) fn look_for_past_turn(&mut self) {
        let view = self.watch.view();
        let mut queue = view.queue().iter();
        if self.turn.is_none()
            && view.is_synced()
            && queue.all(|queued| queued.request_id != self.prompt.request)
        {
            self.turn = self.prompt.joins;
        }
    }
}

/// Whether a prompt was taken back or is past that.
fn taken_back(removed: Result<(), Status>) -> Result<Called, Status> {
    match removed {
        Ok(()) => Ok(Called::TakenBack),
        Err(status) if status.code() == Code::NotFound => {
            let told = status.get_details_error_info();
            match told.is_some_and(|told| told.reason == "NOT_QUEUED") {
                true => Ok(Called::Taken),
                false => Err(status),
            }
        }
        Err(status) => Err(status),
    }
}
