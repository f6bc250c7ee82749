//! A full disk: what begins something is refused, what happened waits.

use futures_util::future::join_all;
use quire_proto::v1::ActivityKind;

use super::{faults::*, *};
use crate::adapters::store::StoreError;

fn full<T: std::fmt::Debug>(answer: Result<T, Refusal>) {
    assert!(
        matches!(answer, Err(Refusal::Store(StoreError::Full))),
        "{answer:?}"
    );
}

impl Bench {
    async fn try_prompt(
        &self,
        text: &str,
        mode: PromptMode,
        request: &str,
    ) -> Result<Answer, Refusal> {
        let prompt = PromptItem {
            text: text.to_owned(),
            ..PromptItem::default()
        };
        self.handle.prompt(caller(request), prompt, mode, 0).await
    }

    /// Waits until watchers are told that nothing can be written.
    async fn until_paused(&self) {
        let mut changes = self.handle.feed().changes();
        while self.handle.feed().activity().kind() != ActivityKind::Paused {
            changes.changed().await.unwrap();
        }
    }
}

#[tokio::test]
async fn before_a_turn_a_prompt_is_refused_and_leaves_no_trace() {
    let bench = Bench::new(vec![say("done")]).await;
    let id = bench.handle.id().clone();
    no_room_at(&id, 1, 1);
    full(bench.try_prompt("go", PromptMode::Start, "r1").await);
    assert_eq!(bench.events().await.len(), 1);
    assert_eq!(bench.handle.look().await.unwrap().session.turns, 0);
    // The same request again, now that there is room.
    let answer = bench
        .try_prompt("go", PromptMode::Start, "r1")
        .await
        .unwrap();
    assert_eq!(answer.turn.map(|turn| turn.get()), Some(1));
    assert_eq!(
        bench.handle.wait().await.unwrap().stop_reason,
        StopReason::Done
    );
}

/// What a person asks for while a turn runs is refused without a trace, too, and the turn goes on.
#[tokio::test]
async fn requests_in_a_turn_are_refused_and_change_nothing() {
    let bench = Bench::new(vec![call("ask me"), say("done")]).await;
    let id = bench.handle.id().clone();
    bench.prompt("go", "r1").await;
    assert!(bench.handle.wait().await.unwrap().needs_approval);
    let before = bench.events().await.len();
    let once = || ApprovalAnswer {
        verdict: ApprovalVerdict::Once.into(),
        ..ApprovalAnswer::default()
    };
    let titled = Change {
        title: Some("new".to_owned()),
        ..Change::default()
    };
    no_room_at(&id, 1, 4);
    full(bench.handle.decide(caller("d"), 0, once()).await);
    full(bench.handle.change(caller("c"), titled).await);
    full(bench.try_prompt("more", PromptMode::Steer, "s").await);
    full(bench.try_prompt("later", PromptMode::Queue, "q").await);
    assert_eq!(bench.events().await.len(), before);
    let looked = bench.handle.look().await.unwrap();
    assert_eq!((looked.approvals.len(), looked.queue.len()), (1, 0));
    bench.handle.decide(caller("d"), 0, once()).await.unwrap();
    assert_eq!(
        bench.handle.wait().await.unwrap().stop_reason,
        StopReason::Done
    );
    assert_eq!(bench.outcomes().await, ["run 1"]);
}

