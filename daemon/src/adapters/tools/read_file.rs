//! `read_file`: lines of a text file, numbered.
//!
//! A file of up to 16 MiB is read to its end, whatever lines are asked for, so that the outcome says
//! which content the model has seen. A larger one costs only the lines that are asked for and the way
//! there, and counts as one the model never saw.

use std::{
    fmt::Write as _,
    io::{self, BufRead, BufReader},
    path::{Path, PathBuf},
};

use futures_util::future::BoxFuture;
use quire_proto::v1::Intent;
use serde::Deserialize;
use serde_json::json;

use crate::{
    adapters::files::{Hashed, Kept, Shown, open_file},
    ports::tool::{Finished, Live, Place, Prepared, Tool},
    pure::{
        sample::{Call, ToolInput, ToolSpec},
        transcript::seen::note,
    },
};

use super::{
    SHOWN_BYTES, arguments, blocking, blocking_act, cut, readable, reading, repeat, shown,
};

const EXAMPLE: &str = r#"{"path":"src/lib.rs","offset":1,"limit":200}"#;

/// Longest part of a line that is shown, in characters.
const LINE: usize = 2_000;

/// How much of a line is kept in memory, in bytes: enough for [`LINE`] characters.
const KEPT: usize = 4 * LINE + 4;

/// The tool.
pub(super) struct ReadFile {
    /// Where the contents shown are kept.
    pub(super) kept: Kept,
}

#[derive(Deserialize)]
struct Arguments {
    path: String,
    /// From 1.
    #[serde(default = "first")]
    offset: usize,
    #[serde(default = "most")]
    limit: usize,
}

fn first() -> usize {
    1
}

fn most() -> usize {
    2_000
}

impl Tool for ReadFile {
    fn spec(&self) -> ToolSpec {
        ToolSpec {
            name: "read_file",
            description: "Reads lines of a text file, each shown as its number, a tab and its text. \
                          `offset` is the first line, from 1; `limit` the number of lines, 2000 \
                          unless given.",
            input: ToolInput::Json(json!({
                "type": "object",
                "properties": {
                    "path": {"type": "string"},
                    "offset": {"type": "integer"},
                    "limit": {"type": "integer"}
                },
                "required": ["path"],
                "additionalProperties": false
            })),
        }
    }

