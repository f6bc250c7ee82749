//! Makes of a history that was lived elsewhere, in a file or in another session, one that is at rest here.
//!
//! Nothing that ran there runs on here: no turn, no call, no job, no queued prompt, and no approval
//! waits. What the events say of directories and rights is history; what holds here is said by whoever
//! brings them.

use std::collections::BTreeMap;

use quire_proto::v1::{
    ApprovalAnswer, ApprovalDecided, ApprovalVerdict, ClientRef, Event, Item, ItemCompleted,
    ItemStatus, JobEnded, JobState, NoticeItem, NoticeLevel, Outcome, OutcomeStatus, Policy,
    PromptRemoved, SessionChanged, StopReason, TurnEnded, event::Body, item::Kind,
};

use crate::pure::transcript::Transcript;

/// Where a history comes from, as people and the model are told.
#[derive(Clone, Debug, Default)]
pub enum Source {
    /// A file.
    #[default]
    File,
    /// Another session, which may go on.
    Session {
        /// Its id.
        id: String,
        /// What jobs are called there, by what they are called here.
        jobs: BTreeMap<String, String>,
    },
}

impl Source {
    fn denial(&self) -> &'static str {
        match self {
            Self::File => "the session was imported",
            Self::Session { .. } => "the session was forked",
        }
    }

    fn of_job(&self, job: &str) -> String {
        match self {
            Self::File => "it ran elsewhere when the session was exported".to_owned(),
            Self::Session { id, jobs } => {
                let there = jobs.get(job).map_or(job, String::as_str);
                format!("it is job `{there}` of session `{id}`, and goes on there")
            }
        }
    }

    fn of_begun_call(&self) -> &'static str {
        match self {
            Self::File => "not known: it ran elsewhere when this conversation was exported",
            Self::Session { .. } => {
                "not known: it ran when this conversation was copied from another, and went on there"
            }
        }
    }

    fn of_waiting_call(&self) -> &'static str {
        match self {
            Self::File => "not run: the conversation was exported before this call began",
            Self::Session { .. } => {
                "not run: the conversation was copied from another before this call began"
            }
        }
    }

    fn of_rest(&self) -> &'static str {
        match self {
            Self::File => "was ended",
            Self::Session { .. } => "stays there",
        }
    }
}

/// What holds for a session whose history comes from elsewhere.
#[derive(Clone, Debug, Default)]
pub struct Here {
    /// Where it comes from.
    pub source: Source,
    /// A name for people; `None` when it has it.
    pub title: Option<String>,
    /// "provider/model" that answers from now on.
    pub model: String,
    /// The whole policy.
    pub policy: Policy,
    /// Who brings it.
    pub by: Option<ClientRef>,
    /// Milliseconds since the Unix epoch.
    pub now_ms: i64,
    /// Where it comes from, a sentence for people.
    pub origin: String,
    /// What its people should know besides.
    pub warnings: Vec<String>,
    /// What the model is told about its new place, if it was told about the old one.
    pub briefing: Option<String>,
}

/// The model that the session used last, "provider/model".
#[must_use]
pub fn last_model(events: &[Event]) -> &str {
    let named = events.iter().rev().find_map(|event| match &event.body {
        Some(Body::SessionCreated(created)) => Some(&created.model),
        Some(Body::SessionChanged(changed)) => changed.model.as_ref(),
        _ => None,
    });
    named.map_or("", String::as_str)
}

/// Gives the events the session's name here, and each job the name that `job` makes of its own.
pub fn moved(events: &mut [Event], session: &str, mut job: impl FnMut(&str) -> String) {
    for body in events.iter_mut().filter_map(|event| event.body.as_mut()) {
        if let Body::ApprovalRequested(requested) = body
            && let Some(approval) = &mut requested.approval
        {
            session.clone_into(&mut approval.session_id);
        }
        for name in job_names(body) {
            if !name.is_empty() {
                *name = job(name);
            }
        }
    }
}

