//! What it costs to lose nothing: `cargo bench -p quire-tests --bench survive`.
//!
//! Kills daemons under clients that watch, under jobs that run and over a large database, and weighs
//! what is written to disk, in the same run as baselines for each. `QUIRE_KILLS=200` raises the number
//! of kills. Never part of `cargo test`.

#![expect(clippy::print_stdout, reason = "printing figures is what it is for")]

use std::{
    fs::{self, File},
    io::Write as _,
    time::{Duration, Instant},
};

use futures_util::future::join_all;
use quire_proto::{
    id::RequestId,
    v1::{DaemonServiceGetStatusRequest, SessionServiceArchiveRequest},
};
use quire_tests::{
    binaries::binaries,
    dice::count,
    home::Home,
    model::{Gate, MockModel, Reply, Wire},
    processes::{Process, proportional},
    rpc::Rpc,
    wait,
};

/// Commits of each kind that are measured.
const COMMITS: usize = 200;
/// Calls under way at once when the cost of a shared commit is measured.
const TOGETHER: usize = 50;
/// Megabytes of text in the large database.
const LARGE: usize = 100;
/// Uses nothing while it runs.
const SLEEPER: &str = "exec sleep 1000";
/// Ends when told to.
const PATIENT: &str = "until [ -e go ]; do sleep 0.005; done";

