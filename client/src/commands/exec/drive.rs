//! Follows one turn to its end: prints it, passes Ctrl-C on, and answers what nobody else can.

use std::{collections::BTreeSet, future::pending, time::Duration};

use futures_util::{
    FutureExt as _, StreamExt as _, future::LocalBoxFuture, stream::FuturesUnordered,
};
use quire_proto::{
    id::{ApprovalId, TurnId},
    v1::{
        ApprovalServiceDecideRequest, ApprovalVerdict, ClientRef, OutcomeStatus,
        SessionServiceWatchResponse, TurnServiceInterruptRequest, item::Kind,
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
    view::{Change, View},
};

mod suspension;
mod waiting;

use suspension::Suspension;
use waiting::Prompt;

/// How these clients introduce themselves. They cannot answer each other's questions.
pub(super) const NAME: &str = "exec";

/// Why these clients say no.
const NOBODY: &str = "nobody is there to approve this";

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
    /// `None` while the prompt waits, in the queue or to join a turn.
    turn: Option<TurnId>,
    prompt: Prompt,
    /// Events up to here were there before the prompt, and are not printed.
    seen: u64,
    /// Calls under way: interrupts and decisions.
    calls: FuturesUnordered<LocalBoxFuture<'static, Result<Called, Failure>>>,
    /// Approvals answered, or told about.
    answered: BTreeSet<ApprovalId>,
    suspension: Suspension,
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
            prompt: Prompt::default(),
            seen,
            calls: FuturesUnordered::new(),
            answered: BTreeSet::new(),
            suspension: Suspension::default(),
            timed_out: None,
            interrupts: 0,
        }
    }

    /// The request that brought the prompt, by which its turn is known when it waits first, and the turn that
    /// the daemon said it begins or joins.
    #[must_use]
    pub fn of_prompt(mut self, request_id: &str, joins: Option<TurnId>) -> Self {
        self.prompt = Prompt::new(request_id, joins);
        self
    }

    /// The daemon of this connection had this client's world when the session's log ended at `seq`.
    #[must_use]
    pub fn lent_to(mut self, daemon: &Connection, seq: u64) -> Self {
        self.suspension = Suspension::lent(daemon, seq);
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
                    let time = limits.time.unwrap_or_default();
                    self.stop(time_over(time, waiting::TAKEN_BACK))?;
                    leaving = Some(Instant::now() + PATIENCE);
                }
                () = at(leaving) => {
                    let time = limits.time.unwrap_or_default();
                    let what = match self.waits() {
                        true => "the daemon has not taken the prompt back yet",
                        false => "the daemon has not interrupted the turn yet",
                    };
                    return Err(time_over(time, what));
                }
                () = at(self.suspension.until), if !self.prompt.is_leaving() => self.stays_suspended()?,
                Some(called) = self.calls.next() => self.called(called?)?,
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
            let mut changes = self.watch.apply(update);
            self.suspension.note(update, &changes);
            // It is told when it ends the run, once.
            changes.retain(|change| !matches!(change, Change::TurnSuspended(_)));
            self.look_for_turn(update)?;
            if self.watch.view().session().head_seq > self.seen {
                self.fold.changed(self.watch.view(), &changes, &mut printed);
            }
        }
        self.look_for_past_turn();
        self.stop_if_taken()?;
        context::write_out(&printed)
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
        let message = format!("interrupted: {}", waiting::TAKEN_BACK);
        self.stop(Failure::new(Exit::Interrupted, message))
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
                    .map(|_| Called::Done)
            })
            .boxed_local(),
        );
    }

    /// Nobody may be left to wait for: then the answer is no to what the prompt's own turn asks, and the
    /// prompt does not wait for what another asks.
    fn look_at_approvals(&mut self, limits: Limits) -> Result<(), Failure> {
        let view = self.watch.view();
        let asked: Vec<_> = view
            .approvals()
            .filter(|(id, _)| !self.answered.contains(id))
            .map(|(id, approval)| (id, TurnId::new(approval.turn)))
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
        for (id, turn) in asked {
            if answerable && !limits.interactive {
                continue;
            }
            let own = self.turn.is_some() && self.turn == turn;
            if !own && !limits.interactive {
                self.leave_approval();
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
                    .map(|_| Called::Done)
            })
            .boxed_local(),
        );
    }
}

/// What came of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Called {
    /// Nothing more is to be done about it.
    Done,
    /// The prompt will never run.
    TakenBack,
    /// The prompt could not be taken back: a turn had taken it.
    Taken,
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
    call: impl AsyncFn(&Connection) -> Result<Called, tonic::Status>,
) -> Result<Called, Failure> {
    let late = [tonic::Code::Aborted, tonic::Code::FailedPrecondition];
    link.call(async |connection| match call(connection).await {
        Err(status) if late.contains(&status.code()) => Ok(Called::Done),
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