#[tokio::test]
async fn a_paused_turn_answers_readers_refuses_writers_and_remembers_an_interrupt() {
    let bench = Bench::new(vec![call("one"), None]).await;
    let id = bench.handle.id().clone();
    // The prompt is the first commit, the outcome stands in the fourth.
    no_room_at(&id, 4, 2);
    bench.prompt("go", "r1").await;
    bench.until_paused().await;
    let looked = bench.handle.look().await.unwrap();
    assert_eq!(looked.session.head_seq, bench.events().await.len() as u64);
    full(bench.try_prompt("more", PromptMode::Steer, "s").await);
    let again = bench
        .try_prompt("go", PromptMode::Steer, "r1")
        .await
        .unwrap();
    assert_eq!(
        again.turn.map(|turn| turn.get()),
        Some(1),
        "it is in the log"
    );
    let interrupted = bench.handle.interrupt(caller("i"), 0);
    assert_eq!(interrupted.await.unwrap(), 1);
    assert!(are_over(&id));
    let resting = bench.handle.wait().await.unwrap();
    assert_eq!(resting.stop_reason, StopReason::Interrupted);
    assert_eq!(bench.outcomes().await, ["run 1"]);
}

#[tokio::test]
async fn text_without_room_is_shown_when_there_is_some() {
    let text = vec![Delta::Text("all of it".to_owned()), ended()];
    let bench = Bench::new(vec![Some(text)]).await;
    no_room_to_grow(bench.handle.id(), 1);
    bench.prompt("go", "r1").await;
    bench.until_paused().await;
    let mut reader = feed::Reader::at(1, Default::default());
    let feed::Next::Updates(updates) = bench.handle.feed().next(&mut reader) else {
        panic!("nothing to read")
    };
    let shown = format!("{updates:?}");
    assert!(!shown.contains("Delta("), "{shown}");
    assert_eq!(
        bench.handle.wait().await.unwrap().stop_reason,
        StopReason::Done
    );
    bench
        .until(|body| format!("{body:?}").contains("all of it"))
        .await;
}

/// Whichever commit of a turn finds no room at first: the turn ends as it would have, every event is
/// there once, and every command has run once.
#[tokio::test]
async fn any_commit_may_find_no_room_at_first() {
    let story = || vec![call("one"), call("two"), say("done")];
    let plain = Bench::new(story()).await;
    plain.prompt("go", "r1").await;
    plain.handle.wait().await.unwrap();
    let want = plain.events().await.len();
    let runs = (2..want).map(|nth| async move {
        let bench = Bench::new(story()).await;
        no_room_at(bench.handle.id(), nth, 1);
        bench.prompt("go", "r1").await;
        let resting = bench.handle.wait().await.unwrap();
        assert_eq!(resting.stop_reason, StopReason::Done, "at {nth}");
        assert_eq!(bench.outcomes().await, ["run 1", "run 2"], "at {nth}");
        let seqs: Vec<u64> = bench.events().await.iter().map(|event| event.seq).collect();
        assert_eq!(seqs, (1..=want as u64).collect::<Vec<_>>(), "at {nth}");
        are_over(bench.handle.id())
    });
    let hit = join_all(runs)
        .await
        .into_iter()
        .filter(|over| *over)
        .count();
    assert!(hit >= 8, "only {hit} commits were there to fail");
}

/// Only what begins something is refused while the disk is nearly full.
#[tokio::test]
async fn beginnings_are_marked_and_nothing_else_is() {
    let bench = Bench::new(vec![call("one"), say("done")]).await;
    bench.prompt("go", "r1").await;
    bench.handle.wait().await.unwrap();
    let titled = Change {
        title: Some("new".to_owned()),
        ..Change::default()
    };
    bench.handle.change(caller("c"), titled).await.unwrap();
    assert_eq!(
        beginnings(bench.handle.id()),
        ["TurnStarted ItemCompleted ItemCompleted", "ItemChanged"]
    );
}

#[tokio::test]
async fn a_store_that_fails_ends_the_actor_and_says_so() {
    let bench = Bench::new(vec![say("done")]).await;
    broken(bench.handle.id(), 1);
    let answer = bench.try_prompt("go", PromptMode::Start, "r1").await;
    assert!(
        matches!(answer, Err(Refusal::Store(StoreError::Closed))),
        "{answer:?}"
    );
    assert_eq!(bench.handle.feed().ended().await, feed::Closed::Failed);
}