/// Every place of `body` that names a job.
fn job_names(body: &mut Body) -> Vec<&mut String> {
    match body {
        Body::JobStarted(started) => vec![&mut started.job_id],
        Body::JobChanged(changed) => vec![&mut changed.job_id],
        Body::JobEnded(ended) => vec![&mut ended.job_id],
        Body::PromptQueued(queued) => {
            let prompt = queued.prompt.as_mut().and_then(|one| one.prompt.as_mut());
            prompt
                .map(|prompt| &mut prompt.job_id)
                .into_iter()
                .collect()
        }
        Body::PromptChanged(changed) => {
            let prompt = changed.prompt.as_mut();
            prompt
                .map(|prompt| &mut prompt.job_id)
                .into_iter()
                .collect()
        }
        Body::ItemStarted(change) => names_in(change.item.as_mut()),
        Body::ItemChanged(change) => names_in(change.item.as_mut()),
        Body::ItemCompleted(change) => names_in(change.item.as_mut()),
        Body::SessionCreated(_)
        | Body::SessionChanged(_)
        | Body::PromptRemoved(_)
        | Body::TurnStarted(_)
        | Body::TurnSuspended(_)
        | Body::TurnEnded(_)
        | Body::SampleRetried(_)
        | Body::SampleEnded(_)
        | Body::ApprovalRequested(_)
        | Body::ApprovalDecided(_)
        | Body::HistoryRewound(_)
        | Body::EventLost(_) => Vec::new(),
    }
}

fn names_in(item: Option<&mut Item>) -> Vec<&mut String> {
    match item.and_then(|item| item.kind.as_mut()) {
        Some(Kind::Prompt(prompt)) => vec![&mut prompt.job_id],
        Some(Kind::ToolCall(call)) => {
            let intended = call.intent.as_mut().map(|intent| &mut intent.job_id);
            let ran = call.outcome.as_mut().map(|outcome| &mut outcome.job_id);
            intended.into_iter().chain(ran).collect()
        }
        _ => Vec::new(),
    }
}

/// The events that put the session to rest, in order; they are in the transcript already.
#[must_use]
pub fn settle(transcript: &mut Transcript, here: &Here) -> Vec<Event> {
    let mut written = Vec::new();
    let mut write = |transcript: &mut Transcript, body| {
        let event = Event {
            seq: transcript.head() + 1,
            time_ms: here.now_ms,
            by: here.by.clone(),
            body: Some(body),
            ..Event::default()
        };
        transcript.apply(&event);
        written.push(event);
    };
    let left = told_left(transcript, &here.source);
    for body in endings(transcript, here) {
        write(transcript, body);
    }
    let origin = format!("{}{left}", here.origin);
    for notice in notices(here, origin, transcript.next_turn().get() > 1) {
        let body = noticed(transcript, here, notice);
        write(transcript, body);
    }
    written
}

/// What was going on, in words; empty when nothing was.
fn told_left(transcript: &Transcript, source: &Source) -> String {
    let summary = transcript.summary();
    let mut left = Vec::new();
    if summary.running_turn != 0 {
        left.push(format!("turn {}", summary.running_turn));
    }
    let counted = [
        (summary.pending_approvals, "approvals"),
        (summary.running_jobs, "jobs"),
        (summary.queued_prompts, "queued prompts"),
    ];
    let counted = counted.iter().filter(|(count, _)| *count > 0);
    left.extend(counted.map(|(count, what)| format!("{what}: {count}")));
    if left.is_empty() {
        return String::new();
    }
    let what = source.of_rest();
    format!(" What was open there ({}) {what}.", left.join(", "))
}

