//! Starting: one daemon, however many want one, whatever a dead one left, however often it dies.
//!
//! `QUIRE_STARTS=100` and `QUIRE_KILLS=50` raise the counts for a run by hand.

#![allow(clippy::unwrap_used, reason = "a test that can't go on has failed")]

use std::{
    fs,
    path::Path,
    sync::atomic::{AtomicBool, Ordering},
    thread,
};

use quire_proto::home::DaemonRecord;
use quire_tests::{
    dice::count,
    home::Home,
    model::{MockModel, Reply, Wire},
    process::Running,
    processes::{self, alive},
    wait,
};

/// Clients that want a daemon at the same moment.
const CLIENTS: usize = 50;

/// Row 10.
#[test]
fn fifty_clients_at_once_start_one_daemon_and_each_is_answered() {
    let model = MockModel::playing([Reply::say("here")]);
    let home = Home::asking(&model, Wire::Responses);
    for round in 1..=count("QUIRE_STARTS", 3) {
        let clients: Vec<_> = (0..CLIENTS).map(|nth| client(&home, nth)).collect();
        for client in clients {
            let client = client.finish();
            assert_eq!(client.code, 0, "round {round}: {}", client.stderr);
        }
        let daemons = home.daemons();
        assert_eq!(daemons.len(), 1, "round {round}: {daemons:#?}");
        assert_eq!(times_ready(&home), round, "daemons that ever got ready");
        // Alternately: what is left to the next daemon differs.
        if round % 2 == 0 {
            assert_eq!(home.quire(["daemon", "stop"]).run().code, 0);
        } else {
            home.kill_daemon();
        }
    }
}

/// One that only asks, or one that has work.
fn client(home: &Home, nth: usize) -> Running {
    if nth.is_multiple_of(5) {
        home.quire(["exec", "go"]).spawn()
    } else {
        home.quire(["ps"]).spawn()
    }
}

/// How many daemons of this home have said that they are ready.
fn times_ready(home: &Home) -> usize {
    let logs = fs::read_dir(home.paths().logs()).into_iter().flatten();
    let texts = logs.filter_map(|log| fs::read_to_string(log.ok()?.path()).ok());
    texts.map(|text| text.matches(" ready pid=").count()).sum()
}

#[test]
fn two_starts_at_once_name_the_same_daemon() {
    let home = Home::new();
    let starts: Vec<_> = (0..2)
        .map(|_| home.quire(["daemon", "start"]).spawn())
        .collect();
    let said: Vec<_> = starts.into_iter().map(Running::finish).collect();
    let want = format!("running, process {}\n", home.record().unwrap().pid);
    for start in said {
        assert_eq!((start.code, start.stdout), (0, want.clone()));
    }
    assert_eq!(home.daemons().len(), 1);
}

/// What is done to what a dead daemon left.
type Leave<'a> = &'a dyn Fn(&Home);

/// Row 11: only the lock decides who is the daemon. What else a dead one left, or someone planted,
/// hinders nobody and harms nobody.
#[test]
fn whatever_a_dead_daemon_left_the_next_one_starts() {
    let home = Home::new();
    let bystander = bystander(&home);
    let innocent = u32::try_from(bystander.pid().as_raw_nonzero().get()).unwrap();
    let table: [(&str, Leave); 8] = [
        ("what kill -9 leaves", &|_| {}),
        ("the pid of a living process of ours", &|home| {
            plant(home, |record| record.pid = innocent);
        }),
        ("the pid of the first process", &|home| {
            plant(home, |record| record.pid = 1);
        }),
        ("a record of before the boot", &|home| {
            plant(home, |record| record.boot_id = "another".into());
        }),
        ("a record that was cut off", &|home| {
            let whole = fs::read(home.paths().record_file()).unwrap();
            fs::write(home.paths().record_file(), &whole[..whole.len() / 2]).unwrap();
        }),
        ("a socket where no daemon ever was", &|home| {
            plant(home, |record| record.socket = home.root().join("nowhere"));
        }),
        ("locks that name the living", &|home| {
            fs::write(home.paths().lock_file(), format!("{innocent}\n")).unwrap();
            fs::write(home.paths().start_lock_file(), "1\n").unwrap();
        }),
        ("half-written files", &|home| {
            for name in ["daemon.json.new", "token.new"] {
                fs::write(home.paths().daemon().join(name), "half").unwrap();
            }
        }),
    ];
    for (left, leave) in table {
        assert_eq!(home.quire(["ps"]).run().code, 0);
        home.kill_daemon();
        leave(&home);
        let ps = home.quire(["ps"]).run();
        assert_eq!(ps.code, 0, "{left}: {}", ps.stderr);
        assert_eq!(home.daemons().len(), 1, "{left}");
        assert!(alive(bystander.pid()), "{left}");
    }
}

