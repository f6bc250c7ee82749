//! What a watcher of one session knows: a pure fold of the updates that `Watch` streams.
//!
//! [`View::apply`] takes one update and says what changed. The same update twice, or one that lies
//! before the cursor, has no effect, so that a broken stream is simply taken up again from
//! [`View::cursor`]. It performs no I/O and reads no clock; every screen and every text output of
//! the client is drawn from here.

use std::collections::BTreeMap;

use quire_proto::{
    id::{ApprovalId, ItemId, TurnId},
    v1::{self, SessionState, event::Body, session_service_watch_response::Update},
};

mod item;
mod job;
mod mark;
mod snapshot;
#[cfg(test)]
mod tests;

pub use item::{Gap, Growth, LIVE_OUTPUT_MAX, ViewItem};
pub use job::how_it_ended;
pub use mark::{Mark, Marked, words_of_loss};

/// Letters kept of the newest prompt's first line, as the daemon keeps them.
const LAST_PROMPT_MAX: usize = 200;

/// Which part of the view an update changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// A new item. When it came whole, [`Change::ItemSettled`] follows at once.
    ItemAppeared(ItemId),
    /// Text or output was added.
    ItemGrew(ItemId),
    /// Something about an unfinished item was decided.
    ItemChanged(ItemId),
    /// The item has its final form.
    ItemSettled(ItemId),
    /// A turn began.
    TurnStarted(TurnId),
    /// The turn waits for a person or a client; [`Turn::suspended`] says why.
    TurnSuspended(TurnId),
    /// A request to the model failed and will be sent again; see [`Turn::retried`].
    TurnRetried(TurnId),
    /// The turn is over; see [`Turn::ended`].
    TurnEnded(TurnId),
    /// An approval was asked for.
    ApprovalAsked(ApprovalId),
    /// An approval was decided, by someone or by itself.
    ApprovalDecided(ApprovalId),
    /// A prompt entered or left the queue.
    QueueChanged,
    /// A job started or ended.
    JobsChanged,
    /// Title, model, policy, usage or another fact in [`View::session`].
    SessionChanged,
    /// The newest items are no longer part of the conversation, and gone from the view.
    Rewound,
    /// A snapshot replaced the view: draw everything again. Older items may follow it.
    Replaced,
    /// Items came that are older than those known before, with their turns, approvals, jobs and marks.
    OlderItems,
    /// An event that only a newer client knows.
    NewerEvent(u64),
    /// A run of events, the first of this seq, was lost by the disk; told once, at the end of the run.
    EventsLost(u64),
    /// A command that went on past its call has ended, as this event says.
    JobEnded(u64),
    /// Events are missing before this one: the log and this reader disagree.
    EventsMissing,
    /// All that was durable has been applied; what follows is live.
    Synced,
    /// Other clients came or left.
    PresenceChanged,
    /// What the running turn waits for.
    ActivityChanged,
}

/// One turn of the session.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Turn {
    /// "provider/model" it began with.
    pub model: String,
    /// Milliseconds since the Unix epoch.
    pub started_ms: i64,
    /// 0 while it runs.
    pub ended_ms: i64,
    /// Why it waits for a person or a client; gone when it goes on.
    pub suspended: Option<String>,
    /// While it is suspended: a client's world may hold what it waits for.
    pub wants_world: bool,
    /// The newest failed request, until the model answers.
    pub retried: Option<v1::SampleRetried>,
    /// Set once the turn is over.
    pub ended: Option<v1::TurnEnded>,
}

impl Turn {
    /// It waits neither for a person nor for its next request.
    fn wait_is_over(&mut self) {
        self.suspended = None;
        self.wants_world = false;
        self.retried = None;
    }
}

/// One session as far as the updates applied tell.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct View {
    session: v1::Session,
    items: BTreeMap<ItemId, ViewItem>,
    turns: BTreeMap<TurnId, Turn>,
    approvals: BTreeMap<ApprovalId, v1::Approval>,
    queue: Vec<v1::QueuedPrompt>,
    jobs: BTreeMap<String, v1::Job>,
    marks: Vec<Mark>,
    /// The run of lost events that is not whole yet.
    losing: Option<u64>,
    activity: Option<v1::Activity>,
    /// The snapshot of which older items are still to come.
    awaits: Option<u64>,
    synced: bool,
}

