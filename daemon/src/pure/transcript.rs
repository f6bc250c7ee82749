//! What a session's events add up to: items, queue, approvals, jobs and the facts of its summary.
//!
//! [`Transcript::apply`] is the only way in, for an event just written and for one read back after a
//! restart alike. It never fails: an event that makes no sense changes nothing.

mod jobs;
mod lost;
mod marks;
mod queue;
pub mod seen;
mod snapshot;
#[cfg(test)]
mod tests;
mod turns;

use std::{
    collections::{BTreeMap, HashMap},
    path::Path,
};

use quire_proto::{
    id::{ApprovalId, ItemId, TurnId},
    v1::{
        Approval, ClientRef, Event, FileChange, Item, ItemStatus, JobState, Policy, PromptMode,
        QueuedPrompt, Session, SessionState, StopReason, TurnSuspended, Usage, event::Body,
        item::Kind,
    },
};

use jobs::JobLog;
use lost::Lost;
use marks::MarkLog;
use seen::Seen;
pub use snapshot::{Further, Piece};
use turns::TurnLog;

/// What a mutating request was answered with, to be answered again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Answer {
    /// Turn that the request began or joined; `None` when it waits in the queue or began none.
    pub turn: Option<TurnId>,
    /// Seq of the first event that carries the request.
    pub seq: u64,
}

/// The state of one session, folded from its events.
#[derive(Clone, Debug, Default)]
pub struct Transcript {
    summary: Session,
    items: BTreeMap<u64, Item>,
    /// Who said the prompts among them.
    speakers: BTreeMap<u64, ClientRef>,
    queue: Vec<QueuedPrompt>,
    approvals: BTreeMap<u64, Approval>,
    jobs: JobLog,
    requests: HashMap<String, Answer>,
    /// Which approval a request decided.
    decisions: HashMap<String, u64>,
    running: Running,
    lost: Lost,
    turns: TurnLog,
    marks: MarkLog,
    /// Rewinds: the seq of each, and the newest item that it left.
    rewinds: Vec<(u64, u64)>,
    seen: Seen,
}

/// What is known of the running turn besides its items.
#[derive(Clone, Debug, Default)]
struct Running {
    /// Who began it.
    by: Option<ClientRef>,
    suspended: Option<TurnSuspended>,
    interrupted: bool,
    /// Times in a row that the daemon ended while the turn waited for the model, and nothing came of it.
    deaths: u32,
    /// Usage so far.
    usage: Usage,
    /// Whole answers of the model.
    answers: u64,
}

impl Transcript {
    /// Takes one more event in.
    pub fn apply(&mut self, event: &Event) {
        self.summary.head_seq = event.seq;
        self.summary.active_ms = event.time_ms;
        self.mark(event.seq, event.body.as_ref());
        if let Some(body) = &event.body {
            self.remember_request(event, body);
            self.count_deaths(body);
            self.lost.apply(event, &self.items, &self.approvals);
            self.turns.apply(event, body);
            self.apply_body(event, body);
        }
    }

    fn remember_request(&mut self, event: &Event, body: &Body) {
        if event.request_id.is_empty() {
            return;
        }
        let turn = match body {
            Body::TurnStarted(started) => TurnId::new(started.turn),
            Body::ItemCompleted(done) => done.item.as_ref().and_then(|item| TurnId::new(item.turn)),
            // A steering prompt joins the running turn, though it is only queued so far, unless that
            // takes nothing up any more.
            Body::PromptQueued(queued) => {
                let steers = |prompt: &QueuedPrompt| prompt.mode() == PromptMode::Steer;
                self.running_turn()
                    .filter(|_| queued.prompt.as_ref().is_some_and(steers))
                    .filter(|_| !self.is_interrupted())
            }
            _ => None,
        };
        if let Body::ApprovalDecided(decided) = body {
            self.decisions.insert(event.request_id.clone(), decided.id);
        }
        self.requests
            .entry(event.request_id.clone())
            .or_insert(Answer {
                turn,
                seq: event.seq,
            });
    }

