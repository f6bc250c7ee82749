//! Several clients at once: the queue is edited while it is taken from, preconditions meet races, and a turn
//! has one end.

use quire_proto::v1::{ClientRef, QueuedPrompt};

use super::*;

pub(super) fn client(name: &str, request_id: &str) -> Caller {
    let by = ClientRef {
        id: format!("id-of-{name}"),
        name: name.to_owned(),
        pid: 7,
        ..ClientRef::default()
    };
    Caller {
        by: Some(by),
        request_id: request_id.to_owned(),
    }
}

pub(super) fn text(text: &str) -> PromptItem {
    PromptItem {
        text: text.to_owned(),
        ..PromptItem::default()
    }
}

pub(super) fn edit(prompt: &str, said: &str) -> QueueChange {
    QueueChange {
        prompt: prompt.to_owned(),
        said: Some(text(said)),
        before: None,
    }
}

fn put(prompt: &str, before: &str) -> QueueChange {
    QueueChange {
        prompt: prompt.to_owned(),
        said: None,
        before: Some(before.to_owned()),
    }
}

fn texts(queue: &[QueuedPrompt]) -> Vec<&str> {
    let said = queue.iter().filter_map(|queued| queued.prompt.as_ref());
    said.map(|prompt| prompt.text.as_str()).collect()
}

impl Bench {
    /// A turn that hangs in a command until it is stopped, and this queue behind it.
    pub(super) async fn queueing(
        script: Vec<Option<Vec<Delta>>>,
        queue: &[(&str, PromptMode)],
    ) -> Self {
        let bench = Self::new(script).await;
        bench.prompt("go", "r1").await;
        bench
            .until(|body| matches!(body, Body::ItemChanged(_)))
            .await;
        for (name, mode) in queue {
            let queued = bench.handle.prompt(caller(name), text(name), *mode, 0);
            queued.await.unwrap();
        }
        bench
    }

    async fn queue(&self) -> Vec<String> {
        let queue = self.handle.look().await.unwrap().queue;
        texts(&queue).into_iter().map(str::to_owned).collect()
    }

    /// Texts of all prompts that became part of the conversation.
    async fn said(&self) -> Vec<String> {
        let events = self.events().await.into_iter();
        let said = events.filter_map(|event| match event.body {
            Some(Body::ItemCompleted(done)) => match done.item?.kind? {
                item::Kind::Prompt(prompt) => Some(prompt.text),
                _ => None,
            },
            _ => None,
        });
        said.collect()
    }

    pub(super) async fn count(&self, wanted: impl Fn(&Body) -> bool) -> usize {
        let events = self.events().await;
        let bodies = events.iter().filter_map(|event| event.body.as_ref());
        bodies.filter(|body| wanted(body)).count()
    }
}

pub(super) const QUEUE: PromptMode = PromptMode::Queue;

#[tokio::test]
async fn a_queue_is_edited_and_reordered_and_outlives_the_daemon() {
    let script = || vec![call("hang"), say("done")];
    let queue = [("a", QUEUE), ("b", QUEUE), ("c", QUEUE)];
    let bench = Bench::queueing(script(), &queue).await;
    let table = [
        (edit("b", "B"), vec!["a", "B", "c"]),
        (put("c", "a"), vec!["c", "a", "B"]),
        (put("c", ""), vec!["a", "B", "c"]),
        (put("a", "c"), vec!["B", "a", "c"]),
        (
            QueueChange {
                said: Some(text("C")),
                ..put("c", "b")
            },
            vec!["C", "B", "a"],
        ),
    ];
    for (number, (change, want)) in table.into_iter().enumerate() {
        let by = client("tui", &format!("change-{number}"));
        let queue = bench.handle.change_queued(by, change).await.unwrap();
        assert_eq!(texts(&queue), want);
    }
    let events = bench.events().await;
    let changed = |event: &&Event| matches!(event.body, Some(Body::PromptChanged(_)));
    assert!(
        events
            .iter()
            .filter(changed)
            .all(|event| event.by == client("tui", "").by)
    );
    let bench = bench.reborn(script()).await;
    assert_eq!(bench.queue().await, ["C", "B", "a"]);
    bench.tool.stopped.notify_one();
    bench.handle.wait().await.unwrap();
    assert_eq!(bench.said().await, ["go", "C", "B", "a"]);
}

