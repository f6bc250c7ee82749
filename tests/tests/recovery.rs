//! What survives: turns, commands and text, when the daemon is killed or someone interrupts.

use std::fs;

use quire_proto::v1::{ItemStatus, OutcomeStatus, StopReason, ToolCallItem, event::Body, item};
use quire_tests::{
    home::Home,
    model::{Gate, MockModel, Reply, Wire},
    rpc::{Rpc, items},
    wait,
};
use serde_json::json;

/// Says that it runs, waits for the file `go`, and ends with exit status 5.
const PATIENT: &str =
    "echo started; echo run >> runs; until [ -e go ]; do sleep 0.02; done; echo finished; exit 5";

fn patient() -> MockModel {
    MockModel::playing([
        Reply::default().and_shell_with(PATIENT, json!({ "yield_time_ms": 30_000 })),
        Reply::say("it ended"),
    ])
}

/// A turn whose command runs.
fn running(home: &Home) {
    let run = home.quire(["exec", "go", "--detach"]).run();
    assert_eq!(run.code, 0, "{}", run.stderr);
    wait::until("the command to run", || home.work().join("runs").exists());
}

/// The command ran once, the model was told its true end, and so is everyone else.
fn check_ran_once(home: &Home, model: &MockModel) {
    let waited = home.quire(["wait", "@last"]).run();
    assert_eq!(waited.code, 0, "{}", waited.stderr);
    let runs = fs::read_to_string(home.work().join("runs")).expect("it ran");
    assert_eq!(runs, "run\n");
    let requests = model.requests();
    assert_eq!(
        requests.len(),
        2,
        "one request before the command, one after"
    );
    let told = requests[1].outcome(0, 0).expect("an outcome");
    assert!(
        told.contains("started") && told.contains("finished"),
        "{told}"
    );
    let rpc = Rpc::connect(home);
    let calls = calls(&rpc, "@last");
    assert_eq!(calls.len(), 1, "{calls:#?}");
    let outcome = calls[0].outcome.clone().expect("an outcome");
    assert_eq!(outcome.status(), OutcomeStatus::Succeeded);
    assert_eq!(outcome.exit_code, Some(5));
    let turn = rpc.events(&rpc.session("@last").id);
    let ends = turn
        .iter()
        .filter(|event| matches!(event.body, Some(Body::TurnEnded(_))));
    assert_eq!(ends.count(), 1);
}

fn calls(rpc: &Rpc, session: &str) -> Vec<ToolCallItem> {
    let items = items(&rpc.events(&rpc.session(session).id)).into_iter();
    let calls = items.filter_map(|one| match one.kind {
        Some(item::Kind::ToolCall(call)) => Some(call),
        _ => None,
    });
    calls.collect()
}

#[test]
fn a_command_outlives_its_daemon_and_the_turn_goes_on() {
    let model = patient();
    let home = Home::asking(&model, Wire::Responses);
    running(&home);
    home.kill_daemon();
    let started = home.quire(["daemon", "start"]).run();
    assert_eq!(started.code, 0, "{}", started.stderr);
    fs::write(home.work().join("go"), "").unwrap();
    check_ran_once(&home, &model);
}

#[test]
fn a_command_that_ends_while_no_daemon_lives_ends_truly() {
    let model = patient();
    let home = Home::asking(&model, Wire::Responses);
    running(&home);
    home.kill_daemon();
    fs::write(home.work().join("go"), "").unwrap();
    wait::until("the command and its keeper to end", || {
        home.processes().is_empty()
    });
    check_ran_once(&home, &model);
}

#[test]
fn an_attached_client_brings_a_dead_daemon_back() {
    let model = patient();
    let home = Home::asking(&model, Wire::Responses);
    let client = home.quire(["exec", "go"]).spawn();
    wait::until("the command to run", || home.work().join("runs").exists());
    home.kill_daemon();
    fs::write(home.work().join("go"), "").unwrap();
    let client = client.finish();
    assert_eq!(
        (client.code, client.stdout.trim_end()),
        (0, "it ended"),
        "{}",
        client.stderr
    );
    check_ran_once(&home, &model);
}