impl View {
    /// The view of a reader that knows the facts of a session but none of its items, and takes up
    /// the watch after them.
    #[must_use]
    pub fn at(session: v1::Session) -> Self {
        let running = TurnId::new(session.running_turn);
        let turns = running.map(|id| (id, Turn::default()));
        Self {
            session,
            turns: turns.into_iter().collect(),
            ..Self::default()
        }
    }

    /// Applies one update of a watch and tells what it changed; nothing for one already applied.
    pub fn apply(&mut self, response: &v1::SessionServiceWatchResponse) -> Vec<Change> {
        match &response.update {
            Some(Update::Event(event)) => self.event(event),
            Some(Update::Delta(delta)) => self.delta(delta),
            Some(Update::Snapshot(piece)) => self.snapshot(piece),
            Some(Update::Synced(_)) => {
                self.synced = true;
                let lost = self.end_of_loss();
                lost.into_iter().chain([Change::Synced]).collect()
            }
            Some(Update::Presence(presence)) => {
                self.session.clients.clone_from(&presence.clients);
                vec![Change::PresenceChanged]
            }
            Some(Update::Activity(activity)) => {
                self.activity = Some(activity.clone());
                vec![Change::ActivityChanged]
            }
            Some(Update::Heartbeat(_) | Update::WorldWanted(_)) | None => vec![],
        }
    }

    /// Where to take up the watch again: at the beginning while older items of a snapshot are still to
    /// come, because no events bring them.
    #[must_use]
    pub fn cursor(&self) -> v1::Cursor {
        if self.awaits.is_some() {
            return v1::Cursor::default();
        }
        let growing = self.items.iter().filter(|(_, item)| item.is_growing());
        let offsets = growing.map(|(id, item)| v1::ItemOffset {
            item: id.get(),
            offset: item.growth().end(),
        });
        v1::Cursor {
            seq: self.session.head_seq,
            growing: offsets.filter(|growing| growing.offset > 0).collect(),
        }
    }

    /// The session's facts: title, model, policy, usage, state, who is attached, last stop. Its
    /// `id` is set by a snapshot only: who watches knows it.
    #[must_use]
    pub fn session(&self) -> &v1::Session {
        &self.session
    }

    /// All items of the conversation, oldest first.
    pub fn items(&self) -> impl DoubleEndedIterator<Item = (ItemId, &ViewItem)> {
        self.items.iter().map(|(id, item)| (*id, item))
    }

    /// True when older items of a snapshot are still to come.
    #[must_use]
    pub fn awaits_older(&self) -> bool {
        self.awaits.is_some()
    }

    /// One item, while it is part of the conversation.
    #[must_use]
    pub fn item(&self, id: ItemId) -> Option<&ViewItem> {
        self.items.get(&id)
    }

    /// All turns, oldest first; of a snapshot those of the items that have come.
    pub fn turns(&self) -> impl DoubleEndedIterator<Item = (TurnId, &Turn)> {
        self.turns.iter().map(|(id, turn)| (*id, turn))
    }

    /// One turn.
    #[must_use]
    pub fn turn(&self, id: TurnId) -> Option<&Turn> {
        self.turns.get(&id)
    }

    /// The turn that runs or is suspended.
    #[must_use]
    pub fn running_turn(&self) -> Option<TurnId> {
        TurnId::new(self.session.running_turn)
    }

    /// Approvals that wait for a person, oldest first.
    pub fn approvals(&self) -> impl Iterator<Item = (ApprovalId, &v1::Approval)> {
        let all = self.approvals.iter();
        all.filter(|(_, approval)| approval.answer.is_none())
            .map(|(id, approval)| (*id, approval))
    }

    /// One approval, pending or decided.
    #[must_use]
    pub fn approval(&self, id: ApprovalId) -> Option<&v1::Approval> {
        self.approvals.get(&id)
    }