#[tokio::test]
async fn the_queue_is_changed_once_for_each_request() {
    let script = || vec![call("hang"), say("done")];
    let bench = Bench::queueing(script(), &[("a", QUEUE), ("b", QUEUE)]).await;
    let first = bench.handle.change_queued(caller("m"), put("b", "a")).await;
    let changed = |body: &Body| matches!(body, Body::PromptChanged(_));
    let again = |bench: &Bench| bench.handle.clone();
    let second = again(&bench)
        .change_queued(caller("m"), put("b", "a"))
        .await;
    assert_eq!(first.unwrap(), second.unwrap());
    let bench = bench.reborn(script()).await;
    again(&bench)
        .change_queued(caller("m"), put("b", "a"))
        .await
        .unwrap();
    assert_eq!(bench.count(changed).await, 1);
    // Also when the prompt has been taken meanwhile.
    bench.tool.stopped.notify_one();
    bench.handle.wait().await.unwrap();
    let late = again(&bench)
        .change_queued(caller("m"), put("b", "a"))
        .await;
    assert_eq!(late.unwrap(), []);
    assert_eq!(bench.count(changed).await, 1);
}

#[tokio::test]
async fn what_was_taken_or_nobody_said_is_not_changed() {
    let bench = Bench::queueing(vec![call("hang"), say("done")], &[("a", QUEUE)]).await;
    let before = bench.events().await.len();
    let table = [
        (edit("r1", "x"), "not in the queue any more"),
        (put("a", "r1"), "not in the queue any more"),
        (put("a", "a"), "before itself"),
    ];
    for (number, (change, want)) in table.into_iter().enumerate() {
        let refused = bench
            .handle
            .change_queued(caller(&format!("x{number}")), change)
            .await;
        let told = refused.unwrap_err().to_string();
        assert!(told.contains(want), "{told}");
    }
    assert_eq!(bench.events().await.len(), before);
    assert_eq!(bench.queue().await, ["a"]);
}

/// A prompt that steers may be changed until the turn takes it, and joins it wherever it stands.
#[tokio::test]
async fn a_steering_prompt_is_changed_until_it_is_taken() {
    let script = vec![call("hang"), say("one"), say("two")];
    let steer = PromptMode::Steer;
    let queue = [("a", QUEUE), ("s", steer), ("t", steer)];
    let bench = Bench::queueing(script, &queue).await;
    let edited = bench.handle.change_queued(caller("1"), edit("s", "S"));
    assert_eq!(texts(&edited.await.unwrap()), ["a", "S", "t"]);
    let moved = bench.handle.change_queued(caller("2"), put("t", "a"));
    assert_eq!(texts(&moved.await.unwrap()), ["t", "a", "S"]);
    bench.tool.stopped.notify_one();
    let resting = bench.handle.wait().await.unwrap();
    assert_eq!((resting.turn, resting.stop_reason), (2, StopReason::Done));
    assert_eq!(bench.said().await, ["go", "t", "S", "a"]);
    let late = bench.handle.change_queued(caller("3"), edit("s", "late"));
    assert!(matches!(late.await, Err(Refusal::NotQueued)));
}

#[tokio::test]
async fn a_full_disk_refuses_a_change_of_the_queue_without_a_trace() {
    let bench = Bench::queueing(vec![call("hang"), say("done")], &[("a", QUEUE)]).await;
    let id = bench.handle.id().clone();
    let before = bench.events().await.len();
    faults::no_room_at(&id, 1, 2);
    let refused = bench.handle.change_queued(caller("e"), edit("a", "A"));
    assert!(matches!(
        refused.await,
        Err(Refusal::Store(StoreError::Full))
    ));
    let refused = bench.handle.unqueue(caller("u"), "a".to_owned());
    assert!(matches!(
        refused.await,
        Err(Refusal::Store(StoreError::Full))
    ));
    assert_eq!(bench.events().await.len(), before);
    assert_eq!(bench.queue().await, ["a"]);
    let changed = bench.handle.change_queued(caller("e"), edit("a", "A"));
    assert_eq!(texts(&changed.await.unwrap()), ["A"]);
}

