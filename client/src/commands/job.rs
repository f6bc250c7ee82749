//! One command that runs for a session.

use std::{
    io::{self, Read as _},
    time::Duration,
};

use quire_proto::v1::{
    JobServiceReadOutputRequest, JobServiceSignalRequest, JobServiceWaitRequest,
    JobServiceWriteRequest, JobState,
};

use super::{Done, jobs::state, request_id};
use crate::{
    cli,
    connect::Connection,
    context::{self, Context},
    failure::{Exit, Failure},
};

/// Read from, write to, end or await one command that runs for a session.
#[derive(Debug, clap::Args)]
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
        Act::Logs { job, follow } => logs(&connection, job, follow).await,
        Act::Write { job, text, close } => write(&connection, job, text, close).await,
        Act::Kill { job, signal } => {
            let request = JobServiceSignalRequest {
                request_id: request_id(),
                job,
                signal,
            };
            connection.jobs().signal(request).await?;
            Ok(())
        }
        Act::Wait { job, timeout } => wait(&connection, job, timeout).await,
    }
}

async fn logs(connection: &Connection, job: String, follow: bool) -> Done {
    let request = JobServiceReadOutputRequest {
        job,
        offset: 0,
        follow,
    };
    let mut output = connection.jobs().read_output(request).await?.into_inner();
    while let Some(piece) = output.message().await? {
        if piece.dropped_bytes > 0 {
            context::progress(format!("({} bytes are not kept)\n", piece.dropped_bytes))?;
        }
        context::print(piece.data)?;
    }
    Ok(())
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
    connection.jobs().write(request).await?;
    Ok(())
}

async fn wait(connection: &Connection, job: String, timeout: Option<Duration>) -> Done {
    let timeout = timeout.map(|timeout| i64::try_from(timeout.as_millis()).unwrap_or(i64::MAX));
    let request = JobServiceWaitRequest {
        job,
        timeout_ms: timeout.unwrap_or(0),
    };
    let ended = connection.jobs().wait(request).await?.into_inner();
    let job = ended.job.unwrap_or_default();
    context::progress(format!("{}\n", state(&job)))?;
    match (job.state(), job.exit_code) {
        (JobState::Exited, Some(0)) => Ok(()),
        _ => Err(Failure::silent(Exit::Failed)),
    }
}
