//! From the wish to see a long session to its first screen, and to all of it.

use std::time::{Duration, Instant};

use quire_proto::v1::{SessionServiceListEventsRequest, session_service_watch_response::Update};
use quire_tests::{
    home::{Home, provider},
    model::{MockModel, Reply, Wire},
    rpc::Rpc,
};
use tokio::runtime::Runtime;

use super::{
    Figure,
    watching::{connected, next, readers, watch},
};

/// Events of the session, about.
const EVENTS: u64 = 10_000;
/// Commands in one answer of the model, and answers; each command makes five events.
const CALLS: usize = 10;
const ANSWERS: usize = 200;
/// Runs of each figure.
const RUNS: usize = 7;
/// A client that takes a snapshot in place of more events than this.
const BEYOND: u64 = 1_000;

/// How long it took from the connection on.
#[derive(Clone, Copy)]
struct Replayed {
    first: Duration,
    synced: Duration,
}

pub(crate) fn figures() -> Vec<Figure> {
    let answers = (0..ANSWERS).map(|answer| {
        let first = Reply::shell(&format!("echo {answer}"));
        (1..CALLS).fold(first, |reply, nth| {
            reply.and_shell(&format!("echo {answer}.{nth}"))
        })
    });
    let model = MockModel::playing(answers.chain([Reply::say("All ran.")]));
    let home = Home::new();
    let limits = "[limits]\nmax_requests = 1000\n";
    home.configure(&(provider(&model.base_url(), Wire::Responses) + limits));
    let rpc = Rpc::starting(&home);
    let session = rpc.create(&home, &home.work()).id;
    rpc.prompt(&session, "run them all");
    // Longer than a call is usually waited for.
    while rpc.session(&session).running_turn != 0 {
        let wait = quire_proto::v1::TurnServiceWaitRequest {
            session: session.clone(),
            timeout_ms: 5_000,
        };
        let _still_running = rpc.wait(async { rpc.turns().wait(wait).await });
    }
    let head = rpc.session(&session).head_seq;
    assert!(head > EVENTS * 9 / 10, "{head} events");
    let runtime = readers();
    let listed = median((0..RUNS).map(|_| runtime.block_on(list(&home, &session))));
    let mut figures = Vec::new();
    for (sleeping, state) in [(false, "awake"), (true, "asleep")] {
        for (beyond, how) in [(BEYOND, "snapshot"), (0, "events")] {
            let runs: Vec<Replayed> = (0..RUNS)
                .map(|_| {
                    if sleeping {
                        assert_eq!(home.quire(["daemon", "stop"]).run().code, 0);
                        assert_eq!(home.quire(["daemon", "start"]).run().code, 0);
                    }
                    replay(&runtime, &home, &session, beyond)
                })
                .collect();
            let aim = (beyond > 0 && !sleeping).then_some(30.0);
            let part = |name: &str, value, aim| Figure {
                name: format!("{head} events, {state}, {how}, {name}"),
                value: millis(value),
                unit: "ms",
                baseline: Some((millis(listed), "ListEvents of all")),
                aim,
            };
            let first = median(runs.iter().map(|run| run.first));
            let synced = median(runs.iter().map(|run| run.synced));
            figures.push(part("first", first, aim));
            figures.push(part("synced", synced, None));
        }
    }
    figures
}

fn replay(runtime: &Runtime, home: &Home, session: &str, beyond: u64) -> Replayed {
    runtime.block_on(async {
        let mut sessions = connected(home).await;
        let began = Instant::now();
        let mut updates = watch(&mut sessions, session, beyond).await;
        let first = next(&mut updates).await;
        assert_eq!(matches!(first, Some(Update::Snapshot(_))), beyond > 0);
        let first = began.elapsed();
        while !matches!(next(&mut updates).await, Some(Update::Synced(_)) | None) {}
        Replayed {
            first,
            synced: began.elapsed(),
        }
    })
}

async fn list(home: &Home, session: &str) -> Duration {
    let mut sessions = connected(home).await;
    let began = Instant::now();
    let mut after_seq = 0;
    loop {
        let request = SessionServiceListEventsRequest {
            session: session.to_owned(),
            after_seq,
            page_size: 1_000,
        };
        let page = sessions.list_events(request).await;
        let page = page.expect("the log can be read").into_inner();
        match page.events.last() {
            Some(last) => after_seq = last.seq,
            None => return began.elapsed(),
        }
    }
}

fn median(values: impl IntoIterator<Item = Duration>) -> Duration {
    let mut values: Vec<_> = values.into_iter().collect();
    values.sort_unstable();
    values[values.len() / 2]
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1_000.0
}