    fn prepare(&self, call: Call, place: Place) -> BoxFuture<'static, Result<Prepared, Finished>> {
        let kept = self.kept.clone();
        Box::pin(async move {
            let arguments: Arguments = arguments(&call, EXAMPLE)?;
            blocking(move || prepare(arguments, &place, kept)).await
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

fn prepare(arguments: Arguments, place: &Place, kept: Kept) -> Result<Prepared, Finished> {
    let path = readable(place, &arguments.path)?;
    let offset = arguments.offset.max(1);
    let last = offset.saturating_add(arguments.limit.max(1) - 1);
    let name = shown(&path, &place.cwd);
    let title = match (offset, arguments.limit == most()) {
        (1, true) => format!("read {name}"),
        (_, true) => format!("read {name} from line {offset}"),
        (_, false) => format!("read {name}:{offset}-{last}"),
    };
    let file: PathBuf = path.clone();
    let seen = place.known.seen.clone();
    let act = blocking_act(move || {
        let (mut finished, sight) = read(&file, &name, offset, last);
        let Some(path) = file.to_str() else {
            return finished;
        };
        match sight {
            Sight::Content(shown) => {
                note(&mut finished.outcome, path.to_owned(), Some(shown.content));
                kept.keep(shown.content, &shown.bytes);
            }
            Sight::Nothing if seen.content(path).is_some() => {
                note(&mut finished.outcome, path.to_owned(), None);
            }
            Sight::Nothing | Sight::AsBefore => {}
        }
        finished
    });
    Ok(reading(title, &path, act))
}

/// What a reading means for what the model knows of the file.
enum Sight {
    /// It was shown this.
    Content(Shown),
    /// It has learnt that there is no such file, or none that can be known.
    Nothing,
    /// It has learnt nothing.
    AsBefore,
}

fn read(path: &Path, name: &str, offset: usize, last: usize) -> (Finished, Sight) {
    let found = open_file(path).and_then(|file| {
        let mut file = BufReader::with_capacity(64 << 10, Hashed::new(file)?);
        let lines = lines(&mut file, offset, last)?;
        Ok((lines, file))
    });
    let (lines, file) = match found {
        Ok(found) => found,
        Err(error) => return unreadable(name, &error),
    };
    let finished = match lines {
        Lines::Text(text) => Finished::succeeded(text),
        Lines::Empty => Finished::succeeded(format!("`{name}` is empty")),
        Lines::Past { count } => {
            let problem =
                format!("`{name}` has only {count} lines: write an `offset` of at most {count}");
            return (Finished::failed(problem), Sight::AsBefore);
        }
        Lines::Binary => {
            let bytes = file.get_ref().length();
            let problem = format!(
                "`{name}` is no text file ({bytes} bytes, binary or UTF-16): look at it with a command"
            );
            return (Finished::failed(problem), Sight::Nothing);
        }
    };
    // What cannot be read to its end is not known, though some of it was shown.
    let shown = file.into_inner().finish().unwrap_or_default();
    (finished, shown.map_or(Sight::Nothing, Sight::Content))
}

fn unreadable(name: &str, error: &io::Error) -> (Finished, Sight) {
    let (problem, sight) = match error.kind() {
        io::ErrorKind::NotFound => (
            format!("there is no file `{name}`: look with `list_files`"),
            Sight::Nothing,
        ),
        io::ErrorKind::IsADirectory => (
            format!("`{name}` is a directory: use `list_files`"),
            Sight::Nothing,
        ),
        _ => (format!("cannot read `{name}`: {error}"), Sight::AsBefore),
    };
    (Finished::failed(problem), sight)
}

/// What was found in a file.
enum Lines {
    Text(String),
    Empty,
    /// The file ends before the first line asked for.
    Past {
        count: usize,
    },
    Binary,
}

fn lines(file: &mut impl BufRead, offset: usize, last: usize) -> io::Result<Lines> {
    if file.fill_buf()?.iter().take(8_000).any(|&byte| byte == 0) {
        return Ok(Lines::Binary);
    }
    let mut text = String::new();
    let mut number = 0;
    let mut line = Vec::new();
    while let Some(length) = next_line(file, &mut line)? {
        number += 1;
        if number < offset {
            continue;
        }
        if number > last || text.len() > SHOWN_BYTES {
            // Whether more lines follow is known, how many is not worth the reading.
            let _ = writeln!(text, "[more lines follow; go on with offset {number}]");
            return Ok(Lines::Text(text));
        }
        let kept = String::from_utf8_lossy(&line);
        let kept = kept.trim_end_matches(['\n', '\r']);
        let note = match length.checked_sub(line.len()) {
            None | Some(0) => cut(kept, LINE),
            Some(_) => {
                let kept: String = kept.chars().take(LINE).collect();
                format!("{kept} [line of {length} bytes, cut]")
            }
        };
        let _ = writeln!(text, "{number}\t{note}");
    }
    Ok(match (number, text.is_empty()) {
        (0, _) => Lines::Empty,
        (count, true) => Lines::Past { count },
        _ => Lines::Text(text),
    })
}

/// Reads a line, keeps its first [`KEPT`] bytes in `line`, and gives its whole length; `None` at
/// the end.
fn next_line(file: &mut impl BufRead, line: &mut Vec<u8>) -> io::Result<Option<usize>> {
    line.clear();
    let mut length = 0;
    loop {
        let buffer = file.fill_buf()?;
        if buffer.is_empty() {
            return Ok((length > 0).then_some(length));
        }
        let end = buffer.iter().position(|&byte| byte == b'\n');
        let used = end.map_or(buffer.len(), |end| end + 1);
        let kept = used.min(KEPT.saturating_sub(line.len()));
        line.extend_from_slice(&buffer[..kept]);
        length += used;
        file.consume(used);
        if end.is_some() {
            return Ok(Some(length));
        }
    }
}
