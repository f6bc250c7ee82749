//! Jobs: started and ended once in the log, stopped with what they live with, told when they end.

use std::collections::{BTreeMap, HashSet};

use quire_proto::v1::{JobLifetime, JobStarted};
use tokio::sync::watch;

use super::*;

/// Jobs as their keepers would have them: they outlive daemons.
#[derive(Clone, Default)]
struct Keepers(
    Arc<Mutex<BTreeMap<String, watch::Sender<Option<JobEnded>>>>>,
    Detached,
);

type Detached = Arc<Mutex<HashSet<String>>>;

impl Keepers {
    fn job(&self, id: &str) -> watch::Sender<Option<JobEnded>> {
        let mut jobs = self.0.lock().unwrap();
        jobs.entry(id.to_owned())
            .or_insert_with(|| watch::Sender::new(None))
            .clone()
    }

    fn started(&self) -> Vec<String> {
        self.0.lock().unwrap().keys().cloned().collect()
    }

    /// The job ends; the first word about how stands.
    fn end(&self, id: &str, stopped: bool) {
        self.job(id).send_if_modified(|ended| {
            let fresh = ended.is_none();
            ended.get_or_insert(JobEnded {
                job_id: id.to_owned(),
                exit_code: (!stopped).then_some(3),
                output_bytes: 5,
                wall_ms: 1_500,
                stopped,
                ..JobEnded::default()
            });
            fresh
        });
    }

    fn is_running(&self, id: &str) -> bool {
        self.job(id).borrow().is_none()
    }
}

impl RunningJobs for Keepers {
    fn stop(&self, job: JobId) -> BoxFuture<'static, ()> {
        self.end(job.as_str(), true);
        std::future::ready(()).boxed()
    }

    fn forget(&self, _: JobId) {}

    fn detach(&self, job: JobId) -> BoxFuture<'static, Result<(), String>> {
        self.1.lock().unwrap().insert(job.to_string());
        std::future::ready(Ok(())).boxed()
    }

    fn tail(&self, _: JobId) -> BoxFuture<'static, String> {
        std::future::ready("oops\n".to_owned()).boxed()
    }

    fn ended(&self, _: SessionId, job: JobId) -> BoxFuture<'static, JobEnded> {
        let mut job = self.job(job.as_str()).subscribe();
        async move {
            let ended = job.wait_for(Option::is_some).await.unwrap();
            ended.clone().unwrap()
        }
        .boxed()
    }
}

/// Starts a job: "leave LIFETIME" leaves it running, "wait" waits for its end, "die" starts it and is
/// gone before anyone is told.
#[derive(Clone)]
struct Run(Keepers);

impl Tool for Run {
    fn spec(&self) -> ToolSpec {
        ToolSpec {
            name: "count",
            description: "runs",
            input: ToolInput::Json(serde_json::json!({})),
        }
    }

    fn prepare(&self, call: Call, place: Place) -> BoxFuture<'static, Result<Prepared, Finished>> {
        let intent = Intent {
            job_id: JobId::random().to_string(),
            ..Intent::default()
        };
        let tool = self.clone();
        let promised = intent.clone();
        let prepared = Prepared {
            title: call.arguments.clone(),
            access: Access {
                command: call.arguments.clone(),
                ..Access::default()
            },
            intent: Some(intent),
            preview: Vec::new(),
            act: Box::new(move |live| tool.resume(call, promised, place, live)),
        };
        std::future::ready(Ok(prepared)).boxed()
    }

    fn resume(
        &self,
        call: Call,
        intent: Intent,
        _: Place,
        live: Live,
    ) -> BoxFuture<'static, Finished> {
        let tool = self.clone();
        async move { tool.run(&call.arguments, intent.job_id, &live).await }.boxed()
    }
}