/// Each race, once from either side of the moment.
#[tokio::test]
async fn an_expected_turn_makes_a_race_clear() {
    let bench = Bench::queueing(vec![call("hang"), say("done")], &[]).await;
    let handle = &bench.handle;
    let sent = handle.prompt(caller("s"), text("more"), PromptMode::Steer, 1);
    assert_eq!(sent.await.unwrap().turn.map(|turn| turn.get()), Some(1));
    let busy = handle.prompt(client("a", "b"), text("now"), PromptMode::Start, 0);
    let told = busy.await.unwrap_err().to_string();
    assert_eq!(
        told,
        "turn 1 is running: send with mode steer or queue, or interrupt it"
    );
    bench.tool.stopped.notify_one();
    handle.wait().await.unwrap();
    assert_eq!(bench.said().await, ["go", "more"], "it joined turn 1");
    let modes = [PromptMode::Steer, PromptMode::Queue, PromptMode::Start];
    for (number, mode) in modes.into_iter().enumerate() {
        let late = handle.prompt(caller(&format!("l{number}")), text("late"), mode, 1);
        let told = late.await.unwrap_err().to_string();
        assert_eq!(told, "turn 1 is not running: no turn is");
    }
    let late = handle.interrupt(caller("i"), 1).await;
    assert!(matches!(late, Err(Refusal::OtherTurn { expected: 1, .. })));
    // The repeat of what was accepted is answered as before, whatever runs now.
    let again = handle.prompt(caller("s"), text("more"), PromptMode::Steer, 1);
    assert_eq!(again.await.unwrap().turn.map(|turn| turn.get()), Some(1));
}

#[tokio::test]
async fn who_began_the_other_turn_is_told() {
    let bench = Bench::new(vec![say("one")]).await;
    bench.prompt("go", "r1").await;
    bench.handle.wait().await.unwrap();
    let bench = bench.reborn(vec![None]).await;
    let begun = bench
        .handle
        .prompt(client("tui", "n"), text("next"), PromptMode::Start, 0);
    begun.await.unwrap();
    let bench = bench.reborn(vec![None]).await;
    let late = bench
        .handle
        .prompt(caller("l"), text("late"), PromptMode::Steer, 1)
        .await;
    assert_eq!(
        late.unwrap_err().to_string(),
        "turn 1 is not running: turn 2 is running, begun from tui (pid 7)"
    );
}

/// Jobs that do not hear that they shall stop.
struct Deaf(Counted);

impl RunningJobs for Deaf {
    fn stop(&self, _: JobId) -> BoxFuture<'static, ()> {
        std::future::ready(()).boxed()
    }

    fn forget(&self, _: JobId) {}

    fn detach(&self, job: JobId) -> BoxFuture<'static, Result<(), String>> {
        self.0.detach(job)
    }

    fn tail(&self, job: JobId) -> BoxFuture<'static, String> {
        self.0.tail(job)
    }

    fn ended(&self, session: SessionId, job: JobId) -> BoxFuture<'static, JobEnded> {
        self.0.ended(session, job)
    }
}

/// A turn that is being interrupted takes nothing up: what is said then is for the next one.
#[tokio::test]
async fn what_is_said_to_a_dying_turn_is_for_the_next() {
    let script = vec![call("hang"), say("done")];
    let bench = Bench::new_in(script, |world| {
        world.jobs = Arc::new(Deaf(Counted::default()));
    })
    .await;
    bench.prompt("go", "r1").await;
    bench
        .until(|body| matches!(body, Body::ItemChanged(_)))
        .await;
    let handle = bench.handle.clone();
    let asked = tokio::spawn(async move { handle.interrupt(client("a", "i"), 1).await });
    bench
        .until(|body| format!("{body:?}").contains("Interrupted from a."))
        .await;
    let steer = |name: &str, expected| {
        let said = bench.handle.clone();
        let by = caller(name);
        async move {
            said.prompt(by, text("next"), PromptMode::Steer, expected)
                .await
        }
    };
    assert_eq!(
        steer("x", 1).await.unwrap_err().to_string(),
        "turn 1 is being interrupted"
    );
    assert_eq!(steer("s", 0).await.unwrap().turn, None);
    assert!(!asked.is_finished(), "its command is not dead");
    bench.tool.stopped.notify_one();
    assert_eq!(asked.await.unwrap().unwrap(), 1);
    let resting = bench.handle.wait().await.unwrap();
    assert_eq!((resting.turn, resting.stop_reason), (2, StopReason::Done));
}

