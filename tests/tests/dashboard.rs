//! All sessions at once: the daemon's watch, `quire top`, `quire ps`, and what the daemon says it can do.

use std::fs;

use quire_proto::{
    id::RequestId,
    v1::{
        ApprovalVerdict, DaemonServiceGetStatusRequest, DaemonServiceHelloRequest, Session,
        SessionServiceArchiveRequest, SessionServiceDeleteRequest, SessionState,
        daemon_service_watch_response::Update,
    },
};
use quire_tests::{
    binaries::source_root,
    dashboard::{Dashboard, sessions},
    home::Home,
    model::{Gate, MockModel, Reply, Wire},
    rpc::Rpc,
    skip::skip,
    terminal::Terminal,
};
use serde_json::Value;
use tonic::Code;

fn archive(rpc: &Rpc, session: &str) {
    let request = SessionServiceArchiveRequest {
        request_id: RequestId::random().to_string(),
        session: session.to_owned(),
        restore: false,
    };
    let done = rpc.wait(async { rpc.sessions().archive(request).await });
    done.unwrap_or_else(|status| panic!("archive: {status}"));
}

fn delete(rpc: &Rpc, session: &str) {
    let request = SessionServiceDeleteRequest {
        request_id: RequestId::random().to_string(),
        session: session.to_owned(),
    };
    let done = rpc.wait(async { rpc.sessions().delete(request).await });
    done.unwrap_or_else(|status| panic!("delete: {status}"));
}

#[test]
fn a_dashboard_is_told_what_is_and_then_everything_that_changes() {
    let model = MockModel::playing([Reply::shell("touch made"), Reply::say("done")]);
    let home = Home::asking(&model, Wire::Responses);
    let rpc = Rpc::starting(&home);
    let old = rpc.create(&home, &home.work()).id;
    let hidden = rpc.create(&home, &home.work()).id;
    archive(&rpc, &hidden);

    let mut dashboard = Dashboard::of(&rpc);
    let standing = dashboard.standing();
    let ids: Vec<_> = sessions(&standing).iter().map(|one| &one.id).collect();
    assert_eq!(ids, [&old], "and not the archived one");

    let run = home.quire(["exec", "go", "--detach", "--approve", "untrusted"]);
    let id = run.run().stdout.trim().to_owned();
    let asks = dashboard.until(|update| matches!(update, Update::Approval(_)));
    let asking = |one: &&Session| one.state() == SessionState::NeedsApproval;
    let asking: Vec<_> = sessions(&asks).into_iter().filter(asking).collect();
    assert!(asking.iter().any(|one| one.id == id), "before what it asks");

    let watcher = rpc.watch(&id, None);
    let late = {
        let mut late = Dashboard::of(&rpc);
        late.standing()
    };
    let waits = |update: &Update| matches!(update, Update::Approval(one) if one.answer.is_none());
    assert!(late.iter().any(waits), "a late one is told what waits");

    rpc.decide("@last", ApprovalVerdict::Once).unwrap();
    let decided = |update: &Update| matches!(update, Update::Approval(one) if one.answer.is_some());
    let ended = |update: &Update| matches!(update, Update::JobEnded(job) if job.session_id == id);
    let rest = dashboard.until(ended);
    assert_eq!(rest.iter().filter(|update| decided(update)).count(), 1);
    let idle = |one: &Session| one.state() == SessionState::Idle && one.turns == 1;
    if !sessions(&rest).into_iter().any(idle) {
        dashboard.session(idle);
    }
    drop(watcher);

    archive(&rpc, &id);
    assert_eq!(dashboard.session(|one| one.archived).id, id);
    delete(&rpc, &old);
    dashboard.until(|update| matches!(update, Update::SessionDeleted(gone) if *gone == old));
    dashboard.until(|update| matches!(update, Update::Heartbeat(_)));
}