impl Run {
    async fn run(&self, arguments: &str, job_id: String, live: &Live) -> Finished {
        let known = self.0.started().contains(&job_id);
        let mut job = self.0.job(&job_id).subscribe();
        if arguments == "die" && !known {
            return std::future::pending().await;
        }
        let lifetime = match arguments {
            "leave turn" => JobLifetime::Turn,
            _ => JobLifetime::Session,
        };
        (live.started)(JobStarted {
            job_id: job_id.clone(),
            item: live.item.get(),
            command: "make all".to_owned(),
            lifetime: lifetime.into(),
            ..JobStarted::default()
        });
        let waits = !arguments.starts_with("leave");
        if waits {
            let _ended = job.wait_for(Option::is_some).await;
        }
        let mut finished = Finished::succeeded("ran");
        finished.outcome.still_running = !waits;
        finished.outcome.job_id = job_id;
        finished
    }
}

fn in_world(keepers: &Keepers, world: World) -> World {
    World {
        tools: Arc::from([Arc::new(Run(keepers.clone())) as Arc<dyn Tool>]),
        jobs: Arc::new(keepers.clone()),
        ..world
    }
}

struct Yard {
    bench: Bench,
    keepers: Keepers,
}

impl Yard {
    async fn new(script: Vec<Option<Vec<Delta>>>, wake: bool) -> Self {
        let bench = Bench::new(script.clone()).await;
        let keepers = Keepers::default();
        let policy = Policy {
            wake,
            ..bench.handle.look().await.unwrap().session.policy.unwrap()
        };
        let change = Change {
            policy: Some(policy),
            ..Change::default()
        };
        bench.handle.change(caller("wake"), change).await.unwrap();
        Self { bench, keepers }.reborn(script).await
    }

    async fn reborn(self, script: Vec<Option<Vec<Delta>>>) -> Self {
        let Self { bench, keepers } = self;
        let next =
            |directory: &Path, tool: &Counted| in_world(&keepers, world(directory, script, tool));
        let bench = bench.reborn_in(next).await;
        Self { bench, keepers }
    }

    /// The only job, once the log has its start.
    async fn job(&self) -> String {
        self.bench
            .until(|body| matches!(body, Body::JobStarted(_)))
            .await;
        let looked = self.bench.handle.look().await.unwrap();
        looked.jobs.first().unwrap().id.clone()
    }

    /// "started", "ended" and so on, of all that is about jobs, in order.
    async fn story(&self) -> Vec<String> {
        let told = |event: Event| match event.body? {
            Body::JobStarted(_) => Some("started".to_owned()),
            Body::JobEnded(ended) if ended.stopped => Some("stopped".to_owned()),
            Body::JobEnded(_) => Some("ended".to_owned()),
            Body::JobChanged(changed) => Some(format!("{:?}", changed.lifetime())),
            Body::PromptQueued(queued) => {
                let prompt = queued.prompt?.prompt?;
                (!prompt.job_id.is_empty()).then_some("woken".to_owned())
            }
            Body::ItemCompleted(done) => match done.item?.kind? {
                item::Kind::Prompt(prompt) if !prompt.job_id.is_empty() => {
                    Some(format!("told {}", prompt.text.lines().last()?))
                }
                item::Kind::Notice(notice) if notice.text.contains("woken 5 times") => {
                    Some("not woken".to_owned())
                }
                _ => None,
            },
            Body::TurnEnded(_) => Some("turn ended".to_owned()),
            _ => None,
        };
        self.bench
            .events()
            .await
            .into_iter()
            .filter_map(told)
            .collect()
    }

    async fn rest(&self) {
        self.bench.handle.wait().await.unwrap();
    }
}

/// Answers by outcomes: with one call made, every later sample says something.
fn one_call(arguments: &str) -> Vec<Option<Vec<Delta>>> {
    vec![call(arguments), say("fine")]
}

