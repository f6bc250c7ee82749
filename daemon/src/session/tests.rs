//! Sessions over a real store, with a model and a tool that do as they are told.

mod acting;
mod again;
mod answers;
pub(crate) mod faults;
mod jobs;
mod room;
mod world;

use std::{
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use futures_util::{FutureExt as _, StreamExt as _, future::BoxFuture, stream};
use quire_proto::{
    id::{JobId, RequestId, SessionId},
    v1::{
        Access, ApprovalVerdict, ArgumentsKind, Decision, Event, Intent, JobEnded, Policy, Rule,
        SandboxMode, SessionCreated, Usage, event::Body, item,
    },
};
use tempfile::TempDir;

use super::*;
use crate::{
    adapters::store::Store,
    ports::{
        model::{Asker, Deltas, Model, Opened},
        tool::{Finished, Live, Prepared},
    },
    pure::{
        catalogue,
        sample::{
            Call, Delta, Input, Request as SampleRequest, SampleError, Stop, ToolInput, ToolSpec,
        },
        transcript::Transcript,
    },
};

/// Answers by how many outcomes the conversation holds; `None` is an answer that never comes.
type Script = Arc<Vec<Option<Vec<Delta>>>>;

struct Played(Script);

impl Model for Played {
    fn sample(&self, request: SampleRequest) -> Deltas {
        let outcomes = request
            .input
            .iter()
            .filter(|entry| matches!(entry, Input::Outcome { .. }))
            .count();
        match self.0.get(outcomes) {
            Some(Some(deltas)) => stream::iter([Ok(deltas.clone())]).boxed(),
            _ => stream::pending().boxed(),
        }
    }
}

impl Models for Played {
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

/// Counts its runs; "hang" runs until its job is stopped.
#[derive(Clone, Default)]
pub(crate) struct Counted {
    runs: Arc<AtomicU32>,
    pub(crate) stopped: Arc<tokio::sync::Notify>,
}

impl Tool for Counted {
    fn spec(&self) -> ToolSpec {
        let input = ToolInput::Json(serde_json::json!({}));
        ToolSpec {
            name: "count",
            description: "counts",
            input,
        }
    }

    fn prepare(&self, call: Call, _: Place) -> BoxFuture<'static, Result<Prepared, Finished>> {
        let intent = Intent {
            job_id: JobId::random().to_string(),
            ..Intent::default()
        };
        let tool = self.clone();
        let arguments = call.arguments.clone();
        let prepared = Prepared {
            title: call.arguments.clone(),
            access: Access {
                command: call.arguments,
                ..Access::default()
            },
            intent: Some(intent.clone()),
            preview: Vec::new(),
            act: Box::new(move |_| tool.run(arguments, intent).boxed()),
        };
        std::future::ready(Ok(prepared)).boxed()
    }

    fn resume(
        &self,
        call: Call,
        intent: Intent,
        _: Place,
        _: Live,
    ) -> BoxFuture<'static, Finished> {
        self.clone().run(call.arguments, intent).boxed()
    }
}

impl Counted {
    async fn run(self, arguments: String, intent: Intent) -> Finished {
        let number = self.runs.fetch_add(1, Ordering::SeqCst) + 1;
        assert!(arguments != "panic", "told to");
        if arguments == "hang" || arguments == "stubborn" {
            self.stopped.notified().await;
        }
        let mut finished = Finished::succeeded(format!("run {number}"));
        finished.outcome.job_id = intent.job_id;
        finished
    }
}

impl RunningJobs for Counted {
    fn stop(&self, _: JobId) -> BoxFuture<'static, ()> {
        self.stopped.notify_one();
        std::future::ready(()).boxed()
    }

    fn forget(&self, _: JobId) {}

    fn detach(&self, _: JobId) -> BoxFuture<'static, Result<(), String>> {
        std::future::ready(Ok(())).boxed()
    }

    fn tail(&self, _: JobId) -> BoxFuture<'static, String> {
        std::future::ready(String::new()).boxed()
    }

    fn ended(&self, _: SessionId, _: JobId) -> BoxFuture<'static, JobEnded> {
        std::future::ready(JobEnded::default()).boxed()
    }
}

