//! Requests sent twice, with the death of a daemon between: one answer, one effect.

use super::*;

impl Bench {
    /// How many events carry this request.
    async fn events_of(&self, request: &str) -> usize {
        let events = self.events().await;
        events
            .iter()
            .filter(|event| event.request_id == request)
            .count()
    }
}

fn prompt(text: &str) -> PromptItem {
    PromptItem {
        text: text.to_owned(),
        ..PromptItem::default()
    }
}

#[tokio::test]
async fn a_prompt_begins_steers_or_waits_once() {
    let table = [
        (PromptMode::Start, None, 2),
        (PromptMode::Steer, Some(call("hang")), 1),
        (PromptMode::Queue, Some(call("hang")), 1),
    ];
    for (mode, busy_with, events) in table {
        let bench = Bench::new(vec![busy_with.clone().flatten(), None]).await;
        if busy_with.is_some() {
            bench.prompt("before", "r0").await;
            bench
                .until(|body| matches!(body, Body::ItemChanged(_)))
                .await;
        }
        let send = |bench: &Bench| bench.handle.clone();
        let first = send(&bench)
            .prompt(caller("r1"), prompt("go"), mode, 0)
            .await;
        assert_eq!(bench.events_of("r1").await, events, "{mode:?}");
        let bench = bench.reborn(vec![call("hang"), None]).await;
        let second = send(&bench)
            .prompt(caller("r1"), prompt("go"), mode, 0)
            .await;
        assert_eq!(first.unwrap(), second.unwrap(), "{mode:?}");
        assert_eq!(bench.events_of("r1").await, events, "{mode:?}");
    }
}

#[tokio::test]
async fn a_queued_prompt_is_taken_back_once() {
    let bench = Bench::new(vec![call("hang")]).await;
    bench.prompt("go", "r1").await;
    let queue = bench
        .handle
        .prompt(caller("q"), prompt("later"), PromptMode::Queue, 0);
    queue.await.unwrap();
    let remove = |handle: Handle| async move { handle.unqueue(caller("u"), "q".to_owned()).await };
    remove(bench.handle.clone()).await.unwrap();
    let bench = bench.reborn(vec![call("hang")]).await;
    remove(bench.handle.clone()).await.unwrap();
    assert_eq!(bench.events_of("u").await, 1);
    assert!(bench.handle.look().await.unwrap().queue.is_empty());
}

#[tokio::test]
async fn a_turn_is_interrupted_once() {
    let bench = Bench::new(vec![call("hang"), say("one"), say("two")]).await;
    bench.prompt("go", "r1").await;
    bench
        .until(|body| matches!(body, Body::ItemChanged(_)))
        .await;
    assert_eq!(bench.handle.interrupt(caller("i"), 1).await.unwrap(), 1);
    let bench = bench.reborn(vec![None, None]).await;
    bench.prompt("next", "r2").await;
    assert_eq!(bench.handle.interrupt(caller("i"), 1).await.unwrap(), 1);
    assert_eq!(bench.events_of("i").await, 1);
    let looked = bench.handle.look().await.unwrap();
    assert_eq!(looked.session.running_turn, 2, "the next turn runs on");
}

/// The daemon dies while the command that it was told to interrupt still runs.
#[tokio::test]
async fn an_interrupt_that_was_begun_is_ended_by_the_next_daemon() {
    let bench = Bench::new(vec![call("stubborn"), say("never")]).await;
    bench.prompt("go", "r1").await;
    bench
        .until(|body| matches!(body, Body::ItemChanged(_)))
        .await;
    let handle = bench.handle.clone();
    let asked = tokio::spawn(async move { handle.interrupt(caller("i"), 0).await });
    bench
        .until(|body| format!("{body:?}").contains("Interrupted."))
        .await;
    asked.abort();
    let bench = bench.reborn(vec![None]).await;
    bench.tool.stopped.notify_one();
    let answer = bench.handle.interrupt(caller("i"), 0).await;
    assert_eq!(answer.unwrap(), 1);
    assert_eq!(bench.events_of("i").await, 1);
    let resting = bench.handle.wait().await.unwrap();
    assert_eq!(resting.stop_reason, StopReason::Interrupted);
}

#[tokio::test]
async fn an_approval_is_decided_once_by_number_or_as_the_only_one() {
    for number in [0, 1] {
        let bench = Bench::new(vec![call("ask me"), None]).await;
        bench.prompt("go", "r1").await;
        assert!(bench.handle.wait().await.unwrap().needs_approval);
        let once = ApprovalAnswer {
            verdict: ApprovalVerdict::Once.into(),
            ..ApprovalAnswer::default()
        };
        let first = bench.handle.decide(caller("d"), number, once.clone()).await;
        let bench = bench.reborn(vec![call("ask me"), None]).await;
        let second = bench.handle.decide(caller("d"), number, once).await;
        assert_eq!(first.unwrap(), second.unwrap());
        assert_eq!(bench.events_of("d").await, 1);
        bench
            .until(|body| matches!(body, Body::SampleEnded(_)))
            .await;
    }
}

#[tokio::test]
async fn a_session_is_changed_and_archived_once() {
    let titled = Change {
        title: Some("new".to_owned()),
        ..Change::default()
    };
    let archived = Change {
        archived: Some(true),
        ..Change::default()
    };
    for change in [titled, archived] {
        let bench = Bench::new(vec![]).await;
        let first = bench
            .handle
            .change(caller("c"), change.clone())
            .await
            .unwrap();
        let bench = bench.reborn(vec![]).await;
        let second = bench.handle.change(caller("c"), change).await.unwrap();
        assert_eq!(first, second);
        assert_eq!(bench.events_of("c").await, 1);
    }
}

#[tokio::test]
async fn a_turn_left_suspended_is_sent_on_by_a_prompt_or_a_word_and_by_no_world() {
    for by_prompt in [true, false] {
        let mut bench = Bench::new(vec![None]).await;
        bench.prompt("go", "r1").await;
        for _ in 0..3 {
            bench = bench.reborn(vec![None]).await;
            bench.handle.look().await.unwrap();
        }
        bench
            .until(|body| matches!(body, Body::TurnSuspended(_)))
            .await;
        let bench = bench.reborn(vec![say("done")]).await;
        if by_prompt {
            let sent = bench
                .handle
                .prompt(caller("r2"), prompt("on"), PromptMode::Start, 0);
            assert_eq!(sent.await.unwrap().turn.map(|turn| turn.get()), Some(1));
        } else {
            let world = Change {
                world: Some(Lent {
                    world: Surroundings::default(),
                    how: Lending::Replaces,
                }),
                ..Change::default()
            };
            bench.handle.change(caller("w"), world).await.unwrap();
            assert!(bench.handle.wait().await.unwrap().suspended);
            let on = Change {
                sends_on: true,
                ..Change::default()
            };
            bench.handle.change(caller("o"), on).await.unwrap();
        }
        let resting = bench.handle.wait().await.unwrap();
        assert_eq!((resting.turn, resting.stop_reason), (1, StopReason::Done));
    }
}