/// An interrupt that changed nothing must not hit the turn that began meanwhile.
#[tokio::test]
async fn an_interrupt_that_is_repeated_hits_no_other_turn() {
    let bench = Bench::new(vec![None]).await;
    assert_eq!(
        bench.handle.interrupt(caller("none"), 0).await.unwrap(),
        0,
        "nothing ran"
    );
    bench.prompt("go", "r1").await;
    assert_eq!(bench.handle.interrupt(caller("none"), 0).await.unwrap(), 0);
    // Two at once; the second finds the turn being interrupted.
    let both = ["one", "two"].map(|name| {
        let handle = bench.handle.clone();
        async move { handle.interrupt(caller(name), 0).await }
    });
    let both = futures_util::future::join_all(both).await;
    assert_eq!(both[0].as_ref().unwrap(), &1);
    bench.prompt("next", "r2").await;
    for name in ["one", "two", "none"] {
        bench.handle.interrupt(caller(name), 0).await.unwrap();
    }
    let running = bench.handle.look().await.unwrap().session.running_turn;
    assert_eq!(running, 2);
}

/// A model that lets others go first so many times before it says the one word it has.
struct Hesitating(Arc<AtomicU32>);

impl Model for Hesitating {
    fn sample(&self, _: SampleRequest) -> Deltas {
        let pauses = self.0.load(Ordering::SeqCst);
        let answer = async move {
            pause(pauses.into()).await;
            Ok(say("done").unwrap_or_default())
        };
        stream::once(answer).boxed()
    }
}

impl Models for Hesitating {
    fn open(&self, name: String, _: Asker) -> BoxFuture<'static, Result<Opened, SampleError>> {
        let opened = Opened {
            model: Arc::new(Self(self.0.clone())),
            name,
            traits: catalogue::Traits::default(),
            reasoning_effort: None,
            max_output_tokens: None,
        };
        std::future::ready(Ok(opened)).boxed()
    }
}

async fn pause(times: u64) {
    for _ in 0..times {
        tokio::task::yield_now().await;
    }
}

/// FAULTS row 56: an interrupt comes at any moment of a turn's last steps. One end each time, and the
/// answer tells which turn it was about.
#[tokio::test]
async fn an_interrupt_races_the_end_of_a_turn_and_there_is_one() {
    const TURNS: u64 = 1_000;
    let pauses = Arc::new(AtomicU32::new(0));
    let model = Hesitating(pauses.clone());
    let bench = Bench::new_in(vec![], |world| world.models = Arc::new(model)).await;
    let mut interrupted = 0;
    for turn in 1..=TURNS {
        // Every pairing of who hesitates how long, none to a dozen times.
        pauses.store(u32::try_from(turn / 13 % 13).unwrap(), Ordering::SeqCst);
        bench.prompt("go", &format!("p{turn}")).await;
        pause(turn % 13).await;
        let answer = bench
            .handle
            .interrupt(caller(&format!("i{turn}")), turn)
            .await;
        let resting = bench.handle.wait().await.unwrap();
        assert_eq!(resting.turn, turn);
        match (resting.stop_reason, answer) {
            (StopReason::Interrupted, Ok(told)) => {
                assert_eq!(told, turn);
                interrupted += 1;
            }
            (StopReason::Done, Err(Refusal::OtherTurn { expected, running })) => {
                assert_eq!((expected, running.turn), (turn, 0));
            }
            other => panic!("turn {turn}: {other:?}"),
        }
    }
    let ended = bench.count(|body| matches!(body, Body::TurnEnded(_))).await;
    assert_eq!(ended as u64, TURNS);
    assert!(interrupted < TURNS, "no turn was quicker");
    assert!(interrupted > 0, "no interrupt was quicker");
}