    /// The newest approval that was asked for this item, pending or decided.
    #[must_use]
    pub fn approval_of(&self, item: u64) -> Option<&v1::Approval> {
        let mut newest = self.approvals.values().rev();
        newest.find(|approval| approval.item == item)
    }

    /// Prompts accepted for later, in order.
    #[must_use]
    pub fn queue(&self) -> &[v1::QueuedPrompt] {
        &self.queue
    }

    /// Jobs of this session, ended ones too, by id.
    #[must_use]
    pub fn jobs(&self) -> &BTreeMap<String, v1::Job> {
        &self.jobs
    }

    /// Who is attached, this client too.
    #[must_use]
    pub fn clients(&self) -> &[v1::ClientRef] {
        &self.session.clients
    }

    /// Events that are no items and yet have a place among them, in order.
    #[must_use]
    pub fn marks(&self) -> &[Mark] {
        &self.marks
    }

    /// What the running turn waits for, as last told.
    #[must_use]
    pub fn activity(&self) -> Option<&v1::Activity> {
        self.activity.as_ref()
    }

    /// True once everything durable has been applied.
    #[must_use]
    pub fn is_synced(&self) -> bool {
        self.synced
    }

    fn delta(&mut self, delta: &v1::Delta) -> Vec<Change> {
        let Some(id) = ItemId::new(delta.item) else {
            return vec![];
        };
        let grew = self.items.get_mut(&id).is_some_and(|item| item.grow(delta));
        grew.then_some(Change::ItemGrew(id)).into_iter().collect()
    }

    fn event(&mut self, event: &v1::Event) -> Vec<Change> {
        let begun_again = self.awaits.is_some() && event.seq == 1;
        if begun_again {
            // The log is shorter than it was when the snapshot was taken.
            *self = Self::default();
        }
        let before = self.session.head_seq;
        if event.seq <= before {
            return vec![];
        }
        self.session.head_seq = event.seq;
        self.session.active_ms = event.time_ms;
        let lost = match &event.body {
            Some(Body::EventLost(_)) => None,
            _ => self.end_of_loss(),
        };
        let mut changes: Vec<Change> = lost.into_iter().collect();
        changes.extend(match event.body.as_ref() {
            Some(body) => self.body(event, body),
            None => {
                self.mark(event.seq, Marked::Newer);
                vec![Change::NewerEvent(event.seq)]
            }
        });
        if event.seq > before + 1 {
            changes.insert(0, Change::EventsMissing);
        }
        if begun_again {
            changes.insert(0, Change::Replaced);
        }
        self.derive();
        changes
    }

    fn body(&mut self, event: &v1::Event, body: &Body) -> Vec<Change> {
        match body {
            Body::SessionCreated(created) => self.created(event, created),
            Body::SessionChanged(changed) => self.changed(changed),
            Body::PromptQueued(queued) => self.queued(queued),
            Body::PromptRemoved(removed) => self.unqueue(&removed.request_id),
            Body::PromptChanged(changed) => self.change_queued(changed),
            Body::TurnStarted(started) => self.turn_started(event, started),
            Body::TurnSuspended(suspended) => self.turn_suspended(suspended),
            Body::TurnEnded(ended) => self.turn_ended(event, ended),
            Body::SampleRetried(retried) => self.in_turn(retried.turn, |turn| {
                // Sent on, if it was suspended.
                turn.wait_is_over();
                turn.retried = Some(retried.clone());
                Change::TurnRetried
            }),
            Body::SampleEnded(ended) => self.sample_ended(ended),
            Body::ItemStarted(v1::ItemStarted { item }) => self.put(event, item.as_ref()),
            Body::ItemChanged(v1::ItemChanged { item }) => self.put(event, item.as_ref()),
            Body::ItemCompleted(v1::ItemCompleted { item }) => self.put(event, item.as_ref()),
            Body::ApprovalRequested(v1::ApprovalRequested { approval }) => {
                self.approval_requested(approval.as_ref())
            }
            Body::ApprovalDecided(decided) => self.approval_decided(decided),
            Body::JobStarted(started) => self.job_started(event, started),
            Body::JobEnded(ended) => self.job_ended(event, ended),
            Body::JobChanged(changed) => {
                if let Some(job) = self.jobs.get_mut(&changed.job_id) {
                    job.lifetime = changed.lifetime;
                }
                vec![]
            }
            Body::EventLost(_) => {
                self.lost(event.seq);
                vec![]
            }
            Body::HistoryRewound(rewound) => {
                self.items.retain(|id, _| id.get() <= rewound.through_item);
                vec![Change::Rewound]
            }
        }
    }