#[tokio::test]
async fn a_job_starts_and_ends_once_in_the_log_wherever_the_daemon_dies() {
    // Dead after the job's start and before its event; the job ends before, or after, the next comes.
    for ends_meanwhile in [true, false] {
        let yard = Yard::new(one_call("die"), false).await;
        yard.bench.prompt("go", "r1").await;
        yard.bench
            .until(|body| matches!(body, Body::ItemChanged(_)))
            .await;
        while yard.keepers.started().is_empty() {
            tokio::task::yield_now().await;
        }
        let job = yard.keepers.started().remove(0);
        assert!(yard.story().await.is_empty());
        if ends_meanwhile {
            yard.keepers.end(&job, false);
        }
        let mut yard = yard.reborn(one_call("die")).await;
        yard.job().await;
        // And once more, with the start in the log.
        yard = yard.reborn(one_call("die")).await;
        yard.keepers.end(&job, false);
        yard.rest().await;
        yard.bench
            .until(|body| matches!(body, Body::JobEnded(_)))
            .await;
        let mut story = yard.story().await;
        story.retain(|line| line != "turn ended");
        assert_eq!(story, ["started", "ended"]);
    }
}

#[tokio::test]
async fn a_job_that_lives_with_its_turn_is_dead_when_those_who_wait_are_answered() {
    let yard = Yard::new(one_call("leave turn"), true).await;
    yard.bench.prompt("go", "r1").await;
    yard.rest().await;
    let job = yard.keepers.started().remove(0);
    assert!(!yard.keepers.is_running(&job));
    yard.bench
        .until(|body| matches!(body, Body::JobEnded(_)))
        .await;
    assert_eq!(yard.story().await, ["started", "turn ended", "stopped"]);
}

#[tokio::test]
async fn a_job_that_lives_with_its_session_is_stopped_when_that_is_archived_unless_detached() {
    let archive = || Change {
        archived: Some(true),
        ..Change::default()
    };
    for detached in [false, true] {
        let yard = Yard::new(one_call("leave"), true).await;
        yard.bench.prompt("go", "r1").await;
        yard.rest().await;
        let job: JobId = yard.job().await.parse().unwrap();
        if detached {
            for _ in 0..2 {
                let changed = yard.bench.handle.detach(caller("d"), job.clone()).await;
                assert_eq!(changed.unwrap().lifetime(), JobLifetime::Detached);
            }
            let later = yard.bench.handle.detach(caller("e"), job.clone()).await;
            assert!(later.is_ok(), "what is detached stays so");
        }
        yard.bench
            .handle
            .change(caller("a"), archive())
            .await
            .unwrap();
        if detached {
            assert!(yard.keepers.is_running(job.as_str()));
            assert_eq!(yard.story().await, ["started", "turn ended", "Detached"]);
        } else {
            yard.bench
                .until(|body| matches!(body, Body::JobEnded(_)))
                .await;
            assert_eq!(yard.story().await, ["started", "turn ended", "stopped"]);
        }
    }
}

#[tokio::test]
async fn only_a_job_that_runs_in_this_session_can_be_detached() {
    let yard = Yard::new(one_call("leave"), false).await;
    yard.bench.prompt("go", "r1").await;
    let job = yard.job().await;
    yard.rest().await;
    yard.keepers.end(&job, false);
    yard.bench
        .until(|body| matches!(body, Body::JobEnded(_)))
        .await;
    let ended = yard
        .bench
        .handle
        .detach(caller("d"), job.parse().unwrap())
        .await;
    assert!(matches!(ended, Err(Refusal::NotDetached(_))), "{ended:?}");
    let unknown = yard.bench.handle.detach(caller("e"), JobId::random()).await;
    assert!(matches!(unknown, Err(Refusal::NoJob(_))), "{unknown:?}");
    assert!(yard.keepers.1.lock().unwrap().is_empty());
}

#[tokio::test]
async fn the_end_of_a_background_job_wakes_the_model_also_when_no_daemon_lived() {
    for dies in [false, true] {
        let mut yard = Yard::new(one_call("leave"), true).await;
        yard.bench.prompt("go", "r1").await;
        yard.rest().await;
        let job = yard.job().await;
        if dies {
            yard.bench.world.store.close().await.unwrap();
        }
        yard.keepers.end(&job, false);
        if dies {
            yard = yard.reborn(one_call("leave")).await;
        }
        yard.bench
            .until(|body| matches!(body, Body::TurnEnded(ended) if ended.turn == 2))
            .await;
        let want = [
            "started",
            "turn ended",
            "ended",
            "woken",
            "told oops",
            "turn ended",
        ];
        assert_eq!(yard.story().await, want);
        // It is not woken again by another start.
        let yard = yard.reborn(one_call("leave")).await;
        yard.rest().await;
        assert_eq!(yard.story().await, want);
        let looked = yard.bench.handle.look().await.unwrap().session;
        assert_eq!(
            (looked.last_prompt.as_str(), looked.title.as_str()),
            ("go", "go")
        );
    }
}