    /// A daemon that dies again and again before the model says a word is told by this count; whatever
    /// brings the turn forward begins it anew.
    fn count_deaths(&mut self, body: &Body) {
        let deaths = &mut self.running.deaths;
        match body {
            Body::SampleRetried(retried) if retried.daemon_ended => *deaths += 1,
            // What a take-over tidies up, and what happens without the turn.
            Body::ItemCompleted(done)
                if done
                    .item
                    .as_ref()
                    .is_some_and(|item| item.status() == ItemStatus::CutOff) => {}
            Body::SampleEnded(ended) if ended.turn == 0 => {}
            Body::TurnSuspended(_)
            | Body::JobStarted(_)
            | Body::JobEnded(_)
            | Body::JobChanged(_)
            | Body::EventLost(_) => {}
            _ => *deaths = 0,
        }
    }

    fn apply_body(&mut self, event: &Event, body: &Body) {
        match body {
            Body::SessionCreated(created) => {
                self.summary.created_ms = event.time_ms;
                self.summary.workspace.clone_from(&created.workspace);
                self.summary.cwd.clone_from(&created.cwd);
                self.summary.title.clone_from(&created.title);
                self.summary.model.clone_from(&created.model);
                self.summary.policy.clone_from(&created.policy);
                self.summary.forked_from.clone_from(&created.forked_from);
            }
            Body::SessionChanged(changed) => {
                replace(&mut self.summary.title, changed.title.as_ref());
                replace(&mut self.summary.model, changed.model.as_ref());
                replace(&mut self.summary.archived, changed.archived.as_ref());
                if changed.policy.is_some() {
                    self.summary.policy.clone_from(&changed.policy);
                }
            }
            Body::PromptQueued(queued) => {
                self.queue.extend(queued.prompt.clone());
                self.jobs.count_wakes(queued.prompt.as_ref());
            }
            Body::PromptRemoved(removed) => self.unqueue(&removed.request_id),
            Body::PromptChanged(changed) => self.change_queued(changed),
            Body::TurnStarted(started) => {
                self.summary.turns = self.summary.turns.max(started.turn);
                self.summary.running_turn = started.turn;
                self.summary.turn_started_ms = event.time_ms;
                self.summary.last_stop = StopReason::Unspecified.into();
                self.running = Running {
                    by: event.by.clone(),
                    ..Running::default()
                };
            }
            Body::TurnSuspended(suspended) => {
                self.running.suspended = Some(suspended.clone());
            }
            Body::TurnEnded(ended) => {
                self.summary.running_turn = 0;
                self.summary.turn_started_ms = 0;
                self.summary.last_stop = ended.stop_reason;
                self.running.suspended = None;
            }
            // Sent on, if it was suspended.
            Body::SampleRetried(_) => self.running.suspended = None,
            Body::SampleEnded(ended) => {
                let usage = ended.usage.unwrap_or_default();
                if ended.turn != 0 {
                    self.running.answers += 1;
                    self.running.usage = add(self.running.usage, usage);
                }
                self.summary.usage = Some(add(self.usage(), usage));
            }
            Body::ItemStarted(change) => self.put_item(event, change.item.as_ref()),
            Body::ItemChanged(change) => self.put_item(event, change.item.as_ref()),
            Body::ItemCompleted(change) => self.put_item(event, change.item.as_ref()),
            Body::ApprovalRequested(requested) => {
                if let Some(approval) = &requested.approval {
                    self.approvals.insert(approval.id, approval.clone());
                }
            }
            Body::ApprovalDecided(decided) => {
                if let Some(approval) = self.approvals.get_mut(&decided.id) {
                    approval.answer.clone_from(&decided.answer);
                }
            }
            Body::JobStarted(_) | Body::JobEnded(_) | Body::JobChanged(_) => {
                self.jobs.apply(&self.summary.id, event.time_ms, body);
            }
            Body::EventLost(_) => {}
            Body::HistoryRewound(rewound) => {
                self.rewinds.push((event.seq, rewound.through_item));
                self.items.retain(|id, _| *id <= rewound.through_item);
                self.speakers.retain(|id, _| *id <= rewound.through_item);
                self.seen = Seen::of(self.items.values(), Path::new(&self.summary.cwd));
            }
        }
    }

