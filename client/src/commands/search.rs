//! Full-text search.

use std::path::Path;

use quire_proto::v1::{SearchHit, Session, SessionServiceSearchRequest};
use serde::Serialize;

use super::{
    Done,
    ps::{list, now_ms},
};
use crate::{
    context::{self, Context},
    failure::{Exit, Failure},
    link::Link,
    output::{
        paint::{Ink, Paint, printable},
        table::age,
    },
    world,
};

/// What the daemon puts before and after a match.
const MARKS: [char; 2] = ['\u{2}', '\u{3}'];

/// Search everything that was said and done in all sessions, also those that run.
///
/// All words must be in one message, command, output, title or the like, as a whole or, from three
/// characters on, as the beginning of a longer word. What is written without blanks must stand together:
/// `parse_config` finds just that, `config` finds it too.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  quire search flaky test
  quire search '\"no such file\" -windows'     a phrase, and a word that must not be there
  quire search --here src/lib.rs
  quire search parser --json | jq -r .session

The number before an excerpt is its event: `quire fork SESSION --at NUMBER` goes on from there.
At most three places of one session are shown, best first. Ends with 1 when nothing is found. In the
excerpts of `--json`, matches stand between U+0002 and U+0003.")]
pub struct Arguments {
    /// Words, "phrases" and -excluded words; what begins with `-` in quotes with others, or after `--`.
    #[arg(required = true)]
    words: Vec<String>,
    /// Archived sessions too.
    #[arg(long)]
    all: bool,
    /// Only sessions of this workspace.
    #[arg(long)]
    here: bool,
    /// Most places to show.
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=200))]
    limit: u32,
    /// JSON lines.
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Line<'a> {
    session: &'a str,
    title: &'a str,
    workspace: &'a str,
    active_ms: i64,
    archived: bool,
    seq: u64,
    item: u64,
    excerpt: &'a str,
}

/// Carries it out.
///
/// # Errors
///
/// When nothing is found, or no daemon can be had.
pub async fn run(arguments: Arguments, context: &Context) -> Done {
    let mut link = context.connect("search").await?;
    let workspace = match arguments.here {
        true => workspace_here(&mut link, arguments.all).await?,
        false => String::new(),
    };
    let request = SessionServiceSearchRequest {
        query: arguments.words.join(" "),
        limit: arguments.limit,
        include_archived: arguments.all,
        workspace,
    };
    let found = link
        .call(async |connection| connection.sessions().search(request.clone()).await)
        .await?
        .into_inner();
    for notice in &found.notices {
        context::progress(format!("{}\n", printable(notice)))?;
    }
    if found.hits.is_empty() {
        return Err(Failure::new(Exit::Failed, "nothing found"));
    }
    if arguments.json {
        return context::print(super::json_lines(found.hits.iter().map(line)));
    }
    let paint = Paint {
        colour: context.ends.stdout && context.ends.colour,
    };
    context::print(told(&found.hits, paint, now_ms()))
}

/// The workspace of this directory: the nearest directory upwards that any session works in.
async fn workspace_here(link: &mut Link, all: bool) -> Result<String, Failure> {
    let here = world::here(None)?.cwd;
    let sessions = list(link, all, "").await?;
    let works_in = |directory: &&Path| {
        let mut workspaces = sessions.iter().map(|session| Path::new(&session.workspace));
        workspaces.any(|workspace| workspace == *directory)
    };
    let nearest = Path::new(&here).ancestors().find(works_in);
    Ok(nearest.map_or(here.clone(), |found| found.display().to_string()))
}

/// Each session once, in the order of its best hit, and its hits below it.
fn told(hits: &[SearchHit], paint: Paint, now_ms: i64) -> String {
    let mut sessions: Vec<&Session> = Vec::new();
    for session in hits.iter().filter_map(|hit| hit.session.as_ref()) {
        if !sessions.iter().any(|known| known.id == session.id) {
            sessions.push(session);
        }
    }
    let mut text = String::new();
    for session in sessions {
        let age = paint.with(Ink::Dim, &age(now_ms - session.active_ms));
        let title = printable(&session.title).replace(['\n', '\t'], " ");
        text.push_str(&format!("{}  {title}  {age}\n", session.id));
        let own = |hit: &&SearchHit| hit.session.as_ref().is_some_and(|of| of.id == session.id);
        for hit in hits.iter().filter(own) {
            let seq = paint.with(Ink::Dim, &format!("{:>7}", hit.seq));
            text.push_str(&format!("{seq}  {}\n", emphasised(&hit.excerpt, paint)));
        }
    }
    text
}

/// The excerpt as one harmless line, its matches bold where there is colour.
fn emphasised(excerpt: &str, paint: Paint) -> String {
    let safe = |text: &str| printable(text).replace(['\n', '\t'], " ");
    let mut pieces = excerpt.split(MARKS);
    let mut text = pieces.next().map(safe).unwrap_or_default();
    let mut inside = true;
    for piece in pieces {
        match inside {
            true => text.push_str(&paint.with(Ink::Bold, &safe(piece))),
            false => text.push_str(&safe(piece)),
        }
        inside = !inside;
    }
    text
}

fn line(hit: &SearchHit) -> Line<'_> {
    static NONE: std::sync::LazyLock<Session> = std::sync::LazyLock::new(Session::default);
    let session = hit.session.as_ref().unwrap_or(&NONE);
    Line {
        session: &session.id,
        title: &session.title,
        workspace: &session.workspace,
        active_ms: session.active_ms,
        archived: session.archived,
        seq: hit.seq,
        item: hit.item,
        excerpt: &hit.excerpt,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hit(id: &str, seq: u64, excerpt: &str) -> SearchHit {
        let session = Session {
            id: id.to_owned(),
            title: format!("title\tof {id}"),
            workspace: "/w".to_owned(),
            active_ms: 1_000,
            ..Session::default()
        };
        SearchHit {
            session: Some(session),
            seq,
            item: seq,
            excerpt: excerpt.to_owned(),
        }
    }

    #[test]
    fn hits_stand_below_their_session() {
        let hits = [
            hit("bcd", 7, "why does \u{2}parse\u{3}_config"),
            hit("fgh", 12, "\u{1b}[2J \u{2}parse\u{3}"),
            hit("bcd", 3, "… \u{2}parsed\u{3} …"),
        ];
        let plain = told(&hits, Paint::default(), 61_000);
        insta::assert_snapshot!(plain, @r"
        bcd  title of bcd  1 min
              7  why does parse_config
              3  … parsed …
        fgh  title of fgh  1 min
             12  ␛[2J parse
        ");
        let bold = emphasised(&hits[0].excerpt, Paint { colour: true });
        assert_eq!(bold, "why does \u{1b}[1mparse\u{1b}[0m_config");
        insta::assert_snapshot!(crate::commands::json_lines(hits[..1].iter().map(line)), @r#"{"session":"bcd","title":"title\tof bcd","workspace":"/w","active_ms":1000,"archived":false,"seq":7,"item":7,"excerpt":"why does \u0002parse\u0003_config"}"#);
    }
}