struct Bench {
    directory: TempDir,
    world: World,
    tool: Counted,
    handle: Handle,
}

/// A world whose model plays `script`.
pub(crate) fn world(directory: &Path, script: Vec<Option<Vec<Delta>>>, tool: &Counted) -> World {
    World {
        store: Store::open(&directory.join("quire.db")).unwrap().store,
        growing: directory.join("growing"),
        worlds: Worlds::new(directory.join("worlds")),
        models: Arc::new(Played(Arc::new(script))),
        tools: Arc::from([Arc::new(tool.clone()) as Arc<dyn Tool>]),
        jobs: Arc::new(tool.clone()),
        letterbox: Letterbox::default(),
        briefing: Arc::new(|_| std::future::ready("<cwd>/w</cwd>".to_owned()).boxed()),
        save_rule: Arc::new(|_| Ok(())),
        notify: Arc::new(|_| {}),
        board: Board::default(),
        instructions: Arc::from("be good"),
        max_samples: 20,
    }
}

impl Bench {
    async fn new(script: Vec<Option<Vec<Delta>>>) -> Self {
        Self::new_in(script, |_| ()).await
    }

    /// One in a world that is like the others but for this.
    async fn new_in(script: Vec<Option<Vec<Delta>>>, other: impl FnOnce(&mut World)) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let tool = Counted::default();
        let mut world = world(directory.path(), script, &tool);
        other(&mut world);
        let id = SessionId::random();
        let rule = Rule {
            prefix: vec!["ask".to_owned()],
            decision: Decision::Ask.into(),
            reason: String::new(),
        };
        let policy = Policy {
            sandbox: SandboxMode::WorkspaceWrite.into(),
            approve: quire_proto::v1::ApprovePolicy::OnRequest.into(),
            rules: vec![rule],
            ..Policy::default()
        };
        let created = SessionCreated {
            workspace: "/w".to_owned(),
            cwd: "/w".to_owned(),
            model: "p/m".to_owned(),
            policy: Some(policy),
            ..SessionCreated::default()
        };
        let event = Event {
            seq: 1,
            body: Some(Body::SessionCreated(created)),
            ..Event::default()
        };
        let mut transcript = Transcript::of(id.as_str());
        transcript.apply(&event);
        let events = [event];
        let request = RequestId::random();
        world
            .store
            .create(id.clone(), &request, &events, &transcript.summary())
            .await
            .unwrap();
        let handle = start(id, world.clone(), &events, Surroundings::default(), false);
        Self {
            directory,
            world,
            tool,
            handle,
        }
    }

    /// The daemon dies; another goes on with what the log holds.
    async fn reborn(self, script: Vec<Option<Vec<Delta>>>) -> Self {
        let next = |directory: &Path, tool: &Counted| world(directory, script, tool);
        self.reborn_in(next).await
    }

    async fn reborn_in(self, next: impl FnOnce(&Path, &Counted) -> World) -> Self {
        let id = self.handle.id().clone();
        self.world.store.close().await.unwrap();
        let Self {
            directory, tool, ..
        } = self;
        let world = next(directory.path(), &tool);
        let events = history(&world.store, &id).await.unwrap();
        let handle = start(id, world.clone(), &events, Surroundings::default(), false);
        Self {
            directory,
            world,
            tool,
            handle,
        }
    }

    async fn prompt(&self, text: &str, request_id: &str) -> Answer {
        let caller = Caller {
            by: None,
            request_id: request_id.to_owned(),
        };
        let prompt = PromptItem {
            text: text.to_owned(),
            ..PromptItem::default()
        };
        self.handle
            .prompt(caller, prompt, PromptMode::Steer, 0)
            .await
            .unwrap()
    }

    async fn events(&self) -> Vec<Event> {
        self.world
            .store
            .events(self.handle.id(), 0, 10_000)
            .await
            .unwrap()
    }

    /// Outcomes of all calls, in order.
    async fn outcomes(&self) -> Vec<String> {
        let completed = self
            .events()
            .await
            .into_iter()
            .filter_map(|event| match event.body {
                Some(Body::ItemCompleted(done)) => done.item?.kind,
                _ => None,
            });
        let outcome = |kind| match kind {
            item::Kind::ToolCall(call) => call.outcome.map(|outcome| outcome.text),
            _ => None,
        };
        completed.filter_map(outcome).collect()
    }

    /// Waits until an event like `wanted` is in the log.
    async fn until(&self, wanted: impl Fn(&Body) -> bool) {
        let mut changes = self.handle.feed().changes();
        let seen = async {
            while !self
                .events()
                .await
                .iter()
                .any(|event| event.body.as_ref().is_some_and(&wanted))
            {
                changes.changed().await.unwrap();
            }
        };
        tokio::time::timeout(Duration::from_secs(10), seen)
            .await
            .expect("the event comes");
    }
}

