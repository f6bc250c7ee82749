//! `exec_command` and `write_stdin`: shell commands as jobs.

mod profile;
mod stdin;
#[cfg(test)]
mod tests;
mod wait;

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    time::Duration,
};

use futures_util::future::BoxFuture;
use quire_proto::{
    id::JobId,
    v1::{Access, Intent, JobLifetime, JobStarted, OutcomeStatus},
};
use quire_sandbox::{
    environment,
    report::Report,
    spec::{JobSpec, Label, Lifetime, Limits, Profile, Size, Stdin},
};
use serde::Deserialize;
use serde_json::json;

use self::wait::{Observed, Patience};
use crate::{
    adapters::jobs::{Adopted, Ended, Job, JobError, Jobs, snapshot},
    ports::tool::{Finished, Live, Place, Prepared, Tool},
    pure::sample::{Call, ToolInput, ToolSpec},
};

use self::stdin::WriteStdin;

/// How long a call waits for its command unless told otherwise.
const YIELD: Duration = Duration::from_secs(10);
/// Shortest and longest wait.
const YIELD_BOUNDS: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(30));
/// Tokens of output given to the model unless told otherwise.
const TOKENS: usize = 10_000;
/// Bytes that count as one token.
const TOKEN_BYTES: usize = 4;
/// The terminal a command gets.
const TERMINAL: Size = Size {
    columns: 120,
    rows: 40,
};
/// Most jobs of one session at once.
const MOST_JOBS: usize = 64;

/// How far the model has been told of each job's output.
type Reported = Arc<Mutex<HashMap<JobId, u64>>>;

/// Both tools, in the order the model is offered them. They share what the model was told.
#[must_use]
pub(super) fn all(jobs: &Jobs) -> Vec<Arc<dyn Tool>> {
    let shared = Shared {
        jobs: jobs.clone(),
        reported: Reported::default(),
    };
    vec![
        Arc::new(ExecCommand(shared.clone())),
        Arc::new(WriteStdin(shared)),
    ]
}

/// What the two tools share.
#[derive(Clone, Debug)]
struct Shared {
    jobs: Jobs,
    reported: Reported,
}

/// Runs a shell command.
#[derive(Clone, Debug)]
pub(super) struct ExecCommand(Shared);

#[derive(Debug, Deserialize)]
struct Arguments {
    cmd: String,
    workdir: Option<PathBuf>,
    yield_time_ms: Option<u64>,
    timeout_ms: Option<u64>,
    max_output_tokens: Option<usize>,
    #[serde(default)]
    tty: bool,
    #[serde(default)]
    lifetime: Lifetime,
}

/// A command that may be started.
#[derive(Clone, Debug)]
struct Run {
    job: JobId,
    command: String,
    spec: JobSpec,
    patience: Patience,
}

impl Tool for ExecCommand {
    fn spec(&self) -> ToolSpec {
        ToolSpec {
            name: "exec_command",
            description: "Runs a shell command. Returns its output and exit code, or a job id if it still runs after yield_time_ms.",
            input: ToolInput::Json(json!({
                "type": "object",
                "properties": {
                    "cmd": {"type": "string"},
                    "workdir": {"type": "string"},
                    "yield_time_ms": {"type": "integer", "description": "250 to 30000, default 10000"},
                    "timeout_ms": {"type": "integer", "description": "kill it after this"},
                    "max_output_tokens": {"type": "integer", "description": "default 10000; the middle is cut"},
                    "tty": {"type": "boolean", "description": "needed to write to it later"},
                    "lifetime": {"enum": ["turn", "session", "detached"], "description": "default session"}
                },
                "required": ["cmd"]
            })),
        }
    }