    fn put_item(&mut self, event: &Event, item: Option<&Item>) {
        let Some(item) = item else { return };
        match &item.kind {
            Some(Kind::Prompt(prompt)) => {
                if prompt.job_id.is_empty() {
                    let line = prompt.text.lines().next().unwrap_or_default();
                    self.summary.last_prompt = line.chars().take(200).collect();
                    self.jobs.person_spoke();
                }
                self.unqueue(&event.request_id);
                if let (Some(by), false) = (&event.by, self.items.contains_key(&item.id)) {
                    self.speakers.insert(item.id, by.clone());
                }
            }
            // Of all notices only the one that begins an interrupt comes of a request.
            Some(Kind::Notice(_)) if item.turn != 0 && !event.request_id.is_empty() => {
                self.running.interrupted = true;
            }
            _ => {}
        }
        self.seen.apply(item, Path::new(&self.summary.cwd));
        self.items.insert(item.id, item.clone());
    }

    /// Names the session that the events belong to.
    #[must_use]
    pub fn of(session_id: &str) -> Self {
        let summary = Session {
            id: session_id.to_owned(),
            ..Session::default()
        };
        Self {
            summary,
            ..Self::default()
        }
    }

    /// The session as lists show it, without who is attached.
    #[must_use]
    pub fn summary(&self) -> Session {
        let running = self.jobs().filter(|job| job.state() == JobState::Running);
        Session {
            title: self.title(),
            state: self.state().into(),
            pending_approvals: count(self.pending_approvals().count()),
            queued_prompts: count(self.queue.len()),
            running_jobs: count(running.count()),
            ..self.summary.clone()
        }
    }

    /// The title given, else the beginning of the first prompt.
    fn title(&self) -> String {
        if !self.summary.title.is_empty() {
            return self.summary.title.clone();
        }
        let words = self.first_words().unwrap_or_default();
        let mut lines = words.lines();
        lines
            .find(|line| !line.trim().is_empty())
            .unwrap_or_default()
            .trim()
            .chars()
            .take(60)
            .collect()
    }

    /// Whether the session has a title of its own.
    #[must_use]
    pub fn is_named(&self) -> bool {
        !self.summary.title.is_empty()
    }

    /// The first prompt of a person.
    #[must_use]
    pub fn first_words(&self) -> Option<&str> {
        self.items.values().find_map(|item| match &item.kind {
            Some(Kind::Prompt(prompt)) if prompt.job_id.is_empty() => Some(prompt.text.as_str()),
            _ => None,
        })
    }

    fn state(&self) -> SessionState {
        if self.summary.running_turn == 0 {
            SessionState::Idle
        } else if self.is_suspended() {
            SessionState::Suspended
        } else if self.pending_approvals().next().is_some() {
            SessionState::NeedsApproval
        } else {
            SessionState::Running
        }
    }

    /// Seq of the newest event; 0 before the first.
    #[must_use]
    pub fn head(&self) -> u64 {
        self.summary.head_seq
    }

    /// "provider/model" that answers from the next sample on.
    #[must_use]
    pub fn model(&self) -> &str {
        &self.summary.model
    }

    /// The session's rules; the strictest when none were recorded.
    #[must_use]
    pub fn policy(&self) -> Policy {
        self.summary.policy.clone().unwrap_or_default()
    }

    /// Absolute directory of the workspace.
    #[must_use]
    pub fn workspace(&self) -> &str {
        &self.summary.workspace
    }

    /// Absolute directory where commands start.
    #[must_use]
    pub fn cwd(&self) -> &str {
        &self.summary.cwd
    }

    /// The turn that has begun and not ended.
    #[must_use]
    pub fn running_turn(&self) -> Option<TurnId> {
        TurnId::new(self.summary.running_turn)
    }

    /// Who began the running turn; `None` when no client with a name did.
    #[must_use]
    pub fn turn_by(&self) -> Option<&ClientRef> {
        self.running.by.as_ref()
    }

    /// Whether the running turn waits to be sent on by a person.
    #[must_use]
    pub fn is_suspended(&self) -> bool {
        self.running.suspended.is_some()
    }

    /// Why the running turn waits to be sent on, if it does.
    #[must_use]
    pub fn suspension(&self) -> Option<&str> {
        let suspended = self.running.suspended.as_ref();
        suspended.map(|suspended| suspended.reason.as_str())
    }

    /// Whether the running turn waits for what a client's world may hold.
    #[must_use]
    pub fn wants_world(&self) -> bool {
        let suspended = self.running.suspended.as_ref();
        suspended.is_some_and(|suspended| suspended.wants_world)
    }

    /// Whether the running turn is being interrupted.
    #[must_use]
    pub fn is_interrupted(&self) -> bool {
        self.running.interrupted
    }

