//! Approvals: asked of everyone, given or denied by anyone, once.

use quire_proto::v1::{ApprovalVerdict, OutcomeStatus, StopReason, event::Body, item};
use quire_tests::{
    home::Home,
    model::{MockModel, Reply, Wire},
    rpc::{Rpc, items},
};
use tonic::Code;

/// A model that makes a file and says what came of it.
fn making() -> MockModel {
    MockModel::playing([
        Reply::shell("echo made > made-file"),
        Reply::say("that is that"),
    ])
}

/// A session whose first turn waits for an approval.
fn asked(home: &Home) -> Rpc {
    let run = home
        .quire(["exec", "go", "--detach", "--approve", "untrusted"])
        .run();
    assert_eq!(run.code, 0, "{}", run.stderr);
    let rpc = Rpc::connect(home);
    assert!(rpc.settled("@last").needs_approval);
    assert!(!home.work().join("made-file").exists());
    rpc
}

#[test]
fn another_client_approves() {
    let model = making();
    let home = Home::asking(&model, Wire::Responses);
    let rpc = asked(&home);
    let watcher = rpc.watch(&rpc.session("@last").id, None);
    watcher.until("the question", |view| {
        let asks = |event: &quire_proto::v1::Event| {
            matches!(&event.body, Some(Body::ApprovalRequested(_)))
        };
        view.events.iter().any(asks)
    });
    let approved = home.quire(["approve", "@last"]).run();
    assert_eq!(approved.code, 0, "{}", approved.stderr);
    watcher.until_turns_ended(1);
    assert!(home.work().join("made-file").exists());
    assert_eq!(rpc.settled("@last").stop_reason(), StopReason::Done);
    let answers = watcher.view().events;
    let decided = answers
        .iter()
        .filter(|event| matches!(event.body, Some(Body::ApprovalDecided(_))));
    assert_eq!(decided.count(), 1);
}

#[test]
fn another_client_denies_with_a_word_to_the_model() {
    let model = making();
    let home = Home::asking(&model, Wire::Chat);
    let rpc = asked(&home);
    let denied = home
        .quire(["deny", "@last", "-m", "use another name"])
        .run();
    assert_eq!(denied.code, 0, "{}", denied.stderr);
    let ended = rpc.settled("@last");
    assert!(!ended.needs_approval);
    assert!(!home.work().join("made-file").exists());
    let told = model.requests()[1].outcome(0, 0).expect("an outcome");
    assert!(told.contains("use another name"), "{told}");
    let calls = items(&rpc.events(&rpc.session("@last").id));
    let outcome = calls.iter().find_map(|one| match &one.kind {
        Some(item::Kind::ToolCall(call)) => call.outcome.clone(),
        _ => None,
    });
    assert_eq!(outcome.unwrap().status(), OutcomeStatus::Denied);
}

#[test]
fn the_first_answer_wins_and_the_others_learn_of_it() {
    let model = making();
    let home = Home::asking(&model, Wire::Responses);
    let rpc = asked(&home);
    let session = rpc.session("@last").id;
    let approval = rpc.session(&session).pending_approvals;
    assert_eq!(approval, 1);
    let both = [ApprovalVerdict::Deny, ApprovalVerdict::Once].map(|verdict| {
        let request = quire_proto::v1::ApprovalServiceDecideRequest {
            request_id: quire_proto::id::RequestId::random().to_string(),
            session: session.clone(),
            approval: 1,
            verdict: verdict.into(),
            message: String::new(),
            stop: false,
        };
        rpc.wait(async { rpc.approvals().decide(request).await })
    });
    let [first, second] = both;
    first.expect("the first answer counts");
    let refused = second.expect_err("the second answer does not");
    assert_eq!(refused.code(), Code::FailedPrecondition, "{refused}");
    let _ = rpc.settled(&session);
    assert!(
        !home.work().join("made-file").exists(),
        "the loser's answer was taken"
    );
}

#[test]
fn a_headless_run_never_hangs_on_a_question_nobody_can_answer() {
    let model = making();
    let home = Home::asking(&model, Wire::Responses);
    let run = home.quire(["exec", "go", "--approve", "untrusted"]).run();
    assert_eq!(run.code, 3, "{run:#?}");
    assert!(!home.work().join("made-file").exists());
    assert!(
        run.stderr.contains("made-file"),
        "it isn't told what was asked: {}",
        run.stderr
    );
}

#[test]
fn what_would_be_asked_is_denied_when_nobody_is_ever_asked() {
    let model = making();
    let home = Home::asking(&model, Wire::Responses);
    let config = home.quire_home().join("config.toml");
    let configured = std::fs::read_to_string(config).unwrap();
    let rule = "\n[[policy.rules]]\nprefix = [\"echo\", \"made\"]\ndecision = \"ask\"\n";
    home.configure(&(configured + rule));
    let run = home.quire(["exec", "go", "--approve", "never"]).run();
    assert!(!home.work().join("made-file").exists());
    assert_ne!(run.code, 0, "a denial that mattered ended well: {run:#?}");
}

#[test]
fn the_longest_rule_decides() {
    let model = MockModel::playing([
        Reply::shell("touch allowed-file").and_shell("touch denied-file"),
        Reply::say("done"),
    ]);
    let home = Home::asking(&model, Wire::Responses);
    let config = home.quire_home().join("config.toml");
    let configured = std::fs::read_to_string(config).unwrap();
    let rules = "\n[[policy.rules]]\nprefix = [\"touch\"]\ndecision = \"allow\"\n\
                 \n[[policy.rules]]\nprefix = [\"touch\", \"denied-file\"]\ndecision = \"deny\"\n";
    home.configure(&(configured + rules));
    let _ = home.quire(["exec", "go", "--approve", "untrusted"]).run();
    assert!(home.work().join("allowed-file").exists());
    assert!(!home.work().join("denied-file").exists());
}

#[test]
fn an_approval_outlives_the_daemon_that_asked() {
    let model = making();
    let home = Home::asking(&model, Wire::Responses);
    asked(&home);
    home.kill_daemon();
    let approved = home.quire(["approve", "@last"]).run();
    assert_eq!(approved.code, 0, "{}", approved.stderr);
    let waited = home.quire(["wait", "@last"]).run();
    assert_eq!(waited.code, 0, "{}", waited.stderr);
    assert!(home.work().join("made-file").exists());
}
