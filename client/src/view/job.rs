//! Jobs as a watcher sees them.

use quire_proto::{
    id::ItemId,
    v1::{self, item::Kind},
};

use super::{Change, Marked, View};

impl View {
    pub(super) fn job_started(
        &mut self,
        event: &v1::Event,
        started: &v1::JobStarted,
    ) -> Vec<Change> {
        let job = v1::Job {
            id: started.job_id.clone(),
            item: started.item,
            command: started.command.clone(),
            cwd: started.cwd.clone(),
            state: v1::JobState::Running.into(),
            started_ms: event.time_ms,
            profile: started.profile.clone(),
            lifetime: started.lifetime,
            pty: started.pty,
            ..v1::Job::default()
        };
        self.jobs.insert(started.job_id.clone(), job);
        vec![Change::JobsChanged]
    }

    pub(super) fn job_ended(&mut self, event: &v1::Event, ended: &v1::JobEnded) -> Vec<Change> {
        let Some(job) = self.jobs.get_mut(&ended.job_id) else {
            return vec![];
        };
        job.set_state(match ended.unknown.is_empty() {
            true => v1::JobState::Exited,
            false => v1::JobState::Unknown,
        });
        job.exit_code = ended.exit_code;
        job.ended_ms = event.time_ms;
        job.output_bytes = ended.output_bytes;
        let mut changes = vec![Change::JobsChanged];
        let call = ItemId::new(job.item).and_then(|id| self.items.get_mut(&id));
        if let Some(call) = call
            && call.runs_on_in() == Some(ended.job_id.as_str())
        {
            call.end_job();
            let job = ended.job_id.clone();
            self.mark(event.seq, Marked::JobEnded { job });
            changes.push(Change::JobEnded(event.seq));
        }
        changes
    }

    /// A call that came after the end of the job it left running has nothing to wait for.
    pub(super) fn settle_job(&mut self, id: ItemId) {
        let Some(item) = self.items.get_mut(&id) else {
            return;
        };
        let job = item.runs_on_in().and_then(|job| self.jobs.get(job));
        if job.is_some_and(|job| job.item == id.get() && job.state() != v1::JobState::Running) {
            item.end_job();
        }
    }

    /// True when an item of the conversation tells the end of this job.
    #[must_use]
    pub fn tells_end_of(&self, job: &str) -> bool {
        let mut kinds = self.items.values().filter_map(|item| item.kind());
        kinds.any(|kind| matches!(kind, Kind::Prompt(prompt) if prompt.job_id == job))
    }
}

/// How a job ended, in words.
#[must_use]
pub fn how_it_ended(job: &v1::Job) -> String {
    match (job.state(), job.exit_code) {
        (v1::JobState::Exited, Some(code)) => format!("ended with exit code {code}"),
        (v1::JobState::Running, _) => "goes on".to_owned(),
        _ => "is gone, nobody knows how it ended".to_owned(),
    }
}
