//! Watches a job for a while, and says to the model what was seen.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use quire_proto::{
    id::JobId,
    v1::{Outcome, OutcomeStatus},
};
use quire_sandbox::{job::Chunk, record::ExitRecord};
use tokio::time::{Instant, timeout_at};

use crate::{
    adapters::jobs::{Ended, Follow, Job},
    ports::tool::{Finished, Live},
    pure::{
        cut::Cut,
        outcome::{NO_OUTPUT, OUTPUT},
    },
};

/// How long to watch, and how much to tell.
#[derive(Clone, Copy, Debug)]
pub(super) struct Patience {
    pub(super) wait: Duration,
    /// Most bytes of output told.
    pub(super) budget: usize,
}

/// What was seen of a job.
#[derive(Debug)]
pub(super) struct Observed {
    output: Cut,
    offset: u64,
    began: Instant,
    /// True when everything was read up to the job's end.
    complete: bool,
    /// Why output can't be read any more.
    trouble: Option<String>,
}

impl Observed {
    fn new(offset: u64, budget: usize) -> Self {
        Self {
            output: Cut::new(budget),
            offset,
            began: Instant::now(),
            complete: false,
            trouble: None,
        }
    }

    /// Watches until the job ends or the wait is over, from byte `offset` of its output.
    pub(super) async fn wait(job: &Job, offset: u64, patience: Patience, live: &Live) -> Self {
        let mut observed = Self::new(offset, patience.budget);
        let mut follow = job.follow(offset);
        let deadline = observed.began + patience.wait;
        // The deadline alone would never come while a job prints without end.
        while Instant::now() < deadline {
            match timeout_at(deadline, follow.next()).await {
                Ok(next) => {
                    if !observed.take(next, live) {
                        break;
                    }
                }
                Err(_elapsed) => break,
            }
        }
        observed
    }

    /// Reads what there is, without waiting.
    pub(super) async fn rest(mut follow: Follow, budget: usize, live: &Live) -> Self {
        let mut observed = Self::new(follow.offset(), budget);
        while observed.take(follow.next().await, live) {}
        observed
    }

    /// False when there will be no more.
    fn take(&mut self, next: std::io::Result<Option<Chunk>>, live: &Live) -> bool {
        match next {
            Ok(Some(chunk)) => {
                if chunk.dropped > 0 {
                    self.output.skip(chunk.dropped);
                }
                self.output.push(&chunk.bytes);
                (live.output)(chunk.offset, &chunk.bytes);
                self.offset = chunk.offset + chunk.bytes.len() as u64;
                true
            }
            Ok(None) => {
                self.complete = true;
                false
            }
            Err(error) => {
                self.complete = true;
                self.trouble = Some(format!("its output can't be read: {error}"));
                false
            }
        }
    }

    /// Where the next report goes on.
    pub(super) fn offset(&self) -> u64 {
        self.offset
    }

    /// How the job ended, if everything up to its end was seen.
    pub(super) fn ended_of(&self, job: &Job) -> Option<Ended> {
        if self.complete { job.ended() } else { None }
    }

    /// What the model is told.
    pub(super) fn finished(self, job: &JobId, ended: Option<&Ended>) -> Finished {
        let head = match ended {
            None => {
                let seconds = self.began.elapsed().as_secs_f64();
                format!("Still running as job {job} after {seconds:.1} s\n")
            }
            Some(Ended::Exit(record)) => told(record),
            Some(Ended::Unknown) => {
                "The command's keeper was killed: it is not known how the command ended\n"
                    .to_owned()
            }
        };
        let lost = match ended {
            Some(Ended::Exit(record)) if self.trouble.is_none() => lost(record, self.offset),
            _ => String::new(),
        };
        let trouble = self
            .trouble
            .map(|trouble| format!("{trouble}\n"))
            .unwrap_or_default();
        let output = self.output.text();
        let output = if output.is_empty() {
            NO_OUTPUT
        } else {
            &output
        };
        let record = match ended {
            Some(Ended::Exit(record)) => Some(record.as_ref()),
            Some(Ended::Unknown) | None => None,
        };
        let outcome = Outcome {
            status: status(ended).into(),
            text: format!("{head}{trouble}{lost}{OUTPUT}{output}"),
            exit_code: record.and_then(ExitRecord::status),
            wall_ms: record.map_or(self.began.elapsed().as_millis() as i64, |record| {
                record.wall_ms as i64
            }),
            job_id: job.to_string(),
            still_running: ended.is_none(),
            output_bytes: record.map_or(self.offset, |record| record.output_bytes),
            ..Outcome::default()
        };
        Finished {
            outcome,
            items: Vec::new(),
        }
    }
}

fn status(ended: Option<&Ended>) -> OutcomeStatus {
    match ended {
        None => OutcomeStatus::Succeeded,
        Some(Ended::Unknown) => OutcomeStatus::Unknown,
        Some(Ended::Exit(record)) if record.stopped => OutcomeStatus::Interrupted,
        // As a shell tells it when there is no such program.
        Some(Ended::Exit(record)) if record.status().is_some() => OutcomeStatus::Succeeded,
        Some(Ended::Exit(record)) if record.never_ran => OutcomeStatus::Failed,
        Some(Ended::Exit(_)) => OutcomeStatus::Unknown,
    }
}

/// A line on what the command printed last and its keeper could not write down, after the `read` bytes
/// that there are.
fn lost(record: &ExitRecord, read: u64) -> String {
    match record.output_bytes.saturating_sub(read) {
        0 => String::new(),
        bytes => format!("Its last {bytes} bytes of output were not kept: is the disk full?\n"),
    }
}

/// One or two lines on how a command ended.
fn told(record: &ExitRecord) -> String {
    let mut text = String::new();
    let mut line = |words: String| {
        text.push_str(&words);
        text.push('\n');
    };
    match (record.code, record.signal) {
        (Some(code), _) => line(format!("Exit code: {code}")),
        (None, Some(signal)) => line(format!("Killed by signal {signal}")),
        (None, None) => {}
    }
    if record.timed_out {
        line("Its time was up: all of its processes were killed".to_owned());
    } else if record.stopped {
        line("It was stopped".to_owned());
    }
    if let Some(error) = &record.error {
        line(error.clone());
    }
    line(format!(
        "Wall time: {:.1} s",
        record.wall_ms as f64 / 1000.0
    ));
    text
}

/// A map stays whole whatever panicked beside it.
pub(super) fn lock(map: &Mutex<HashMap<JobId, u64>>) -> MutexGuard<'_, HashMap<JobId, u64>> {
    map.lock().unwrap_or_else(PoisonError::into_inner)
}