    fn created(&mut self, event: &v1::Event, created: &v1::SessionCreated) -> Vec<Change> {
        let session = &mut self.session;
        session.created_ms = event.time_ms;
        session.workspace.clone_from(&created.workspace);
        session.cwd.clone_from(&created.cwd);
        session.title.clone_from(&created.title);
        session.model.clone_from(&created.model);
        session.policy.clone_from(&created.policy);
        session.forked_from.clone_from(&created.forked_from);
        vec![Change::SessionChanged]
    }

    fn changed(&mut self, changed: &v1::SessionChanged) -> Vec<Change> {
        let session = &mut self.session;
        if let Some(title) = &changed.title {
            session.title.clone_from(title);
        }
        if let Some(model) = &changed.model {
            session.model.clone_from(model);
        }
        if changed.policy.is_some() {
            session.policy.clone_from(&changed.policy);
        }
        if let Some(archived) = changed.archived {
            session.archived = archived;
        }
        vec![Change::SessionChanged]
    }

    fn queued(&mut self, queued: &v1::PromptQueued) -> Vec<Change> {
        self.queue.extend(queued.prompt.clone());
        vec![Change::QueueChanged]
    }

    fn change_queued(&mut self, changed: &v1::PromptChanged) -> Vec<Change> {
        let place = |queue: &[v1::QueuedPrompt], id: &str| {
            queue.iter().position(|one| one.request_id == id)
        };
        let Some(from) = place(&self.queue, &changed.request_id) else {
            return vec![];
        };
        let mut queued = self.queue.remove(from);
        if let Some(prompt) = &changed.prompt {
            queued.prompt = Some(prompt.clone());
        }
        let to = match &changed.before {
            Some(before) => place(&self.queue, before).unwrap_or(self.queue.len()),
            None => from,
        };
        self.queue.insert(to, queued);
        vec![Change::QueueChanged]
    }

    fn unqueue(&mut self, request_id: &str) -> Vec<Change> {
        let before = self.queue.len();
        self.queue
            .retain(|queued| request_id.is_empty() || queued.request_id != request_id);
        let left = self.queue.len() < before;
        left.then_some(Change::QueueChanged).into_iter().collect()
    }

    fn turn_started(&mut self, event: &v1::Event, started: &v1::TurnStarted) -> Vec<Change> {
        let Some(id) = TurnId::new(started.turn) else {
            return vec![];
        };
        let turn = Turn {
            model: started.model.clone(),
            started_ms: event.time_ms,
            ..Turn::default()
        };
        self.turns.insert(id, turn);
        self.session.turns = self.session.turns.max(started.turn);
        self.session.running_turn = started.turn;
        self.session.turn_started_ms = event.time_ms;
        self.session.set_last_stop(v1::StopReason::Unspecified);
        vec![Change::TurnStarted(id)]
    }

    fn turn_suspended(&mut self, suspended: &v1::TurnSuspended) -> Vec<Change> {
        self.in_turn(suspended.turn, |turn| {
            turn.suspended = Some(suspended.reason.clone());
            turn.wants_world = suspended.wants_world;
            Change::TurnSuspended
        })
    }

    fn turn_ended(&mut self, event: &v1::Event, ended: &v1::TurnEnded) -> Vec<Change> {
        if self.session.running_turn == ended.turn {
            self.session.running_turn = 0;
            self.session.turn_started_ms = 0;
        }
        self.session.set_last_stop(ended.stop_reason());
        self.activity = None;
        self.in_turn(ended.turn, |turn| {
            turn.wait_is_over();
            turn.ended_ms = event.time_ms;
            turn.ended = Some(ended.clone());
            Change::TurnEnded
        })
    }