#[test]
fn who_comes_and_leaves_is_told() {
    let gate = Gate::closed();
    let model = MockModel::playing([Reply::say("half ").and_hold(&gate).and_say("whole")]);
    let home = Home::asking(&model, Wire::Responses);
    let rpc = Rpc::starting(&home);
    let mut dashboard = Dashboard::of(&rpc);
    dashboard.standing();
    let exec = home.quire(["exec", "go"]).spawn();
    let seen = dashboard.session(|one| !one.clients.is_empty());
    assert_eq!(seen.clients[0].name, "exec");
    assert!(seen.turn_started_ms > 0);
    gate.open();
    assert_eq!(exec.finish().code, 0);
    let left = dashboard.session(|one| one.turns == 1 && one.clients.is_empty());
    assert_eq!(
        (left.state(), left.turn_started_ms),
        (SessionState::Idle, 0)
    );
}

#[test]
fn many_sleeping_sessions_are_told_and_none_is_woken() {
    const MANY: usize = 210;
    let model = MockModel::playing([]);
    let home = Home::asking(&model, Wire::Responses);
    let rpc = Rpc::starting(&home);
    let mut made: Vec<_> = (0..MANY)
        .map(|_| rpc.create(&home, &home.work()).id)
        .collect();
    home.kill_daemon();
    let rpc = Rpc::starting(&home);
    let standing = Dashboard::of(&rpc).standing();
    let mut told: Vec<_> = sessions(&standing)
        .iter()
        .map(|one| one.id.clone())
        .collect();
    made.sort();
    told.sort();
    assert_eq!(told, made);
    let status = DaemonServiceGetStatusRequest {};
    let status = rpc.wait(async { rpc.daemon().get_status(status).await });
    assert_eq!(status.unwrap().into_inner().sessions, 0);
}

#[test]
fn nothing_made_while_the_list_is_read_is_missed() {
    let model = MockModel::playing([]);
    let home = Home::asking(&model, Wire::Responses);
    let rpc = Rpc::starting(&home);
    for _ in 0..110 {
        let _id = rpc.create(&home, &home.work()).id;
    }
    let mut dashboard = Dashboard::of(&rpc);
    let first = dashboard.take().expect("the first session");
    assert!(matches!(first, Update::Session(_)));
    // The daemon has read the first page by now, and waits for room or is at the next.
    let new = rpc.create(&home, &home.work()).id;
    let told = dashboard.until(|update| matches!(update, Update::Session(one) if one.id == new));
    let synced = told
        .iter()
        .any(|update| matches!(update, Update::Synced(_)));
    if !synced {
        dashboard.standing();
    }
}

#[test]
fn the_end_of_the_daemon_is_announced() {
    let home = Home::new();
    let rpc = Rpc::starting(&home);
    let mut dashboard = Dashboard::of(&rpc);
    dashboard.standing();
    let stopped = home.quire(["daemon", "restart"]).spawn();
    dashboard.until(|update| matches!(update, Update::Draining(true)));
    let ended = dashboard.take().expect_err("the stream ends");
    assert_eq!(ended.code(), Code::Unavailable);
    assert!(ended.message().contains("the daemon ends"), "{ended}");
    assert_eq!(stopped.finish().code, 0);
}

#[test]
fn top_prints_a_table_or_lines_where_there_is_no_terminal() {
    let model = MockModel::playing([Reply::shell("touch made"), Reply::say("done")]);
    let home = Home::asking(&model, Wire::Responses);
    let run = home.quire(["exec", "go \u{1b}[2J", "--detach", "--approve", "untrusted"]);
    let id = run.run().stdout.trim().to_owned();
    let rpc = Rpc::connect(&home);
    assert!(rpc.settled(&id).needs_approval);

    for args in [vec!["top"], vec!["top", "--once"]] {
        let table = home.quire([]).args(args).run();
        assert_eq!(table.code, 0, "{}", table.stderr);
        let lines: Vec<_> = table.stdout.lines().collect();
        assert!(lines[1].starts_with(&id) && lines[1].contains("needs approval"));
        assert!(lines[2].contains("touch made"), "{lines:?}");
        assert!(!table.stdout.contains('\u{1b}'));
    }

    let live = home.quire(["top", "--json"]).spawn();
    live.shows("\"synced\"");
    home.kill_daemon();
    // The next daemon is started by `top` itself, and begins with all there is.
    live.shows("\"synced\"}\n{\"type\":\"session\"");
    assert_eq!(home.quire(["approve", "@last"]).run().code, 0);
    live.shows("\"approval_decided\"");
    live.shows("\"job_ended\"");
    live.shows("\"last_stop\":\"done\"");
    let told = live.stdout();
    for line in told.lines().take(5) {
        let line: Value = serde_json::from_str(line).expect("a line of JSON");
        assert!(line["type"].is_string());
    }
    live.kill();
    let once = home.quire(["top", "--json", "--once"]).run();
    assert!(
        once.stdout.ends_with("{\"type\":\"synced\"}\n"),
        "{}",
        once.stdout
    );
}

