//! `search`: lines that match a regular expression, by ripgrep's own crates.

use std::{
    fmt::Write as _,
    io,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use futures_util::future::BoxFuture;
use grep_regex::{RegexMatcher, RegexMatcherBuilder};
use grep_searcher::{BinaryDetection, Searcher, SearcherBuilder, Sink, SinkContext, SinkMatch};
use ignore::{WalkBuilder, overrides::OverrideBuilder};
use quire_proto::v1::Intent;
use serde::Deserialize;
use serde_json::json;

use crate::{
    adapters::{files::open_file, workspace::walker},
    ports::tool::{Act, Finished, Live, Place, Prepared, Tool},
    pure::sample::{Call, ToolInput, ToolSpec},
};

use super::{SHOWN_BYTES, arguments, blocking, cut, hidden, readable, reading, repeat, shown};

const EXAMPLE: &str = r#"{"pattern":"fn main","path":"src","glob":"*.rs"}"#;

/// Longest part of a line that is shown, in characters.
const LINE: usize = 300;

/// Most memory for the lines around a match, in bytes. A file with a longer line is passed over.
const HEAP: usize = 32 << 20;

/// The tool.
pub(super) struct Search;

#[derive(Deserialize)]
struct Arguments {
    pattern: String,
    #[serde(default = "here")]
    path: String,
    #[serde(default)]
    glob: Option<String>,
    /// Lines before and after each match.
    #[serde(default)]
    context: usize,
    #[serde(default)]
    case_insensitive: bool,
    #[serde(default = "limit")]
    limit: usize,
}

fn here() -> String {
    ".".to_owned()
}

fn limit() -> usize {
    100
}

impl Tool for Search {
    fn spec(&self) -> ToolSpec {
        ToolSpec {
            name: "search",
            description: "Searches files for a regular expression (Rust syntax), line by line, \
                          without what git ignores. Shows `path:line:text`, and context as \
                          `path-line-text`. `glob` narrows the files (`*.rs`, `!tests/**`); `limit` \
                          is the number of matches, 100 unless given.",
            input: ToolInput::Json(json!({
                "type": "object",
                "properties": {
                    "pattern": {"type": "string"},
                    "path": {"type": "string"},
                    "glob": {"type": "string"},
                    "context": {"type": "integer"},
                    "case_insensitive": {"type": "boolean"},
                    "limit": {"type": "integer"}
                },
                "required": ["pattern"],
                "additionalProperties": false
            })),
        }
    }

    fn prepare(&self, call: Call, place: Place) -> BoxFuture<'static, Result<Prepared, Finished>> {
        Box::pin(async move {
            let arguments: Arguments = arguments(&call, EXAMPLE)?;
            blocking(move || prepare(&arguments, &place)).await
        })
    }

    fn resume(
        &self,
        call: Call,
        _intent: Intent,
        place: Place,
        live: Live,
    ) -> BoxFuture<'static, Finished> {
        repeat(self.prepare(call, place), live)
    }
}

fn prepare(arguments: &Arguments, place: &Place) -> Result<Prepared, Finished> {
    let path = readable(place, &arguments.path)?;
    if !path.exists() {
        return Err(Finished::failed(format!(
            "there is no `{}`: look with `list_files`",
            arguments.path
        )));
    }
    let matcher = RegexMatcherBuilder::new()
        .case_insensitive(arguments.case_insensitive)
        .line_terminator(Some(b'\n'))
        .build(&arguments.pattern)
        .map_err(|error| {
            Finished::failed(format!(
                "`pattern` is no regular expression for single lines ({error}): write {EXAMPLE}, and `\\(` for a parenthesis"
            ))
        })?;
    let mut walker = walker(&path, hidden(place));
    if let Some(glob) = &arguments.glob {
        let overrides = OverrideBuilder::new(&path)
            .add(glob)
            .and_then(|builder| builder.build())
            .map_err(|error| {
                Finished::failed(format!(
                    "`glob` is no pattern ({error}): write `**/*.rs`, say"
                ))
            })?;
        walker.overrides(overrides);
    }
    let name = shown(&path, &place.cwd);
    let found = Found {
        base: place.cwd.clone(),
        text: String::new(),
        matches: 0,
        limit: arguments.limit.max(1),
        abandoned: Arc::default(),
    };
    let context = arguments.context.min(20);
    let title = format!("search `{}` in {name}", cut(&arguments.pattern, 80));
    let act: Act = Box::new(move |_live| {
        Box::pin(async move {
            let _abandon = Abandon(found.abandoned.clone());
            let searched = blocking(move || Ok(search(&walker, &matcher, context, found))).await;
            searched.unwrap_or_else(|finished| finished)
        })
    });
    Ok(reading(title, &path, act))
}

