//! Approvals answered by several, by nobody, and too late; and who is named for what.

use quire_proto::v1::ApprovePolicy;

use super::{
    acting::{QUEUE, client, edit, text},
    *,
};

fn verdict(verdict: ApprovalVerdict) -> ApprovalAnswer {
    ApprovalAnswer {
        verdict: verdict.into(),
        ..ApprovalAnswer::default()
    }
}

/// FAULTS row 55.
#[tokio::test]
async fn two_clients_answer_each_approval_and_one_wins() {
    const APPROVALS: u64 = 1_000;
    let mut script = vec![call("ask me"); APPROVALS as usize];
    script.push(say("done"));
    let bench = Bench::new_in(script, |world| {
        world.max_samples = 2 * APPROVALS;
    })
    .await;
    bench.prompt("go", "r1").await;
    for number in 1..=APPROVALS {
        assert!(bench.handle.wait().await.unwrap().needs_approval);
        let mut answers = [
            ("yes", ApprovalVerdict::Once),
            ("no", ApprovalVerdict::Deny),
        ];
        answers.rotate_left((number % 2) as usize);
        let both = answers.map(|(name, answer)| {
            let handle = bench.handle.clone();
            let by = client(name, &format!("{name}{number}"));
            // A third of them without saying which.
            let which = if number % 3 == 0 { 0 } else { number };
            let answering = async move { handle.decide(by, which, verdict(answer)).await };
            tokio::spawn(answering)
        });
        let [first, second] = both;
        let both = [first.await.unwrap(), second.await.unwrap()];
        let won = both.iter().position(Result::is_ok).expect("one wins");
        let (winner, _) = answers[won];
        let approval = both[won].as_ref().unwrap();
        assert_eq!(approval.id, number);
        match &both[1 - won] {
            Err(Refusal::Answered { approval: told, .. }) => {
                let by = told.answer.as_ref().and_then(|answer| answer.by.as_ref());
                assert_eq!(by.unwrap().name, winner);
            }
            other => panic!("approval {number}: {other:?}"),
        }
        let again = client(winner, &format!("{winner}{number}"));
        let again = bench.handle.decide(again, number, verdict(answers[won].1));
        assert_eq!(&again.await.unwrap(), approval);
    }
    bench.handle.wait().await.unwrap();
    let decided = bench
        .count(|body| matches!(body, Body::ApprovalDecided(_)))
        .await;
    assert_eq!(decided as u64, APPROVALS);
}

#[tokio::test]
async fn a_late_answer_without_a_number_learns_of_the_newest() {
    let bench = Bench::new(vec![call("ask me"), None]).await;
    let none = bench
        .handle
        .decide(caller("0"), 0, verdict(ApprovalVerdict::Once))
        .await;
    assert_eq!(none.unwrap_err().to_string(), "no approval is pending");
    bench.prompt("go", "r1").await;
    assert!(bench.handle.wait().await.unwrap().needs_approval);
    let other = bench
        .handle
        .decide(caller("9"), 9, verdict(ApprovalVerdict::Once));
    assert_eq!(
        other.await.unwrap_err().to_string(),
        "this session has no approval 9: pending is 1 (`ask me`)"
    );
    let won = bench
        .handle
        .decide(client("tui", "a"), 0, verdict(ApprovalVerdict::Deny));
    won.await.unwrap();
    let late = bench
        .handle
        .decide(client("b", "b"), 0, verdict(ApprovalVerdict::Once));
    assert_eq!(
        late.await.unwrap_err().to_string(),
        "no approval is pending: the newest, 1 (`ask me`), was already denied from tui (pid 7)"
    );
}

#[tokio::test]
async fn an_interrupt_withdraws_what_was_asked() {
    let bench = Bench::new(vec![call("ask me"), None]).await;
    bench.prompt("go", "r1").await;
    assert!(bench.handle.wait().await.unwrap().needs_approval);
    assert_eq!(
        bench.handle.interrupt(client("a", "i"), 1).await.unwrap(),
        1
    );
    let late = bench
        .handle
        .decide(client("b", "b"), 1, verdict(ApprovalVerdict::Once));
    assert_eq!(
        late.await.unwrap_err().to_string(),
        "approval 1 (`ask me`) was withdrawn: the turn was interrupted"
    );
    assert_eq!(bench.tool.runs.load(Ordering::SeqCst), 0);
    assert_eq!(
        bench.outcomes().await,
        ["not run: the turn was interrupted"]
    );
}

