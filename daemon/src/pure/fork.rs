//! The history of one session, told as that of another.
//!
//! [`Fork`] takes the events of the old session one by one, in order and up to any of them, and gives each
//! back as the new session has it: under its own name, with names of its own for jobs, so that what becomes of
//! one session's jobs is nothing to the other. [`Fork::finish`] puts the new session to rest.

use std::{collections::BTreeMap, slice};

use quire_proto::v1::{Event, event::Body};

use crate::pure::{
    archive::{self, Here, Source},
    transcript::Transcript,
};

/// What a title ends with that a fork was given.
const MARK: &str = " (fork";

/// A new session.
#[derive(Clone, Debug, Default)]
pub struct Begun {
    /// Its id.
    pub id: String,
    /// The session it comes from.
    pub from: String,
    /// The newest event it takes over.
    pub at: u64,
    /// The request that makes it.
    pub request: String,
    /// Where it works, when that is another place: workspace and directory, absolute.
    pub place: Option<(String, String)>,
}

/// A history on its way.
pub struct Fork<N> {
    begun: Begun,
    name: N,
    /// What jobs are called here, by what they are called there.
    names: BTreeMap<String, String>,
    transcript: Transcript,
}

impl<N: FnMut() -> String> Fork<N> {
    /// A session without events yet. `name` makes names for jobs.
    pub fn new(begun: Begun, name: N) -> Self {
        Self {
            transcript: Transcript::of(&begun.id),
            names: BTreeMap::new(),
            begun,
            name,
        }
    }

    /// The next event, as the new session has it.
    #[must_use]
    pub fn take(&mut self, mut event: Event) -> Event {
        let Self {
            begun, name, names, ..
        } = self;
        archive::moved(slice::from_mut(&mut event), &begun.id, |job| {
            names
                .entry(job.to_owned())
                .or_insert_with(&mut *name)
                .clone()
        });
        if let Some(Body::SessionCreated(created)) = &mut event.body {
            begun.from.clone_into(&mut created.forked_from);
            created.forked_at = begun.at;
            if let Some((workspace, cwd)) = &begun.place {
                workspace.clone_into(&mut created.workspace);
                cwd.clone_into(&mut created.cwd);
            }
            // A store that has to make its row again knows by this which request made the session.
            begun.request.clone_into(&mut event.request_id);
        }
        self.transcript.apply(&event);
        event
    }

    /// What the events so far add up to.
    #[must_use]
    pub fn transcript(&self) -> &Transcript {
        &self.transcript
    }

    /// The events that put it to rest, and what all of them add up to.
    #[must_use]
    pub fn finish(mut self, here: Here) -> (Vec<Event>, Transcript) {
        let jobs = self.names.into_iter().map(|(there, here)| (here, there));
        let source = Source::Session {
            id: self.begun.from,
            jobs: jobs.collect(),
        };
        let here = Here { source, ..here };
        let events = archive::settle(&mut self.transcript, &here);
        (events, self.transcript)
    }
}

/// The title of a fork of a session with this title: marked, so that the old one still names the old session.
#[must_use]
pub fn title(of: &str) -> String {
    if of.is_empty() {
        return String::new();
    }
    let marked = of
        .strip_suffix(')')
        .and_then(|of| of.rsplit_once(MARK))
        .and_then(|(base, number)| match number {
            "" => Some((base, 1)),
            number => Some((base, number.strip_prefix(' ')?.parse::<u32>().ok()?)),
        });
    match marked {
        Some((base, number)) => format!("{base}{MARK} {})", number.saturating_add(1)),
        None => format!("{of}{MARK})"),
    }
}

#[cfg(test)]
mod tests {
    use quire_proto::v1::{
        Approval, ApprovalRequested, Intent, Item, ItemStarted, ItemStatus, JobStarted, JobState,
        Policy, PromptItem, PromptQueued, QueuedPrompt, SessionCreated, ToolCallItem, TurnStarted,
        item::Kind,
    };

    use super::*;

    fn events(bodies: Vec<Body>) -> Vec<Event> {
        let events = (1..).zip(bodies).map(|(seq, body)| Event {
            seq,
            time_ms: 7,
            request_id: format!("r{seq}"),
            body: Some(body),
            ..Event::default()
        });
        events.collect()
    }