/// Stops the search when the call is dropped: a thread cannot be aborted.
struct Abandon(Arc<AtomicBool>);

impl Drop for Abandon {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// The matches so far.
struct Found {
    /// What paths are shown relative to.
    base: PathBuf,
    text: String,
    matches: usize,
    limit: usize,
    abandoned: Arc<AtomicBool>,
}

impl Found {
    fn is_full(&self) -> bool {
        self.matches >= self.limit || self.text.len() > SHOWN_BYTES
    }

    fn is_over(&self) -> bool {
        self.is_full() || self.abandoned.load(Ordering::Relaxed)
    }
}

fn search(
    walker: &WalkBuilder,
    matcher: &RegexMatcher,
    context: usize,
    mut found: Found,
) -> Finished {
    let mut searcher = SearcherBuilder::new()
        .line_number(true)
        .before_context(context)
        .after_context(context)
        .binary_detection(BinaryDetection::quit(0))
        .heap_limit(Some(HEAP))
        .build();
    // What cannot be read is left out.
    let files = walker
        .build()
        .filter_map(Result::ok)
        .filter(|entry| entry.file_type().is_some_and(|kind| kind.is_file()));
    for entry in files {
        if found.is_over() {
            break;
        }
        let Ok(file) = open_file(entry.path()) else {
            continue;
        };
        let path = shown(entry.path(), &found.base);
        let in_file = InFile {
            path: &path,
            found: &mut found,
        };
        if let Err(error) = searcher.search_file(matcher, &file, in_file) {
            tracing::debug!(%error, %path, "not searched");
        }
    }
    if found.is_full() {
        let _ = writeln!(
            found.text,
            "[cut after {} matches; narrow `path`, `glob` or `pattern`]",
            found.matches
        );
    }
    if found.text.is_empty() {
        found.text = "no matches".to_owned();
    }
    Finished::succeeded(found.text)
}

/// Takes the matches of one file.
struct InFile<'a> {
    /// As it is shown.
    path: &'a str,
    found: &'a mut Found,
}

impl InFile<'_> {
    fn line(&mut self, mark: char, number: Option<u64>, bytes: &[u8]) {
        let text = String::from_utf8_lossy(bytes);
        let text = cut(text.trim_end_matches(['\n', '\r']), LINE);
        let number = number.unwrap_or_default();
        let _ = writeln!(self.found.text, "{}{mark}{number}{mark}{text}", self.path);
    }
}

impl Sink for InFile<'_> {
    type Error = io::Error;

    fn matched(&mut self, _: &Searcher, found: &SinkMatch<'_>) -> io::Result<bool> {
        self.line(':', found.line_number(), found.bytes());
        self.found.matches += 1;
        Ok(!self.found.is_over())
    }

    fn context(&mut self, _: &Searcher, context: &SinkContext<'_>) -> io::Result<bool> {
        self.line('-', context.line_number(), context.bytes());
        Ok(!self.found.is_over())
    }

    fn context_break(&mut self, _: &Searcher) -> io::Result<bool> {
        self.found.text.push_str("--\n");
        Ok(true)
    }
}
