//! What stands between the items of a session and is none: events lost or unknown, late ends of jobs.

use quire_proto::v1::{Item, JobEnded, JobState, Mark, event::Body, item::Kind, mark::What};

use super::Transcript;

/// The marks of one session, in order.
#[derive(Clone, Debug, Default)]
pub(super) struct MarkLog(Vec<Mark>);

impl MarkLog {
    pub(super) fn iter(&self) -> impl Iterator<Item = &Mark> {
        self.0.iter()
    }

    fn lost(&mut self, seq: u64, after: u64) {
        if let Some(Mark {
            seq: first,
            what: Some(What::LostEvents(events)),
            ..
        }) = self.0.last_mut()
            && *first + *events == seq
        {
            *events += 1;
            return;
        }
        self.put(seq, after, What::LostEvents(1));
    }

    fn put(&mut self, seq: u64, after: u64, what: What) {
        let what = Some(what);
        self.0.push(Mark { seq, after, what });
    }
}

impl Transcript {
    /// Notes an event that is no item, before it is applied.
    pub(super) fn mark(&mut self, seq: u64, body: Option<&Body>) {
        let after = self.items.keys().next_back().copied().unwrap_or_default();
        match body {
            None => self.marks.put(seq, after, What::Newer(true)),
            Some(Body::EventLost(_)) => self.marks.lost(seq, after),
            Some(Body::JobEnded(ended)) if self.outlived_its_call(ended) => {
                let job = ended.job_id.clone();
                self.marks.put(seq, after, What::JobEnded(job));
            }
            Some(_) => {}
        }
    }

    /// Whether the job still runs, past the outcome of the call that started it.
    fn outlived_its_call(&self, ended: &JobEnded) -> bool {
        let job = self.job(&ended.job_id);
        let job = job.filter(|job| job.state() == JobState::Running);
        let call = job.and_then(|job| self.items.get(&job.item));
        call.and_then(left_running) == Some(ended.job_id.as_str())
    }
}

/// The job that goes on past the outcome of this call, by that outcome.
pub(super) fn left_running(item: &Item) -> Option<&str> {
    let Some(Kind::ToolCall(call)) = &item.kind else {
        return None;
    };
    let outcome = call.outcome.as_ref();
    let outcome = outcome.filter(|outcome| outcome.still_running)?;
    Some(&outcome.job_id)
}
