//! What waits in a session's queue, and changing it.

use quire_proto::v1::{
    PromptItem, PromptMode, QueuedPrompt, TurnServiceChangeQueuedRequest,
    TurnServiceListQueueRequest, TurnServiceRemoveQueuedRequest,
};
use serde::Serialize;
use tonic::{Code, Status};

use super::{Done, exec::prompt, find_session, json_lines, request_id};
use crate::{
    context::{self, Context},
    failure::{Exit, Failure},
    link::Link,
    output::table::table,
};

/// Shortest beginning of a prompt's id that is shown.
const SHORT: usize = 6;
/// Most characters of a prompt that are shown.
const LONG: usize = 100;
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

/// A prompt that waits, for scripts.
#[derive(Serialize)]
struct Line<'a> {
    position: usize,
    id: &'a str,
    mode: &'static str,
    text: &'a str,
    images: usize,
    /// The job whose end it tells, if nobody said it.
    job: Option<&'a str>,
    client: Option<&'a str>,
    pid: Option<u32>,
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
        context::progress(format!("edited: {}\n", in_short(found)))?;
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
    use tonic_types::StatusExt as _;
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

/// The prompt that `name` means: its place, else the beginning of its id.
fn find<'a>(
    queue: &'a [QueuedPrompt],
    name: &str,
    session: &str,
) -> Result<&'a QueuedPrompt, Failure> {
    let place = name
        .parse::<usize>()
        .ok()
        .and_then(|place| place.checked_sub(1));
    if let Some(found) = place.and_then(|place| queue.get(place)) {
        return Ok(found);
    }
    let named: Vec<_> = queue
        .iter()
        .filter(|queued| !name.is_empty() && queued.request_id.starts_with(name))
        .collect();
    let exact = named.iter().find(|queued| queued.request_id == name);
    match (exact, named.as_slice()) {
        (Some(one), _) => Ok(one),
        (None, [one]) => Ok(one),
        (None, []) => Err(Failure::usage(format!(
            "no prompt `{name}` waits: `quire queue {session}` lists those that do"
        ))),
        (None, _) => Err(Failure::usage(format!(
            "`{name}` begins the ids of several prompts: give more of one"
        ))),
    }
}

fn show(queue: &[QueuedPrompt], json: bool) -> Done {
    if json {
        return context::print(json_lines(lines(queue)));
    }
    if queue.is_empty() {
        return context::progress("nothing waits\n");
    }
    context::print(rows(queue))
}

fn lines(queue: &[QueuedPrompt]) -> impl Iterator<Item = Line<'_>> {
    (1..).zip(queue).map(|(position, queued)| {
        let prompt = queued.prompt.as_ref();
        let job = prompt.map(|prompt| prompt.job_id.as_str());
        Line {
            position,
            id: &queued.request_id,
            mode: mode(queued),
            text: prompt.map_or("", |prompt| prompt.text.as_str()),
            images: prompt.map_or(0, |prompt| prompt.images.len()),
            job: job.filter(|job| !job.is_empty()),
            client: queued.by.as_ref().map(|by| by.name.as_str()),
            pid: queued.by.as_ref().map(|by| by.pid),
        }
    })
}

fn rows(queue: &[QueuedPrompt]) -> String {
    let length = short_length(queue);
    let header = ["N", "ID", "WHEN", "FROM", "PROMPT"].map(str::to_owned);
    let rows = lines(queue).zip(queue).map(|(line, queued)| {
        let from = match (line.job, line.client, line.pid) {
            (Some(job), _, _) => format!("job {job}"),
            (None, Some(name), Some(pid)) => format!("{name} ({pid})"),
            _ => String::new(),
        };
        let when = match queued.mode() {
            PromptMode::Steer => "joins the turn",
            _ => "own turn",
        };
        [
            line.position.to_string(),
            line.id.chars().take(length).collect(),
            when.to_owned(),
            from,
            in_short(queued),
        ]
    });
    table([header].into_iter().chain(rows))
}

fn mode(queued: &QueuedPrompt) -> &'static str {
    match queued.mode() {
        PromptMode::Steer => "steer",
        PromptMode::Start | PromptMode::Queue | PromptMode::Unspecified => "queue",
    }
}

/// How much of an id tells all of them apart.
fn short_length(queue: &[QueuedPrompt]) -> usize {
    let longest = queue.iter().map(|queued| queued.request_id.chars().count());
    let longest = longest.max().unwrap_or_default();
    let apart = |length: &usize| {
        let beginnings = queue
            .iter()
            .map(|queued| queued.request_id.chars().take(*length).collect::<String>());
        let different: std::collections::BTreeSet<_> = beginnings.collect();
        different.len() == queue.len()
    };
    (SHORT..longest).find(apart).unwrap_or(longest.max(SHORT))
}

