//! Follows one turn to its end: prints it, passes Ctrl-C on, and answers what nobody else can.

use std::{collections::BTreeSet, future::pending, time::Duration};

use futures_util::{
    FutureExt as _, StreamExt as _, future::LocalBoxFuture, stream::FuturesUnordered,
};
use quire_proto::{
    id::{ApprovalId, TurnId},
    v1::{
        ApprovalServiceDecideRequest, ApprovalVerdict, ClientRef, OutcomeStatus,
        SessionServiceWatchResponse, TurnServiceInterruptRequest, event::Body, item::Kind,
        session_service_watch_response::Update,
    },
};
use tokio::{
    signal::unix::{SignalKind, signal},
    time::{Instant, sleep_until},
};

use crate::{
    commands::request_id,
    connect::{Connection, PATIENCE},
    context,
    failure::{Exit, Failure},
    link::{Link, Watch},
    output::{Fold, Printed},
    view::{Turn, View},
};

/// How these clients introduce themselves. They cannot answer each other's questions.
pub(super) const NAME: &str = "exec";

/// Why these clients say no.
const NOBODY: &str = "nobody is there to approve this";

/// How long a suspended turn may stay so once its keys and environment have been sent again.
const SUSPENDED_MAX: Duration = Duration::from_secs(10);

/// What ends a run before its turn ends by itself.
#[derive(Clone, Copy, Debug, Default)]
pub struct Limits {
    /// Longest time.
    pub time: Option<Duration>,
    /// True when a person sits there who can answer from another terminal.
    pub interactive: bool,
}

/// One turn being followed.
pub struct Drive {
    watch: Watch,
    fold: Box<dyn Fold>,
    /// `None` while the prompt waits in the queue.
    turn: Option<TurnId>,
    /// The request that brought the prompt; empty when its turn is known from the start.
    prompt: String,
    /// Events up to here were there before the prompt, and are not printed.
    seen: u64,
    /// Calls under way: interrupts and decisions.
    calls: FuturesUnordered<LocalBoxFuture<'static, Result<(), Failure>>>,
    /// Approvals answered, or told about.
    answered: BTreeSet<ApprovalId>,
    suspended_until: Option<Instant>,
    timed_out: Option<Duration>,
    interrupts: u32,
}

impl Drive {
    /// Follows `turn` of the session that `watch` watches.
    #[must_use]
    pub fn new(watch: Watch, fold: Box<dyn Fold>, turn: Option<TurnId>, seen: u64) -> Self {
        Self {
            watch,
            fold,
            turn,
            prompt: String::new(),
            seen,
            calls: FuturesUnordered::new(),
            answered: BTreeSet::new(),
            suspended_until: None,
            timed_out: None,
            interrupts: 0,
        }
    }

    /// The request that brought the prompt, by which its turn is known when it waits in the queue first.
    #[must_use]
    pub fn of_prompt(mut self, request_id: &str) -> Self {
        request_id.clone_into(&mut self.prompt);
        self
    }

    /// Follows the turn to its end and tells how it ended: `None` for well.
    ///
    /// # Errors
    ///
    /// What kept it from being followed; the turn itself may go on.
    pub async fn run(&mut self, limits: Limits) -> Result<Option<Failure>, Failure> {
        let mut deadline = limits.time.map(|time| Instant::now() + time);
        let mut leaving = None;
        let mut ctrl_c = signal(SignalKind::interrupt())
            .map_err(|error| Failure::new(Exit::Failed, format!("cannot hear Ctrl-C: {error}")))?;
        loop {
            tokio::select! {
                biased;
                Some(()) = ctrl_c.recv() => self.interrupt_or_leave()?,
                () = at(deadline) => {
                    deadline = None;
                    self.timed_out = limits.time;
                    self.interrupt();
                    leaving = Some(Instant::now() + PATIENCE);
                }
                () = at(leaving) => {
                    let time = limits.time.unwrap_or_default();
                    return Err(time_over(time, "the daemon has not interrupted the turn yet"));
                }
                () = at(self.suspended_until) => return Err(self.stays_suspended()),
                Some(called) = self.calls.next() => called?,
                updates = self.watch.next() => {
                    self.show(&updates?)?;
                    self.look_at_approvals(limits)?;
                    self.look_at_suspension();
                    if let Some(ended) = self.ended() {
                        return Ok(ended);
                    }
                }
            }
        }
    }

