//! Wait until sessions have nothing more to do.

use std::time::{Duration, Instant};

use futures_util::{StreamExt as _, future::LocalBoxFuture, stream::FuturesUnordered};
use quire_proto::v1::{Session, TurnServiceWaitRequest, TurnServiceWaitResponse};
use serde::Serialize;

use super::{Done, find_session, json_lines};
use crate::{
    cli,
    context::{self, Context},
    failure::{Exit, Failure},
    link::{Link, Watch},
    output::paint::printable,
};

/// Sessions waited for over one connection, which bears two calls for each.
const PER_LINK: usize = 100;

/// Wait until sessions have nothing more to do.
///
/// Each is told on standard output, a line when it comes to rest: all of them, or with `--any` the first.
/// The exit code is that of the first session named that did not end well, with `--any` that of the one
/// told: 3 when it waits for an approval, 1 when it is suspended or its last turn failed, 6 when the time is
/// over.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  id=$(quire exec --detach 'run the slow tests') && quire wait $id --timeout 1h
  quire wait --any $first $second
  quire wait --json @last | jq -r .state")]
pub struct Arguments {
    /// Ids, unique prefixes, titles, or @last.
    #[arg(required = true)]
    sessions: Vec<String>,
    /// Until the first of them rests.
    #[arg(long)]
    any: bool,
    /// Until all of them rest; that is so without it, too.
    #[arg(long, conflicts_with = "any")]
    all: bool,
    /// Longest wait in all; then the exit code is 6.
    #[arg(long, value_name = "DUR", value_parser = cli::duration)]
    timeout: Option<Duration>,
    /// JSON lines.
    #[arg(long)]
    json: bool,
}

/// A session at rest, for scripts.
#[derive(Serialize)]
struct Line<'a> {
    session: &'a str,
    state: &'static str,
    turn: u64,
    stop_reason: Option<&'static str>,
    error: &'a str,
    exit_code: u8,
}

/// What came of one session.
struct Rested {
    /// Place among those named.
    place: usize,
    id: String,
    /// How it rests, or why that cannot be told.
    ended: Result<TurnServiceWaitResponse, Failure>,
    /// It is suspended for what a client's world may have.
    wants_world: bool,
}

/// Carries it out.
///
/// # Errors
///
/// How the session that decides the exit code ended, or that the time is over.
pub async fn run(arguments: Arguments, context: &Context) -> Done {
    let until = arguments.timeout.map(|timeout| Instant::now() + timeout);
    let mut link = Link::open(&context.host, context.watcher("wait")).await?;
    let mut sessions: Vec<Session> = Vec::new();
    for name in &arguments.sessions {
        let session = find_session(&mut link, name).await?;
        if sessions.iter().all(|known| known.id != session.id) {
            sessions.push(session);
        }
    }
    let mut failures: Vec<Option<Failure>> = vec![None; sessions.len()];
    let mut waiting: Vec<String> = sessions.iter().map(|one| one.id.clone()).collect();
    let mut waits = begin(link, sessions, until, context).await?;
    while let Some(rested) = waits.next().await {
        if let Err(failure) = &rested.ended
            && ends_all(failure)
        {
            return Err(over(failure, &waiting, failures.len()));
        }
        let failure = rested.failure();
        context::print(rested.told(arguments.json))?;
        if arguments.any {
            return failure.map_or(Ok(()), Err);
        }
        waiting.retain(|id| *id != rested.id);
        failures[rested.place] = failure;
    }
    failures.into_iter().flatten().next().map_or(Ok(()), Err)
}

