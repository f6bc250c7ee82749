//! What waits in a session's queue, and changing it.

mod shown;

use quire_proto::v1::{
    PromptItem, QueuedPrompt, TurnServiceChangeQueuedRequest, TurnServiceListQueueRequest,
    TurnServiceRemoveQueuedRequest,
};
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use self::shown::{find, in_short, show, where_it_is};
use super::{Done, exec::prompt, find_session, request_id};
use crate::{
    context::{self, Context},
    failure::{Exit, Failure},
    link::Link,
};

/// How often the head of the queue may be taken while something is to be put before it.
const TRIES: u32 = 20;

/// Show the prompts that wait, edit, reorder or remove them.
///
/// A prompt is named by its place in the list or by the beginning of its id. The id stays when the queue
/// moves on; a place is looked up when the command runs, which then says what it met there.
#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
#[command(after_help = "Examples:
  quire queue @last
  quire queue edit @last 2 'run the linter, too'
  quire queue move @last 3 --first
  quire queue move @last bcdfgh --before 2
  quire queue remove @last 1 2")]
pub struct Arguments {
    /// Id, unique prefix, title, or @last.
    #[arg(required = true)]
    session: Option<String>,
    /// JSON lines.
    #[arg(long)]
    json: bool,
    /// What to do with the queue.
    #[command(subcommand)]
    act: Option<Act>,
}

#[derive(Debug, clap::Subcommand)]
enum Act {
    /// Say something else in place of a prompt. It keeps its place, and the images it came with.
    Edit {
        #[command(flatten)]
        which: Which,
        /// Its place in the list, or the beginning of its id.
        prompt: String,
        /// What to say; `-` reads it from standard input.
        text: Option<String>,
    },
    /// Put a prompt elsewhere.
    Move {
        #[command(flatten)]
        which: Which,
        /// Its place in the list, or the beginning of its id.
        prompt: String,
        #[command(flatten)]
        to: To,
    },
    /// Take prompts back.
    Remove {
        #[command(flatten)]
        which: Which,
        /// Their places in the list, or the beginnings of their ids.
        #[arg(required = true)]
        prompts: Vec<String>,
    },
}

/// The session, and how to tell of its queue.
#[derive(Debug, clap::Args)]
struct Which {
    /// Id, unique prefix, title, or @last.
    session: String,
    /// The whole queue as JSON lines afterwards.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Args)]
#[group(required = true, multiple = false)]
struct To {
    /// Before this prompt: its place in the list, or the beginning of its id.
    #[arg(long, value_name = "PROMPT")]
    before: Option<String>,
    /// Before all others.
    #[arg(long)]
    first: bool,
    /// Behind all others.
    #[arg(long)]
    last: bool,
}

/// Carries it out.
///
/// # Errors
///
/// When no such prompt waits, or it has been taken meanwhile.
pub async fn run(arguments: Arguments, context: &Context) -> Done {
    let act = match (arguments.act, arguments.session) {
        (Some(act), _) => act,
        (None, session) => {
            let mut queue = Queue::of(context, &session.unwrap_or_default()).await?;
            return show(&queue.list().await?, arguments.json);
        }
    };
    match act {
        Act::Edit {
            which,
            prompt,
            text,
        } => {
            let text = prompt::read(text, context.ends)?;
            let mut queue = Queue::of(context, &which.session).await?;
            let prompts = queue.edit(&prompt, text).await?;
            told(&prompts, which.json)
        }
        Act::Move { which, prompt, to } => {
            let mut queue = Queue::of(context, &which.session).await?;
            let prompts = queue.put(&prompt, &to).await?;
            told(&prompts, which.json)
        }
        Act::Remove { which, prompts } => {
            let mut queue = Queue::of(context, &which.session).await?;
            queue.remove(&prompts).await?;
            match which.json {
                true => show(&queue.list().await?, true),
                false => Ok(()),
            }
        }
    }
}

/// The queue after an act that has been told in words.
fn told(prompts: &[QueuedPrompt], json: bool) -> Done {
    match json {
        true => show(prompts, true),
        false => Ok(()),
    }
}

/// The queue of one session.
struct Queue {
    link: Link,
    session: String,
}

impl Queue {
    async fn of(context: &Context, name: &str) -> Result<Self, Failure> {
        let mut link = context.connect("queue").await?;
        let session = find_session(&mut link, name).await?.id;
        Ok(Self { link, session })
    }

    async fn list(&mut self) -> Result<Vec<QueuedPrompt>, Failure> {
        let request = TurnServiceListQueueRequest {
            session: self.session.clone(),
        };
        let listed = self
            .link
            .call(async |connection| connection.turns().list_queue(request.clone()).await)
            .await?;
        Ok(listed.into_inner().prompts)
    }

