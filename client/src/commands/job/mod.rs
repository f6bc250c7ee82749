//! One command that runs for a session.

use std::{
    io::{self, Read as _},
    time::{Duration, Instant},
};

use quire_proto::v1::{
    Job, JobServiceDetachRequest, JobServiceGetRequest, JobServiceSignalRequest,
    JobServiceWaitRequest, JobServiceWriteRequest, JobState,
};
use tonic::{Code, Status};

use super::{
    Done, find_session,
    jobs::{Line, state},
    json_lines, request_id,
    wait::left_ms,
};
use crate::{
    cli,
    connect::Connection,
    context::{self, Context},
    failure::{Exit, Failure},
    link::{Link, Watch},
};

mod logs;

/// How long a job may take to end once it was asked to.
const GRACE: Duration = Duration::from_secs(5);
const TERM: i32 = 15;
const KILL: i32 = 9;

/// Where to see whether a job was reached.
const LOOK: &str = "see `quire job logs`";

/// Most bytes written in one call.
const WRITE_MAX: usize = 1 << 20;

/// Read from, write to, end or await one command that runs for a session.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  quire job logs @last -f
  quire job logs @last --offset 4096
  quire job write @last 'yes'
  quire job kill @last")]
pub struct Arguments {
    /// What to do with it.
    #[command(subcommand)]
    act: Act,
}

#[derive(Debug, clap::Subcommand)]
enum Act {
    /// Print its output.
    Logs(logs::Arguments),
    /// Write to its standard input.
    Write {
        #[command(flatten)]
        which: Which,
        /// What to write, with a line end after it; without it standard input is passed on.
        text: Option<String>,
        /// Close its standard input afterwards.
        #[arg(long)]
        close: bool,
    },
    /// End it and all it started, and wait until nothing of it is left.
    ///
    /// It is asked to end, and killed when it still runs after five seconds.
    Kill {
        #[command(flatten)]
        which: Which,
        /// Send this signal and nothing else, and do not wait.
        #[arg(long, short, value_name = "NUMBER")]
        signal: Option<i32>,
    },
    /// Wait for its end; exit code 1 unless it ended with 0.
    Wait {
        #[command(flatten)]
        which: Which,
        /// Longest wait; then the exit code is 6.
        #[arg(long, value_name = "DUR", value_parser = cli::duration)]
        timeout: Option<Duration>,
    },
    /// Let it go on after its session.
    Detach {
        #[command(flatten)]
        which: Which,
    },
}

/// The job, and how to tell of it.
#[derive(Debug, clap::Args)]
struct Which {
    /// Id, unique prefix, or @last.
    job: String,
    /// The job as a JSON line afterwards.
    #[arg(long)]
    json: bool,
}

/// Carries it out.
///
/// # Errors
///
/// When there is no such job.
pub async fn run(arguments: Arguments, context: &Context) -> Done {
    let mut link = context.connect("job").await?;
    match arguments.act {
        Act::Logs(arguments) => logs::run(arguments, link, context.ends.stdout).await,
        Act::Write { which, text, close } => {
            let job = find(&mut link, &which.job).await?;
            write(&mut link, &job, input(text)?, close).await?;
            tell(&job, which.json, None)
        }
        Act::Kill { which, signal } => {
            let job = find(&mut link, &which.job).await?;
            match signal {
                Some(number) => {
                    send(&mut link, &job, number).await?;
                    tell(&job, which.json, None)
                }
                None => {
                    let ended = kill(&mut link, job).await?;
                    tell(&ended, which.json, Some(state(&ended)))
                }
            }
        }
        Act::Wait { which, timeout } => {
            let until = timeout.map(|timeout| Instant::now() + timeout);
            let job = find(&mut link, &which.job).await?;
            let job = wait(link, job, until).await?;
            tell(&job, which.json, Some(state(&job)))?;
            match (job.state(), job.exit_code) {
                (JobState::Exited, Some(0)) => Ok(()),
                _ => Err(Failure::silent(Exit::Failed)),
            }
        }
        Act::Detach { which } => {
            let job = find(&mut link, &which.job).await?;
            let job = detach(&mut link, job).await?;
            let told = format!("job {} goes on after its session", job.id);
            tell(&job, which.json, Some(told))
        }
    }
}

/// The job as a line on standard output, or `words` as progress.
fn tell(job: &Job, json: bool, words: Option<String>) -> Done {
    match (json, words) {
        (true, _) => context::print(json_lines([Line::of(job)])),
        (false, Some(words)) => context::progress(format!("{words}\n")),
        (false, None) => Ok(()),
    }
}

/// The job that `name` means.
async fn find(link: &mut Link, name: &str) -> Result<Job, Failure> {
    let request = JobServiceGetRequest {
        job: name.to_owned(),
    };
    let found = link
        .call(async |connection| {
            let found = connection.jobs().get(request.clone()).await;
            found.map_err(about_job)
        })
        .await?;
    Ok(found.into_inner().job.unwrap_or_default())
}