/// Waits for each session.
async fn begin(
    link: Link,
    sessions: Vec<Session>,
    until: Option<Instant>,
    context: &Context,
) -> Result<FuturesUnordered<LocalBoxFuture<'static, Rested>>, Failure> {
    let waits = FuturesUnordered::new();
    let mut link = Some(link);
    let mut place = 0;
    for some in sessions.chunks(PER_LINK) {
        let link = match link.take() {
            Some(link) => link,
            None => Link::open(&context.host, context.watcher("wait")).await?,
        };
        for session in some {
            let (link, session, here) = (link.clone(), session.clone(), place);
            let wait = async move {
                let id = session.id.clone();
                let ended = wait(link.clone(), session, until).await;
                let suspended = ended.as_ref().is_ok_and(|ended| ended.suspended);
                Rested {
                    place: here,
                    wants_world: suspended && wants_world(link, &id).await.unwrap_or_default(),
                    id,
                    ended,
                }
            };
            waits.push(Box::pin(wait) as LocalBoxFuture<'static, Rested>);
            place += 1;
        }
    }
    Ok(waits)
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

/// Whether the suspended turn waits for a client's world: the daemon may want one for the session whose turn
/// waits for a person.
async fn wants_world(link: Link, id: &str) -> Result<bool, Failure> {
    let mut watch = Watch::from_start(link, id.to_owned());
    while !watch.view().is_synced() {
        for update in watch.next().await? {
            watch.apply(&update);
        }
    }
    let view = watch.view();
    let turn = view.running_turn().and_then(|turn| view.turn(turn));
    Ok(turn.is_some_and(|turn| turn.wants_world))
}

/// Milliseconds until then; 0, which is for ever, for no limit.
pub(super) fn left_ms(until: Option<Instant>) -> i64 {
    let left = until.map(|until| until.saturating_duration_since(Instant::now()));
    left.map_or(0, |left| {
        i64::try_from(left.as_millis().max(1)).unwrap_or(i64::MAX)
    })
}

/// Whether a failure is not one session's.
fn ends_all(failure: &Failure) -> bool {
    matches!(failure.exit(), Exit::NoDaemon | Exit::Limit)
}

/// What is told when `failure` ends the wait for `named` sessions.
fn over(failure: &Failure, waiting: &[String], named: usize) -> Failure {
    match (failure.exit(), named) {
        (Exit::Limit, 2..) => Failure::new(
            Exit::Limit,
            format!("the time is over; still at work: {}", waiting.join(", ")),
        ),
        _ => failure.clone(),
    }
}

impl Rested {
    fn failure(&self) -> Option<Failure> {
        let id = &self.id;
        let ended = match &self.ended {
            Ok(ended) => ended,
            Err(failure) => return Some(failure.clone()),
        };
        if ended.needs_approval {
            return Some(Failure::new(
                Exit::Denied,
                format!("session {id} waits for an approval: `quire approve {id}`"),
            ));
        }
        if ended.suspended {
            let why = &ended.error;
            let how = match self.wants_world {
                true => format!("`quire env {id} --refresh`"),
                false => format!("`quire send {id} 'go on'`"),
            };
            return Some(Failure::new(
                Exit::Failed,
                format!("session {id} is suspended ({why}): {how} goes on"),
            ));
        }
        Failure::of_stop(ended.stop_reason(), &ended.error, &ended.error_kind)
    }

    /// How it rests, in a word or two.
    fn state(&self) -> &'static str {
        match &self.ended {
            Err(_) => "gone",
            Ok(ended) if ended.needs_approval => "needs approval",
            Ok(ended) if ended.suspended => "suspended",
            Ok(_) => "idle",
        }
    }

    fn told(&self, json: bool) -> String {
        let failure = self.failure();
        let error = match &self.ended {
            Ok(ended) => ended.error.as_str(),
            Err(failure) => failure.message().unwrap_or_default(),
        };
        if json {
            let ended = self.ended.as_ref().ok();
            return json_lines([Line {
                session: &self.id,
                state: self.state(),
                turn: ended.map_or(0, |ended| ended.turn),
                stop_reason: ended.and_then(|ended| super::ps::stop_word(ended.stop_reason())),
                error,
                exit_code: failure.map_or(0, |failure| failure.exit() as u8),
            }]);
        }
        let how = match (&failure, self.state()) {
            (None, _) => "done".to_owned(),
            (Some(failure), "idle") => {
                format!("stopped: {}", failure.message().unwrap_or_default())
            }
            (Some(_), state) if error.is_empty() => state.to_owned(),
            (Some(_), state) => format!("{state}: {error}"),
        };
        format!("{}  {}\n", self.id, printable(&how).replace('\n', " "))
    }
}

#[cfg(test)]
mod tests {
    use quire_proto::v1::StopReason;

    use super::*;

    fn rested(ended: Result<TurnServiceWaitResponse, Failure>) -> Rested {
        Rested {
            place: 0,
            id: "bcd".into(),
            ended,
            wants_world: false,
        }
    }

    #[test]
    fn a_suspended_session_is_told_with_what_sends_it_on() {
        for (wants_world, how) in [
            (true, "`quire env bcd --refresh` goes on"),
            (false, "`quire send bcd 'go on'` goes on"),
        ] {
            let suspended = TurnServiceWaitResponse {
                suspended: true,
                ..TurnServiceWaitResponse::default()
            };
            let rested = Rested {
                wants_world,
                ..rested(Ok(suspended))
            };
            let told = rested.failure().unwrap().to_string();
            assert!(told.contains(how), "{told}");
        }
    }

    #[test]
    fn each_way_to_rest_has_its_line_and_its_code() {
        let waits = TurnServiceWaitResponse {
            turn: 2,
            needs_approval: true,
            ..TurnServiceWaitResponse::default()
        };
        let suspended = TurnServiceWaitResponse {
            suspended: true,
            error: "no key".into(),
            ..TurnServiceWaitResponse::default()
        };
        let done = TurnServiceWaitResponse {
            turn: 1,
            stop_reason: StopReason::Done.into(),
            ..TurnServiceWaitResponse::default()
        };
        let failed = TurnServiceWaitResponse {
            stop_reason: StopReason::ModelError.into(),
            error: "nobody\nanswers".into(),
            error_kind: "unreachable".into(),
            ..TurnServiceWaitResponse::default()
        };
        let gone = Failure::usage("no session `bcd`");
        let table = [
            (Ok(done), 0, "bcd  done\n"),
            (Ok(waits.clone()), 3, "bcd  needs approval\n"),
            (Ok(suspended), 1, "bcd  suspended: no key\n"),
            (Ok(failed), 5, "bcd  stopped: nobody answers\n"),
            (Err(gone), 2, "bcd  gone: no session `bcd`\n"),
        ];
        for (ended, code, line) in table {
            let rested = rested(ended);
            let failure = rested.failure();
            assert_eq!(failure.map_or(0, |failure| failure.exit() as u8), code);
            assert_eq!(rested.told(false), line);
        }
        insta::assert_snapshot!(rested(Ok(waits)).told(true), @r#"{"session":"bcd","state":"needs approval","turn":2,"stop_reason":null,"error":"","exit_code":3}"#);
    }
}