    /// Times in a row that a daemon ended with the turn, and nothing came of the turn in between.
    #[must_use]
    pub fn deaths(&self) -> u32 {
        self.running.deaths
    }

    /// The name of the next turn.
    #[must_use]
    pub fn next_turn(&self) -> TurnId {
        TurnId::new(self.summary.turns).map_or(TurnId::FIRST, TurnId::next)
    }

    /// The name of the next item.
    #[must_use]
    pub fn next_item(&self) -> ItemId {
        let last = self.items.keys().next_back().copied().unwrap_or_default();
        ItemId::new(last.max(self.lost.items())).map_or(ItemId::FIRST, ItemId::next)
    }

    /// The name of the next approval.
    #[must_use]
    pub fn next_approval(&self) -> ApprovalId {
        let last = self
            .approvals
            .keys()
            .next_back()
            .copied()
            .unwrap_or_default();
        ApprovalId::new(last.max(self.lost.approvals())).map_or(ApprovalId::FIRST, ApprovalId::next)
    }

    /// All items of the conversation, oldest first.
    pub fn items(&self) -> impl DoubleEndedIterator<Item = &Item> {
        self.items.values()
    }

    /// One item.
    #[must_use]
    pub fn item(&self, id: ItemId) -> Option<&Item> {
        self.items.get(&id.get())
    }

    /// Items of one turn that have not ended, oldest first.
    pub fn unfinished(&self, turn: TurnId) -> impl Iterator<Item = &Item> {
        let growing = ItemStatus::Growing as i32;
        self.items
            .values()
            .filter(move |item| item.turn == turn.get() && item.status == growing)
    }

    /// Approvals that wait for an answer, oldest first.
    pub fn pending_approvals(&self) -> impl Iterator<Item = &Approval> {
        self.approvals
            .values()
            .filter(|approval| approval.answer.is_none())
    }

    /// One approval, answered or not.
    #[must_use]
    pub fn approval(&self, id: ApprovalId) -> Option<&Approval> {
        self.approvals.get(&id.get())
    }

    /// The approval that was asked for last, answered or not.
    #[must_use]
    pub fn newest_approval(&self) -> Option<&Approval> {
        self.approvals.values().next_back()
    }

    /// The newest approval of one call.
    #[must_use]
    pub fn approval_of(&self, item: ItemId) -> Option<&Approval> {
        self.approvals
            .values()
            .rev()
            .find(|approval| approval.item == item.get())
    }

    /// Files changed, with the turn that did, oldest first.
    #[must_use]
    pub fn changes(&self) -> Vec<(u64, Vec<FileChange>)> {
        let changed = self.items.values().filter_map(|item| match &item.kind {
            Some(Kind::FileChange(change)) => Some((item.turn, change.files.clone())),
            _ => None,
        });
        changed.collect()
    }

    /// What the model knows of files.
    #[must_use]
    pub fn seen(&self) -> &Seen {
        &self.seen
    }

    /// What a request was answered with, if it was seen before.
    #[must_use]
    pub fn answer(&self, request_id: &str) -> Option<Answer> {
        self.requests.get(request_id).copied()
    }

    /// The approval that a request decided, if it was seen before.
    #[must_use]
    pub fn decided_by(&self, request_id: &str) -> Option<&Approval> {
        self.approvals.get(self.decisions.get(request_id)?)
    }

    /// Usage of the running turn so far.
    #[must_use]
    pub fn turn_usage(&self) -> Usage {
        self.running.usage
    }

    /// Whole answers of the model in the running turn.
    #[must_use]
    pub fn answers(&self) -> u64 {
        self.running.answers
    }

    fn usage(&self) -> Usage {
        self.summary.usage.unwrap_or_default()
    }
}

fn replace<T: Clone>(place: &mut T, value: Option<&T>) {
    if let Some(value) = value {
        place.clone_from(value);
    }
}

fn count(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

/// Sums two usages field by field.
#[must_use]
pub fn add(a: Usage, b: Usage) -> Usage {
    Usage {
        input_tokens: a.input_tokens + b.input_tokens,
        cached_tokens: a.cached_tokens + b.cached_tokens,
        output_tokens: a.output_tokens + b.output_tokens,
        reasoning_tokens: a.reasoning_tokens + b.reasoning_tokens,
        cost_micros: a.cost_micros + b.cost_micros,
    }
}