    fn prepare(&self, call: Call, place: Place) -> BoxFuture<'static, Result<Prepared, Finished>> {
        let shared = self.0.clone();
        Box::pin(async move {
            let arguments = parse(&call)?;
            let run = plan(&shared, arguments, &place, JobId::random())?;
            if shared.jobs.of_session(&place.session).len() >= MOST_JOBS {
                return Err(Finished::failed(format!(
                    "{MOST_JOBS} jobs run already: wait for one, or end one"
                )));
            }
            Ok(Prepared {
                title: title(&run.command),
                access: Access {
                    command: run.command.clone(),
                    cwd: run.spec.cwd.display().to_string(),
                    ..Access::default()
                },
                intent: Some(Intent {
                    job_id: run.job.to_string(),
                    ..Intent::default()
                }),
                preview: Vec::new(),
                act: Box::new(move |live| {
                    Box::pin(async move { shared.run(run, &place, &live).await })
                }),
            })
        })
    }

    fn resume(
        &self,
        call: Call,
        intent: Intent,
        place: Place,
        live: Live,
    ) -> BoxFuture<'static, Finished> {
        let shared = self.0.clone();
        Box::pin(async move {
            let Ok(job) = intent.job_id.parse::<JobId>() else {
                return Finished::with_status(
                    OutcomeStatus::Unknown,
                    "the job of this command is not known",
                );
            };
            match parse(&call).and_then(|arguments| plan(&shared, arguments, &place, job)) {
                Ok(run) => shared.resume(run, &place, &live).await,
                Err(finished) => finished,
            }
        })
    }
}

fn parse(call: &Call) -> Result<Arguments, Finished> {
    let arguments: Arguments = serde_json::from_str(&call.arguments).map_err(|error| {
        Finished::failed(format!(
            "wrong arguments ({error}): write {{\"cmd\": \"ls -l\"}}"
        ))
    })?;
    match arguments.cmd.trim() {
        "" => Err(Finished::failed("`cmd` is empty: write the command to run")),
        _ if arguments.cmd.contains('\0') => Err(Finished::failed(
            "`cmd` holds a zero byte, which no command can",
        )),
        _ => Ok(arguments),
    }
}

/// The first line, for people.
fn title(command: &str) -> String {
    let mut lines = command.trim().lines();
    let first = lines.next().unwrap_or_default();
    if lines.next().is_some() {
        format!("{first} ...")
    } else {
        first.to_owned()
    }
}

fn plan(shared: &Shared, arguments: Arguments, place: &Place, job: JobId) -> Result<Run, Finished> {
    let cwd = arguments
        .workdir
        .map_or_else(|| place.cwd.clone(), |directory| place.cwd.join(directory));
    if !cwd.is_dir() {
        return Err(Finished::failed(format!(
            "`{}` is not a directory: choose another `workdir`",
            cwd.display()
        )));
    }
    let profile = profile::of_policy(place, shared.jobs.private()).map_err(Finished::failed)?;
    let tokens = arguments
        .max_output_tokens
        .unwrap_or(TOKENS)
        .clamp(1, 10 * TOKENS);
    let wait = arguments.yield_time_ms.map_or(YIELD, Duration::from_millis);
    let mut environment = environment::scrub(&place.environment, profile.mode);
    if arguments.tty {
        environment.insert("TERM".to_owned(), "xterm-256color".to_owned());
    }
    let spec = JobSpec {
        directory: PathBuf::new(),
        label: Label {
            session: place.session.to_string(),
            command: arguments.cmd.clone(),
            lifetime: arguments.lifetime,
        },
        argv: vec![shell().to_owned(), "-c".to_owned(), arguments.cmd.clone()],
        cwd,
        environment,
        umask: place.umask,
        pty: arguments.tty.then_some(TERMINAL),
        stdin: Stdin::Null,
        profile,
        limits: Limits {
            wall: arguments.timeout_ms.map(Duration::from_millis),
            ..Limits::default()
        },
    };
    let patience = Patience {
        wait: wait.clamp(YIELD_BOUNDS.0, YIELD_BOUNDS.1),
        budget: tokens * TOKEN_BYTES,
    };
    Ok(Run {
        job,
        command: arguments.cmd,
        spec,
        patience,
    })
}

/// The shell that commands are written for, whatever the user's own is.
fn shell() -> &'static str {
    if Path::new("/bin/bash").exists() {
        "/bin/bash"
    } else {
        "/bin/sh"
    }
}