/// The first line of a prompt that says something, and whether there is more.
fn in_short(queued: &QueuedPrompt) -> String {
    let prompt = queued.prompt.clone().unwrap_or_default();
    let text = prompt.text.trim();
    let first = text.lines().next().unwrap_or_default();
    let short: String = first.trim_end().chars().take(LONG).collect();
    match (short.len() < text.len(), short.is_empty()) {
        (_, true) => format!("({} images)", prompt.images.len()),
        (true, _) => format!("{short} ..."),
        (false, _) => short,
    }
}

fn where_it_is(queue: &[QueuedPrompt], prompt: &QueuedPrompt) -> String {
    let id = &prompt.request_id;
    let place = queue.iter().position(|queued| queued.request_id == *id);
    let what = in_short(prompt);
    match place {
        Some(place) => format!("moved to {} of {}: {what}\n", place + 1, queue.len()),
        None => format!("moved, and taken since: {what}\n"),
    }
}

#[cfg(test)]
mod tests {
    use quire_proto::v1::ClientRef;

    use super::*;

    fn queued(id: &str, mode: PromptMode, text: &str, job: &str) -> QueuedPrompt {
        let by = ClientRef {
            name: "tui".into(),
            pid: 12,
            ..ClientRef::default()
        };
        QueuedPrompt {
            request_id: id.into(),
            prompt: Some(PromptItem {
                text: text.into(),
                job_id: job.into(),
                ..PromptItem::default()
            }),
            mode: mode.into(),
            by: job.is_empty().then_some(by),
        }
    }

    fn three() -> [QueuedPrompt; 3] {
        [
            queued("bcdfgh22334455667788", PromptMode::Queue, "run it\nall", ""),
            queued("bcdfgh2299", PromptMode::Steer, "use tabs", ""),
            queued("job-j2-ended", PromptMode::Queue, "Job j2 ended", "j2"),
        ]
    }

    #[test]
    fn a_queue_stands_in_columns() {
        insta::assert_snapshot!(rows(&three()), @r"
        N  ID         WHEN            FROM      PROMPT
        1  bcdfgh223  own turn        tui (12)  run it ...
        2  bcdfgh229  joins the turn  tui (12)  use tabs
        3  job-j2-en  own turn        job j2    Job j2 ended
        ");
        insta::assert_snapshot!(json_lines(lines(&three())), @r#"
        {"position":1,"id":"bcdfgh22334455667788","mode":"queue","text":"run it\nall","images":0,"job":null,"client":"tui","pid":12}
        {"position":2,"id":"bcdfgh2299","mode":"steer","text":"use tabs","images":0,"job":null,"client":"tui","pid":12}
        {"position":3,"id":"job-j2-ended","mode":"queue","text":"Job j2 ended","images":0,"job":"j2","client":null,"pid":null}
        "#);
    }

    #[test]
    fn a_prompt_is_named_by_its_place_or_by_its_id() {
        let queue = three();
        let table = [
            ("1", Ok(0)),
            ("3", Ok(2)),
            ("bcdfgh2299", Ok(1)),
            ("bcdfgh223", Ok(0)),
            ("job", Ok(2)),
            ("0", Err("no prompt `0` waits")),
            ("4", Err("no prompt `4` waits")),
            ("", Err("no prompt `` waits")),
            ("bcd", Err("several prompts")),
        ];
        for (name, want) in table {
            match (find(&queue, name, "s"), want) {
                (Ok(found), Ok(place)) => assert_eq!(*found, queue[place], "for `{name}`"),
                (Err(refused), Err(why)) => {
                    assert!(refused.to_string().contains(why), "{refused}");
                    assert_eq!(refused.exit(), Exit::Usage);
                }
                (found, _) => panic!("`{name}` found {found:?}"),
            }
        }
    }

    #[test]
    fn a_prompt_in_short_is_one_line() {
        let table = [
            ("\n one \n two", "one ..."),
            ("one", "one"),
            ("", "(0 images)"),
        ];
        for (text, want) in table {
            let queued = queued("id", PromptMode::Queue, text, "");
            assert_eq!(in_short(&queued), want);
        }
        let long = queued("id", PromptMode::Queue, &"x".repeat(LONG + 1), "");
        assert_eq!(in_short(&long).chars().count(), LONG + 4);
    }
}
