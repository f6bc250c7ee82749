//! Tool calls that are looked at or run: one abortable task each, whatever ends it is an input.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use quire_proto::{
    id::{ItemId, JobId},
    v1::{Intent, JobStarted, Outcome, OutcomeStatus},
};
use tokio::{
    sync::mpsc::UnboundedSender,
    task::{AbortHandle, Id, JoinError, JoinSet},
};

use super::feed::Feed;
use crate::{
    ports::tool::{Act, Finished, Live, Place, Prepared, RunningJobs, Tool},
    pure::{
        sample::Call,
        turn::{Ending, Input, Look},
    },
};

/// What comes from calls that run, besides their end.
pub(super) enum Happened {
    /// A command has started.
    Started(JobStarted),
}

/// The calls of one session that are under way.
pub(super) struct Acts {
    tasks: JoinSet<Done>,
    /// Which call a task works on.
    items: HashMap<Id, ItemId>,
    /// What was prepared and waits for its go.
    prepared: HashMap<ItemId, (Act, Stop)>,
    running: HashMap<ItemId, (AbortHandle, Stop)>,
    /// Calls told to stop that have not ended.
    stopping: HashSet<ItemId>,
    happened: UnboundedSender<Happened>,
    feed: Arc<Feed>,
}

/// How a running call is stopped.
#[derive(Clone, Debug)]
enum Stop {
    /// By stopping its job; the call then ends by itself.
    Job(JobId),
    /// By dropping it: it changes nothing.
    Abort,
    /// Not at all: it is short and must not be torn.
    Wait,
}

enum Done {
    Prepared(Result<Prepared, Finished>),
    Finished(Finished),
    Stopped,
}

impl Acts {
    pub(super) fn new(happened: UnboundedSender<Happened>, feed: Arc<Feed>) -> Self {
        Self {
            tasks: JoinSet::new(),
            items: HashMap::new(),
            prepared: HashMap::new(),
            running: HashMap::new(),
            stopping: HashSet::new(),
            happened,
            feed,
        }
    }

    /// Lets the tool look at a call.
    pub(super) fn prepare(
        &mut self,
        item: ItemId,
        call: Call,
        tools: &[Arc<dyn Tool>],
        place: Place,
    ) {
        let Some(tool) = named(tools, &call.tool) else {
            let finished = unknown_tool(tools, &call.tool);
            return self.spawn(item, async { Done::Prepared(Err(finished)) });
        };
        let looking = tool.prepare(call, place);
        self.spawn(item, async { Done::Prepared(looking.await) });
    }

    /// Carries out what was prepared last for `item`.
    pub(super) fn act(&mut self, item: ItemId) {
        let Some((act, stop)) = self.prepared.remove(&item) else {
            return self.spawn(item, async {
                Done::Finished(Finished::failed("the call was not prepared"))
            });
        };
        let acting = act(self.live(item));
        self.run(item, stop, async { Done::Finished(acting.await) });
    }

    /// Finds out about a call that another daemon began.
    pub(super) fn resume(
        &mut self,
        item: ItemId,
        (call, intent): (Call, Intent),
        tools: &[Arc<dyn Tool>],
        place: Place,
    ) {
        let Some(tool) = named(tools, &call.tool) else {
            let finished = unknown_tool(tools, &call.tool);
            return self.spawn(item, async { Done::Finished(finished) });
        };
        let stop = how_to_stop(Some(&intent), false);
        let resuming = tool.resume(call, intent, place, self.live(item));
        self.run(item, stop, async { Done::Finished(resuming.await) });
    }

    /// Stops a running call. It still ends, by its own word or as interrupted.
    pub(super) fn stop(&mut self, item: ItemId, jobs: &Arc<dyn RunningJobs>) {
        self.stopping.insert(item);
        match self.running.get(&item) {
            Some((_, Stop::Job(job))) => {
                let stopping = jobs.stop(job.clone());
                let stopping = async {
                    stopping.await;
                    Done::Stopped
                };
                self.spawn(item, stopping);
            }
            Some((task, Stop::Abort)) => task.abort(),
            Some((_, Stop::Wait)) | None => {}
        }
    }

