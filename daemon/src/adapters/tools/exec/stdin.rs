//! `write_stdin`: writes to a job, or only looks at it.

use std::time::Duration;

use futures_util::future::BoxFuture;
use quire_proto::{
    id::{JobId, RequestId},
    v1::{Intent, OutcomeStatus},
};
use serde::Deserialize;
use serde_json::json;

use super::{Shared, TOKEN_BYTES, TOKENS, YIELD_BOUNDS, describe, unknown, wait};
use crate::{
    adapters::jobs::{Adopted, Ended, Job, JobError, snapshot},
    ports::tool::{Finished, Live, Place, Prepared, Tool},
    pure::sample::{Call, ToolInput, ToolSpec},
};

use super::wait::{Observed, Patience};

/// How long to wait for an answer to what was written.
const AFTER_WRITING: Duration = Duration::from_millis(250);
/// How long to wait for news.
const AFTER_NOTHING: Duration = Duration::from_secs(10);
/// Longest wait for news.
const LONGEST: Duration = Duration::from_secs(300);
/// What the model writes for Ctrl-C.
const INTERRUPT: &str = "\u{3}";
/// The signal that Ctrl-C sends.
const SIGINT: i32 = 2;

/// Writes to the terminal of a running job.
#[derive(Clone, Debug)]
pub(super) struct WriteStdin(pub(super) Shared);

#[derive(Debug, Deserialize)]
struct Arguments {
    #[serde(alias = "session_id")]
    job_id: String,
    #[serde(default)]
    chars: String,
    yield_time_ms: Option<u64>,
    max_output_tokens: Option<usize>,
}

/// What is to be written, and what the keeper knows that by.
struct Write {
    arguments: Arguments,
    job: JobId,
    id: String,
}

impl Tool for WriteStdin {
    fn spec(&self) -> ToolSpec {
        ToolSpec {
            name: "write_stdin",
            description: "Writes chars to a running job started with tty, or with empty chars waits for its output. Returns what is new.",
            input: ToolInput::Json(json!({
                "type": "object",
                "properties": {
                    "job_id": {"type": "string"},
                    "chars": {"type": "string", "description": "\\u0003 is Ctrl-C, with or without tty"},
                    "yield_time_ms": {"type": "integer"},
                    "max_output_tokens": {"type": "integer"}
                },
                "required": ["job_id"]
            })),
        }
    }

    fn prepare(&self, call: Call, place: Place) -> BoxFuture<'static, Result<Prepared, Finished>> {
        let shared = self.0.clone();
        Box::pin(async move {
            let (arguments, job) = parse(&call)?;
            let writes = !arguments.chars.is_empty();
            // Not the item's number: that is given again when the history is rewound.
            let id = RequestId::random().to_string();
            let title = match writes {
                true => format!("write {:?} to job {job}", arguments.chars),
                false => format!("wait for job {job}"),
            };
            Ok(Prepared {
                title,
                access: quire_proto::v1::Access {
                    read_only: !writes,
                    ..Default::default()
                },
                // Without a job's name: to interrupt this call is not to end that job.
                intent: writes.then(|| Intent {
                    write_id: id.clone(),
                    ..Intent::default()
                }),
                preview: Vec::new(),
                act: Box::new(move |live| {
                    let write = Write { arguments, job, id };
                    Box::pin(async move { shared.write(write, &place, &live).await })
                }),
            })
        })
    }

    /// Writes again: the keeper knows whether it has written this already.
    fn resume(
        &self,
        call: Call,
        intent: Intent,
        place: Place,
        live: Live,
    ) -> BoxFuture<'static, Finished> {
        let shared = self.0.clone();
        Box::pin(async move {
            let (arguments, job) = match parse(&call) {
                Ok(parsed) => parsed,
                Err(finished) => return finished,
            };
            if !shared.is_own(&place, &job) {
                return no_such(&job);
            }
            match shared.jobs.adopt(&place.session, &job).await {
                Ok(Adopted::Running(running))
                    if running.knows_ids() && !intent.write_id.is_empty() =>
                {
                    let id = intent.write_id;
                    let write = Write { arguments, job, id };
                    shared.write(write, &place, &live).await
                }
                _ => Finished::with_status(
                    OutcomeStatus::Unknown,
                    "it is not known whether this was written: look at the job with empty `chars`",
                ),
            }
        })
    }
}

