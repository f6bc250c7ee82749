//! Signals to the daemon: it settles, says why, and is gone in time; what it was doing goes on with
//! the next. And a daemon that stands still for a while goes on where it stood.
//!
//! `QUIRE_STALL=60` is how many seconds it stands still.

#![allow(clippy::unwrap_used, reason = "a test that can't go on has failed")]

use std::{fs, path::Path, time::Duration};

use quire_proto::v1::{OutcomeStatus, item};
use quire_tests::{
    dice::count,
    home::Home,
    lies::Lie,
    model::{Gate, MockModel, Reply, Wire},
    processes::alive,
    rpc::Rpc,
    skip::skip,
    wait,
};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;

/// A daemon that was told to end is gone within this.
const ENDED: Duration = Duration::from_secs(5);

const FATAL: [(Signal, &str); 3] = [
    (Signal::TERM, "SIGTERM"),
    (Signal::HUP, "SIGHUP"),
    (Signal::INT, "SIGINT"),
];

/// Says that it runs, waits for the file `go`, and ends with exit status 5.
const PATIENT: &str = "echo run >> runs; until [ -e go ]; do sleep 0.02; done; exit 5";

fn patient() -> [Reply; 2] {
    let command = Reply::default().and_shell_with(PATIENT, json!({ "yield_time_ms": 30_000 }));
    [command, Reply::say("it ended")]
}

fn begin(home: &Home) -> Pid {
    let run = home.quire(["exec", "go", "--detach"]).run();
    assert_eq!(run.code, 0, "{}", run.stderr);
    home.daemon().expect("a daemon")
}

fn end(daemon: Pid, signal: Signal) {
    kill_process(daemon, signal).expect("the daemon is ours to end");
    let gone = wait::within(ENDED, || (!alive(daemon)).then_some(()));
    assert!(gone.is_some(), "alive {ENDED:?} after {signal:?}");
}

fn log(home: &Home) -> String {
    fs::read_to_string(home.paths().logs().join("quired.log")).unwrap_or_default()
}

/// Row 7.
#[test]
fn a_signal_in_mid_command_ends_the_daemon_and_neither_command_nor_turn() {
    for (signal, name) in FATAL {
        let model = MockModel::playing(patient());
        let home = Home::asking(&model, Wire::Responses);
        let daemon = begin(&home);
        wait::until("the command", || home.work().join("runs").exists());
        end(daemon, signal);
        assert!(log(&home).contains(name), "{name} is not in the log");
        assert!(home.record().is_none(), "{name}: the record is left");
        let left = home.processes();
        assert!(!left.is_empty(), "{name}: the command died as well");
        check_goes_on(&home, name);
        let rest: Vec<_> = home
            .processes()
            .into_iter()
            .map(|one| one.command)
            .collect();
        assert_eq!(
            rest.len(),
            1,
            "{name}: more than the daemon is left: {rest:#?}"
        );
        assert_eq!(model.requests().len(), 2, "{name}");
    }
}

/// Lets the command end, and looks at what the next daemon made of it.
fn check_goes_on(home: &Home, name: &str) {
    fs::write(home.work().join("go"), "").unwrap();
    let waited = home.quire(["wait", "@last"]).run();
    assert_eq!(waited.code, 0, "{name}: {}", waited.stderr);
    assert_eq!(
        fs::read_to_string(home.work().join("runs")).unwrap(),
        "run\n"
    );
    let outcomes = Rpc::connect(home).outcomes("@last").into_iter();
    let ends: Vec<_> = outcomes
        .map(|outcome| (outcome.status(), outcome.exit_code))
        .collect();
    assert_eq!(ends, [(OutcomeStatus::Succeeded, Some(5))], "{name}");
}

/// Row 7.
#[test]
fn a_signal_in_mid_stream_ends_the_daemon_and_no_watcher_loses_what_it_was_shown() {
    for (signal, name) in FATAL {
        let gate = Gate::closed();
        let model = MockModel::playing([Reply::say("half ").and_hold(&gate).and_say("whole")]);
        let home = Home::asking(&model, Wire::Chat);
        let client = home.quire(["exec", "go"]).spawn();
        gate.wait_reached();
        let daemon = home.daemon().expect("a daemon");
        end(daemon, signal);
        assert!(log(&home).contains(name), "{name} is not in the log");
        // The client that was watching brings the next one.
        gate.wait_reached_times(2);
        gate.open();
        let client = client.finish();
        assert_eq!(client.code, 0, "{name}: {}", client.stderr);
        assert!(
            client.stdout.ends_with("half whole\n"),
            "{name}: {}",
            client.stdout
        );
    }
}