/// What the daemon answered about a job, with where to look for it.
fn about_job(status: Status) -> Status {
    let stale = matches!(status.code(), Code::NotFound | Code::FailedPrecondition);
    let none = status.message() == "no job was started yet";
    if !stale || none || status.message().contains("quire jobs --all") {
        return status;
    }
    let message = status.message();
    let message = message.trim_end_matches(": `quire jobs` lists them");
    let message = format!("{message}: `quire jobs --all` lists ended ones too");
    Status::with_details(status.code(), message, status.details().to_vec().into())
}

fn input(text: Option<String>) -> Result<Vec<u8>, Failure> {
    if let Some(text) = text {
        return Ok(format!("{text}\n").into_bytes());
    }
    let mut data = Vec::new();
    io::stdin().read_to_end(&mut data).map_err(|error| {
        Failure::new(Exit::Failed, format!("cannot read standard input: {error}"))
    })?;
    Ok(data)
}

async fn write(link: &mut Link, job: &Job, data: Vec<u8>, close: bool) -> Done {
    let mut pieces: Vec<&[u8]> = data.chunks(WRITE_MAX).collect();
    if pieces.is_empty() {
        pieces.push(&[]);
    }
    for (number, piece) in pieces.iter().enumerate() {
        let request = JobServiceWriteRequest {
            request_id: request_id(),
            job: job.id.clone(),
            data: piece.to_vec(),
            close: close && number + 1 == pieces.len(),
        };
        link.call_once(
            async |connection| connection.jobs().write(request).await.map_err(about_job),
            LOOK,
        )
        .await?;
    }
    Ok(())
}

async fn send(link: &mut Link, job: &Job, signal: i32) -> Done {
    let request = JobServiceSignalRequest {
        request_id: request_id(),
        job: job.id.clone(),
        signal,
    };
    link.call_once(
        async |connection| connection.jobs().signal(request).await.map_err(about_job),
        LOOK,
    )
    .await?;
    Ok(())
}

/// Ends a job by a signal, which may come twice. One that has ended by now is as good.
async fn end_by(link: &mut Link, job: &Job, signal: i32) -> Done {
    let request = JobServiceSignalRequest {
        request_id: request_id(),
        job: job.id.clone(),
        signal,
    };
    link.call(
        async |connection| match connection.jobs().signal(request.clone()).await {
            Err(status) if status.code() == Code::FailedPrecondition => Ok(()),
            other => other.map(drop),
        },
    )
    .await
}

async fn kill(link: &mut Link, job: Job) -> Result<Job, Failure> {
    if job.state() != JobState::Running {
        let words = format!("the job no longer runs ({})", state(&job));
        return Err(about_job(Status::failed_precondition(words)).into());
    }
    end_by(link, &job, TERM).await?;
    let grace = Some(Instant::now() + GRACE);
    match wait(link.clone(), job.clone(), grace).await {
        Err(failure) if failure.exit() == Exit::Limit => {}
        ended => return ended,
    }
    end_by(link, &job, KILL).await?;
    wait(link.clone(), job, None).await
}

/// Waits for the job's end; until then its session shows whether the daemon gets on.
async fn wait(mut link: Link, job: Job, until: Option<Instant>) -> Result<Job, Failure> {
    let waiting = async |connection: &Connection| {
        let request = JobServiceWaitRequest {
            job: job.id.clone(),
            timeout_ms: left_ms(until),
        };
        connection.jobs().wait(request).await.map_err(about_job)
    };
    let ended = match find_session(&mut link, &job.session_id).await {
        Ok(session) => {
            let mut watch = Watch::from_now(link, session).telling_silence(true);
            watch.beside(waiting).await?
        }
        // A detached job outlives its session: there is nothing to watch beside it.
        Err(failure) if failure.exit() == Exit::Usage => link.call(waiting).await?,
        Err(failure) => return Err(failure),
    };
    Ok(ended.into_inner().job.unwrap_or(job))
}

async fn detach(link: &mut Link, job: Job) -> Result<Job, Failure> {
    let request = JobServiceDetachRequest {
        request_id: request_id(),
        job: job.id.clone(),
    };
    let detached = link
        .call(async |connection| {
            let detached = connection.jobs().detach(request.clone()).await;
            detached.map_err(about_job)
        })
        .await?;
    Ok(detached.into_inner().job.unwrap_or(job))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_names_a_job_that_is_gone_learns_where_to_look() {
        let table = [
            "the job no longer runs",
            "no job `x`: `quire jobs` lists them",
        ];
        for message in table {
            let failure = Failure::from(about_job(Status::new(Code::NotFound, message)));
            let told = failure.message().unwrap();
            assert_eq!(told.matches("quire jobs").count(), 1, "{told}");
            assert!(told.contains("quire jobs --all"), "{told}");
        }
        let other = about_job(Status::new(Code::Internal, "why"));
        assert_eq!(other.message(), "why");
    }
}