    async fn edit(&mut self, name: &str, text: String) -> Result<Vec<QueuedPrompt>, Failure> {
        let before = self.list().await?;
        let found = find(&before, name, &self.session)?;
        let images = found.prompt.clone().unwrap_or_default().images;
        let said = PromptItem {
            text,
            images,
            ..PromptItem::default()
        };
        let after = self.change(found, Some(said), None).await?;
        let after = after.ok_or_else(|| self.gone(found))?;
        let edited = after.iter().find(|one| one.request_id == found.request_id);
        context::progress(format!("edited: {}\n", in_short(edited.unwrap_or(found))))?;
        Ok(after)
    }

    async fn put(&mut self, name: &str, to: &To) -> Result<Vec<QueuedPrompt>, Failure> {
        let mut queue = self.list().await?;
        let found = find(&queue, name, &self.session)?.clone();
        let fixed = match &to.before {
            Some(before) => Some(find(&queue, before, &self.session)?.clone()),
            None => None,
        };
        for _ in 0..TRIES {
            let before = fixed.as_ref().or(queue.first().filter(|_| to.first));
            let there = to.first && before.is_some_and(|first| *first == found);
            let id = before.map_or("", |before| before.request_id.as_str());
            let put = match there {
                true => Some(queue.clone()),
                false => self.change(&found, None, Some(id.to_owned())).await?,
            };
            if let Some(after) = put {
                context::progress(where_it_is(&after, &found))?;
                return Ok(after);
            }
            queue = self.list().await?;
            let waits =
                |one: &QueuedPrompt| queue.iter().any(|two| two.request_id == one.request_id);
            if !waits(&found) {
                return Err(self.gone(&found));
            }
            if let Some(before) = fixed.as_ref().filter(|before| !waits(before)) {
                return Err(self.gone(before));
            }
        }
        Err(self.gone(&found))
    }

    /// All are looked up before any is removed: their places are those of one list.
    async fn remove(&mut self, names: &[String]) -> Done {
        let queue = self.list().await?;
        let mut found: Vec<&QueuedPrompt> = Vec::new();
        for name in names {
            let one = find(&queue, name, &self.session)?;
            if !found.contains(&one) {
                found.push(one);
            }
        }
        let mut gone = Vec::new();
        for prompt in found {
            let request = TurnServiceRemoveQueuedRequest {
                request_id: request_id(),
                session: self.session.clone(),
                prompt_request_id: prompt.request_id.clone(),
            };
            let removed = self
                .link
                .call(async |connection| {
                    let removed = connection.turns().remove_queued(request.clone()).await;
                    unless_taken(removed)
                })
                .await?;
            match removed {
                Some(_) => context::progress(format!("removed: {}\n", in_short(prompt)))?,
                None => gone.push(self.gone(prompt).to_string()),
            }
        }
        match gone.is_empty() {
            true => Ok(()),
            false => Err(Failure::new(Exit::Failed, gone.join("\n"))),
        }
    }

    /// The queue afterwards; `None` when a prompt that this is about waits no more.
    async fn change(
        &mut self,
        of: &QueuedPrompt,
        said: Option<PromptItem>,
        before: Option<String>,
    ) -> Result<Option<Vec<QueuedPrompt>>, Failure> {
        let request = TurnServiceChangeQueuedRequest {
            request_id: request_id(),
            session: self.session.clone(),
            prompt_request_id: of.request_id.clone(),
            prompt: said,
            before,
        };
        let changed = self
            .link
            .call(async |connection| {
                let changed = connection.turns().change_queued(request.clone()).await;
                unless_taken(changed)
            })
            .await?;
        Ok(changed.map(|changed| changed.into_inner().prompts))
    }

    fn gone(&self, prompt: &QueuedPrompt) -> Failure {
        let session = &self.session;
        let message = format!(
            "`{}` was taken or removed meanwhile: `quire queue {session}` lists what waits",
            in_short(prompt)
        );
        Failure::new(Exit::Failed, message)
    }
}

/// `None` when the prompt, or the one it was to stand before, waits no more.
fn unless_taken<T>(answer: Result<T, Status>) -> Result<Option<T>, Status> {
    match answer {
        Err(status) if status.code() == Code::NotFound => {
            let told = status.get_details_error_info();
            match told.is_some_and(|told| told.reason == "NOT_QUEUED") {
                true => Ok(None),
                false => Err(status),
            }
        }
        other => other.map(Some),
    }
}
