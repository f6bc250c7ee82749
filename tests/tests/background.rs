//! Work that nobody looks at: left, waited for, told of when someone is needed, and named.

use std::{fs, os::unix::fs::PermissionsExt as _, path::PathBuf};

use quire_proto::v1::{ApprovalVerdict, Session, StopReason, event::Body};
use quire_tests::{
    home::{Home, KEY_VARIABLE, provider},
    model::{Fault, Gate, MockModel, Reply, Wire},
    rpc::Rpc,
    skip::skip,
    terminal::Terminal,
    wait,
};
use serde_json::Value;

/// A prompt sent and left; returns the session's id.
fn detached<const N: usize>(home: &Home, args: [&str; N]) -> String {
    let run = home.quire(["exec", "--detach"]).args(args).run();
    assert_eq!(run.code, 0, "{}", run.stderr);
    run.stdout.trim().to_owned()
}

/// The configuration that asks `model`, with a line before it.
fn configured(model: &MockModel, line: &str) -> Home {
    let home = Home::new();
    home.configure(&format!(
        "{line}\n{}",
        provider(&model.base_url(), Wire::Responses)
    ));
    home
}

/// A home whose `notify` appends what it is told to a file; and that file.
fn telling(model: &MockModel) -> (Home, PathBuf) {
    let home = Home::new();
    let (script, told) = (home.root().join("tell"), home.root().join("told"));
    // One write, so that two that run at once do not mix.
    let text = format!("#!/bin/sh\nprintf '%s\\n' \"$1\" >> '{}'\n", told.display());
    fs::write(&script, text).expect("the home is writable");
    fs::set_permissions(&script, fs::Permissions::from_mode(0o700)).expect("it is ours");
    let line = format!("notify = [\"{}\"]", script.display());
    home.configure(&format!(
        "{line}\n{}",
        provider(&model.base_url(), Wire::Responses)
    ));
    (home, told)
}

/// What was told so far.
fn told(file: &PathBuf) -> Vec<Value> {
    let text = fs::read_to_string(file).unwrap_or_default();
    let whole = text
        .lines()
        .filter_map(|line| serde_json::from_str(line).ok());
    whole.collect()
}

fn kinds(file: &PathBuf) -> Vec<String> {
    let told = told(file).into_iter();
    told.map(|news| news["type"].as_str().unwrap_or_default().to_owned())
        .collect()
}

#[test]
fn a_prompt_sent_and_left_survives_the_death_of_the_daemon() {
    let gate = Gate::closed();
    let model = MockModel::playing([Reply::say("half ").and_hold(&gate).and_say("whole")]);
    let home = Home::asking(&model, Wire::Responses);
    let id = detached(&home, ["go"]);
    gate.wait_reached();
    home.kill_daemon();
    let waiting = home.quire(["wait", &id]).spawn();
    gate.wait_reached_times(2);
    gate.open();
    let waited = waiting.finish();
    assert_eq!((waited.code, waited.stdout), (0, format!("{id}  done\n")));
    let rpc = Rpc::connect(&home);
    assert_eq!(rpc.settled(&id).stop_reason(), StopReason::Done);
    assert_eq!(rpc.session(&id).turns, 1);
}

#[test]
fn a_prompt_from_the_screen_goes_on_when_that_is_killed_and_the_daemon_too() {
    if !Terminal::available() {
        return skip("no setsid from util-linux");
    }
    let gate = Gate::closed();
    let model = MockModel::playing([Reply::say("half ").and_hold(&gate).and_say("whole")]);
    let home = Home::asking(&model, Wire::Responses);
    let screen = home.terminal(["go"]);
    gate.wait_reached();
    screen.shows("half");
    drop(screen);
    home.kill_daemon();
    let rpc = Rpc::starting(&home);
    gate.wait_reached_times(2);
    gate.open();
    let ended = rpc.settled("@last");
    assert_eq!((ended.stop_reason(), ended.turn), (StopReason::Done, 1));
}

