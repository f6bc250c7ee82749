//! A machine that has little left: descriptors, address space, processor time. And what a daemon uses
//! that has nothing to do.

#![allow(clippy::unwrap_used, reason = "a test that can't go on has failed")]

use std::{fs, path::Path, time::Duration};

use futures_util::future::join_all;
use quire_proto::{id::RequestId, v1::SessionServiceArchiveRequest};
use quire_tests::{
    binaries::binaries,
    dice::count,
    home::Home,
    model::{Gate, MockModel, Reply, Wire},
    process::{Finished, Invocation},
    processes::Usage,
    rpc::Rpc,
    wait,
};
use rustix::process::{Pid, Resource, Rlimit, Signal, kill_process, prlimit};

/// Processor time of a process is counted in these.
const TICK: Duration = Duration::from_millis(10);

/// What a process uses while so much time passes.
fn usage(pid: Pid, over: Duration) -> Usage {
    let before = Usage::of(pid);
    wait::pass(over);
    Usage::of(pid).since(before)
}

/// `quire` started by a shell that first runs `limit`.
fn limited(home: &Home, limit: &str, args: &[&str]) -> Invocation {
    let quire = binaries().quire();
    let script = format!("{limit}; exec {} {}", quire.display(), args.join(" "));
    home.program(Path::new("/bin/sh")).args(["-c", &script])
}

fn one_line(run: &Finished) -> bool {
    run.stderr.lines().count() == 1
}

/// Row 16: with so few descriptors that nobody new fits in, those who are here go on, those who come
/// are told or wait, and the daemon does not spin. When someone leaves, there is room again.
#[test]
fn descriptors_that_run_out_cost_nobody_who_is_here_and_no_processor() {
    let gate = Gate::closed();
    let model = MockModel::playing([Reply::say("half ").and_hold(&gate).and_say("whole")]);
    let home = Home::asking(&model, Wire::Responses);
    assert_eq!(home.quire(["exec", "go", "--detach"]).run().code, 0);
    gate.wait_reached();
    let daemon = home.daemon().expect("a daemon");
    let rpc = Rpc::connect(&home);
    let session = rpc.session("@last").id;
    let watcher = rpc.watch(&session, None);
    watcher.until("text", |view| !view.growing_text().is_empty());

    let before = descriptors_limited(daemon, open_descriptors(daemon) as u64);
    let came: Vec<_> = (0..4).map(|_| home.quire(["ps"]).spawn()).collect();
    wait::until("the log to tell", || log(&home).contains("cannot accept"));
    let used = usage(daemon, Duration::from_secs(1));
    assert!(used.ticks < 20, "a busy loop: {used:?} in a second");

    // Those who are here: the watch goes on, and calls are answered.
    gate.open();
    watcher.until_turns_ended(1);
    assert_eq!(rpc.session(&session).id, session);
    descriptors_limited(daemon, before);
    for client in came {
        let client = client.finish();
        let told = client.code == 8 && one_line(&client);
        assert!(client.code == 0 || told, "{client:#?}");
    }
    assert_eq!(home.quire(["ps"]).run().code, 0);
    assert_eq!(home.daemon(), Some(daemon));
}

fn open_descriptors(pid: Pid) -> usize {
    let place = format!("/proc/{}/fd", pid.as_raw_nonzero());
    fs::read_dir(place).map_or(0, Iterator::count)
}

/// Sets how many descriptors a process may have; returns how many it might.
fn descriptors_limited(pid: Pid, most: u64) -> u64 {
    let limit = Rlimit {
        current: Some(most),
        maximum: None,
    };
    let before = rustix::process::getrlimit(Resource::Nofile).maximum;
    let limit = Rlimit {
        maximum: before,
        ..limit
    };
    let old = prlimit(Some(pid), Resource::Nofile, limit).expect("the daemon is ours to limit");
    old.current.expect("the limit was a number")
}

fn log(home: &Home) -> String {
    fs::read_to_string(home.paths().logs().join("quired.log")).unwrap_or_default()
}

/// Row 16: a daemon that is born with few descriptors works with them, or says why not.
#[test]
fn a_daemon_with_few_descriptors_serves_or_says_why_not_and_recovers() {
    for most in [32, 64, 256] {
        let model = MockModel::playing([Reply::shell("echo ran"), Reply::say("done")]);
        let home = Home::asking(&model, Wire::Responses);
        let limit = format!("ulimit -n {most}");
        let started = limited(&home, &limit, &["daemon", "start"]).run();
        if started.code != 0 {
            assert!(
                started.code == 8 && one_line(&started),
                "{most}: {started:#?}"
            );
            continue;
        }
        let daemon = home.daemon().expect("a daemon");
        let crowd: Vec<_> = (0..40)
            .map(|_| home.quire(["exec", "go"]).spawn())
            .collect();
        let runs: Vec<_> = crowd.into_iter().map(|one| one.finish()).collect();
        for run in &runs {
            let served = (run.code, run.stdout.as_str()) == (0, "done\n");
            assert!(
                served || (run.code != 0 && !run.stderr.is_empty()),
                "{most}: {run:#?}"
            );
        }
        assert_eq!(home.daemon(), Some(daemon), "{most}: it died of it");
        let after = home.quire(["exec", "go"]).run();
        assert_eq!(
            after.code, 0,
            "{most}: it did not recover: {}",
            after.stderr
        );
        let used = usage(daemon, Duration::from_secs(1));
        assert!(used.ticks < 20, "{most}: a busy loop: {used:?} in a second");
    }
}

