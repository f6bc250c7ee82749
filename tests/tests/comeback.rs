//! Clients that bring a dead daemon back, and those that wait for a silent one.

use std::{fs, os::unix::fs::PermissionsExt as _, path::PathBuf};

use quire_tests::{
    binaries::binaries,
    home::Home,
    model::{Gate, MockModel, Reply, Wire},
    skip::skip,
    terminal::Terminal,
    wait,
};
use rustix::process::{Signal, kill_process};
use serde_json::json;

const CTRL_D: &str = "\u{4}";

/// A command that stays in the background: it writes a numbered line for each file `go.N`, three in all.
const SLOW: &str =
    "for n in 1 2 3; do until [ -e go.$n ]; do sleep 0.02; done; echo line $n; done; exit 5";

/// A session with one background job that runs [`SLOW`].
fn with_job() -> (MockModel, Home) {
    let model = MockModel::playing([
        Reply::default().and_shell_with(SLOW, json!({ "yield_time_ms": 250 })),
        Reply::say("it runs"),
    ]);
    let home = Home::asking(&model, Wire::Responses);
    let run = home.quire(["exec", "go"]).run();
    assert_eq!(run.code, 0, "{}", run.stderr);
    (model, home)
}

fn let_go(home: &Home, number: u32) {
    fs::write(home.work().join(format!("go.{number}")), "")
        .expect("the work directory is writable");
}

#[test]
fn the_output_of_a_job_is_followed_over_deaths_without_a_repeat() {
    let (_model, home) = with_job();
    let following = home.quire(["job", "logs", "-f", "@last"]).spawn();
    for number in 1..=3 {
        let_go(&home, number);
        following.shows(&format!("line {number}\n"));
        if home.daemon().is_some() {
            home.kill_daemon();
        }
    }
    let following = following.finish();
    assert_eq!(following.code, 0, "{}", following.stderr);
    assert_eq!(following.stdout, "line 1\nline 2\nline 3\n");
    let from = home.quire(["job", "logs", "@last", "--offset", "7"]).run();
    assert_eq!(from.stdout, "line 2\nline 3\n", "{}", from.stderr);
    let json = home.quire(["job", "logs", "@last", "--json"]).run();
    let lines = json.stdout.lines().map(|line| {
        let line: serde_json::Value = serde_json::from_str(line).expect("a JSON line");
        line["text"].as_str().expect("text").to_owned()
    });
    assert_eq!(lines.collect::<String>(), "line 1\nline 2\nline 3\n");
}

#[test]
fn a_job_is_awaited_over_a_death_and_its_exit_is_true() {
    let (_model, home) = with_job();
    let waiting = home.quire(["job", "wait", "@last", "--json"]).spawn();
    let_go(&home, 1);
    home.kill_daemon();
    wait::until("another daemon", || home.daemon().is_some());
    let_go(&home, 2);
    let_go(&home, 3);
    let waiting = waiting.finish();
    assert_eq!(waiting.code, 1, "{}", waiting.stderr);
    let job: serde_json::Value = serde_json::from_str(&waiting.stdout).expect("a JSON line");
    assert_eq!(
        (&job["state"], &job["exit_code"]),
        (&json!("exited"), &json!(5))
    );
}