    /// The command of a call runs now. One that was told to stop before there was a command is told
    /// again.
    pub(super) fn started(&mut self, item: ItemId, jobs: &Arc<dyn RunningJobs>) {
        if self.stopping.contains(&item) {
            self.stop(item, jobs);
        }
    }

    /// The next thing that happened to a call; `None` when nothing is under way.
    pub(super) async fn next(&mut self) -> Option<Input> {
        loop {
            let done = self.tasks.join_next_with_id().await?;
            if let Some(input) = self.took(done) {
                return Some(input);
            }
        }
    }

    fn took(&mut self, done: Result<(Id, Done), JoinError>) -> Option<Input> {
        match done {
            Ok((id, done)) => {
                let item = self.items.remove(&id)?;
                match done {
                    Done::Prepared(looked) => Some(self.looked(item, looked)),
                    Done::Finished(finished) => {
                        self.gone(item);
                        Some(Input::Finished {
                            item,
                            ending: ending(finished),
                        })
                    }
                    Done::Stopped => None,
                }
            }
            Err(error) => {
                let item = self.items.remove(&error.id())?;
                self.gone(item);
                Some(failed(item, &error))
            }
        }
    }

    fn gone(&mut self, item: ItemId) {
        self.running.remove(&item);
        self.stopping.remove(&item);
    }

    fn looked(&mut self, item: ItemId, looked: Result<Prepared, Finished>) -> Input {
        let look = match looked {
            Ok(Prepared {
                title,
                access,
                intent,
                preview,
                act,
            }) => {
                let stop = how_to_stop(intent.as_ref(), access.read_only);
                self.prepared.insert(item, (act, stop));
                Ok(Look {
                    title,
                    access,
                    intent,
                    preview,
                })
            }
            Err(finished) => Err(ending(finished)),
        };
        Input::Prepared { item, look }
    }

    fn live(&self, item: ItemId) -> Live {
        let feed = self.feed.clone();
        let happened = self.happened.clone();
        Live {
            item,
            output: Arc::new(move |offset, bytes| feed.output(item, offset, bytes)),
            started: Arc::new(move |job| {
                let _gone = happened.send(Happened::Started(job));
            }),
        }
    }

    fn run(&mut self, item: ItemId, stop: Stop, work: impl Future<Output = Done> + Send + 'static) {
        let task = self.tasks.spawn(work);
        self.items.insert(task.id(), item);
        self.running.insert(item, (task, stop));
    }

    fn spawn(&mut self, item: ItemId, work: impl Future<Output = Done> + Send + 'static) {
        let task = self.tasks.spawn(work);
        self.items.insert(task.id(), item);
    }
}

fn named<'a>(tools: &'a [Arc<dyn Tool>], name: &str) -> Option<&'a Arc<dyn Tool>> {
    tools.iter().find(|tool| tool.spec().name == name)
}

fn unknown_tool(tools: &[Arc<dyn Tool>], name: &str) -> Finished {
    let names: Vec<_> = tools.iter().map(|tool| tool.spec().name).collect();
    Finished::failed(format!(
        "there is no tool `{name}`: use one of {}",
        names.join(", ")
    ))
}

fn how_to_stop(intent: Option<&Intent>, read_only: bool) -> Stop {
    match intent.map(|intent| intent.job_id.parse()) {
        Some(Ok(job)) => Stop::Job(job),
        _ if read_only => Stop::Abort,
        _ => Stop::Wait,
    }
}

fn ending(finished: Finished) -> Ending {
    Ending {
        outcome: finished.outcome,
        items: finished.items,
    }
}

/// A call whose task ended without a word: it was dropped, or its tool has a bug.
fn failed(item: ItemId, error: &JoinError) -> Input {
    let (status, text) = if error.is_cancelled() {
        (OutcomeStatus::Interrupted, "the call was interrupted")
    } else {
        tracing::error!(%error, "a tool panicked");
        (
            OutcomeStatus::Failed,
            "quire itself failed in this call; the daemon's log says where",
        )
    };
    let outcome = Outcome {
        status: status.into(),
        text: text.to_owned(),
        ..Outcome::default()
    };
    Input::Finished {
        item,
        ending: Ending {
            outcome,
            items: Vec::new(),
        },
    }
}
