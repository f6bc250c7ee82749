//! Wait until sessions have nothing more to do.

use std::time::{Duration, Instant};

use quire_proto::v1::{Session, TurnServiceWaitRequest, TurnServiceWaitResponse};

use super::{Done, find_session};
use crate::{
    cli,
    context::Context,
    failure::{Exit, Failure},
    link::{Link, Watch},
};

/// Wait until sessions have nothing more to do.
///
/// The exit code is that of the first session named whose last turn did not end well; 3 when one
/// waits for an approval.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:
  id=$(quire exec --detach 'run the slow tests') && quire wait $id --timeout 1h")]
pub struct Arguments {
    /// Ids, unique prefixes, titles, or @last.
    #[arg(required = true)]
    sessions: Vec<String>,
    /// Longest wait in all; then the exit code is 6.
    #[arg(long, value_name = "DUR", value_parser = cli::duration)]
    timeout: Option<Duration>,
}

/// Carries it out.
///
/// # Errors
///
/// How the first turn that did not end well ended, or that the time is over.
pub async fn run(arguments: Arguments, context: &Context) -> Done {
    let until = arguments.timeout.map(|timeout| Instant::now() + timeout);
    let mut link = Link::open(&context.host, context.watcher("wait")).await?;
    let mut sessions = Vec::new();
    for name in &arguments.sessions {
        sessions.push(find_session(&mut link, name).await?);
    }
    let mut first = Ok(());
    for session in sessions {
        let id = session.id.clone();
        let ended = wait(link.clone(), session, until).await?;
        first = first.and_then(|()| judge(&id, &ended));
    }
    first
}

async fn wait(
    link: Link,
    session: Session,
    until: Option<Instant>,
) -> Result<TurnServiceWaitResponse, Failure> {
    let id = session.id.clone();
    let mut watch = Watch::from_now(link, session).telling_silence(true);
    let ended = watch
        .beside(async |connection| {
            let request = TurnServiceWaitRequest {
                session: id.clone(),
                timeout_ms: left_ms(until),
            };
            connection.turns().wait(request).await
        })
        .await?;
    Ok(ended.into_inner())
}

/// Milliseconds until then; 0, which is for ever, for no limit.
pub(super) fn left_ms(until: Option<Instant>) -> i64 {
    let left = until.map(|until| until.saturating_duration_since(Instant::now()));
    left.map_or(0, |left| {
        i64::try_from(left.as_millis().max(1)).unwrap_or(i64::MAX)
    })
}

fn judge(session: &str, ended: &TurnServiceWaitResponse) -> Done {
    if ended.needs_approval {
        return Err(Failure::new(
            Exit::Denied,
            format!("session {session} waits for an approval: `quire approve {session}`"),
        ));
    }
    if ended.suspended {
        return Err(Failure::new(
            Exit::Failed,
            format!(
                "session {session} is suspended ({}): `quire send {session}` goes on",
                ended.error
            ),
        ));
    }
    match Failure::of_stop(ended.stop_reason(), &ended.error, &ended.error_kind) {
        Some(failure) => Err(failure),
        None => Ok(()),
    }
}