#[test]
fn a_restart_ends_no_turn_and_no_job() {
    let model = patient();
    let home = Home::asking(&model, Wire::Chat);
    running(&home);
    let before = home.daemon();
    let restarted = home.quire(["daemon", "restart"]).run();
    assert_eq!(restarted.code, 0, "{}", restarted.stderr);
    wait::until("another daemon", || {
        home.daemon().is_some_and(|pid| Some(pid) != before)
    });
    fs::write(home.work().join("go"), "").unwrap();
    check_ran_once(&home, &model);
}

#[test]
fn text_that_was_shown_is_kept_when_the_daemon_dies() {
    let gate = Gate::closed();
    let model = MockModel::playing([Reply::say("shown before the end ")
        .and_hold(&gate)
        .and_say("whole")]);
    let home = Home::asking(&model, Wire::Responses);
    let run = home.quire(["exec", "go", "--detach"]).run();
    assert_eq!(run.code, 0, "{}", run.stderr);
    gate.wait_reached();
    let rpc = Rpc::connect(&home);
    let watcher = rpc.watch(&rpc.session("@last").id, None);
    watcher.until("text", |view| {
        view.growing_text() == "shown before the end "
    });
    home.kill_daemon();

    let rpc = Rpc::starting(&home);
    gate.wait_reached_times(2);
    gate.open();
    let waited = home.quire(["wait", "@last"]).run();
    assert_eq!(waited.code, 0, "{}", waited.stderr);
    let kept = items(&rpc.events(&rpc.session("@last").id)).into_iter();
    let kept: Vec<_> = kept
        .filter_map(|one| match (one.status(), one.kind) {
            (status, Some(item::Kind::Message(message))) => Some((status, message.text)),
            _ => None,
        })
        .collect();
    let want = [
        (ItemStatus::CutOff, "shown before the end ".to_owned()),
        (
            ItemStatus::Completed,
            "shown before the end whole".to_owned(),
        ),
    ];
    assert_eq!(kept, want);
}

#[test]
fn a_turn_whose_daemon_dies_three_times_for_nothing_waits_to_be_sent_on() {
    let gate = Gate::closed();
    let model = MockModel::playing([Reply::default().and_hold(&gate).and_say("at last")]);
    let home = Home::asking(&model, Wire::Responses);
    let run = home.quire(["exec", "go", "--detach"]).run();
    assert_eq!(run.code, 0, "{}", run.stderr);
    for death in 1..=3 {
        let _ = model.wait_for_requests(death);
        home.kill_daemon();
        let started = home.quire(["daemon", "start"]).run();
        assert_eq!(started.code, 0, "{}", started.stderr);
    }
    let waited = home.quire(["wait", "@last"]).run();
    assert_eq!(waited.code, 1, "{waited:#?}");
    assert!(waited.stderr.contains("suspended") && waited.stderr.contains("quire send"));
    let renamed = home.quire(["rename", "@last", "another name"]).run();
    assert_eq!(renamed.code, 0, "{}", renamed.stderr);
    let ps = home.quire(["ps", "--json"]).run();
    assert!(ps.stdout.contains("suspended"), "{}", ps.stdout);
    assert_eq!(model.requests().len(), 3, "it was asked again unbidden");
    gate.open();
    let again = home.quire(["exec", "--session", "@last", "go on"]).run();
    assert_eq!(again.code, 0, "{again:#?}");
    assert!(again.stdout.contains("at last"), "{again:#?}");
    let requests = model.requests();
    // What sends it on is in the request, and its world alone did not send it on before.
    assert_eq!(requests.len(), 4);
    assert!(
        requests[3].body.to_string().contains("go on"),
        "{requests:#?}"
    );
}

