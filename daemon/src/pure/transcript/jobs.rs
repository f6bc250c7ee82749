//! Jobs as the log tells them: which there are, how they ended, and whether the model knows.

use std::collections::BTreeMap;

use quire_proto::v1::{
    Item, ItemStatus, Job, JobEnded, JobState, Outcome, PromptItem, QueuedPrompt, ToolCallItem,
    event::Body, item::Kind,
};

use super::Transcript;
use crate::pure::outcome::whole_output;

/// The jobs of one session.
#[derive(Clone, Debug, Default)]
pub(super) struct JobLog {
    jobs: BTreeMap<String, Job>,
    ends: BTreeMap<String, JobEnded>,
    /// Prompts in a row that ends of jobs made, with none of a person between them.
    wakes: u32,
}

impl JobLog {
    pub(super) fn apply(&mut self, session: &str, time_ms: i64, body: &Body) {
        match body {
            Body::JobStarted(started) => {
                let job = Job {
                    id: started.job_id.clone(),
                    session_id: session.to_owned(),
                    item: started.item,
                    command: started.command.clone(),
                    cwd: started.cwd.clone(),
                    state: JobState::Running.into(),
                    started_ms: time_ms,
                    profile: started.profile.clone(),
                    lifetime: started.lifetime,
                    pty: started.pty,
                    ..Job::default()
                };
                self.jobs.insert(job.id.clone(), job);
            }
            Body::JobEnded(ended) => self.end(time_ms, ended),
            Body::JobChanged(changed) => {
                if let Some(job) = self.jobs.get_mut(&changed.job_id) {
                    job.lifetime = changed.lifetime;
                }
            }
            _ => {}
        }
    }

    fn end(&mut self, time_ms: i64, ended: &JobEnded) {
        let Some(job) = self.jobs.get_mut(&ended.job_id) else {
            return;
        };
        let state = if ended.unknown.is_empty() {
            JobState::Exited
        } else {
            JobState::Unknown
        };
        job.state = state.into();
        job.exit_code = ended.exit_code;
        job.output_bytes = ended.output_bytes;
        job.ended_ms = time_ms;
        self.ends.insert(ended.job_id.clone(), ended.clone());
    }

    pub(super) fn count_wakes(&mut self, queued: Option<&QueuedPrompt>) {
        let of_job = queued
            .and_then(|queued| queued.prompt.as_ref())
            .is_some_and(|prompt| !prompt.job_id.is_empty());
        if of_job {
            self.wakes += 1;
        } else {
            self.wakes = 0;
        }
    }

    pub(super) fn person_spoke(&mut self) {
        self.wakes = 0;
    }
}

impl Transcript {
    /// Jobs ever started, by id.
    pub fn jobs(&self) -> impl Iterator<Item = &Job> {
        self.jobs.jobs.values()
    }

    /// One job.
    #[must_use]
    pub fn job(&self, id: &str) -> Option<&Job> {
        self.jobs.jobs.get(id)
    }

    /// How a job ended; `None` while it runs.
    #[must_use]
    pub fn job_end(&self, id: &str) -> Option<&JobEnded> {
        self.jobs.ends.get(id)
    }

    /// Prompts in a row that ends of jobs made, with none of a person between them.
    #[must_use]
    pub fn wakes(&self) -> u32 {
        self.jobs.wakes
    }

    /// Jobs that ended in the background and that the model has not been told of.
    pub fn untold_jobs(&self) -> impl Iterator<Item = (&Job, &JobEnded)> {
        let ended = self.jobs.ends.keys();
        ended.filter_map(|id| self.untold_job(id))
    }

    /// The job, if it ended in the background and the model neither was told so nor is about to be.
    #[must_use]
    pub fn untold_job(&self, id: &str) -> Option<(&Job, &JobEnded)> {
        let ended = self.job_end(id)?;
        let mut outcomes = self.outcomes_of(id).peekable();
        outcomes.peek()?;
        let told = outcomes.any(|outcome| !outcome.still_running)
            || self.is_watched(id)
            || self.prompts().any(|prompt| prompt.job_id == id);
        Some((self.job(id)?, ended)).filter(|_| !told)
    }

    /// Whether the job outlived the call that started it, or had none.
    #[must_use]
    pub fn ran_in_background(&self, id: &str) -> bool {
        let starter = self.job(id).and_then(|job| self.items.get(&job.item));
        match starter.and_then(call_of) {
            Some(call) => call
                .outcome
                .as_ref()
                .is_some_and(|outcome| outcome.still_running),
            None => true,
        }
    }

    /// Whether a call that has not ended will tell how the job ends: the one that started it, or one
    /// that names it.
    fn is_watched(&self, id: &str) -> bool {
        let growing = |item: &&Item| item.status() == ItemStatus::Growing;
        let calls = self.items.values().filter(growing).filter_map(call_of);
        let starts = |call: &ToolCallItem| {
            let intent = call.intent.as_ref();
            intent.is_some_and(|intent| intent.job_id == id)
        };
        calls
            .into_iter()
            .any(|call| starts(call) || call.arguments.contains(id))
    }

    fn outcomes_of(&self, id: &str) -> impl Iterator<Item = &Outcome> {
        let calls = self.items.values().filter_map(call_of);
        calls
            .filter_map(|call| call.outcome.as_ref())
            .filter(move |outcome| outcome.job_id == id)
    }

    /// Prompts said and prompts that wait.
    fn prompts(&self) -> impl Iterator<Item = &PromptItem> {
        let said = self.items.values().filter_map(|item| match &item.kind {
            Some(Kind::Prompt(prompt)) => Some(prompt),
            _ => None,
        });
        said.chain(
            self.queue
                .iter()
                .filter_map(|queued| queued.prompt.as_ref()),
        )
    }

    /// What an ended job printed, if the outcome of the call that started it tells all of it.
    #[must_use]
    pub fn told_output(&self, job: &str) -> Option<&str> {
        let job = self
            .job(job)
            .filter(|job| job.state() == JobState::Exited)?;
        let call = self.items.get(&job.item).and_then(call_of)?;
        let outcome = call
            .outcome
            .as_ref()
            .filter(|outcome| !outcome.still_running)?;
        whole_output(outcome)
    }
}

fn call_of(item: &Item) -> Option<&ToolCallItem> {
    match &item.kind {
        Some(Kind::ToolCall(call)) => Some(call),
        _ => None,
    }
}