/// Row 11: a reused pid is never taken for the daemon's, least of all by those who end it.
#[test]
fn a_process_with_the_pid_of_a_dead_daemon_is_left_alone() {
    let home = Home::new();
    let bystander = bystander(&home);
    let innocent = u32::try_from(bystander.pid().as_raw_nonzero().get()).unwrap();
    for args in [
        ["daemon", "stop"].as_slice(),
        &["daemon", "stop", "--now"],
        &["daemon", "restart"],
    ] {
        assert_eq!(home.quire(["daemon", "start"]).run().code, 0);
        home.kill_daemon();
        plant(&home, |record| record.pid = innocent);
        let end = home.quire(["daemon", "status"]).run();
        assert_eq!(end.code, 8, "a dead daemon was called alive: {end:#?}");
        let end = home.program(&quire()).args(args.iter().copied()).run();
        assert_eq!(end.code, 0, "{args:?}: {}", end.stderr);
        assert!(alive(bystander.pid()), "{args:?} ended a bystander");
    }
}

fn quire() -> std::path::PathBuf {
    quire_tests::binaries::binaries().quire()
}

fn bystander(home: &Home) -> Running {
    let sleeper = home.program(Path::new("/bin/sh"));
    let sleeper = sleeper.args(["-c", "echo up; exec sleep 1000"]).spawn();
    sleeper.shows("up");
    sleeper
}

fn plant(home: &Home, change: impl FnOnce(&mut DaemonRecord)) {
    let mut record = home.record().expect("the dead daemon's record");
    change(&mut record);
    let text = serde_json::to_vec(&record).unwrap();
    fs::write(home.paths().record_file(), text).unwrap();
}

/// Row 6: a daemon that dies again and again, with clients at work, leaves no more behind than one
/// that died once, and each next start answers.
#[test]
fn many_deaths_leave_no_more_than_one() {
    let model = MockModel::playing([Reply::shell("echo ran"), Reply::say("done")]);
    let home = Home::asking(&model, Wire::Responses);
    killed_under_load(&home, 2);
    let first = leftovers(&home);
    killed_under_load(&home, count("QUIRE_KILLS", 10));
    let last = leftovers(&home);
    assert_eq!(last, first, "what is left beside the sessions has grown");
    let ps = home.quire(["ps", "--all"]).run();
    assert_eq!(ps.code, 0, "{}", ps.stderr);
    assert_eq!(home.daemons().len(), 1);
}

/// Kills that many daemons while clients work; then lets the clients finish.
fn killed_under_load(home: &Home, kills: usize) {
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while !over.load(Ordering::Relaxed) {
                    // Three daemons in a row may die under it; it says so, and is no loss.
                    let _ = home.quire(["exec", "go"]).run();
                }
            });
        }
        for kill in 0..kills {
            let ready = wait::until_some("the next daemon", || home.daemon());
            // Work is under way, not only its beginning.
            let ps = home.quire(["ps"]).run();
            assert_eq!(ps.code, 0, "kill {kill}: {}", ps.stderr);
            if processes::alive(ready) && home.daemon() == Some(ready) {
                home.kill_daemon();
            }
        }
        over.store(true, Ordering::Relaxed);
    });
    let ps = home.quire(["ps"]).run();
    assert_eq!(ps.code, 0, "locked out: {}", ps.stderr);
    wait::until("the sessions to settle", || !is_busy(home));
}

fn is_busy(home: &Home) -> bool {
    let status = home.quire(["daemon", "status", "--json"]).run();
    let status: serde_json::Value = serde_json::from_str(&status.stdout).unwrap_or_default();
    status["running_turns"] != 0 || status["running_jobs"] != 0
}

/// Names in the state directory that do not belong to a job or a session, once the daemon has ended
/// in order.
fn leftovers(home: &Home) -> Vec<String> {
    let stop = home.quire(["daemon", "stop"]).run();
    assert_eq!(stop.code, 0, "{}", stop.stderr);
    let mut names = Vec::new();
    for place in [".", "daemon", "growing"] {
        let entries = fs::read_dir(home.quire_home().join(place)).unwrap();
        let entries = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        names.extend(entries.map(|name| format!("{place}/{name}")));
    }
    let temporary = fs::read_dir(home.temporary()).unwrap();
    names.extend(temporary.map(|entry| format!("{:?}", entry.unwrap().file_name())));
    names.extend(unfinished_jobs(home));
    names.sort();
    names
}

/// Jobs' directories that hold more than a job that ended leaves.
fn unfinished_jobs(home: &Home) -> Vec<String> {
    let jobs = fs::read_dir(home.paths().jobs()).unwrap().flatten();
    let sockets = jobs.map(|job| job.path().join("sock"));
    let left = sockets.filter(|socket| socket.exists());
    left.map(|socket| socket.display().to_string()).collect()
}