/// A policy that would not have asked, or would have refused, leaves open what it did not ask.
#[tokio::test]
async fn a_change_of_policy_answers_no_question() {
    for approve in [ApprovePolicy::Never, ApprovePolicy::OnRequest] {
        let bench = Bench::new(vec![call("ask me"), say("done")]).await;
        bench.prompt("go", "r1").await;
        assert!(bench.handle.wait().await.unwrap().needs_approval);
        let policy = Policy {
            sandbox: SandboxMode::FullAccess.into(),
            approve: approve.into(),
            ..Policy::default()
        };
        let change = Change {
            policy: Some(policy),
            ..Change::default()
        };
        bench.handle.change(client("a", "c"), change).await.unwrap();
        assert!(bench.handle.wait().await.unwrap().needs_approval);
        assert_eq!(bench.tool.runs.load(Ordering::SeqCst), 0);
        bench
            .handle
            .decide(client("b", "d"), 1, verdict(ApprovalVerdict::Once))
            .await
            .unwrap();
        bench.handle.wait().await.unwrap();
        assert_eq!(bench.outcomes().await, ["run 1"]);
    }
}

#[tokio::test]
async fn each_act_says_who_did_it() {
    let bench = Bench::queueing(vec![call("hang"), say("done")], &[("a", QUEUE)]).await;
    let handle = &bench.handle;
    let titled = Change {
        title: Some("new".to_owned()),
        ..Change::default()
    };
    let queued = handle.prompt(client("p", "b"), text("b"), QUEUE, 0);
    queued.await.unwrap();
    let changed = handle.change_queued(client("e", "e"), edit("b", "B"));
    changed.await.unwrap();
    let removed = handle.unqueue(client("u", "u"), "a".to_owned());
    removed.await.unwrap();
    handle.change(client("c", "c"), titled).await.unwrap();
    handle.interrupt(client("i", "i"), 1).await.unwrap();
    handle.wait().await.unwrap();
    let events = bench.events().await;
    let by = |wanted: fn(&Body) -> bool| -> Vec<String> {
        let wanted = events
            .iter()
            .filter(|event| event.body.as_ref().is_some_and(wanted));
        let by = wanted.filter_map(|event| event.by.as_ref());
        by.map(|by| by.name.clone()).collect()
    };
    assert_eq!(by(|body| matches!(body, Body::PromptQueued(_))), ["p"]);
    assert_eq!(by(|body| matches!(body, Body::PromptChanged(_))), ["e"]);
    assert_eq!(by(|body| matches!(body, Body::PromptRemoved(_))), ["u"]);
    assert_eq!(by(|body| matches!(body, Body::SessionChanged(_))), ["c"]);
    assert_eq!(by(|body| matches!(body, Body::TurnStarted(_))), ["p"]);
    // The interrupt's notice, and the prompt taken from the queue.
    assert_eq!(
        by(|body| matches!(body, Body::ItemCompleted(_))),
        ["i", "p"]
    );
}

/// "Always" changes the policy: by whoever said so.
#[tokio::test]
async fn a_rule_made_by_an_answer_says_who_made_it() {
    let bench = Bench::new(vec![call("ask me"), None]).await;
    bench.prompt("go", "r1").await;
    assert!(bench.handle.wait().await.unwrap().needs_approval);
    let answer = verdict(ApprovalVerdict::Session);
    bench
        .handle
        .decide(client("a", "a"), 1, answer)
        .await
        .unwrap();
    let events = bench.events().await;
    let changed = |event: &&Event| matches!(event.body, Some(Body::SessionChanged(_)));
    let changed = events.iter().find(changed).unwrap();
    assert_eq!(changed.by, client("a", "").by);
}