#[test]
fn wait_tells_each_session_as_it_rests_and_fails_as_the_first_named_did() {
    let gate = Gate::closed();
    let model = MockModel::playing([Reply::shell("touch made"), Reply::say("").and_hold(&gate)]);
    let home = Home::asking(&model, Wire::Responses);
    let works = detached(&home, ["go"]);
    gate.wait_reached();
    let asks = detached(&home, ["go", "--approve", "untrusted"]);

    let any = home.quire(["wait", "--any", &works, &asks]).run();
    assert_eq!(
        (any.code, any.stdout),
        (3, format!("{asks}  needs approval\n"))
    );

    let late = home.quire(["wait", &works, &asks, "--timeout", "2s"]).run();
    assert_eq!(late.code, 6);
    assert!(
        late.stdout.contains(&asks) && late.stderr.contains(&works),
        "{}",
        late.stderr
    );

    let all = home
        .quire(["wait", "--json", &works, &asks, &works])
        .spawn();
    all.shows(&asks);
    Rpc::connect(&home).interrupt(&works);
    let all = all.finish();
    let lines: Vec<Value> = all
        .stdout
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect();
    assert_eq!(lines.len(), 2, "a session named twice is told once");
    assert_eq!(
        (&lines[0]["session"], &lines[0]["exit_code"]),
        (&asks.clone().into(), &3.into())
    );
    assert_eq!(lines[0]["state"], "needs approval");
    assert_eq!(lines[1]["stop_reason"], "interrupted");
    assert_eq!(all.code, 130, "as the first one named");
    gate.open();
}

#[test]
fn a_program_is_told_when_someone_is_needed_and_not_twice() {
    let model = MockModel::playing([Reply::shell("touch made"), Reply::say("done")]);
    let (home, file) = telling(&model);
    let id = detached(&home, ["go", "--approve", "untrusted"]);
    wait::until("the question to be told", || told(&file).len() == 1);
    let asked = &told(&file)[0];
    assert_eq!(asked["type"], "approval-asked");
    assert_eq!(
        (&asked["session"], &asked["what"]),
        (&id.as_str().into(), &"touch made".into())
    );
    assert_eq!(asked["workspace"], home.work().display().to_string());

    // Nobody knows whether it got to anyone: the next daemon tells what still waits, once.
    home.kill_daemon();
    let rpc = Rpc::starting(&home);
    wait::until("the question to be told again", || told(&file).len() == 2);
    assert!(rpc.settled(&id).needs_approval);
    assert_eq!(home.quire(["ps"]).run().code, 0);
    rpc.decide(&id, ApprovalVerdict::Once).unwrap();
    wait::until("the end to be told", || told(&file).len() == 3);
    assert_eq!(
        kinds(&file),
        ["approval-asked", "approval-asked", "turn-ended"]
    );
    let ended = &told(&file)[2];
    assert_eq!(
        (&ended["turn"], &ended["stop_reason"]),
        (&1.into(), &"done".into())
    );

    // What was answered is not told by a third daemon, and a turn that someone watches is not told.
    home.kill_daemon();
    let watched = home.quire(["exec", "--session", &id, "again"]).run();
    assert_eq!(watched.code, 0, "{}", watched.stderr);
    detached(&home, ["--session", &id, "and again"]);
    wait::until("the unwatched end to be told", || told(&file).len() == 4);
    assert_eq!(told(&file)[3]["turn"], 3);
}

#[test]
fn a_suspended_turn_is_told() {
    let gate = Gate::closed();
    let model = MockModel::playing([Reply::say("half ").and_hold(&gate).and_say("whole")]);
    let (home, file) = telling(&model);
    let id = detached(&home, ["go"]);
    gate.wait_reached();
    home.kill_daemon();
    // The key was in the client's environment only.
    let started = home.quire(["daemon", "start"]).without_env(KEY_VARIABLE);
    assert_eq!(started.run().code, 0);
    wait::until("the suspension to be told", || told(&file).len() == 1);
    let suspended = &told(&file)[0];
    assert_eq!(suspended["type"], "turn-suspended");
    assert!(suspended["reason"].as_str().unwrap().contains(KEY_VARIABLE));
    let waited = home.quire(["wait", &id]).run();
    assert_eq!(waited.code, 1);
    assert!(
        waited.stdout.starts_with(&format!("{id}  suspended: ")),
        "{}",
        waited.stdout
    );
    gate.open();
}

#[test]
fn a_program_that_hangs_holds_up_nobody() {
    let model = MockModel::playing([Reply::say("done")]);
    let home = configured(&model, "notify = [\"/bin/sh\", \"-c\", \"sleep 1000\"]");
    for _ in 0..8 {
        let id = detached(&home, ["go"]);
        assert_eq!(home.quire(["wait", &id]).run().code, 0);
    }
}