/// Row 15, in kilobytes of address space: what the daemon's threads and libraries only reserve counts
/// here, so this is far more than the memory that it uses.
const ADDRESS_SPACE: usize = 256 * 1024;

/// Row 15.
#[test]
fn a_daemon_with_little_address_space_holds_a_hundred_sessions() {
    let model = MockModel::playing([Reply::shell("echo ran"), Reply::say("done")]);
    let home = Home::asking(&model, Wire::Responses);
    let limit = format!("ulimit -v {}", count("QUIRE_ADDRESS_SPACE", ADDRESS_SPACE));
    let started = limited(&home, &limit, &["daemon", "start"]).run();
    assert_eq!(started.code, 0, "{}", started.stderr);
    let daemon = home.daemon().expect("a daemon");
    let rpc = Rpc::connect(&home);
    let sessions: Vec<_> = (0..100)
        .map(|_| rpc.create(&home, &home.work()).id)
        .collect();
    for session in sessions.iter().step_by(10) {
        let run = home.quire(["exec", "go", "--session", session]).run();
        // Refused is fine, dead is not.
        assert!(run.code == 0 || !run.stderr.is_empty(), "{run:#?}");
    }
    let listed = home.quire(["ps", "--all"]).run();
    assert_eq!(listed.code, 0, "{}", listed.stderr);
    assert_eq!(home.daemon(), Some(daemon), "it died: {}", log(&home));
    assert!(!log(&home).contains("panicked"), "{}", log(&home));
}

/// Row 19: twenty sessions, three who watch, and nothing to do.
#[test]
fn an_idle_daemon_sleeps() {
    let model = MockModel::playing([Reply::say("done")]);
    let home = Home::asking(&model, Wire::Responses);
    let rpc = Rpc::starting(&home);
    let daemon = home.daemon().expect("a daemon");
    let sessions: Vec<_> = (0..20)
        .map(|_| rpc.create(&home, &home.work()).id)
        .collect();
    rpc.prompt(&sessions[0], "go");
    let _ = rpc.settled(&sessions[0]);
    let follow = || home.quire(["logs", "-f", &sessions[0]]).spawn();
    let watchers: Vec<_> = (0..3).map(|_| follow()).collect();
    for watcher in &watchers {
        watcher.shows("done");
    }
    let window = Duration::from_secs(5);
    // What is put in order after work is done once.
    wait::pass(window);
    let used = usage(daemon, window);
    // A quarter of a percent would be one tick; the rest is for a machine that has other things to do.
    assert!(
        used.ticks * TICK.as_millis() as u64 <= 50,
        "{used:?} in {window:?}"
    );
    assert!(used.switches < 100, "{used:?} in {window:?}");
}

/// Row 29: a reader that stands still with a watch open keeps no old pages of the log alive.
#[test]
fn the_log_of_the_store_stays_small_while_a_watcher_stands_still() {
    let model = MockModel::playing([Reply::say("never asked for")]);
    let home = Home::asking(&model, Wire::Responses);
    let rpc = Rpc::starting(&home);
    let session = rpc.create(&home, &home.work()).id;
    let watcher = home.quire(["logs", "-f", &session]).spawn();
    wait::until("the watcher", || rpc.session(&session).clients.len() == 1);
    kill_process(watcher.pid(), Signal::STOP).expect("the watcher is ours to stop");
    let events = count("QUIRE_EVENTS", 5_000);
    let mut most = 0;
    while rpc.session(&session).head_seq < events as u64 {
        rpc.wait(join_all(
            (0..100).map(|nth| archive(&rpc, &session, nth % 2 == 0)),
        ));
        most = most.max(wal(&home));
    }
    assert!(most > 0, "there was no log to look at");
    assert!(most < 8 << 20, "{most} bytes of log after {events} events");
    kill_process(watcher.pid(), Signal::CONT).expect("the watcher is ours to wake");
}

/// One event, and the least there can be.
async fn archive(rpc: &Rpc, session: &str, restore: bool) {
    let request = SessionServiceArchiveRequest {
        request_id: RequestId::random().to_string(),
        session: session.to_owned(),
        restore,
    };
    let done = rpc.sessions().archive(request).await;
    done.unwrap_or_else(|status| panic!("archive: {status}"));
}

fn wal(home: &Home) -> u64 {
    let path = home.paths().state().join("quire.db-wal");
    fs::metadata(path).map_or(0, |meta| meta.len())
}