    /// The turn's newest whole message.
    #[must_use]
    pub fn last_message(&self) -> Option<&str> {
        let turn = self.turn?.get();
        let mut newest = self.watch.view().items().rev();
        newest.find_map(|(_, item)| match item.kind() {
            Some(Kind::Message(_)) if item.item().turn == turn && !item.is_cut_off() => {
                Some(item.text())
            }
            _ => None,
        })
    }

    /// What was followed.
    #[must_use]
    pub fn into_view(self) -> View {
        self.watch.into_view()
    }

    /// Writes once for all updates that came together, so that a fast model costs few system calls.
    fn show(&mut self, updates: &[SessionServiceWatchResponse]) -> Result<(), Failure> {
        let mut printed = Printed::default();
        for update in updates {
            let changes = self.watch.apply(update);
            self.look_for_turn(update)?;
            if self.watch.view().session().head_seq > self.seen {
                self.fold.changed(self.watch.view(), &changes, &mut printed);
            }
        }
        context::write_out(&printed)
    }

    /// A prompt that waited is taken by a turn, or taken back.
    fn look_for_turn(&mut self, update: &SessionServiceWatchResponse) -> Result<(), Failure> {
        let Some(Update::Event(event)) = update.update.as_ref().filter(|_| self.turn.is_none())
        else {
            return Ok(());
        };
        match &event.body {
            Some(Body::ItemCompleted(done)) if event.request_id == self.prompt => {
                let item = done.item.as_ref();
                self.turn = item.and_then(|item| TurnId::new(item.turn));
            }
            Some(Body::PromptRemoved(removed)) if removed.request_id == self.prompt => {
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

    fn ended(&self) -> Option<Option<Failure>> {
        let turn = self.watch.view().turn(self.turn?)?;
        let ended = turn.ended.as_ref()?;
        let failure = Failure::of_turn(ended);
        let timed_out = self.timed_out.filter(|_| failure.is_some());
        let failure = failure
            .map(|failure| self.alone().unwrap_or(failure))
            .or_else(|| self.denied());
        Some(match timed_out {
            Some(time) => Some(time_over(time, "the turn was interrupted")),
            None => failure,
        })
    }

    /// What could be done so that the next one is not denied for want of anyone to ask.
    fn alone(&self) -> Option<Failure> {
        let view = self.watch.view();
        let mut asked = self.answered.iter().filter_map(|id| view.approval(*id));
        let denied = asked.rfind(|approval| {
            let answer = approval.answer.as_ref();
            answer.is_some_and(|answer| answer.message == NOBODY)
        })?;
        let (what, session) = (&denied.title, self.watch.session());
        let message = format!(
            "a call was denied, as nobody is there to approve it: {what}; keep `quire attach {session}` open \
             to be asked, or allow it by a rule under [[policy.rules]] in the configuration"
        );
        Some(Failure::new(Exit::Denied, message))
    }

    /// A turn that ended well without what it asked for did not end well for a script.
    fn denied(&self) -> Option<Failure> {
        let turn = self.turn?.get();
        let mut items = self.watch.view().items();
        let denied = items.find_map(|(_, item)| match item.kind() {
            Some(Kind::ToolCall(call)) if item.item().turn == turn => {
                let denied = call.outcome.as_ref()?.status() == OutcomeStatus::Denied;
                denied.then_some(call)
            }
            _ => None,
        })?;
        let what = [&denied.title, &denied.tool]
            .into_iter()
            .find(|text| !text.is_empty())?;
        let message = format!("the turn ended, but a call was denied: {what}");
        Some(Failure::new(Exit::Denied, message))
    }

    fn interrupt_or_leave(&mut self) -> Result<(), Failure> {
        self.interrupts += 1;
        if self.interrupts > 1 {
            return Err(Failure::silent(Exit::Interrupted));
        }
        self.interrupt();
        context::progress("interrupting; Ctrl-C again leaves the turn to the daemon\n")
    }

    fn interrupt(&mut self) {
        let request = TurnServiceInterruptRequest {
            request_id: request_id(),
            session: self.watch.session().to_owned(),
            expected_turn: self.turn.map_or(0, TurnId::get),
        };
        let link = self.watch.link().clone();
        self.calls.push(
            call(link, async move |connection: &Connection| {
                connection
                    .turns()
                    .interrupt(request.clone())
                    .await
                    .map(drop)
            })
            .boxed_local(),
        );
    }

    /// Nobody may be left to wait for: then the answer is no.
    fn look_at_approvals(&mut self, limits: Limits) -> Result<(), Failure> {
        let view = self.watch.view();
        let asked: Vec<_> = view
            .approvals()
            .map(|(id, _)| id)
            .filter(|id| !self.answered.contains(id))
            .collect();
        if asked.is_empty() {
            return Ok(());
        }
        let clients = view.clients().to_vec();
        let connection = self.watch.link().connection();
        if !clients.iter().any(|client| connection.is_me(client)) {
            // Not yet told who is there now.
            return Ok(());
        }
        let answerable = clients.iter().any(|client| can_answer(client, connection));
        for id in asked {
            if answerable && !limits.interactive {
                continue;
            }
            self.answered.insert(id);
            if limits.interactive {
                let session = self.watch.session();
                context::progress(format!(
                    "  answer in another terminal: quire approve {session} --id {id}, or quire deny {session} --id {id}\n"
                ))?;
            } else {
                self.deny(id);
            }
        }
        Ok(())
    }

    fn deny(&mut self, id: ApprovalId) {
        let request = ApprovalServiceDecideRequest {
            request_id: request_id(),
            session: self.watch.session().to_owned(),
            approval: id.get(),
            verdict: ApprovalVerdict::Deny.into(),
            message: NOBODY.into(),
            stop: true,
        };
        let link = self.watch.link().clone();
        self.calls.push(
            call(link, async move |connection: &Connection| {
                connection
                    .approvals()
                    .decide(request.clone())
                    .await
                    .map(drop)
            })
            .boxed_local(),
        );
    }

    /// A new daemon was sent our keys already; if the turn then does not go on, it never will. What a
    /// person must decide is not waited for at all.
    fn look_at_suspension(&mut self) {
        let view = self.watch.view();
        let turn = self.turn.and_then(|turn| view.turn(turn));
        // What is read of the past may have gone on since.
        let suspended = |turn: &&Turn| turn.suspended.is_some() && view.is_synced();
        let Some(turn) = turn.filter(suspended) else {
            self.suspended_until = None;
            return;
        };
        let longest = match turn.wants_world {
            true => SUSPENDED_MAX,
            false => Duration::ZERO,
        };
        let until = Instant::now() + longest;
        self.suspended_until.get_or_insert(until);
    }

    fn stays_suspended(&self) -> Failure {
        let turn = self.turn.and_then(|turn| self.watch.view().turn(turn));
        let reason = turn.and_then(|turn| turn.suspended.as_deref());
        let session = self.watch.session();
        let reason = reason.unwrap_or("nobody knows for what");
        let message = match turn.is_some_and(|turn| turn.wants_world) {
            true => format!("the turn waits: {reason}; go on with `quire attach {session}`"),
            // It says itself how to go on.
            false => format!("the turn waits: {reason}"),
        };
        Failure::new(Exit::Failed, message)
    }
}

/// The time limit is over, and what became of the turn.
pub(super) fn time_over(time: Duration, what: &str) -> Failure {
    let message = format!("the time limit of {time:?} is over: {what}");
    Failure::new(Exit::Limit, message)
}

/// Makes a call that counts as done when the daemon says that it came too late: someone else was
/// faster, or the turn has ended.
async fn call(
    mut link: Link,
    call: impl AsyncFn(&Connection) -> Result<(), tonic::Status>,
) -> Result<(), Failure> {
    let late = [tonic::Code::Aborted, tonic::Code::FailedPrecondition];
    link.call(async |connection| match call(connection).await {
        Err(status) if late.contains(&status.code()) => Ok(()),
        other => other,
    })
    .await
}

/// Whether `client` could be asked: another run like this one could not.
fn can_answer(client: &ClientRef, connection: &Connection) -> bool {
    !client.observer && client.name != NAME && !connection.is_me(client)
}

async fn at(instant: Option<Instant>) {
    match instant {
        Some(instant) => sleep_until(instant).await,
        None => pending().await,
    }
}
