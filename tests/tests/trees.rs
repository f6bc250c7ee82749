//! Commands and what they leave behind: everything a command started ends with it, and nothing of the
//! daemon's does.

#![allow(clippy::unwrap_used, reason = "a test that can't go on has failed")]

use std::{fs, path::PathBuf, time::Duration};

use quire_proto::v1::{Outcome, OutcomeStatus};
use quire_tests::{
    dice::count,
    home::Home,
    model::{MockModel, Reply, Wire},
    processes::{Process, alive, oom_score_adj},
    rpc::Rpc,
    wait,
};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

/// How long what a dead command or keeper leaves may live.
const REAPED: Duration = Duration::from_secs(2);

/// Four ways not to be found; ends when it has been seen that all are under way.
const RUNAWAYS: &str = "(setsid sleep 98761 >/dev/null 2>&1 &)
    ( ( sleep 98762 & ) & )
    (trap '' TERM INT HUP; sleep 98763) &
    nohup sleep 98764 >/dev/null 2>&1 &
    until [ -e seen ]; do sleep 0.02; done";

const MODES: [&str; 2] = ["workspace-write", "full-access"];

fn sleepers(home: &Home) -> Vec<Process> {
    let mut all = home.processes();
    all.retain(|one| one.command.starts_with("sleep 9876"));
    all
}

fn gone(home: &Home, within: Duration) -> bool {
    wait::within(within, || sleepers(home).is_empty().then_some(())).is_some()
}

fn patiently(command: &str) -> Reply {
    Reply::default().and_shell_with(command, json!({ "yield_time_ms": 30_000 }))
}

fn outcomes(home: &Home, session: &str) -> Vec<Outcome> {
    Rpc::connect(home).outcomes(session)
}

/// Rows 8 and 61.
#[test]
fn nothing_that_a_command_left_behind_outlives_it() {
    for mode in MODES {
        let model = MockModel::playing([patiently(RUNAWAYS), Reply::say("it ended")]);
        let home = Home::asking(&model, Wire::Responses);
        let client = home.quire(["exec", "go", "--sandbox", mode]).spawn();
        wait::until("the runaways", || sleepers(&home).len() == 4);
        fs::write(home.work().join("seen"), "").unwrap();
        let run = client.finish();
        assert_eq!(run.code, 0, "{mode}: {}", run.stderr);
        assert!(gone(&home, REAPED), "{mode}: {:#?}", sleepers(&home));
        let outcome = &outcomes(&home, "@last")[0];
        assert_eq!(outcome.exit_code, Some(0), "{mode}: {outcome:?}");
    }
}

/// Row 8: a command that is still running when its turn ends is no orphan: it is listed, and lives.
#[test]
fn a_command_in_the_background_is_listed_and_lives_until_it_is_ended() {
    for mode in MODES {
        let command = "sleep 98761 & sleep 98762";
        let begin = Reply::default().and_shell_with(command, json!({ "yield_time_ms": 250 }));
        let model = MockModel::playing([begin, Reply::say("it goes on")]);
        let home = Home::asking(&model, Wire::Responses);
        let run = home.quire(["exec", "go", "--sandbox", mode]).run();
        assert_eq!(run.code, 0, "{mode}: {}", run.stderr);
        let jobs = home.quire(["jobs"]).run().stdout;
        assert!(jobs.contains("running"), "{mode}: {jobs}");
        assert_eq!(sleepers(&home).len(), 2, "{mode}");
        // The daemon's death changes neither.
        home.kill_daemon();
        let jobs = home.quire(["jobs"]).run().stdout;
        assert!(jobs.contains("running"), "{mode}: {jobs}");
        assert_eq!(sleepers(&home).len(), 2, "{mode}");
        let deleted = home.quire(["delete", "@last"]).run();
        assert_eq!(deleted.code, 0, "{mode}: {}", deleted.stderr);
        assert!(gone(&home, REAPED), "{mode}: {:#?}", sleepers(&home));
    }
}

/// Whether its start was in the log yet or not.
#[test]
fn a_command_whose_daemon_dies_as_it_starts_is_listed_by_the_next() {
    let begin = Reply::default().and_shell_with(
        "touch up; exec sleep 98761",
        json!({ "yield_time_ms": 250 }),
    );
    for round in 0..count("QUIRE_KILLS", 10) {
        let model = MockModel::playing([begin.clone(), Reply::say("it goes on")]);
        let home = Home::asking(&model, Wire::Responses);
        let run = home.quire(["exec", "go", "--detach"]).run();
        assert_eq!(run.code, 0, "{}", run.stderr);
        wait::until("the command", || home.work().join("up").exists());
        home.kill_daemon();
        let waited = home.quire(["wait", "@last"]).run();
        assert_eq!(waited.code, 0, "round {round}: {}", waited.stderr);
        let jobs = home.quire(["jobs"]).run();
        let shown = format!("round {round}: {jobs:#?}: {:#?}", outcomes(&home, "@last"));
        assert!(jobs.stdout.contains("running"), "{shown}");
    }
}

