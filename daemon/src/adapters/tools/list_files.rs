//! `list_files`: what is in a directory, without what git ignores.

use std::path::Path;

use futures_util::future::BoxFuture;
use quire_proto::v1::Intent;
use serde::Deserialize;
use serde_json::json;

use crate::{
    adapters::{files::Hidden, workspace::walker},
    ports::tool::{Finished, Live, Place, Prepared, Tool},
    pure::sample::{Call, ToolInput, ToolSpec},
};

use super::{
    SHOWN_BYTES, arguments, blocking, blocking_act, hidden, readable, reading, repeat, shown,
};

const EXAMPLE: &str = r#"{"path":"src","depth":2,"limit":500}"#;

/// The tool.
pub(super) struct ListFiles;

#[derive(Deserialize)]
struct Arguments {
    #[serde(default = "here")]
    path: String,
    /// Levels below `path`.
    #[serde(default = "depth")]
    depth: usize,
    #[serde(default = "limit")]
    limit: usize,
}

fn here() -> String {
    ".".to_owned()
}

fn depth() -> usize {
    2
}

fn limit() -> usize {
    500
}

impl Tool for ListFiles {
    fn spec(&self) -> ToolSpec {
        ToolSpec {
            name: "list_files",
            description: "Lists the files and directories below a directory, sorted, without what \
                          git ignores. `depth` is 2 and `limit` 500 unless given.",
            input: ToolInput::Json(json!({
                "type": "object",
                "properties": {
                    "path": {"type": "string"},
                    "depth": {"type": "integer"},
                    "limit": {"type": "integer"}
                },
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
    let name = shown(&path, &place.cwd);
    let (depth, limit) = (arguments.depth.max(1), arguments.limit.max(1));
    let (directory, hidden) = (path.clone(), hidden(place));
    let title = format!("list {name}");
    let act = blocking_act(move || list(&directory, &name, depth, limit, hidden));
    Ok(reading(title, &path, act))
}

fn list(directory: &Path, name: &str, depth: usize, limit: usize, hidden: Hidden) -> Finished {
    match directory.metadata() {
        Ok(found) if found.is_dir() => {}
        Ok(_) => return Finished::failed(format!("`{name}` is a file: use `read_file`")),
        Err(error) => return Finished::failed(format!("cannot list `{name}`: {error}")),
    }
    let mut walker = walker(directory, hidden);
    walker.max_depth(Some(depth));
    let mut text = String::new();
    // The first entry is the directory itself. What cannot be read is left out.
    let entries = walker.build().skip(1).filter_map(Result::ok);
    for (count, entry) in entries.enumerate() {
        if count == limit || text.len() > SHOWN_BYTES {
            text.push_str(&format!(
                "[cut after {count} entries; list a directory below, or raise `limit`]\n"
            ));
            break;
        }
        let path = entry.path().strip_prefix(directory).unwrap_or(entry.path());
        text.push_str(&path.to_string_lossy());
        let kind = entry.file_type();
        text.push_str(match kind {
            Some(kind) if kind.is_dir() => "/\n",
            Some(kind) if kind.is_symlink() => "@\n",
            _ => "\n",
        });
    }
    if text.is_empty() {
        text = format!("nothing in `{name}`");
    }
    Finished::succeeded(text)
}
