//! Clients and daemons of different builds. Debug builds play other ones: see the README.

use std::{fs, time::Duration};

use quire_proto::v1::{DaemonServiceHelloRequest, DaemonServiceShutdownRequest, ShutdownMode};
use quire_tests::{
    home::Home,
    model::{Gate, MockModel, Reply, Wire},
    process::Invocation,
    rpc::Rpc,
    skip::skip,
    wait,
};
use serde_json::json;

/// A build: its version and its protocols.
#[derive(Clone, Copy)]
struct Build(&'static str, &'static str);

const OLD: Build = Build("0.1.0", "1-1");
/// Newer, and still speaks with the old one.
const NEW: Build = Build("0.2.0", "1-2");
/// Newer, and does not.
const FAR: Build = Build("0.3.0", "2-3");

impl Build {
    fn quire<const N: usize>(self, home: &Home, args: [&str; N]) -> Invocation {
        home.quire(args)
            .env("QUIRE_TEST_VERSION", self.0)
            .env("QUIRE_TEST_PROTOCOL", self.1)
    }
}

/// Says so when the programs under test are release builds, which play nobody.
fn cannot_play() -> bool {
    let cannot = !cfg!(debug_assertions);
    if cannot {
        skip("release builds say of themselves what they are");
    }
    cannot
}

fn held(gate: &Gate) -> MockModel {
    MockModel::playing([Reply::say("half ").and_hold(gate).and_say("and whole")])
}

#[test]
fn builds_that_understand_each_other_say_that_they_differ() {
    if cannot_play() {
        return;
    }
    let table = [(OLD, NEW, "daemon restart"), (NEW, OLD, "came with it")];
    for (daemon, client, want) in table {
        let home = Home::new();
        assert_eq!(daemon.quire(&home, ["daemon", "start"]).run().code, 0);
        let pid = home.daemon();
        let ps = client.quire(&home, ["ps"]).run();
        let told = format!("the daemon is {}, this client {}", daemon.0, client.0);
        assert_eq!(ps.code, 0, "{}", ps.stderr);
        assert_eq!(ps.stderr.matches(&told).count(), 1, "{}", ps.stderr);
        assert!(ps.stderr.contains(want), "{}", ps.stderr);
        assert_eq!(home.daemon(), pid, "it was replaced");
        let status = client.quire(&home, ["daemon", "status"]).run();
        assert!(status.stdout.contains(&told), "{}", status.stdout);
        let same = daemon.quire(&home, ["ps"]).run();
        assert!(!same.stderr.contains("this client"), "{}", same.stderr);
    }
}

#[test]
fn an_old_daemon_that_nobody_needs_is_replaced() {
    if cannot_play() {
        return;
    }
    let home = Home::new();
    assert_eq!(OLD.quire(&home, ["daemon", "start"]).run().code, 0);
    let old = home.daemon();
    let clients: Vec<_> = (0..8).map(|_| FAR.quire(&home, ["ps"]).spawn()).collect();
    for client in clients {
        let client = client.finish();
        assert_eq!(client.code, 0, "{}", client.stderr);
    }
    let record = home.record().expect("a daemon runs");
    assert_eq!((record.version.as_str(), record.protocol_min), (FAR.0, 2));
    assert!(home.daemon().is_some() && home.daemon() != old);
}

#[test]
fn an_old_daemon_that_works_is_left_alone() {
    if cannot_play() {
        return;
    }
    let gate = Gate::closed();
    let model = held(&gate);
    let home = Home::asking(&model, Wire::Responses);
    let run = OLD.quire(&home, ["exec", "go", "--detach"]).run();
    assert_eq!(run.code, 0, "{}", run.stderr);
    gate.wait_reached();
    let pid = home.daemon();
    let refused = FAR.quire(&home, ["ps"]).run();
    assert_eq!(refused.code, 8, "{refused:#?}");
    for part in ["too old", "1 turns", "daemon restart"] {
        assert!(refused.stderr.contains(part), "{}", refused.stderr);
    }
    assert!(
        refused.wall < Duration::from_secs(5),
        "it waited for something"
    );
    assert_eq!(home.daemon(), pid);
    gate.open();
    assert_eq!(OLD.quire(&home, ["wait", "@last"]).run().code, 0);
    assert_eq!(model.requests().len(), 1, "the turn was disturbed");
}