    fn sample_ended(&mut self, ended: &v1::SampleEnded) -> Vec<Change> {
        if let Some(usage) = &ended.usage {
            add(self.session.usage.get_or_insert_default(), usage);
        }
        self.goes_on(ended.turn);
        vec![Change::SessionChanged]
    }

    fn in_turn(
        &mut self,
        turn: u64,
        change: impl FnOnce(&mut Turn) -> fn(TurnId) -> Change,
    ) -> Vec<Change> {
        let Some(id) = TurnId::new(turn) else {
            return vec![];
        };
        vec![change(self.turns.entry(id).or_default())(id)]
    }

    /// Something happened in the turn: it neither waits nor retries any more.
    fn goes_on(&mut self, turn: u64) {
        let turn = TurnId::new(turn).and_then(|id| self.turns.get_mut(&id));
        if let Some(turn) = turn {
            turn.wait_is_over();
        }
    }

    fn put(&mut self, event: &v1::Event, item: Option<&v1::Item>) -> Vec<Change> {
        let Some((id, item)) = item.and_then(|item| Some((ItemId::new(item.id)?, item))) else {
            return vec![];
        };
        self.goes_on(item.turn);
        let mut changes = Vec::new();
        if let Some(v1::item::Kind::Prompt(prompt)) = &item.kind {
            if prompt.job_id.is_empty() {
                let first = prompt.text.lines().next().unwrap_or_default();
                self.session.last_prompt = first.chars().take(LAST_PROMPT_MAX).collect();
            }
            changes = self.unqueue(&event.request_id);
        }
        let known = self.items.contains_key(&id);
        match self.items.get_mut(&id) {
            Some(known) => known.replace(item.clone()),
            None => {
                let is_prompt = matches!(item.kind, Some(v1::item::Kind::Prompt(_)));
                let by = event.by.clone().filter(|_| is_prompt);
                self.items.insert(id, ViewItem::new(item.clone()).by(by));
                changes.push(Change::ItemAppeared(id));
            }
        }
        self.settle_job(id);
        match item.status() {
            v1::ItemStatus::Growing if known => changes.push(Change::ItemChanged(id)),
            v1::ItemStatus::Growing => {}
            _ => changes.push(Change::ItemSettled(id)),
        }
        changes
    }

    fn approval_requested(&mut self, approval: Option<&v1::Approval>) -> Vec<Change> {
        let known = approval.and_then(|a| Some((ApprovalId::new(a.id)?, a)));
        let Some((id, approval)) = known else {
            return vec![];
        };
        self.approvals.insert(id, approval.clone());
        vec![Change::ApprovalAsked(id)]
    }

    fn approval_decided(&mut self, decided: &v1::ApprovalDecided) -> Vec<Change> {
        let known = ApprovalId::new(decided.id).and_then(|id| {
            let approval = self.approvals.get_mut(&id)?;
            Some((id, approval))
        });
        let Some((id, approval)) = known else {
            return vec![];
        };
        approval.answer = Some(decided.answer.clone().unwrap_or_default());
        vec![Change::ApprovalDecided(id)]
    }

    /// Brings the facts that follow from others up to date.
    fn derive(&mut self) {
        let pending = self.approvals().count();
        let turn = self.running_turn().and_then(|id| self.turns.get(&id));
        let state = match turn {
            None => SessionState::Idle,
            Some(_) if pending > 0 => SessionState::NeedsApproval,
            Some(turn) if turn.suspended.is_some() => SessionState::Suspended,
            Some(_) => SessionState::Running,
        };
        let running = v1::JobState::Running;
        let jobs = self.jobs.values().filter(|job| job.state() == running);
        let jobs = jobs.count();
        self.session.set_state(state);
        self.session.pending_approvals = small(pending);
        self.session.queued_prompts = small(self.queue.len());
        self.session.running_jobs = small(jobs);
    }
}

fn small(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

fn add(sum: &mut v1::Usage, more: &v1::Usage) {
    sum.input_tokens += more.input_tokens;
    sum.cached_tokens += more.cached_tokens;
    sum.output_tokens += more.output_tokens;
    sum.reasoning_tokens += more.reasoning_tokens;
    sum.cost_micros += more.cost_micros;
}