    /// A turn with a job that runs, an approval that waits, and a queued prompt.
    fn story() -> Vec<Event> {
        let call = |id: u64, job: &str| Item {
            id,
            turn: 1,
            status: ItemStatus::Growing.into(),
            kind: Some(Kind::ToolCall(ToolCallItem {
                intent: (!job.is_empty()).then(|| Intent {
                    job_id: job.to_owned(),
                    ..Intent::default()
                }),
                ..ToolCallItem::default()
            })),
            ..Item::default()
        };
        let started = |item| Body::ItemStarted(ItemStarted { item: Some(item) });
        events(vec![
            Body::SessionCreated(SessionCreated {
                workspace: "/w".into(),
                cwd: "/w/sub".into(),
                title: "story".into(),
                model: "p/m".into(),
                policy: Some(Policy::default()),
                ..SessionCreated::default()
            }),
            Body::TurnStarted(TurnStarted {
                turn: 1,
                model: "p/m".into(),
            }),
            started(call(1, "old")),
            Body::JobStarted(JobStarted {
                job_id: "old".into(),
                item: 1,
                command: "sleep 9".into(),
                ..JobStarted::default()
            }),
            started(call(2, "")),
            Body::ApprovalRequested(ApprovalRequested {
                approval: Some(Approval {
                    id: 1,
                    session_id: "from".into(),
                    item: 2,
                    ..Approval::default()
                }),
            }),
            Body::PromptQueued(PromptQueued {
                prompt: Some(QueuedPrompt {
                    request_id: "q".into(),
                    prompt: Some(PromptItem::default()),
                    ..QueuedPrompt::default()
                }),
            }),
        ])
    }

    fn forked(at: usize, place: Option<(String, String)>) -> (Vec<Event>, Transcript) {
        let begun = Begun {
            id: "here".into(),
            from: "from".into(),
            at: at as u64,
            request: "fork".into(),
            place,
        };
        let mut fork = Fork::new(begun, || "new".to_owned());
        let taken = story().into_iter().take(at);
        let mut events: Vec<_> = taken.map(|event| fork.take(event)).collect();
        let summary = fork.transcript().summary();
        let here = Here {
            model: summary.model,
            policy: summary.policy.unwrap_or_default(),
            title: Some(title(&summary.title)),
            origin: "Forked.".into(),
            ..Here::default()
        };
        let (end, transcript) = fork.finish(here);
        events.extend(end);
        (events, transcript)
    }

    #[test]
    fn a_fork_is_at_rest_wherever_it_was_taken() {
        let all = story().len();
        for at in 1..=all {
            let (events, transcript) = forked(at, None);
            let seqs = events.iter().map(|event| event.seq);
            assert!(seqs.eq(1..=events.len() as u64), "at {at}");
            let summary = transcript.summary();
            let open = (
                summary.running_turn,
                summary.pending_approvals,
                summary.queued_prompts,
                summary.running_jobs,
            );
            assert_eq!(open, (0, 0, 0, 0), "at {at}");
            let growing = |item: &Item| item.status() == ItemStatus::Growing;
            assert!(!transcript.items().any(growing), "at {at}");
            assert_eq!(
                (summary.title.as_str(), summary.forked_from.as_str()),
                ("story (fork)", "from")
            );
            assert_eq!(events[0].request_id, "fork");
            let old = story();
            let told = events[1..at].iter().zip(&old[1..at]);
            let told = told.filter(|(new, old)| new != old);
            // The one that promises the job, the one that starts it, and the approval.
            let renamed = told.count();
            assert_eq!(renamed, [0, 0, 0, 1, 2, 2, 3, 3][at], "at {at}");
        }
    }

    #[test]
    fn jobs_and_approvals_are_its_own_and_the_old_job_is_named() {
        let (events, transcript) = forked(story().len(), None);
        let jobs: Vec<_> = transcript.jobs().collect();
        assert_eq!((jobs.len(), jobs[0].id.as_str()), (1, "new"));
        assert_eq!(jobs[0].state(), JobState::Unknown);
        let why = &transcript.job_end("new").unwrap().unknown;
        assert!(why.contains("`old`") && why.contains("`from`"), "{why}");
        let approvals = events.iter().filter_map(|event| match &event.body {
            Some(Body::ApprovalRequested(requested)) => requested.approval.as_ref(),
            _ => None,
        });
        assert!(
            approvals
                .clone()
                .all(|approval| approval.session_id == "here")
        );
        assert_eq!(approvals.count(), 1);
    }

    #[test]
    fn it_works_where_the_old_one_did_unless_told_otherwise() {
        let place = |transcript: &Transcript| {
            (
                transcript.workspace().to_owned(),
                transcript.cwd().to_owned(),
            )
        };
        assert_eq!(place(&forked(2, None).1), ("/w".into(), "/w/sub".into()));
        let other = ("/v".to_owned(), "/v/x".to_owned());
        assert_eq!(place(&forked(2, Some(other.clone())).1), other);
    }

    #[test]
    fn titles_are_marked() {
        let table = [
            ("", ""),
            ("mend it", "mend it (fork)"),
            ("mend it (fork)", "mend it (fork 2)"),
            ("mend it (fork 9)", "mend it (fork 10)"),
            ("a (fork lift)", "a (fork lift) (fork)"),
        ];
        for (of, want) in table {
            assert_eq!(title(of), want);
        }
    }
}