fn endings(transcript: &Transcript, here: &Here) -> Vec<Body> {
    let mut bodies: Vec<Body> = transcript
        .pending_approvals()
        .map(|approval| denied(approval.id, here))
        .collect();
    let growing = ItemStatus::Growing as i32;
    let open = transcript.items().filter(|item| item.status == growing);
    bodies.extend(open.map(|item| ended_item(item.clone(), here)));
    let jobs = transcript.jobs();
    let running = jobs.filter(|job| job.state == JobState::Running as i32);
    bodies.extend(running.map(|job| {
        Body::JobEnded(JobEnded {
            job_id: job.id.clone(),
            unknown: here.source.of_job(&job.id),
            ..JobEnded::default()
        })
    }));
    let queue = transcript.queue().iter();
    bodies.extend(queue.map(|queued| {
        Body::PromptRemoved(PromptRemoved {
            request_id: queued.request_id.clone(),
        })
    }));
    bodies.extend(transcript.running_turn().map(|turn| {
        Body::TurnEnded(TurnEnded {
            turn: turn.get(),
            stop_reason: StopReason::Interrupted.into(),
            usage: Some(transcript.turn_usage()),
            ..TurnEnded::default()
        })
    }));
    bodies.extend(changed(transcript, here));
    bodies
}

fn denied(id: u64, here: &Here) -> Body {
    let answer = ApprovalAnswer {
        verdict: ApprovalVerdict::Deny.into(),
        message: here.source.denial().to_owned(),
        decided_ms: here.now_ms,
        automatic: true,
        ..ApprovalAnswer::default()
    };
    Body::ApprovalDecided(ApprovalDecided {
        id,
        answer: Some(answer),
    })
}

fn ended_item(mut item: Item, here: &Here) -> Body {
    item.ended_ms = here.now_ms;
    item.status = ItemStatus::CutOff.into();
    if let Some(Kind::ToolCall(call)) = &mut item.kind {
        item.status = ItemStatus::Completed.into();
        let (status, text) = match &call.intent {
            Some(_) => (OutcomeStatus::Unknown, here.source.of_begun_call()),
            None => (OutcomeStatus::Interrupted, here.source.of_waiting_call()),
        };
        let job_id = call.intent.as_ref().map(|intent| intent.job_id.clone());
        call.outcome = Some(Outcome {
            status: status.into(),
            text: text.to_owned(),
            job_id: job_id.unwrap_or_default(),
            ..Outcome::default()
        });
    }
    Body::ItemCompleted(ItemCompleted { item: Some(item) })
}

/// What the session's properties must become; `None` when they are that.
fn changed(transcript: &Transcript, here: &Here) -> Option<Body> {
    let summary = transcript.summary();
    let policy = summary.policy.as_ref() != Some(&here.policy);
    let title = here.title.clone();
    let changed = SessionChanged {
        title: title.filter(|title| *title != summary.title),
        model: (summary.model != here.model).then(|| here.model.clone()),
        policy: policy.then(|| here.policy.clone()),
        archived: summary.archived.then_some(false),
    };
    (changed != SessionChanged::default()).then_some(Body::SessionChanged(changed))
}

fn notices(here: &Here, origin: String, model_knows: bool) -> Vec<NoticeItem> {
    let told = |level: NoticeLevel, text, for_model| NoticeItem {
        level: level.into(),
        text,
        for_model,
    };
    let mut notices = vec![told(NoticeLevel::Info, origin, false)];
    let warnings = here.warnings.iter().cloned();
    notices.extend(warnings.map(|text| told(NoticeLevel::Warning, text, false)));
    if let Some(briefing) = here.briefing.as_ref().filter(|_| model_knows) {
        let text = format!(
            "This conversation was brought here from elsewhere. What ran then does not run any more, \
             and files may not be what they were. From now on this holds:\n\n{briefing}"
        );
        notices.push(told(NoticeLevel::Info, text, true));
    }
    notices
}

fn noticed(transcript: &Transcript, here: &Here, notice: NoticeItem) -> Body {
    let item = Item {
        id: transcript.next_item().get(),
        status: ItemStatus::Completed.into(),
        started_ms: here.now_ms,
        ended_ms: here.now_ms,
        kind: Some(Kind::Notice(notice)),
        ..Item::default()
    };
    Body::ItemCompleted(ItemCompleted { item: Some(item) })
}
