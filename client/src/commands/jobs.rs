//! The commands that run for sessions.

use quire_proto::v1::{Job, JobLifetime, JobServiceListRequest, JobState};
use serde::Serialize;

use super::{Done, find_session, json_lines, ps::now_ms};
use crate::{
    context::{self, Context},
    output::table::{age, table},
};

/// List the commands that run for sessions.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  quire jobs
  quire jobs @last --all
  quire jobs --json | jq -r .id")]
pub struct Arguments {
    /// Only those of this session: id, unique prefix, title, or @last.
    session: Option<String>,
    /// Ended ones too.
    #[arg(long, short)]
    all: bool,
    /// JSON lines.
    #[arg(long)]
    json: bool,
}

/// A job for scripts.
#[derive(Serialize)]
pub(crate) struct Line<'a> {
    id: &'a str,
    session: &'a str,
    command: &'a str,
    cwd: &'a str,
    state: &'static str,
    exit_code: Option<i32>,
    lifetime: &'static str,
    pty: bool,
    started_ms: i64,
    ended_ms: i64,
    output_bytes: u64,
}

/// Carries it out.
///
/// # Errors
///
/// When there is no such session.
pub async fn run(arguments: Arguments, context: &Context) -> Done {
    let mut link = context.connect("jobs").await?;
    let session = match &arguments.session {
        Some(name) => find_session(&mut link, name).await?.id,
        None => String::new(),
    };
    let request = JobServiceListRequest {
        session,
        include_ended: arguments.all,
    };
    let listed = link
        .call(async |connection| connection.jobs().list(request.clone()).await)
        .await?;
    let mut jobs = listed.into_inner().jobs;
    jobs.sort_by_key(|job| job.started_ms);
    if arguments.json {
        return context::print(json_lines(jobs.iter().map(Line::of)));
    }
    if jobs.is_empty() {
        return context::progress("no jobs\n");
    }
    context::print(rows(&jobs, now_ms()))
}

impl<'a> Line<'a> {
    pub(crate) fn of(job: &'a Job) -> Self {
        Self {
            id: &job.id,
            session: &job.session_id,
            command: &job.command,
            cwd: &job.cwd,
            state: match job.state() {
                JobState::Running => "running",
                JobState::Exited => "exited",
                JobState::Unknown | JobState::Unspecified => "unknown",
            },
            exit_code: job.exit_code,
            lifetime: lifetime(job),
            pty: job.pty,
            started_ms: job.started_ms,
            ended_ms: job.ended_ms,
            output_bytes: job.output_bytes,
        }
    }
}

/// How a job stands, in a word or two.
pub(super) fn state(job: &Job) -> String {
    match (job.state(), job.exit_code) {
        (JobState::Running, _) => "running".into(),
        (JobState::Exited, Some(code)) => format!("exit code {code}"),
        _ => "unknown".into(),
    }
}

fn lifetime(job: &Job) -> &'static str {
    match job.lifetime() {
        JobLifetime::Turn => "turn",
        JobLifetime::Session | JobLifetime::Unspecified => "session",
        JobLifetime::Detached => "detached",
    }
}

fn rows(jobs: &[Job], now_ms: i64) -> String {
    let header = [
        "ID", "SESSION", "STATE", "LIFETIME", "AGE", "BYTES", "COMMAND",
    ];
    let rows = jobs.iter().map(|job| {
        [
            job.id.clone(),
            job.session_id.clone(),
            state(job),
            lifetime(job).to_owned(),
            age(now_ms - job.started_ms),
            job.output_bytes.to_string(),
            job.command.clone(),
        ]
    });
    table([header.map(str::to_owned)].into_iter().chain(rows))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jobs_stand_in_columns() {
        let jobs = [
            Job {
                id: "jb2".into(),
                session_id: "bcdfgh2345".into(),
                command: "npm run dev".into(),
                state: JobState::Running.into(),
                lifetime: JobLifetime::Detached.into(),
                started_ms: 1_000,
                output_bytes: 4_096,
                ..Job::default()
            },
            Job {
                id: "jc3".into(),
                session_id: "bcdfgh2345".into(),
                command: "sleep 5".into(),
                state: JobState::Exited.into(),
                exit_code: Some(143),
                lifetime: JobLifetime::Turn.into(),
                started_ms: 100_000,
                ended_ms: 103_000,
                ..Job::default()
            },
        ];
        insta::assert_snapshot!(rows(&jobs, 200_000), @r#"
        ID   SESSION     STATE          LIFETIME  AGE    BYTES  COMMAND
        jb2  bcdfgh2345  running        detached  3 min  4096   npm run dev
        jc3  bcdfgh2345  exit code 143  turn      1 min  0      sleep 5
        "#);
        insta::assert_snapshot!(json_lines([Line::of(&jobs[1])]), @r#"
        {"id":"jc3","session":"bcdfgh2345","command":"sleep 5","cwd":"","state":"exited","exit_code":143,"lifetime":"turn","pty":false,"started_ms":100000,"ended_ms":103000,"output_bytes":0}
        "#);
    }
}
