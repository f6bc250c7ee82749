//! What sessions and clients weigh in the daemon, and how still it is when nothing happens.

use std::{collections::BTreeMap, ffi::OsString, fs, thread, time::Duration};

use quire_proto::v1::StopReason;
use quire_tests::{
    home::Home,
    model::{MockModel, Reply, Wire},
    processes::proportional,
    rpc::Rpc,
    wait,
};

use super::{
    Figure,
    watching::{Stopped, Updates, connected, past, readers, watch},
};

const SESSIONS: usize = 50;
const CLIENTS: usize = 100;
const STOPPED: usize = 10;
/// A command's output that the stopped clients do not read.
const LOUD: &str = "head -c 100000000 /dev/zero | tr '\\0' x";
/// How long an idle daemon is looked at.
const STILL: Duration = Duration::from_secs(10);

pub(crate) fn figures() -> Vec<Figure> {
    let model = MockModel::playing([Reply::shell(LOUD), Reply::say("That was loud.")]);
    let home = Home::asking(&model, Wire::Responses);
    let rpc = Rpc::starting(&home);
    let idle = weight(&home);
    let wakes = wakes(&home);
    let sessions: Vec<String> = (0..SESSIONS)
        .map(|_| rpc.create(&home, &home.work()).id)
        .collect();
    let with_sessions = weight(&home);
    let runtime = readers();
    let clients: Vec<Updates> = (0..CLIENTS)
        .map(|_| {
            runtime.block_on(async {
                let mut updates = watch(&mut connected(&home).await, &sessions[0], 0).await;
                past(&mut updates).await;
                updates
            })
        })
        .collect();
    let with_clients = weight(&home);
    drop(clients);
    drop(runtime);
    loud(&rpc, &sessions[1]);
    let quiet = weight(&home);
    let before = descriptors(&home);
    let stopped = Stopped::watching(&home, &sessions[2], STOPPED);
    loud(&rpc, &sessions[2]);
    let with_stopped = weight(&home);
    drop(stopped);
    wait::until("the stopped clients to be gone", || {
        descriptors(&home) <= before
    });
    let left = weight(&home);
    let each = |what: &str, count: usize, (from, to): (f64, f64), aim| Figure {
        name: format!("memory, each of {count} {what}"),
        value: (to - from) / count as f64,
        unit: "MiB",
        baseline: None,
        aim: Some(aim),
    };
    vec![
        Figure {
            name: "memory, idle daemon".to_owned(),
            value: idle,
            unit: "MiB",
            baseline: None,
            aim: Some(30.0),
        },
        Figure {
            name: "wakes of an idle daemon".to_owned(),
            value: wakes,
            unit: "/s",
            baseline: None,
            aim: None,
        },
        each("idle sessions", SESSIONS, (idle, with_sessions), 0.5),
        each("clients", CLIENTS, (with_sessions, with_clients), 0.2),
        each(
            "stopped clients, after 100 MB",
            STOPPED,
            (quiet, with_stopped),
            1.0,
        ),
        Figure {
            name: "memory, when they have left".to_owned(),
            value: left,
            unit: "MiB",
            baseline: Some((quiet, "before they came")),
            aim: None,
        },
    ]
}

fn loud(rpc: &Rpc, session: &str) {
    rpc.prompt(session, "be loud");
    let settled = rpc.settled(session);
    assert_eq!(settled.stop_reason(), StopReason::Done, "{settled:?}");
}

/// Descriptors that the daemon has open.
fn descriptors(home: &Home) -> usize {
    let daemon = home.daemon().expect("a daemon runs").as_raw_nonzero();
    fs::read_dir(format!("/proc/{daemon}/fd")).map_or(0, Iterator::count)
}

/// How often a second any of its threads has waited for something, once it has settled.
fn wakes(home: &Home) -> f64 {
    thread::sleep(STILL / 3);
    let before = waits(home);
    thread::sleep(STILL);
    let after = waits(home).into_iter();
    let more = after.map(|(thread, count)| count - before.get(&thread).unwrap_or(&count));
    more.sum::<u64>() as f64 / STILL.as_secs_f64()
}

/// Waits so far, by thread.
fn waits(home: &Home) -> BTreeMap<OsString, u64> {
    let daemon = home.daemon().expect("a daemon runs").as_raw_nonzero();
    let threads = fs::read_dir(format!("/proc/{daemon}/task"));
    let threads = threads.into_iter().flatten().flatten();
    let counted = threads.filter_map(|thread| {
        let status = fs::read_to_string(thread.path().join("status")).ok()?;
        let mut lines = status.lines();
        let count = lines.find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"))?;
        Some((thread.file_name(), count.trim().parse().ok()?))
    });
    counted.collect()
}

/// Proportional memory of the daemon, in MiB.
fn weight(home: &Home) -> f64 {
    let daemon = home.daemon().expect("a daemon runs");
    proportional(daemon) as f64 / f64::from(1 << 20)
}