/// Row 7: a disk that no longer answers holds nobody up.
#[test]
fn a_drain_that_hangs_is_ended_by_the_watchdog() {
    let model = MockModel::playing(patient());
    let home = Home::asking(&model, Wire::Responses);
    let stalled = home.root().join("stalled");
    let Some(lie) = Lie::disk(&home, &stalled) else {
        return skip("there is no C compiler to make a disk stall");
    };
    let run = lie.to(home.quire(["exec", "go", "--detach"])).run();
    assert_eq!(run.code, 0, "{}", run.stderr);
    wait::until("the command", || home.work().join("runs").exists());
    let daemon = home.daemon().expect("a daemon");
    fs::write(&stalled, "").unwrap();
    kill_process(daemon, Signal::TERM).expect("the daemon is ours to end");
    let gone = wait::within(2 * ENDED, || (!alive(daemon)).then_some(()));
    assert!(gone.is_some(), "the drain hangs, and nothing ends it");
    assert!(log(&home).contains("the drain hangs"), "{}", log(&home));
    fs::remove_file(&stalled).unwrap();
    check_goes_on(&home, "after the watchdog");
}

/// Row 18.
#[test]
fn a_daemon_that_stood_still_goes_on_without_gap_or_repeat() {
    let gate = Gate::closed();
    let reply = Reply::say("first ").and_hold(&gate);
    let reply = reply.and_say(&Reply::tokens(400).text());
    let text = reply.text();
    let model = MockModel::playing([reply.paced(Duration::from_millis(5))]);
    let home = Home::asking(&model, Wire::Responses);
    let rpc = Rpc::starting(&home);
    let daemon = home.daemon().expect("a daemon");
    let client = home.quire(["exec", "go"]).spawn();
    gate.wait_reached();
    let watcher = rpc.watch(&rpc.session("@last").id, None);
    gate.open();
    watcher.until("some text", |view| view.growing_text().len() > 100);

    kill_process(daemon, Signal::STOP).expect("the daemon is ours to stop");
    let stall = Duration::from_secs(count("QUIRE_STALL", 5) as u64);
    let asking = home.quire(["ps"]).limit(2 * stall + wait::PATIENCE).spawn();
    wait::pass(stall);
    kill_process(daemon, Signal::CONT).expect("the daemon is ours to wake");

    watcher.until_turns_ended(1);
    let client = client.finish();
    assert_eq!(
        (client.code, client.stdout.trim_end()),
        (0, text.trim_end())
    );
    let said = watcher
        .view()
        .items()
        .into_iter()
        .find_map(|one| match one.kind {
            Some(item::Kind::Message(message)) => Some(message.text),
            _ => None,
        });
    assert_eq!(said, Some(text));
    assert_eq!(home.daemon(), Some(daemon), "it was taken for dead");
    assert_eq!(model.requests().len(), 1);
    // Longer than a client's patience, and it gives up with a sentence.
    let asked = asking.finish();
    assert!(matches!(asked.code, 0 | 8), "{asked:#?}");
}

/// A restart with a client that watches: the client goes on by itself, and prints nothing twice.
#[test]
fn a_restart_is_no_more_than_a_pause_to_those_attached() {
    let gate = Gate::closed();
    let replies = [Reply::say("half ").and_hold(&gate).and_say("whole")];
    let model = MockModel::playing(replies);
    let home = Home::asking(&model, Wire::Responses);
    let client = home.quire(["exec", "go"]).spawn();
    let watching = home.quire(["logs", "-f", "@last"]);
    gate.wait_reached();
    let watching = watching.spawn();
    watching.shows("go");
    let before = home.daemon();
    let restart = home.quire(["daemon", "restart"]).run();
    assert_eq!(restart.code, 0, "{}", restart.stderr);
    assert!(home.daemon().is_some_and(|now| Some(now) != before));
    gate.wait_reached_times(2);
    gate.open();
    let client = client.finish();
    assert_eq!(client.code, 0, "{}", client.stderr);
    assert!(client.stdout.ends_with("half whole\n"), "{}", client.stdout);
    watching.shows("half whole");
    assert_eq!(home.daemons().len(), 1);
}

/// Without waiting for anything, and still nothing is lost.
#[test]
fn a_stop_at_once_leaves_command_and_turn_to_the_next_daemon() {
    let model = MockModel::playing(patient());
    let home = Home::asking(&model, Wire::Responses);
    let daemon = begin(&home);
    wait::until("the command", || home.work().join("runs").exists());
    let stop = home.quire(["daemon", "stop", "--now"]).run();
    assert_eq!(stop.code, 0, "{}", stop.stderr);
    // It lets go of its lock with its last breath, and the kernel still has to bury it.
    wait::until("the daemon to be gone", || !alive(daemon));
    assert!(stop.wall < ENDED, "{:?}", stop.wall);
    check_goes_on(&home, "after a stop at once");
}

/// A daemon that no longer answers can be ended all the same.
#[test]
fn a_stop_at_once_ends_a_daemon_that_stands_still() {
    let model = MockModel::playing(patient());
    let home = Home::asking(&model, Wire::Responses);
    let daemon = begin(&home);
    wait::until("the command", || home.work().join("runs").exists());
    kill_process(daemon, Signal::STOP).expect("the daemon is ours to stop");
    let stop = home.program(Path::new(&quire_tests::binaries::binaries().quire()));
    let stop = stop.args(["daemon", "stop", "--now"]).run();
    assert_eq!(stop.code, 0, "{}", stop.stderr);
    wait::until("the daemon to be gone", || !alive(daemon));
    check_goes_on(&home, "after an end by force");
}
