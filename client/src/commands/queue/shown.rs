//! A queue as people and scripts are shown it, and the prompt that they mean by what they saw.

use std::collections::BTreeSet;

use quire_proto::v1::{PromptMode, QueuedPrompt};
use serde::Serialize;

use crate::{
    commands::{Done, json_lines},
    context,
    failure::Failure,
    output::table::table,
};

/// Shortest beginning of a prompt's id that is shown.
const SHORT: usize = 6;
/// Most characters of a prompt that are shown.
const LONG: usize = 100;

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

/// The prompt that `name` means: its place, else the beginning of its id.
pub(super) fn find<'a>(
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

/// Prints a queue, in columns or as JSON lines.
pub(super) fn show(queue: &[QueuedPrompt], json: bool) -> Done {
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
        let different: BTreeSet<_> = beginnings.collect();
        different.len() == queue.len()
    };
    (SHORT..longest).find(apart).unwrap_or(longest.max(SHORT))
}

/// The first line of a prompt that says something, and whether there is more.
pub(super) fn in_short(queued: &QueuedPrompt) -> String {
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

/// Where a prompt stands after it was moved.
pub(super) fn where_it_is(queue: &[QueuedPrompt], prompt: &QueuedPrompt) -> String {
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
    use quire_proto::v1::{ClientRef, PromptItem};

    use super::*;
    use crate::failure::Exit;

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
