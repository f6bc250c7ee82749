//! One command that runs for a session.

use std::{
    io::{self, Read as _},
    time::Duration,
};

use quire_proto::v1::{
    JobServiceReadOutputRequest, JobServiceSignalRequest, JobServiceWaitRequest,
    JobServiceWriteRequest, JobState,
};
use tonic::{Code, Status};

use super::{Done, jobs::state, request_id};
use crate::{
    cli,
    connect::Connection,
    context::{self, Context},
    failure::{Exit, Failure},
    output::paint::printable,
};

/// Read from, write to, end or await one command that runs for a session.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  quire job logs @last -f
  quire job write @last 'yes'
  quire job kill @last && quire job wait @last")]
pub struct Arguments {
    /// What to do with it.
    #[command(subcommand)]
    act: Act,
}

#[derive(Debug, clap::Subcommand)]
enum Act {
    /// Print its output.
    Logs {
        /// Id, unique prefix, or @last.
        job: String,
        /// Go on until it ends.
        #[arg(long, short)]
        follow: bool,
    },
    /// Write to its standard input.
    Write {
        /// Id, unique prefix, or @last.
        job: String,
        /// What to write, with a line end after it; without it standard input is passed on.
        text: Option<String>,
        /// Close its standard input afterwards.
        #[arg(long)]
        close: bool,
    },
    /// End it and all it started.
    Kill {
        /// Id, unique prefix, or @last.
        job: String,
        /// The signal's number.
        #[arg(long, short, default_value_t = 15)]
        signal: i32,
    },
    /// Wait for its end; exit code 1 unless it ended with 0.
    Wait {
        /// Id, unique prefix, or @last.
        job: String,
        /// Longest wait; then the exit code is 6.
        #[arg(long, value_name = "DUR", value_parser = cli::duration)]
        timeout: Option<Duration>,
    },
}

/// Carries it out.
///
/// # Errors
///
/// When there is no such job.
pub async fn run(arguments: Arguments, context: &Context) -> Done {
    let connection = context.connect("job").await?;
    match arguments.act {
        Act::Logs { job, follow } => logs(&connection, job, (follow, context.ends.stdout)).await,
        Act::Write { job, text, close } => write(&connection, job, text, close).await,
        Act::Kill { job, signal } => {
            let request = JobServiceSignalRequest {
                request_id: request_id(),
                job,
                signal,
            };
            let signalled = connection.jobs().signal(request).await;
            signalled.map_err(about_job)?;
            Ok(())
        }
        Act::Wait { job, timeout } => wait(&connection, job, timeout).await,
    }
}

async fn logs(connection: &Connection, job: String, (follow, terminal): (bool, bool)) -> Done {
    let request = JobServiceReadOutputRequest {
        job,
        offset: 0,
        follow,
    };
    let output = connection.jobs().read_output(request).await;
    let mut output = output.map_err(about_job)?.into_inner();
    let mut unfinished = Vec::new();
    while let Some(piece) = output.message().await? {
        if piece.dropped_bytes > 0 {
            context::progress(format!("({} bytes are not kept)\n", piece.dropped_bytes))?;
        }
        match terminal {
            true => context::print(harmless(&mut unfinished, &piece.data))?,
            false => context::print(piece.data)?,
        }
    }
    context::print(String::from_utf8_lossy(&unfinished).as_bytes())
}

/// A piece of output for a terminal; the start of a character that the next piece goes on with
/// stays in `unfinished`.
fn harmless(unfinished: &mut Vec<u8>, piece: &[u8]) -> String {
    unfinished.extend_from_slice(piece);
    let chunks = unfinished.utf8_chunks();
    let tail = chunks.last().map_or(0, |last| last.invalid().len());
    let whole = unfinished.len() - tail;
    let cut = std::str::from_utf8(&unfinished[whole..]);
    let goes_on = cut.is_err_and(|error| error.error_len().is_none());
    let rest = unfinished.split_off(if goes_on { whole } else { unfinished.len() });
    let text = std::mem::replace(unfinished, rest);
    printable(&String::from_utf8_lossy(&text)).into_owned()
}

/// What the daemon answered about a job, with where to look for it.
fn about_job(status: Status) -> Failure {
    let stale = matches!(status.code(), Code::NotFound | Code::FailedPrecondition);
    let failure = Failure::from(status);
    match failure.message() {
        Some(message) if stale && !message.contains("quire jobs --all") => {
            let message = message.trim_end_matches(": `quire jobs` lists them");
            let message = format!("{message}: `quire jobs --all` lists ended ones too");
            Failure::new(failure.exit(), message)
        }
        _ => failure,
    }
}

async fn write(connection: &Connection, job: String, text: Option<String>, close: bool) -> Done {
    let data = match text {
        Some(text) => format!("{text}\n").into_bytes(),
        None => {
            let mut data = Vec::new();
            io::stdin().read_to_end(&mut data).map_err(|error| {
                Failure::new(Exit::Failed, format!("cannot read standard input: {error}"))
            })?;
            data
        }
    };
    let request = JobServiceWriteRequest {
        request_id: request_id(),
        job,
        data,
        close,
    };
    let written = connection.jobs().write(request).await;
    written.map_err(about_job)?;
    Ok(())
}

async fn wait(connection: &Connection, job: String, timeout: Option<Duration>) -> Done {
    let timeout = timeout.map(|timeout| i64::try_from(timeout.as_millis()).unwrap_or(i64::MAX));
    let request = JobServiceWaitRequest {
        job,
        timeout_ms: timeout.unwrap_or(0),
    };
    let ended = connection.jobs().wait(request).await;
    let ended = ended.map_err(about_job)?.into_inner();
    let job = ended.job.unwrap_or_default();
    context::progress(format!("{}\n", state(&job)))?;
    match (job.state(), job.exit_code) {
        (JobState::Exited, Some(0)) => Ok(()),
        _ => Err(Failure::silent(Exit::Failed)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn output_for_a_terminal_is_harmless_and_whole() {
        let mut unfinished = Vec::new();
        let pieces: [&[u8]; 4] = [b"a\tb\n\x1b[2J\xc3", b"\xa9", b"\xff!", b"\xe6\x97"];
        let shown = pieces.map(|piece| harmless(&mut unfinished, piece));
        assert_eq!(shown, ["a\tb\n␛[2J", "é", "\u{fffd}!", ""]);
        assert_eq!(unfinished, b"\xe6\x97");
    }

    #[test]
    fn who_names_a_job_that_is_gone_learns_where_to_look() {
        let table = [
            "the job no longer runs",
            "no job `x`: `quire jobs` lists them",
        ];
        for message in table {
            let failure = about_job(Status::new(Code::NotFound, message));
            let told = failure.message().unwrap();
            assert_eq!(told.matches("quire jobs").count(), 1, "{told}");
            assert!(told.contains("quire jobs --all"), "{told}");
        }
        let other = about_job(Status::new(Code::Internal, "why"));
        assert_eq!(other.message(), Some("why"));
    }
}