#[test]
fn top_on_a_terminal_opens_a_session_and_comes_back() {
    if !Terminal::available() {
        return skip("no setsid from util-linux");
    }
    let gate = Gate::closed();
    let model = MockModel::playing([Reply::say("half ").and_hold(&gate).and_say("and whole")]);
    let home = Home::asking(&model, Wire::Responses);
    assert_eq!(home.quire(["exec", "say it", "--detach"]).run().code, 0);
    gate.wait_reached();
    let mut top = home.terminal(["top"]);
    top.shows("1 running");
    top.shows("say it");
    top.types("\r");
    top.shows("half");
    top.types("\u{4}");
    top.shows("quire top");
    home.kill_daemon();
    top.until("the next daemon", |screen| {
        let shown = screen.contents();
        home.daemon().is_some() && shown.contains("1 running") && !shown.contains("looking for it")
    });
    top.types("i");
    top.shows("interrupt turn 1");
    top.types("y");
    top.shows("was interrupted");
    top.types("q");
    assert_eq!(top.finish(), 0);
    let screen = top.screen();
    assert!(!screen.alternate_screen() && !screen.hide_cursor());
    gate.open();
}

#[test]
fn ps_tells_scripts_what_the_client_guide_says() {
    let model = MockModel::playing([Reply::say("done")]);
    let home = Home::asking(&model, Wire::Responses);
    assert_eq!(home.quire(["exec", "go"]).run().code, 0);
    let told = home.quire(["ps", "--json"]).run();
    let told: Value = serde_json::from_str(&told.stdout).expect("one line");
    let guide = fs::read_to_string(source_root().join("client/README.md")).unwrap();
    let table = guide
        .split("A line of `quire ps --json`:")
        .nth(1)
        .expect("the guide tells");
    let rows = table.split("\n\n").nth(1).expect("a table").lines().skip(2);
    let keys: Vec<_> = rows
        .flat_map(|row| row.split('|').nth(1).unwrap_or_default().split(','))
        .map(|key| key.trim().trim_matches('`').to_owned())
        .filter(|key| key != "damaged_seq")
        .collect();
    let has: Vec<_> = told.as_object().unwrap().keys().cloned().collect();
    let mut want = keys.clone();
    want.sort();
    assert_eq!(has, want);
    assert_eq!(
        (&told["state"], &told["last_stop"]),
        (&"idle".into(), &"done".into())
    );
}

#[test]
fn the_guide_explains_what_the_daemon_says_it_can_do() {
    let home = Home::new();
    let rpc = Rpc::starting(&home);
    let hello = DaemonServiceHelloRequest::default();
    let hello = rpc.wait(async { rpc.daemon().hello(hello).await });
    let words = hello.unwrap().into_inner().capabilities;
    let guide = fs::read_to_string(source_root().join("proto/README.md")).unwrap();
    let table = guide.split("## Capabilities").nth(1).expect("a section");
    let table = table.split("\n## ").next().unwrap_or_default();
    let rows = table.lines().filter(|line| line.starts_with("| `"));
    let explained: Vec<_> = rows
        .filter_map(|row| Some(row.split('`').nth(1)?.to_owned()))
        .collect();
    assert_eq!(words, explained);
    assert!(!words.is_empty());
}