/// One line of the result.
struct Figure {
    name: String,
    value: Duration,
    /// What it is compared with, in the same run.
    baseline: Option<(Duration, &'static str)>,
}

fn main() {
    let _ = binaries();
    println!(
        "{:<48}{:>12}{:>12}{:>8}  baseline",
        "figure", "value", "baseline", "ratio"
    );
    let parts: [fn() -> Vec<Figure>; 5] = [returns, adoption, commits, keepers, large];
    for part in parts {
        part().iter().for_each(show);
    }
}

fn show(figure: &Figure) {
    let Figure {
        name,
        value,
        baseline,
    } = figure;
    let (base, ratio, what) = match baseline {
        Some((base, what)) => {
            let ratio = value.as_secs_f64() / base.as_secs_f64();
            (millis(*base), format!("{ratio:.2}"), *what)
        }
        None => (String::new(), String::new(), ""),
    };
    println!(
        "{name:<48}{:>12}{base:>12}{ratio:>8}  {what}",
        millis(*value)
    );
}

fn millis(time: Duration) -> String {
    format!("{:.2} ms", time.as_secs_f64() * 1000.0)
}

/// A scene in which the daemon is killed; how long its client then waits.
type Killed = fn() -> Duration;

/// From SIGKILL of the daemon to the next line of an attached `quire exec --json`.
fn returns() -> Vec<Figure> {
    let kills = count("QUIRE_KILLS", 20);
    let start = cold_start();
    let baseline = Some((start, "`quire daemon start` where none ran"));
    let mut figures = Vec::new();
    let scenes: [(&str, Killed); 2] =
        [("stream", killed_in_stream), ("command", killed_in_command)];
    for (scene, killed) in scenes {
        let mut times: Vec<_> = (0..kills).map(|_| killed()).collect();
        times.sort_unstable();
        for (name, part) in [("median", 50), ("p95", 95)] {
            figures.push(Figure {
                name: format!("kill to next event, mid-{scene}, {name} of {kills}"),
                value: times[(times.len() - 1) * part / 100],
                baseline,
            });
        }
    }
    figures
}

/// The model is in mid-answer; the next line is the part that was shown, or the whole.
fn killed_in_stream() -> Duration {
    let gate = Gate::closed();
    let model = MockModel::playing([Reply::say("half ").and_hold(&gate).and_say("whole")]);
    let home = Home::asking(&model, Wire::Responses);
    let client = home.quire(["exec", "--json", "go"]).spawn();
    gate.wait_reached();
    client.shows("turn.started");
    let time = killed(&home, &client, || gate.open());
    assert_eq!(client.finish().code, 0);
    time
}

/// A command runs, and ends while no daemon lives.
fn killed_in_command() -> Duration {
    let model = MockModel::playing([Reply::shell(PATIENT), Reply::say("done")]);
    let home = Home::asking(&model, Wire::Responses);
    let client = home.quire(["exec", "--json", "go"]).spawn();
    client.shows("in_progress");
    let go = home.work().join("go");
    let time = killed(&home, &client, || {
        fs::write(go, "").expect("the place for work is writable");
    });
    assert_eq!(client.finish().code, 0);
    time
}

fn killed(home: &Home, client: &quire_tests::process::Running, then: impl FnOnce()) -> Duration {
    let shown = client.stdout().len();
    let daemon = home.daemon().expect("a daemon");
    let begun = Instant::now();
    rustix::process::kill_process(daemon, rustix::process::Signal::KILL)
        .expect("the daemon is ours to kill");
    then();
    client.grows(shown);
    begun.elapsed()
}

/// Median wall time of `quire daemon start` on an empty home.
fn cold_start() -> Duration {
    let model = MockModel::playing([Reply::say("never asked for")]);
    let home = Home::asking(&model, Wire::Responses);
    started(&home);
    median((0..10).map(|_| restarted(&home)))
}

/// Kills the daemon; wall time of the next start.
fn restarted(home: &Home) -> Duration {
    home.kill_daemon();
    started(home)
}

fn started(home: &Home) -> Duration {
    let start = home.quire(["daemon", "start"]).run();
    assert_eq!(start.code, 0, "{}", start.stderr);
    start.wall
}

/// What each living job adds to the time from a daemon's start until all jobs are its own.
fn adoption() -> Vec<Figure> {
    let empty = adopted_within(0);
    let figure = |jobs: usize| Figure {
        name: format!("adoption, each of {jobs} living jobs"),
        value: adopted_within(jobs).saturating_sub(empty) / u32::try_from(jobs).unwrap_or(1),
        baseline: Some((empty, "a start without jobs")),
    };
    [1, 10, 50].map(figure).into()
}

fn adopted_within(jobs: usize) -> Duration {
    let (_model, home) = with_jobs(jobs);
    median((0..5).map(|_| {
        home.kill_daemon();
        let begun = Instant::now();
        started(&home);
        let rpc = Rpc::connect(&home);
        // Asked again and again: nothing announces it, and a pause would be longer than it takes.
        while running_jobs(&rpc) < jobs {
            assert!(begun.elapsed() < wait::PATIENCE, "a job was lost");
        }
        begun.elapsed()
    }))
}

/// A home with that many sessions whose command runs.
fn with_jobs(jobs: usize) -> (MockModel, Home) {
    let model = MockModel::playing([Reply::shell(SLEEPER), Reply::say("done")]);
    let home = Home::asking(&model, Wire::Responses);
    started(&home);
    for _ in 0..jobs {
        let run = home.quire(["exec", "go", "--detach"]).run();
        assert_eq!(run.code, 0, "{}", run.stderr);
    }
    let rpc = Rpc::connect(&home);
    wait::until("all jobs", || running_jobs(&rpc) == jobs);
    (model, home)
}

fn running_jobs(rpc: &Rpc) -> usize {
    let request = DaemonServiceGetStatusRequest {};
    let status = rpc.wait(async { rpc.daemon().get_status(request).await });
    let status = status.expect("the daemon tells how it is").into_inner();
    usize::try_from(status.running_jobs).unwrap_or_default()
}

/// A call that is only acknowledged once it is on disk, alone and in company, against a bare write.
/// A plain commit has no call of its own; it is in the figures of `path`, several to each tool turn.
fn commits() -> Vec<Figure> {
    let model = MockModel::playing([Reply::say("never asked for")]);
    let home = Home::asking(&model, Wire::Responses);
    let rpc = Rpc::starting(&home);
    let session = rpc.create(&home, &home.work()).id;
    let bare = median(synced_writes(&home));
    let call = median((0..COMMITS).map(|_| {
        let begun = Instant::now();
        let _ = rpc.session(&session);
        begun.elapsed()
    }));
    let barrier = median((0..COMMITS).map(|nth| {
        let begun = Instant::now();
        rpc.wait(archive(&rpc, &session, nth % 2 == 0));
        begun.elapsed()
    }));
    let sessions: Vec<_> = (0..TOGETHER)
        .map(|_| rpc.create(&home, &home.work()).id)
        .collect();
    let shared = median((0..10).map(|nth| {
        let begun = Instant::now();
        let calls = sessions.iter();
        rpc.wait(join_all(calls.map(|one| archive(&rpc, one, nth % 2 == 0))));
        begun.elapsed() / TOGETHER as u32
    }));
    let against = |name: &str, value, baseline| Figure {
        name: name.to_owned(),
        value,
        baseline: Some(baseline),
    };
    let disk = (bare, "a page written and synced");
    vec![
        against("call that writes nothing", call, disk),
        against("call with a barrier", barrier, disk),
        against(
            "call with a barrier, each of 50 at once",
            shared,
            (barrier, "alone"),
        ),
    ]
}

async fn archive(rpc: &Rpc, session: &str, restore: bool) {
    let request = SessionServiceArchiveRequest {
        request_id: RequestId::random().to_string(),
        session: session.to_owned(),
        restore,
    };
    let done = rpc.sessions().archive(request).await;
    done.unwrap_or_else(|status| panic!("archive: {status}"));
}

/// Each a page appended to a file beside the database, and on disk.
fn synced_writes(home: &Home) -> Vec<Duration> {
    let path = home.quire_home().join("baseline");
    let mut file = File::create(&path).expect("the home is writable");
    let times = (0..COMMITS).map(|_| {
        let begun = Instant::now();
        let written = file.write_all(&[7; 4096]).and_then(|()| file.sync_data());
        written.expect("the disk has room for a page");
        begun.elapsed()
    });
    let times = times.collect();
    fs::remove_file(path).expect("it was just made");
    times
}

/// Proportional memory of what stands between the daemon and each command.
fn keepers() -> Vec<Figure> {
    const JOBS: usize = 10;
    let (_model, home) = with_jobs(JOBS);
    let sandbox = binaries().sandbox();
    let ours = |one: &&Process| one.program == sandbox;
    let all = home.processes();
    let bytes: u64 = all
        .iter()
        .filter(ours)
        .map(|one| proportional(one.pid))
        .sum();
    let count = all.iter().filter(ours).count();
    println!(
        "{:<48}{:>9} KiB   in {} processes; the aim is less than 1,024",
        format!("keeper memory, each of {JOBS} jobs"),
        bytes / 1024 / JOBS as u64,
        count / JOBS
    );
    Vec::new()
}

/// Start over a database of many megabytes, after a kill and after an orderly end.
fn large() -> Vec<Figure> {
    let empty = cold_start();
    let model = MockModel::playing([Reply::say(&"x".repeat(1 << 20))]);
    let home = Home::asking(&model, Wire::Responses);
    for _ in 0..LARGE {
        let run = home.quire(["exec", "go"]).run();
        assert_eq!(run.code, 0, "{}", run.stderr);
    }
    let size = fs::metadata(home.paths().database()).map_or(0, |meta| meta.len());
    let killed = median((0..5).map(|_| restarted(&home)));
    let ended = median((0..5).map(|_| {
        assert_eq!(home.quire(["daemon", "stop"]).run().code, 0);
        started(&home)
    }));
    let figure = |after: &str, value| Figure {
        name: format!("start over {} MB, after {after}", size >> 20),
        value,
        baseline: Some((empty, "a start over an empty one")),
    };
    vec![figure("a kill", killed), figure("an orderly end", ended)]
}

fn median(values: impl IntoIterator<Item = Duration>) -> Duration {
    let mut values: Vec<_> = values.into_iter().collect();
    values.sort_unstable();
    values[values.len() / 2]
}