#[test]
fn an_old_daemon_with_a_client_is_left_alone() {
    if cannot_play() {
        return;
    }
    let model = MockModel::playing([Reply::say("hello")]);
    let home = Home::asking(&model, Wire::Responses);
    assert_eq!(OLD.quire(&home, ["exec", "go"]).run().code, 0);
    let watching = OLD.quire(&home, ["logs", "-f", "@last"]).spawn();
    watching.shows("hello");
    let refused = FAR.quire(&home, ["ps"]).run();
    assert_eq!(refused.code, 8, "{refused:#?}");
    assert!(refused.stderr.contains("1 other clients"), "{refused:#?}");
    watching.kill();
    // The daemon has to notice.
    wait::until("the daemon to be replaced", || {
        FAR.quire(&home, ["ps"]).run().code == 0
    });
}

#[test]
fn a_newer_daemon_is_left_alone() {
    if cannot_play() {
        return;
    }
    let home = Home::new();
    assert_eq!(FAR.quire(&home, ["daemon", "start"]).run().code, 0);
    let pid = home.daemon();
    for command in [["ps", "--all"], ["daemon", "restart"]] {
        let refused = OLD.quire(&home, command).run();
        assert_eq!(refused.code, 8, "{refused:#?}");
        assert!(refused.stderr.contains("newer than this client"));
    }
    assert_eq!(home.daemon(), pid);
    let status = OLD.quire(&home, ["daemon", "status"]).run();
    assert_eq!(status.code, 0, "asking is harmless: {}", status.stderr);
}

/// Says that it runs, waits for the file `go`, and ends with exit status 5.
const PATIENT: &str =
    "echo started; echo run >> runs; until [ -e go ]; do sleep 0.02; done; echo finished; exit 5";

#[test]
fn another_build_takes_over_in_mid_turn() {
    if cannot_play() {
        return;
    }
    let model = MockModel::playing([
        Reply::default().and_shell_with(PATIENT, json!({ "yield_time_ms": 30_000 })),
        Reply::say("it ended"),
    ]);
    for next in [NEW, FAR] {
        let home = Home::asking(&model, Wire::Responses);
        let client = OLD.quire(&home, ["exec", "go"]).spawn();
        wait::until("the command to run", || home.work().join("runs").exists());
        let restarted = next.quire(&home, ["daemon", "restart"]).run();
        assert_eq!(restarted.code, 0, "{}", restarted.stderr);
        assert_eq!(home.record().expect("a daemon").version, next.0);
        fs::write(home.work().join("go"), "").unwrap();
        let client = client.finish();
        // Who cannot talk to it any more says so; the turn goes on all the same.
        let want = if next.1 == FAR.1 { 8 } else { 0 };
        assert_eq!(client.code, want, "{}", client.stderr);
        let waited = next.quire(&home, ["wait", "@last"]).run();
        assert_eq!(waited.code, 0, "{}", waited.stderr);
        let runs = fs::read_to_string(home.work().join("runs")).unwrap();
        assert_eq!(runs, "run\n", "the command ran twice");
    }
}

#[test]
fn an_end_if_idle_is_refused_while_another_client_is_there() {
    let model = MockModel::playing([]);
    let home = Home::asking(&model, Wire::Responses);
    let one = Rpc::starting(&home);
    let other = Rpc::connect(&home);
    let hello = DaemonServiceHelloRequest {
        client_name: "other".to_owned(),
        ..DaemonServiceHelloRequest::default()
    };
    let greeted = other.wait(async { other.daemon().hello(hello).await });
    greeted.expect("the daemon greets it");
    let end = || {
        let request = DaemonServiceShutdownRequest {
            request_id: quire_proto::id::RequestId::random().to_string(),
            mode: ShutdownMode::IfIdle.into(),
        };
        one.wait(async { one.daemon().shutdown(request).await })
    };
    let refused = end().expect_err("another client is there");
    assert!(
        refused.message().contains("1 other clients"),
        "{}",
        refused.message()
    );
    // The refusal began nothing: there may still be sessions made.
    let _made = other.create(&home, &home.work());
    drop(other);
    wait::until("the other client to be gone", || end().is_ok());
    wait::until("the daemon to end", || home.daemon().is_none());
}