/// The keepers' processes, by what they wrote about themselves.
fn keepers(home: &Home) -> Vec<Pid> {
    let jobs = fs::read_dir(home.paths().jobs()).into_iter().flatten();
    let keepers = jobs.flatten().filter_map(|job| {
        let record: Value =
            serde_json::from_slice(&fs::read(job.path().join("keeper.json")).ok()?).ok()?;
        let pid = Pid::from_raw(i32::try_from(record["pid"].as_i64()?).ok()?)?;
        alive(pid).then_some(pid)
    });
    keepers.collect()
}

/// Row 9, confined and not.
#[test]
fn a_killed_keeper_takes_its_tree_along_and_nothing_else() {
    for mode in MODES {
        // Each session runs what lies in its own directory.
        let model = MockModel::playing([patiently("sh ./job.sh"), Reply::say("so it ended")]);
        let home = Home::asking(&model, Wire::Responses);
        let neighbour = Session::running(&home, mode, "neighbour", NEIGHBOUR);
        wait::until("the neighbour", || neighbour.directory.join("up").exists());
        let others = keepers(&home);

        let doomed = Session::running(&home, mode, "doomed", RUNAWAYS);
        wait::until("the runaways", || sleepers(&home).len() == 4);
        let mut keepers = keepers(&home);
        keepers.retain(|keeper| !others.contains(keeper));
        assert_eq!(keepers.len(), 1, "one job, one keeper");
        kill_process(keepers[0], Signal::KILL).expect("the keeper is ours to kill");
        assert!(gone(&home, REAPED), "{mode}: {:#?}", sleepers(&home));

        let outcome = doomed.ended(&home);
        let shown = format!("{mode}: {outcome:?}");
        assert_eq!(outcome.status(), OutcomeStatus::Unknown, "{shown}");
        assert_eq!(outcome.exit_code, None, "{shown}");
        assert!(others.iter().all(|keeper| alive(*keeper)), "{mode}");
        fs::write(neighbour.directory.join("go"), "").unwrap();
        assert_eq!(neighbour.ended(&home).exit_code, Some(5), "{mode}");
    }
}

/// Says that it runs, and ends with a status of its own when told to.
const NEIGHBOUR: &str = "touch up; until [ -e go ]; do sleep 0.02; done; exit 5";

/// A session whose turn runs one command.
struct Session {
    id: String,
    directory: PathBuf,
}

impl Session {
    fn running(home: &Home, mode: &str, name: &str, script: &str) -> Self {
        let directory = home.work().join(name);
        fs::create_dir(&directory).unwrap();
        fs::write(directory.join("job.sh"), script).unwrap();
        let run = home.quire(["exec", "go", "--detach", "--sandbox", mode]);
        let run = run.dir(&directory).run();
        assert_eq!(run.code, 0, "{mode}: {}", run.stderr);
        let id = run.stdout.trim().to_owned();
        Self { id, directory }
    }

    /// The outcome of its command, once the turn has gone on from it to its end.
    fn ended(&self, home: &Home) -> Outcome {
        let waited = home.quire(["wait", &self.id]).run();
        assert_eq!(waited.code, 0, "{}: {}", self.id, waited.stderr);
        let mut outcomes = outcomes(home, &self.id);
        assert_eq!(outcomes.len(), 1, "{outcomes:#?}");
        outcomes.remove(0)
    }
}

/// Row 14: memory that a command may not have is the command's trouble.
#[test]
fn a_command_that_eats_all_its_memory_dies_and_the_daemon_lives() {
    let eater = "ulimit -v 200000; x=xxxxxxxx; while :; do x=$x$x; done";
    let model = MockModel::playing([patiently(eater), Reply::say("it died")]);
    let home = Home::asking(&model, Wire::Responses);
    assert_eq!(home.quire(["daemon", "start"]).run().code, 0);
    let daemon = home.daemon();
    let run = home.quire(["exec", "go"]).run();
    assert_eq!((run.code, run.stdout.trim_end()), (0, "it died"));
    let outcome = outcomes(&home, "@last").pop().expect("an outcome");
    assert!(
        outcome.exit_code.is_some_and(|code| code != 0),
        "{outcome:?}"
    );
    assert_eq!(home.daemon(), daemon);
}

/// Row 14: when the machine runs out of memory, the kernel takes the command first.
#[test]
fn the_kernel_would_rather_end_a_command_than_the_daemon() {
    for mode in MODES {
        let model = MockModel::playing([patiently("sleep 98761"), Reply::say("it ended")]);
        let home = Home::asking(&model, Wire::Responses);
        let run = home
            .quire(["exec", "go", "--detach", "--sandbox", mode])
            .run();
        assert_eq!(run.code, 0, "{mode}: {}", run.stderr);
        let sleeper = wait::until_some("the command", || sleepers(&home).pop());
        let daemon = home.daemon().expect("a daemon");
        let keeper = keepers(&home).pop().expect("a keeper");
        let score = |pid| oom_score_adj(pid).expect("the process lives");
        let scores = [score(sleeper.pid), score(keeper), score(daemon)];
        assert!(
            scores[0] > scores[1].max(scores[2]),
            "{mode}: command, keeper, daemon: {scores:?}"
        );
    }
}
