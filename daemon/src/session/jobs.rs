//! Jobs of a session: that they started and ended is written once, what outlives what it lives with is
//! stopped, and the end of one in the background is told.

use std::{sync::Arc, time::Duration};

use quire_proto::{
    id::JobId,
    v1::{
        Event, Job, JobChanged, JobEnded, JobLifetime, JobStarted, JobState, NoticeItem,
        NoticeLevel, PromptItem, PromptMode, PromptQueued, QueuedPrompt, event::Body, item::Kind,
    },
};

use super::{
    Caller, Refusal,
    actor::{Actor, Ended},
    writing::NoRoom,
};
use crate::{
    ports::tool::RunningJobs,
    pure::{job_end, transcript::Transcript, turn::Entry},
};

/// Prompts in a row that ends of jobs may make, with none of a person between them.
const MAX_WAKES: u32 = 5;

/// How long a job that is stopped may take to die before nobody waits for it any more. Its keeper
/// kills it after five seconds.
const DYING: Duration = Duration::from_secs(15);

/// How long a keeper may take to say that a job is detached.
const DETACHING: Duration = Duration::from_secs(5);

impl Actor {
    /// A command has started, or another daemon's was found. Whether its start is in the log already
    /// depends on when that daemon died.
    pub(super) async fn job_started(&mut self, job: JobStarted) -> Result<(), Ended> {
        let Ok(id) = job.job_id.parse::<JobId>() else {
            return Ok(());
        };
        let item = quire_proto::id::ItemId::new(job.item);
        if self.transcript.job(&job.job_id).is_none() {
            self.pending.push(Body::JobStarted(job).into());
            self.write(NoRoom::Wait).await?;
            self.jobs.spawn(self.world.jobs.ended(self.id.clone(), id));
        }
        if let Some(item) = item {
            self.acts.started(item, &self.world.jobs);
        }
        Ok(())
    }

    pub(super) async fn job_ended(&mut self, ended: JobEnded) -> Result<(), Ended> {
        let runs = |job: &Job| job.state() == JobState::Running;
        if self.transcript.job(&ended.job_id).is_some_and(runs) {
            self.pending.push(Body::JobEnded(ended).into());
            self.write(NoRoom::Wait).await?;
            self.rest().await?;
        }
        Ok(())
    }

    /// Follows the jobs that the log says to be running.
    pub(super) fn follow_jobs(&mut self) {
        for job in self.running_jobs(|_| true) {
            self.jobs.spawn(self.world.jobs.ended(self.id.clone(), job));
        }
    }

    /// Stops the jobs whose turn or session is over. [`rest`](Self::rest) is called when they are dead.
    pub(super) fn stop_outlived(&mut self) {
        let turn_over = self.transcript.running_turn().is_none();
        let archived = self.transcript.summary().archived;
        let over = |job: &Job| match job.lifetime() {
            JobLifetime::Turn => turn_over,
            JobLifetime::Session | JobLifetime::Unspecified => archived,
            JobLifetime::Detached => false,
        };
        for job in self.running_jobs(over) {
            let stopping = self.world.jobs.stop(job.clone());
            self.dying.spawn(async move {
                if tokio::time::timeout(DYING, stopping).await.is_err() {
                    tracing::error!(%job, "a job does not die");
                }
            });
        }
    }

    fn running_jobs(&self, wanted: impl Fn(&Job) -> bool) -> Vec<JobId> {
        let running = |job: &&Job| job.state() == JobState::Running;
        self.transcript
            .jobs()
            .filter(running)
            .filter(|job| wanted(job))
            .filter_map(|job| job.id.parse().ok())
            .collect()
    }

    pub(super) async fn detach(&mut self, caller: Caller, id: JobId) -> Result<Job, Refusal> {
        let known = |actor: &Self| actor.transcript.job(id.as_str()).cloned();
        let job = known(self).ok_or_else(|| Refusal::NoJob(id.clone()))?;
        if self.transcript.answer(&caller.request_id).is_some()
            || job.lifetime() == JobLifetime::Detached
        {
            return Ok(job);
        }
        if job.state() != JobState::Running {
            return Err(Refusal::NotDetached(format!("job `{id}` has ended")));
        }
        let detaching = self.world.jobs.detach(id.clone());
        tokio::time::timeout(DETACHING, detaching)
            .await
            .unwrap_or_else(|_| Err(format!("the keeper of job `{id}` does not answer")))
            .map_err(Refusal::NotDetached)?;
        let changed = JobChanged {
            job_id: id.to_string(),
            lifetime: JobLifetime::Detached.into(),
        };
        self.append(&caller, Body::JobChanged(changed)).await?;
        known(self).ok_or(Refusal::NoJob(id))
    }