#[test]
fn a_killed_job_is_gone_when_the_command_returns() {
    let stubborn = "trap '' TERM; echo up; while :; do sleep 98765; done";
    for (command, want) in [("echo up; sleep 98765", 143), (stubborn, 137)] {
        let model = MockModel::playing([
            Reply::default().and_shell_with(command, json!({ "yield_time_ms": 250 })),
            Reply::say("it runs"),
        ]);
        let home = Home::asking(&model, Wire::Responses);
        assert_eq!(home.quire(["exec", "go"]).run().code, 0);
        let listed = home.quire(["jobs", "--json"]).run();
        let job: serde_json::Value = serde_json::from_str(&listed.stdout).expect("one job");
        assert_eq!(job["lifetime"], "session", "{job}");
        let id = job["id"].as_str().expect("an id");
        // Any unique prefix will do.
        let killed = home.quire(["job", "kill", &id[..id.len() - 2]]).run();
        assert_eq!(killed.code, 0, "{}", killed.stderr);
        assert!(
            killed.stderr.contains(&format!("exit code {want}")),
            "{}",
            killed.stderr
        );
        let all = home.processes();
        let left = all
            .iter()
            .filter(|one| one.command.starts_with("sleep 98765"));
        assert_eq!(left.count(), 0, "{all:#?}");
        let again = home.quire(["job", "kill", id]).run();
        assert_eq!(again.code, 1, "{again:#?}");
        assert!(again.stderr.contains("no longer runs"), "{}", again.stderr);
    }
}

#[test]
fn a_wait_outlives_any_number_of_daemons_that_get_on() {
    let replies = (0..6).map(|nth| Reply::shell(&format!("echo step {nth} >> steps")));
    let model = MockModel::playing(replies.chain([Reply::say("all six")]));
    let home = Home::asking(&model, Wire::Responses);
    assert_eq!(home.quire(["exec", "go", "--detach"]).run().code, 0);
    let waiting = home.quire(["wait", "@last"]).spawn();
    for step in 0..6 {
        // Not any request: one that is only sent again would be no progress.
        wait::until("the next step is asked for", || {
            model
                .requests()
                .iter()
                .any(|asked| asked.step == Some(step))
        });
        if home.daemon().is_some() {
            home.kill_daemon();
        }
    }
    let waiting = waiting.finish();
    assert_eq!(waiting.code, 0, "{}", waiting.stderr);
    let steps = fs::read_to_string(home.work().join("steps")).unwrap();
    assert_eq!(steps.lines().count(), 6, "{steps}");
}

#[test]
fn a_restart_is_not_noticed_by_who_is_attached() {
    let gate = Gate::closed();
    let model = MockModel::playing([Reply::say("half ").and_hold(&gate).and_say("and whole")]);
    let home = Home::asking(&model, Wire::Responses);
    let client = home.quire(["exec", "go", "--json"]).spawn();
    // More often than a crash loop may be.
    for times in 1..=4 {
        gate.wait_reached_times(times);
        let restarted = home.quire(["daemon", "restart"]).run();
        assert_eq!(restarted.code, 0, "{}", restarted.stderr);
    }
    gate.wait_reached_times(5);
    gate.open();
    let client = client.finish();
    assert_eq!((client.code, client.stderr.as_str()), (0, ""));
    assert_eq!(client.stdout.matches("turn.completed").count(), 1);
}

/// A program in place of the daemon's: `script`, in which `$QUIRED` is the real one and `$D/starts` gets
/// a line at each start.
fn in_place_of_the_daemon(home: &Home, script: &str) -> PathBuf {
    let path = home.root().join("quired.sh");
    let text = format!(
        "#!/bin/sh\nD='{}'\nQUIRED='{}'\necho start >> $D/starts\n{script}\n",
        home.root().display(),
        binaries().quired().display()
    );
    fs::write(&path, text).expect("the home is writable");
    let mode = fs::Permissions::from_mode(0o700);
    fs::set_permissions(&path, mode).expect("the program is ours");
    path
}

fn starts(home: &Home) -> usize {
    let starts = fs::read_to_string(home.root().join("starts")).unwrap_or_default();
    starts.lines().count()
}

#[test]
fn daemons_that_never_get_ready_end_in_a_sentence() {
    let home = Home::new();
    let daemon = in_place_of_the_daemon(&home, "kill -9 $$");
    let run = home.quire(["ps"]).env("QUIRE_DAEMON", daemon).run();
    assert_eq!(run.code, 8, "{run:#?}");
    assert!(run.stderr.contains("3 times in a row"), "{}", run.stderr);
    assert_eq!(starts(&home), 3);
}