fn ended() -> Delta {
    Delta::Ended {
        stop: Stop::Done,
        usage: Usage::default(),
    }
}

pub(crate) fn call(arguments: &str) -> Option<Vec<Delta>> {
    let call = Call {
        call_id: RequestId::random().to_string(),
        tool: "count".to_owned(),
        arguments: arguments.to_owned(),
        kind: ArgumentsKind::Freeform,
        opaque: Vec::new(),
    };
    Some(vec![Delta::Call(call), ended()])
}

pub(crate) fn say(text: &str) -> Option<Vec<Delta>> {
    Some(vec![Delta::Text(text.to_owned()), ended()])
}

pub(crate) fn caller(request_id: &str) -> Caller {
    Caller {
        by: None,
        request_id: request_id.to_owned(),
    }
}

#[tokio::test]
async fn a_prompt_runs_to_its_end_and_seq_is_dense() {
    let bench = Bench::new(vec![call("one"), call("two"), say("done")]).await;
    let answer = bench.prompt("go", "r1").await;
    assert_eq!(answer.turn.map(|turn| turn.get()), Some(1));
    let resting = bench.handle.wait().await.unwrap();
    assert_eq!(resting.stop_reason, StopReason::Done);
    assert_eq!(bench.outcomes().await, ["run 1", "run 2"]);
    let seqs: Vec<u64> = bench.events().await.iter().map(|event| event.seq).collect();
    assert_eq!(seqs, (1..=seqs.len() as u64).collect::<Vec<_>>());
}

#[tokio::test]
async fn the_same_request_is_one_turn() {
    let bench = Bench::new(vec![say("done")]).await;
    let first = bench.prompt("go", "r1").await;
    bench.handle.wait().await.unwrap();
    let events = bench.events().await.len();
    assert_eq!(bench.prompt("go", "r1").await, first);
    assert_eq!(bench.events().await.len(), events);
}

#[tokio::test]
async fn a_queued_prompt_begins_the_next_turn() {
    let bench = Bench::new(vec![call("hang"), say("one"), say("two")]).await;
    bench.prompt("go", "r1").await;
    let prompt = PromptItem {
        text: "then".to_owned(),
        ..PromptItem::default()
    };
    let answer = bench
        .handle
        .prompt(caller("r2"), prompt, PromptMode::Queue, 0)
        .await
        .unwrap();
    assert_eq!(answer.turn, None);
    bench.tool.stopped.notify_one();
    let resting = bench.handle.wait().await.unwrap();
    assert_eq!(resting.turn, 2);
    assert!(bench.handle.look().await.unwrap().queue.is_empty());
}