impl Shared {
    async fn run(&self, mut run: Run, place: &Place, live: &Live) -> Finished {
        match self.jobs.scratch(&place.session) {
            Ok(scratch) => run.spec.profile.scratch = Some(scratch),
            Err(error) => {
                return Finished::failed(format!(
                    "the command was not started: cannot make a scratch directory: {error}"
                ));
            }
        }
        match self
            .jobs
            .start(&place.session, &run.job, run.spec.clone())
            .await
        {
            Ok(job) => {
                (live.started)(started(&run, live, job.report().unwrap_or_default()));
                self.wait(&run, &job, live).await
            }
            // Another daemon, or an earlier one, was quicker.
            Err(JobError::AlreadyStarted) => {
                match self.jobs.adopt(&place.session, &run.job).await {
                    Ok(Adopted::NeverStarted) | Err(_) => unknown(),
                    Ok(adopted) => self.go_on(&run, adopted, live).await,
                }
            }
            Err(error) => {
                Finished::failed(format!("the command was not started: {}", describe(&error)))
            }
        }
    }

    async fn resume(&self, run: Run, place: &Place, live: &Live) -> Finished {
        match self.jobs.adopt(&place.session, &run.job).await {
            Ok(Adopted::NeverStarted) => self.run(run, place, live).await,
            Ok(adopted) => self.go_on(&run, adopted, live).await,
            Err(error) => Finished::with_status(
                OutcomeStatus::Unknown,
                format!(
                    "it is not known how the command ended: {}",
                    describe(&error)
                ),
            ),
        }
    }

    /// Goes on with a job that was started before, which the log may not tell.
    async fn go_on(&self, run: &Run, adopted: Adopted, live: &Live) -> Finished {
        let report = match &adopted {
            Adopted::Running(job) => job.report().unwrap_or_default(),
            Adopted::Ended(record) => record.report.clone(),
            Adopted::Unknown | Adopted::NeverStarted => Report::default(),
        };
        (live.started)(started(run, live, report));
        match adopted {
            Adopted::Running(job) => self.wait(run, &job, live).await,
            Adopted::Ended(record) => {
                let follow = snapshot(self.jobs.directory(&run.job), 0);
                let observed = Observed::rest(follow, run.patience.budget, live).await;
                observed.finished(&run.job, Some(&Ended::Exit(record)))
            }
            Adopted::Unknown | Adopted::NeverStarted => unknown(),
        }
    }

    async fn wait(&self, run: &Run, job: &Job, live: &Live) -> Finished {
        let observed = Observed::wait(job, 0, run.patience, live).await;
        let ended = observed.ended_of(job);
        if ended.is_none() {
            wait::lock(&self.reported).insert(run.job.clone(), observed.offset());
        }
        observed.finished(&run.job, ended.as_ref())
    }
}

fn unknown() -> Finished {
    Finished::with_status(
        OutcomeStatus::Unknown,
        "the command was started, but it is not known how it ended: look at what it did before you run it again",
    )
}

fn started(run: &Run, live: &Live, report: Report) -> JobStarted {
    JobStarted {
        job_id: run.job.to_string(),
        item: live.item.get(),
        command: run.command.clone(),
        cwd: run.spec.cwd.display().to_string(),
        profile: Some(told(&run.spec.profile, report)),
        lifetime: on_the_wire(run.spec.label.lifetime).into(),
        pty: run.spec.pty.is_some(),
    }
}

fn on_the_wire(lifetime: Lifetime) -> JobLifetime {
    match lifetime {
        Lifetime::Turn => JobLifetime::Turn,
        Lifetime::Session => JobLifetime::Session,
        Lifetime::Detached => JobLifetime::Detached,
    }
}

/// The profile as it is shown.
fn told(profile: &Profile, report: Report) -> quire_proto::v1::Profile {
    let paths = |paths: &[PathBuf]| {
        paths
            .iter()
            .map(|path| path.display().to_string())
            .collect()
    };
    quire_proto::v1::Profile {
        mode: profile::mode_on_the_wire(profile.mode).into(),
        writable: paths(&profile.writable),
        hidden: paths(&profile.hidden),
        network: profile.network.clone(),
        layers: report.held,
        missing: report.missing.iter().map(ToString::to_string).collect(),
    }
}

/// An error and its causes on one line.
fn describe(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}