const SMALL: &str = "[roles]\nsmall = \"mock/tiny\"\n\n";

/// A home whose sessions are named by `mock/tiny`.
fn naming(model: &MockModel) -> Home {
    let home = Home::asking(model, Wire::Responses);
    let main = provider(&model.base_url(), Wire::Responses);
    let (main, provider) = main.split_once("\n\n").expect("the model comes first");
    home.configure(&format!("{main}\n\n{SMALL}{provider}"));
    home
}

fn named(rpc: &Rpc, session: &str) -> Session {
    wait::until_some("a title", || {
        let session = rpc.session(session);
        (session.title == "A short title").then_some(session)
    })
}

#[test]
fn a_session_is_named_by_the_small_model_beside_its_first_turn() {
    let gate = Gate::closed();
    let model = MockModel::playing([Reply::say("half ").and_hold(&gate).and_say("whole")]);
    let home = naming(&model);
    let prompt = format!("mend it {}", "x".repeat(5_000));
    let id = detached(&home, [&prompt]);
    gate.wait_reached();
    let rpc = Rpc::connect(&home);
    let session = named(&rpc, &id);
    assert_eq!(
        session.running_turn, 1,
        "the turn does not wait for it, nor it for the turn"
    );
    gate.open();
    assert_eq!(rpc.settled(&id).stop_reason(), StopReason::Done);

    let [aside] = &model.asides()[..] else {
        panic!("{:?}", model.asides())
    };
    assert_eq!(aside.body["model"], "tiny");
    assert!(aside.bytes < 4_000, "{} bytes", aside.bytes);
    let [main] = &model.requests()[..] else {
        panic!("the turn asks once")
    };
    assert_eq!(main.body["model"], "scripted");

    let events = rpc.events(&id);
    let renamed = events
        .iter()
        .find(|event| matches!(event.body, Some(Body::SessionChanged(_))));
    assert!(renamed.is_some_and(|event| event.by.is_none()));
    let ended = events.iter().find_map(|event| match &event.body {
        Some(Body::TurnEnded(ended)) => ended.usage,
        _ => None,
    });
    let spent = rpc.session(&id).usage.unwrap_or_default().input_tokens;
    let in_turn = ended.unwrap_or_default().input_tokens;
    assert!(
        spent > in_turn && in_turn > 0,
        "{spent} in all, {in_turn} in the turn"
    );

    home.kill_daemon();
    let again = home.quire(["exec", "--session", &id, "more"]).run();
    assert_eq!(again.code, 0, "{}", again.stderr);
    assert_eq!(model.asides().len(), 1, "it has a title");
}

#[test]
fn a_name_that_someone_gave_stays_and_without_a_small_model_nobody_is_asked() {
    let model = MockModel::playing([Reply::say("done")]);
    let home = naming(&model);
    let rpc = Rpc::starting(&home);
    let session = rpc.create(&home, &home.work()).id;
    assert_eq!(home.quire(["rename", &session, "Mine"]).run().code, 0);
    rpc.prompt(&session, "go");
    assert_eq!(rpc.settled(&session).stop_reason(), StopReason::Done);
    assert_eq!(rpc.session(&session).title, "Mine");

    let plain = Home::asking(&model, Wire::Responses);
    assert_eq!(plain.quire(["exec", "go"]).run().code, 0);
    assert_eq!(Rpc::connect(&plain).session("@last").title, "go");
    assert!(model.asides().is_empty(), "{:?}", model.asides());
}

#[test]
fn a_small_model_that_cannot_be_asked_troubles_nobody() {
    let model = MockModel::playing([Reply::say("done").failing(Fault::Status(500, None), 1)]);
    let home = naming(&model);
    let config = fs::read_to_string(home.quire_home().join("config.toml")).unwrap();
    home.configure(&config.replace("mock/tiny", "nowhere/tiny"));
    let run = home.quire(["exec", "go"]).run();
    assert_eq!(
        (run.code, run.stdout.trim_end()),
        (0, "done"),
        "{}",
        run.stderr
    );
    assert!(!run.stderr.contains("tiny"), "{}", run.stderr);
    assert_eq!(Rpc::connect(&home).session("@last").title, "go");
}