    /// What `events`, just folded, bring about by jobs that ended in the background: a prompt to the
    /// model where the policy says so, in the same commit.
    pub(super) async fn wakes(&mut self, events: &[Event]) -> Vec<Entry> {
        let mut entries = Vec::new();
        for id in events.iter().filter_map(ended_or_left) {
            let Some((job, ended)) = self.transcript.untold_job(id) else {
                continue;
            };
            let summary = self.transcript.summary();
            if ended.stopped || summary.archived || !self.transcript.policy().wake {
                continue;
            }
            let so_far = u32::try_from(entries.len()).unwrap_or(u32::MAX);
            if self.transcript.wakes().saturating_add(so_far) < MAX_WAKES {
                let prompt = told(&self.world.jobs, job, ended).await;
                entries.push(self.as_prompt(prompt));
            } else if entries.is_empty() {
                entries.push(self.notice(not_woken(id)).into());
            }
        }
        entries
    }

    /// Ends of background jobs that the model will be told with the next prompt.
    pub(super) async fn untold(&mut self) -> Vec<PromptItem> {
        let mut prompts = Vec::new();
        for (job, ended) in self.transcript.untold_jobs() {
            prompts.push(told(&self.world.jobs, job, ended).await);
        }
        prompts
    }

    /// Queues what is told of a job. The name of the request is the job's, so that it is said once.
    pub(super) fn as_prompt(&self, prompt: PromptItem) -> Entry {
        let mode = match self.transcript.running_turn() {
            Some(_) => PromptMode::Steer,
            None => PromptMode::Queue,
        };
        let request_id = format!("job-{}-ended", prompt.job_id);
        let queued = QueuedPrompt {
            request_id: request_id.clone(),
            prompt: Some(prompt),
            mode: mode.into(),
            by: None,
        };
        Entry {
            body: Body::PromptQueued(PromptQueued {
                prompt: Some(queued),
            }),
            by: None,
            request_id,
        }
    }
}

async fn told(jobs: &Arc<dyn RunningJobs>, job: &Job, ended: &JobEnded) -> PromptItem {
    let tail = match job.id.parse() {
        Ok(id) => jobs.tail(id).await,
        Err(_) => String::new(),
    };
    PromptItem {
        text: job_end::told(job, ended, &tail),
        job_id: job.id.clone(),
        ..PromptItem::default()
    }
}

/// The job that ended by this event, or that the call which started it leaves to itself. Whichever
/// comes second tells that a job has ended in the background.
pub(super) fn ended_or_left(event: &Event) -> Option<&str> {
    match event.body.as_ref()? {
        Body::JobEnded(ended) => Some(&ended.job_id),
        Body::ItemCompleted(done) => match done.item.as_ref()?.kind.as_ref()? {
            Kind::ToolCall(call) => {
                let outcome = call.outcome.as_ref()?;
                outcome.still_running.then_some(outcome.job_id.as_str())
            }
            _ => None,
        },
        _ => None,
    }
}

fn not_woken(job: &str) -> NoticeItem {
    NoticeItem {
        level: NoticeLevel::Warning.into(),
        text: format!(
            "Job {job} ended. The model is not told at once, because it was woken {MAX_WAKES} times in a row \
             without a word from a person: say something to go on."
        ),
        for_model: false,
    }
}

/// The job that this event is the last word about: it has ended, and the outcome of its call holds all
/// that it printed. Then its files say nothing that the log does not.
pub(super) fn told_job(transcript: &Transcript, event: &Event) -> Option<JobId> {
    let id = match event.body.as_ref()? {
        Body::JobEnded(ended) => &ended.job_id,
        Body::ItemCompleted(done) => match done.item.as_ref()?.kind.as_ref()? {
            Kind::ToolCall(call) => &call.outcome.as_ref()?.job_id,
            _ => return None,
        },
        _ => return None,
    };
    transcript.told_output(id).and_then(|_| id.parse().ok())
}