#[test]
fn an_interrupt_kills_everything_the_command_started() {
    let tree = "sleep 98761 & (setsid sleep 98762 &) ; (trap '' TERM INT HUP; sleep 98763) & \
                touch up; sleep 98764";
    let model = MockModel::playing([
        Reply::default().and_shell_with(tree, json!({ "yield_time_ms": 30_000 })),
        Reply::say("never asked for"),
    ]);
    let home = Home::asking(&model, Wire::Responses);
    let client = home.quire(["exec", "go"]).spawn();
    let sleepers = || {
        let all = home.processes().into_iter();
        all.filter(|one| one.command.starts_with("sleep 9876"))
            .count()
    };
    wait::until("the whole tree", || {
        home.work().join("up").exists() && sleepers() == 4
    });
    let rpc = Rpc::connect(&home);
    rpc.interrupt("@last");
    assert_eq!(
        sleepers(),
        0,
        "alive after the interrupt: {:#?}",
        home.processes()
    );
    let client = client.finish();
    assert_eq!(client.code, 130, "{client:#?}");
    assert_eq!(rpc.settled("@last").stop_reason(), StopReason::Interrupted);
    let outcome = calls(&rpc, "@last")[0].outcome.clone().expect("an outcome");
    assert_eq!(outcome.status(), OutcomeStatus::Interrupted);
    assert_eq!(model.requests().len(), 1);
}

#[test]
fn a_session_goes_on_after_an_interrupt() {
    for wire in Wire::ALL {
        let gate = Gate::closed();
        let model = MockModel::playing([Reply::say("a long answer ").and_hold(&gate)]);
        let home = Home::asking(&model, wire);
        let first = home.quire(["exec", "go"]).spawn();
        first_text(&home);
        let interrupted = home.quire(["interrupt", "@last"]).run();
        assert_eq!(interrupted.code, 0, "{}", interrupted.stderr);
        assert_eq!(first.finish().code, 130);
        gate.open();
        let again = home.quire(["exec", "and now this", "--session", "@last"]);
        let again = again.run();
        assert_eq!(again.code, 0, "{}", again.stderr);
        let request = model.requests().pop().expect("a request");
        assert!(request.body.to_string().contains("and now this"));
    }
}

/// Waits until the newest session shows text.
fn first_text(home: &Home) {
    let rpc = Rpc::connect(home);
    let session = wait::until_some("a session", || {
        let request = quire_proto::v1::SessionServiceListRequest::default();
        let list = rpc.wait(async { rpc.sessions().list(request).await });
        let sessions = list.ok()?.into_inner().sessions;
        Some(sessions.first()?.id.clone())
    });
    rpc.watch(&session, None).until("text", |view| {
        view.growing_text().contains("answer") || view.turns_ended() > 0
    });
}

#[test]
fn the_log_is_whole_after_many_deaths() {
    let replies = (0..6).map(|nth| Reply::shell(&format!("echo step {nth} >> steps")));
    let model = MockModel::playing(replies.chain([Reply::say("all six")]));
    let home = Home::asking(&model, Wire::Responses);
    let client = home.quire(["exec", "go"]).spawn();
    for asked in [2, 4, 6] {
        let _ = model.wait_for_requests(asked);
        if home.daemon().is_some() {
            home.kill_daemon();
        }
    }
    let client = client.finish();
    assert_eq!(
        (client.code, client.stdout.trim_end()),
        (0, "all six"),
        "{}",
        client.stderr
    );
    let steps = fs::read_to_string(home.work().join("steps")).unwrap();
    let want: String = (0..6).map(|nth| format!("step {nth}\n")).collect();
    assert_eq!(steps, want, "a command ran twice or not at all");
    // The last death may have come when all was done.
    let rpc = Rpc::starting(&home);
    let session = rpc.session("@last");
    let events = rpc.events(&session.id);
    let seqs: Vec<_> = events.iter().map(|event| event.seq).collect();
    assert_eq!(seqs, (1..=session.head_seq).collect::<Vec<_>>());
    // A call that was cut off before it was whole stands in the log too, as not run.
    let ran = calls(&rpc, &session.id).into_iter().filter(|call| {
        let outcome = call.outcome.as_ref();
        outcome.is_some_and(|outcome| outcome.status() == OutcomeStatus::Succeeded)
    });
    assert_eq!(ran.count(), 6);
}