fn parse(call: &Call) -> Result<(Arguments, JobId), Finished> {
    let arguments: Arguments = serde_json::from_str(&call.arguments).map_err(|error| {
        Finished::failed(format!(
            "wrong arguments ({error}): write {{\"job_id\": \"...\", \"chars\": \"...\"}}"
        ))
    })?;
    let job = arguments.job_id.parse().map_err(|error| {
        Finished::failed(format!("{error}: use the id that `exec_command` gave"))
    })?;
    Ok((arguments, job))
}

impl Shared {
    async fn write(&self, write: Write, place: &Place, live: &Live) -> Finished {
        let Write { arguments, job, id } = write;
        let job = &job;
        if !self.is_own(place, job) {
            return no_such(job);
        }
        let budget = arguments
            .max_output_tokens
            .unwrap_or(TOKENS)
            .clamp(1, 10 * TOKENS)
            * TOKEN_BYTES;
        let (usual, longest) = match arguments.chars.is_empty() {
            true => (AFTER_NOTHING, LONGEST),
            false => (AFTER_WRITING, YIELD_BOUNDS.1),
        };
        let wait = arguments
            .yield_time_ms
            .map_or(usual, Duration::from_millis)
            .clamp(YIELD_BOUNDS.0, longest);
        let from = wait::lock(&self.reported).get(job).copied().unwrap_or(0);
        match self.jobs.adopt(&place.session, job).await {
            Ok(Adopted::Running(running)) if *running.session() == place.session => {
                if let Err(error) = send(&running, &arguments.chars, &id).await {
                    return Finished::failed(error);
                }
                let observed =
                    Observed::wait(&running, from, Patience { wait, budget }, live).await;
                let ended = observed.ended_of(&running);
                self.report(job, observed, ended.as_ref())
            }
            Ok(Adopted::Ended(record)) => {
                let observed =
                    Observed::rest(snapshot(self.jobs.directory(job), from), budget, live).await;
                self.report(job, observed, Some(&Ended::Exit(record)))
            }
            Ok(Adopted::Unknown) => unknown(),
            Ok(Adopted::Running(_) | Adopted::NeverStarted) => no_such(job),
            Err(error) => Finished::failed(describe(&error)),
        }
    }

    /// Whether the job was started for the session that asks. One of an earlier version does not say.
    fn is_own(&self, place: &Place, job: &JobId) -> bool {
        let session = self.jobs.record(job).label.session;
        session.is_empty() || session == place.session.as_str()
    }

    /// What is new, and from where the next report goes on.
    fn report(&self, job: &JobId, observed: Observed, ended: Option<&Ended>) -> Finished {
        match ended {
            None => drop(wait::lock(&self.reported).insert(job.clone(), observed.offset())),
            Some(_) => drop(wait::lock(&self.reported).remove(job)),
        }
        observed.finished(job, ended)
    }
}

fn no_such(job: &JobId) -> Finished {
    Finished::failed(format!("there is no job {job}"))
}

async fn send(job: &Job, chars: &str, id: &str) -> Result<(), String> {
    if chars.is_empty() {
        return Ok(());
    }
    match job.write(Some(id), chars.as_bytes()).await {
        // Without a terminal there is nothing that turns the character into the signal.
        Err(JobError::Denied(_)) if chars == INTERRUPT => {
            let sent = job.signal(Some(id), SIGINT).await;
            sent.map_err(|error| error.to_string())
        }
        Err(JobError::Denied(why)) => Err(format!(
            "{why}: start the command with `tty` to write to it"
        )),
        // Its end is told with the rest of its output.
        Err(JobError::Gone) | Ok(()) => Ok(()),
        Err(error) => Err(describe(&error)),
    }
}
