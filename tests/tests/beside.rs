//! `quire exec --session` beside other people's work: their turns run on, their questions stay theirs, and a
//! prompt that was given up never runs.

#![allow(clippy::unwrap_used, reason = "a test that can't go on has failed")]

use quire_proto::v1::{Event, StopReason, event::Body, item::Kind};
use quire_tests::{
    home::{Home, KEY_VARIABLE},
    model::{Gate, MockModel, Reply, Wire},
    process::Finished,
    rpc::{Rpc, items},
    wait,
};
use rustix::process::Signal;

fn run<const N: usize>(home: &Home, arguments: [&str; N]) -> String {
    let run = home.quire(arguments).run();
    assert_eq!(run.code, 0, "{arguments:?}: {}", run.stderr);
    run.stdout
}

fn prompts(events: &[Event]) -> Vec<String> {
    let items = items(events).into_iter();
    let prompts = items.filter_map(|item| match item.kind {
        Some(Kind::Prompt(prompt)) => Some(prompt.text),
        _ => None,
    });
    prompts.collect()
}

fn ends(events: &[Event]) -> Vec<StopReason> {
    let ends = events.iter().filter_map(|event| match &event.body {
        Some(Body::TurnEnded(ended)) => Some(ended.stop_reason()),
        _ => None,
    });
    ends.collect()
}

/// The only turn is the first one's, and ended well.
fn check_alone(rpc: &Rpc) {
    let events = rpc.events(&rpc.session("@last").id);
    assert_eq!(prompts(&events), ["go"]);
    assert_eq!(ends(&events), [StopReason::Done]);
}

/// One sentence on standard error that says this.
fn check_told(ended: &Finished, code: i32, words: &[&str]) {
    assert_eq!(ended.code, code, "{ended:#?}");
    for word in words {
        assert!(ended.stderr.contains(word), "{word}: {ended:#?}");
    }
    assert_eq!(ended.stderr.lines().count(), 1, "{ended:#?}");
}

#[test]
fn a_question_of_another_turn_is_not_answered_and_the_prompt_is_taken_back() {
    let model = MockModel::playing([Reply::shell("echo made > made-file"), Reply::say("made it")]);
    let home = Home::asking(&model, Wire::Responses);
    run(&home, ["exec", "go", "--detach", "--approve", "untrusted"]);
    let rpc = Rpc::connect(&home);
    assert!(rpc.settled("@last").needs_approval);
    let also = home.quire(["exec", "--session", "@last", "and more"]).run();
    check_told(&also, 3, &["quire approve", "taken back"]);
    let json = home
        .quire(["exec", "--json", "--session", "@last", "and more"])
        .run();
    assert_eq!(json.code, 3, "{json:#?}");
    let last = json.stdout.lines().last().unwrap();
    assert!(last.starts_with(r#"{"type":"error""#), "{last}");
    assert!(rpc.settled("@last").needs_approval, "it was answered");
    run(&home, ["approve", "@last"]);
    run(&home, ["wait", "@last"]);
    assert!(home.work().join("made-file").exists());
    check_alone(&rpc);
}

/// A turn that stands still until the gate opens, and a prompt beside it that waits.
#[test]
fn a_prompt_that_waits_is_taken_back_and_the_turn_of_others_goes_on() {
    for how in ["Ctrl-C", "--timeout"] {
        let gate = Gate::closed();
        let model = MockModel::playing([
            Reply::default().and_hold(&gate).and_say("one"),
            Reply::say("two"),
        ]);
        let home = Home::asking(&model, Wire::Responses);
        run(&home, ["exec", "go", "--detach"]);
        gate.wait_reached();
        let rpc = Rpc::connect(&home);
        let also = home.quire(["exec", "--session", "@last", "and more"]);
        let ended = match how {
            "Ctrl-C" => {
                let also = also.spawn();
                wait::until("the prompt to wait and its client to watch", || {
                    let session = rpc.session("@last");
                    session.queued_prompts == 1 && !session.clients.is_empty()
                });
                also.signal(Signal::INT);
                also.finish()
            }
            _ => also.args(["--timeout", "2s"]).run(),
        };
        let code = if how == "Ctrl-C" { 130 } else { 6 };
        check_told(&ended, code, &["the prompt was taken back"]);
        gate.open();
        run(&home, ["wait", "@last"]);
        check_alone(&rpc);
    }
}

/// What has become part of a turn is past taking back.
#[test]
fn a_prompt_that_a_turn_has_taken_is_interrupted_with_it() {
    let gates = [Gate::closed(), Gate::closed()];
    let model = MockModel::playing([
        Reply::default()
            .and_hold(&gates[0])
            .and_shell("echo joined"),
        Reply::default().and_hold(&gates[1]).and_say("late"),
    ]);
    let home = Home::asking(&model, Wire::Responses);
    run(&home, ["exec", "go", "--detach"]);
    gates[0].wait_reached();
    let rpc = Rpc::connect(&home);
    let also = home
        .quire(["exec", "--session", "@last", "and more"])
        .spawn();
    wait::until("the prompt to wait and its client to watch", || {
        let session = rpc.session("@last");
        session.queued_prompts == 1 && !session.clients.is_empty()
    });
    gates[0].open();
    gates[1].wait_reached();
    also.signal(Signal::INT);
    let ended = also.finish();
    assert_eq!(ended.code, 130, "{ended:#?}");
    assert!(ended.stderr.contains("interrupting"), "{ended:#?}");
    let events = rpc.events(&rpc.session("@last").id);
    assert_eq!(prompts(&events), ["go", "and more"]);
    assert_eq!(ends(&events), [StopReason::Interrupted]);
    gates[1].open();
}

/// The daemon that has taken the turn over has no key, nor has whoever comes.
#[test]
fn a_turn_that_waits_for_a_key_which_nobody_has_ends_the_run_at_once() {
    let gate = Gate::closed();
    let model = MockModel::playing([
        Reply::default().and_hold(&gate).and_say("one"),
        Reply::say("two"),
    ]);
    let home = Home::asking(&model, Wire::Responses);
    run(&home, ["exec", "go", "--detach"]);
    gate.wait_reached();
    home.kill_daemon();
    gate.open();
    let started = home.quire(["daemon", "start"]).without_env(KEY_VARIABLE);
    assert_eq!(started.run().code, 0);
    let rpc = Rpc::connect(&home);
    assert!(rpc.settled("@last").suspended);
    let waited = home.quire(["wait", "@last"]).without_env(KEY_VARIABLE);
    check_told(&waited.run(), 1, &["quire env", "--refresh"]);
    let also = home.quire(["exec", "--session", "@last", "and more"]);
    let also = also.without_env(KEY_VARIABLE).run();
    assert_eq!(also.code, 4, "{also:#?}");
    assert_eq!(also.stderr.matches("the turn waits").count(), 1);
    let sentence = also.stderr.lines().last().unwrap();
    assert!(sentence.contains("quire env") && sentence.contains("--refresh"));
    let json = home.quire(["exec", "--json", "--session", "@last", "and more"]);
    let json = json.without_env(KEY_VARIABLE).run();
    assert_eq!(json.code, 4, "{json:#?}");
    let last = json.stdout.lines().last().unwrap();
    assert!(last.starts_with(r#"{"type":"error""#), "{last}");
    run(&home, ["env", "@last", "--refresh"]);
    run(&home, ["wait", "@last"]);
    let events = rpc.events(&rpc.session("@last").id);
    assert_eq!(ends(&events), [StopReason::Done]);
}