#[test]
fn a_daemon_that_is_killed_while_it_starts_is_started_again() {
    let home = Home::new();
    let script = "[ $(wc -l < $D/starts) -gt 2 ] || kill -9 $$\nexec \"$QUIRED\" \"$@\"";
    let daemon = in_place_of_the_daemon(&home, script);
    let run = home.quire(["ps"]).env("QUIRE_DAEMON", daemon).run();
    assert_eq!(run.code, 0, "{run:#?}");
    assert_eq!(starts(&home), 3);
}

#[test]
fn an_attached_client_gives_a_daemon_up_that_only_dies() {
    let model = MockModel::playing([Reply::say("hello")]);
    let home = Home::asking(&model, Wire::Responses);
    // The first one lives until it is killed; what follows does not even start.
    let script = "[ $(wc -l < $D/starts) -gt 1 ] && kill -9 $$\nexec \"$QUIRED\" \"$@\"";
    let daemon = in_place_of_the_daemon(&home, script);
    let exec = home.quire(["exec", "go"]).env("QUIRE_DAEMON", &daemon);
    assert_eq!(exec.run().code, 0);
    let logs = home.quire(["logs", "-f", "@last"]);
    let logs = logs.env("QUIRE_DAEMON", &daemon).spawn();
    logs.shows("hello");
    home.kill_daemon();
    let logs = logs.finish();
    assert_eq!(logs.code, 8, "{logs:#?}");
    assert!(logs.stderr.contains("3 times in a row"), "{}", logs.stderr);
    assert_eq!(logs.stdout.matches("hello").count(), 1);
    assert_eq!(starts(&home), 1 + 3);
}

#[test]
fn a_stopped_daemon_is_told_of_and_waited_for() {
    if !Terminal::available() {
        return skip("no setsid from util-linux");
    }
    let gate = Gate::closed();
    let model = MockModel::playing([Reply::say("half ").and_hold(&gate).and_say("and whole")]);
    let home = Home::asking(&model, Wire::Responses);
    let client = home.quire(["exec", "go"]).spawn();
    gate.wait_reached();
    let mut terminal = home.terminal(["attach", "@last"]);
    terminal.shows("half");
    let daemon = home.daemon().expect("a daemon");
    kill_process(daemon, Signal::STOP).unwrap();
    gate.open();
    let told = format!(
        "the daemon (process {}) has not answered for",
        daemon.as_raw_nonzero()
    );
    client.tells(&told);
    terminal.shows(&told);
    kill_process(daemon, Signal::CONT).unwrap();
    terminal.shows("half and whole");
    terminal.until("that it goes on", |screen| {
        !screen.contents().contains(&told)
    });
    terminal.types(CTRL_D);
    assert_eq!(terminal.finish(), 0);
    let client = client.finish();
    assert_eq!(
        (client.code, client.stdout.trim_end()),
        (0, "half and whole"),
        "{}",
        client.stderr
    );
    assert_eq!(client.stderr.matches(&told).count(), 1, "{}", client.stderr);
    assert_eq!(home.daemon(), Some(daemon));
}

#[test]
fn who_looks_elsewhere_hears_that_the_turn_has_ended() {
    if !Terminal::available() {
        return skip("no setsid from util-linux");
    }
    let gate = Gate::closed();
    let model = MockModel::playing([Reply::say("half ").and_hold(&gate).and_say("and whole")]);
    let home = Home::asking(&model, Wire::Responses);
    let mut terminal = home.terminal(["go"]);
    terminal.shows("half");
    // The terminal says that the person has gone.
    terminal.types("\u{1b}[O");
    gate.open();
    terminal.shows("half and whole");
    // Nothing tells which terminal this is, so it rings.
    terminal.is_sent("\u{7}");
    terminal.types(CTRL_D);
    assert_eq!(terminal.finish(), 0);
}
