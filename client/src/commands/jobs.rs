//! The commands that run for sessions.

use quire_proto::v1::{Job, JobServiceListRequest, JobState};

use super::{Done, find_session};
use crate::{
    context::{self, Context},
    output::table::table,
};

/// List the commands that run for sessions.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  quire jobs
  quire jobs @last --all")]
pub struct Arguments {
    /// Only those of this session: id, unique prefix, title, or @last.
    session: Option<String>,
    /// Ended ones too.
    #[arg(long, short)]
    all: bool,
}

/// Carries it out.
///
/// # Errors
///
/// When there is no such session.
pub async fn run(arguments: Arguments, context: &Context) -> Done {
    let connection = context.connect("jobs").await?;
    let session = match &arguments.session {
        Some(name) => find_session(&connection, name).await?.id,
        None => String::new(),
    };
    let request = JobServiceListRequest {
        session,
        include_ended: arguments.all,
    };
    let listed = connection.jobs().list(request).await?.into_inner();
    if listed.jobs.is_empty() {
        return context::progress("no jobs\n");
    }
    context::print(rows(&listed.jobs))
}

/// How a job stands, in a word or two.
pub(super) fn state(job: &Job) -> String {
    match (job.state(), job.exit_code) {
        (JobState::Running, _) => "running".into(),
        (JobState::Exited, Some(code)) => format!("exit code {code}"),
        _ => "unknown".into(),
    }
}

fn rows(jobs: &[Job]) -> String {
    let header = ["ID", "SESSION", "STATE", "BYTES", "COMMAND"].map(str::to_owned);
    let rows = jobs.iter().map(|job| {
        [
            job.id.clone(),
            job.session_id.clone(),
            state(job),
            job.output_bytes.to_string(),
            job.command.clone(),
        ]
    });
    table([header].into_iter().chain(rows))
}