#[tokio::test]
async fn without_waking_the_model_is_told_with_the_next_prompt() {
    let yard = Yard::new(one_call("leave"), false).await;
    yard.bench.prompt("go", "r1").await;
    yard.rest().await;
    let job = yard.job().await;
    yard.keepers.end(&job, false);
    yard.bench
        .until(|body| matches!(body, Body::JobEnded(_)))
        .await;
    yard.rest().await;
    assert_eq!(yard.story().await, ["started", "turn ended", "ended"]);
    yard.bench.prompt("and?", "r2").await;
    yard.rest().await;
    yard.bench.prompt("well?", "r3").await;
    yard.rest().await;
    let want = [
        "started",
        "turn ended",
        "ended",
        "told oops",
        "turn ended",
        "turn ended",
    ];
    assert_eq!(yard.story().await, want);
}

/// Each turn that is woken starts another job, which wakes the next.
#[tokio::test]
async fn the_model_is_woken_five_times_in_a_row_and_no_more() {
    let mut script: Vec<Option<Vec<Delta>>> = Vec::new();
    for _ in 0..8 {
        script.push(call("leave"));
    }
    // Each sample calls once and the answer after it is another call: so a limit of requests ends
    // each turn after one job.
    let keepers = Keepers::default();
    let yard = Yard::new(script.clone(), true).await;
    let next = |directory: &Path, tool: &Counted| World {
        max_samples: 1,
        ..in_world(&keepers, world(directory, script, tool))
    };
    let bench = yard.bench.reborn_in(next).await;
    let yard = Yard { bench, keepers };
    yard.bench.prompt("go", "r1").await;
    for turn in 1..=6 {
        yard.bench
            .until(|body| matches!(body, Body::TurnEnded(ended) if ended.turn == turn))
            .await;
        let running = |job: &String| yard.keepers.is_running(job);
        let job = yard.keepers.started().into_iter().find(running).unwrap();
        yard.keepers.end(&job, false);
    }
    yard.bench
        .until(|body| format!("{body:?}").contains("woken 5 times"))
        .await;
    yard.rest().await;
    let story = yard.story().await;
    let count = |what: &str| story.iter().filter(|line| *line == what).count();
    assert_eq!(
        (count("woken"), count("not woken"), count("turn ended")),
        (5, 1, 6)
    );
}

#[tokio::test]
async fn a_program_of_the_users_is_told_of_each_background_job_once() {
    let told = Arc::new(Mutex::new(Vec::new()));
    for arguments in ["leave", "wait"] {
        let yard = Yard::new(one_call(arguments), false).await;
        let (keepers, heard) = (yard.keepers.clone(), told.clone());
        let next = |directory: &Path, tool: &Counted| World {
            notify: Arc::new(move |news| {
                if news.json.contains("\"type\":\"job-ended\"") {
                    heard.lock().unwrap().push(news.json);
                }
            }),
            ..in_world(&keepers, world(directory, one_call(arguments), tool))
        };
        let bench = yard.bench.reborn_in(next).await;
        bench.prompt("go", "r1").await;
        bench
            .until(|body| matches!(body, Body::JobStarted(_)))
            .await;
        if arguments == "leave" {
            bench.handle.wait().await.unwrap();
        }
        keepers.end(&keepers.started().remove(0), false);
        bench.until(|body| matches!(body, Body::JobEnded(_))).await;
        bench.handle.wait().await.unwrap();
    }
    let told = told.lock().unwrap();
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].contains("\"command\":\"make all\""), "{told:?}");
}