#[tokio::test]
async fn an_approval_has_one_winner() {
    let bench = Bench::new(vec![call("ask me"), say("done")]).await;
    bench.prompt("go", "r1").await;
    assert!(bench.handle.wait().await.unwrap().needs_approval);
    let answer = |verdict: ApprovalVerdict| ApprovalAnswer {
        verdict: verdict.into(),
        ..Default::default()
    };
    bench
        .handle
        .decide(caller("a"), 0, answer(ApprovalVerdict::Once))
        .await
        .unwrap();
    let late = bench
        .handle
        .decide(caller("b"), 1, answer(ApprovalVerdict::Deny))
        .await;
    assert!(matches!(late, Err(Refusal::Answered { .. })), "{late:?}");
    assert!(
        bench
            .handle
            .decide(caller("a"), 1, answer(ApprovalVerdict::Once))
            .await
            .is_ok()
    );
    bench.handle.wait().await.unwrap();
    assert_eq!(bench.outcomes().await, ["run 1"]);
}

#[tokio::test]
async fn an_interrupt_returns_when_the_tool_is_dead() {
    let bench = Bench::new(vec![call("hang"), say("never")]).await;
    bench.prompt("go", "r1").await;
    bench
        .until(|body| matches!(body, Body::ItemChanged(_)))
        .await;
    assert_eq!(bench.handle.interrupt(caller("i"), 0).await.unwrap(), 1);
    assert_eq!(
        bench.handle.wait().await.unwrap().stop_reason,
        StopReason::Interrupted
    );
    assert_eq!(bench.outcomes().await, ["run 1"]);
}

#[tokio::test]
async fn a_tool_that_panics_fails_its_call_and_nothing_else() {
    let bench = Bench::new(vec![call("panic"), say("done")]).await;
    bench.prompt("go", "r1").await;
    assert_eq!(
        bench.handle.wait().await.unwrap().stop_reason,
        StopReason::Done
    );
    let outcomes = bench.outcomes().await;
    assert!(
        outcomes[0].starts_with("quire itself failed"),
        "{outcomes:?}"
    );
}

/// A daemon that dies leaves its log; another goes on from there.
#[tokio::test]
async fn a_new_daemon_goes_on_with_what_the_log_holds() {
    let bench = Bench::new(vec![call("hang"), None]).await;
    bench.prompt("go", "r1").await;
    bench
        .until(|body| matches!(body, Body::ItemChanged(_)))
        .await;
    let bench = bench.reborn(vec![call("hang"), say("done")]).await;
    bench.tool.stopped.notify_waiters();
    bench.tool.stopped.notify_one();
    let resting = tokio::time::timeout(Duration::from_secs(10), bench.handle.wait())
        .await
        .unwrap();
    assert_eq!(resting.unwrap().stop_reason, StopReason::Done);
    let repeat = bench.prompt("go", "r1").await;
    assert_eq!(
        repeat.turn.map(|turn| turn.get()),
        Some(1),
        "the request is known to the new daemon"
    );
}

#[tokio::test]
async fn watchers_see_text_only_once_it_is_safe() {
    let bench = Bench::new(vec![Some(vec![Delta::Text("shown".to_owned())]), None]).await;
    let seen = Arc::new(Mutex::new(String::new()));
    bench.prompt("go", "r1").await;
    let mut changes = bench.handle.feed().changes();
    let mut reader = feed::Reader::at(1, Default::default());
    while seen.lock().unwrap().as_str() != "shown" {
        if let feed::Next::Updates(updates) = bench.handle.feed().next(&mut reader) {
            for update in updates.updates() {
                if let Some(quire_proto::v1::session_service_watch_response::Update::Delta(delta)) =
                    update.update
                {
                    seen.lock()
                        .unwrap()
                        .push_str(std::str::from_utf8(&delta.data).unwrap());
                }
            }
        } else {
            changes.changed().await.unwrap();
        }
    }
    let mut growing =
        crate::adapters::growing::Growing::open(&bench.world.growing, bench.handle.id());
    let kept = growing.recover().unwrap();
    assert_eq!(
        kept.first().map(|(_, text)| text.as_slice()),
        Some(b"shown".as_slice())
    );
}
