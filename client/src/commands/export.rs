//! Write a session to a file.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use quire_proto::v1::{SessionServiceExportRequest, SessionServiceExportResponse};
use serde::Deserialize;
use tonic::Streaming;

use super::Done;
use crate::{
    context::{self, Context},
    failure::{Exit, Failure},
    start::privately,
};

/// More than the last line of a file takes.
const TAIL: usize = 512;

/// Write a whole session as JSON lines, to keep it or to take it to another machine.
///
/// What there is now is written, while the session goes on; text that a model is still writing and that
/// is no event yet is not. `quire import` reads it back. The file holds the conversation with all that
/// commands printed: take care whom you give it to.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  quire export @last -o session.jsonl
  quire export build | gzip > build.jsonl.gz
  quire export @last | jq -r '.event.itemCompleted.item.message.text // empty'

A damaged session is written up to its damage; that is said, and the exit code is 1.")]
pub struct Arguments {
    /// Id, unique prefix, title, or @last.
    session: String,
    /// Write to this file instead of standard output, whole or not at all, for your eyes only.
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Leave out what jobs printed beyond what the model was shown.
    #[arg(long)]
    no_output: bool,
}

/// Carries it out.
///
/// # Errors
///
/// When there is no such session, it is damaged, or the file can't be written.
pub async fn run(arguments: Arguments, context: &Context) -> Done {
    let link = context.connect("export").await?;
    let request = SessionServiceExportRequest {
        session: arguments.session,
        without_output: arguments.no_output,
    };
    let pieces = link
        .connection()
        .sessions()
        .export(request)
        .await?
        .into_inner();
    let last = match arguments.output {
        Some(path) => to_file(pieces, &path).await?,
        None => to_stdout(pieces).await?,
    };
    last.judge()
}

async fn to_stdout(mut pieces: Streaming<SessionServiceExportResponse>) -> Result<Last, Failure> {
    let mut last = Last::default();
    while let Some(piece) = pieces.message().await? {
        last.saw(&piece.chunk);
        context::print(piece.chunk)?;
    }
    Ok(last)
}

async fn to_file(
    mut pieces: Streaming<SessionServiceExportResponse>,
    path: &Path,
) -> Result<Last, Failure> {
    let wrong = |error: io::Error| {
        let message = format!("cannot write `{}`: {error}", path.display());
        Failure::new(Exit::Failed, message)
    };
    let mut part = Part::beside(path).map_err(wrong)?;
    let mut last = Last::default();
    while let Some(piece) = pieces.message().await? {
        last.saw(&piece.chunk);
        part.file.write_all(&piece.chunk).map_err(wrong)?;
    }
    last.end()?;
    part.becomes(path).map_err(wrong)?;
    Ok(last)
}

/// A file on its way; dropped before it is whole, it is gone.
struct Part {
    file: File,
    path: PathBuf,
}

impl Part {
    fn beside(path: &Path) -> io::Result<Self> {
        let name = path.file_name().ok_or(io::ErrorKind::IsADirectory)?;
        if path.is_dir() {
            return Err(io::ErrorKind::IsADirectory.into());
        }
        let mut hidden = std::ffi::OsString::from(".");
        hidden.push(name);
        hidden.push(format!(".{}.part", std::process::id()));
        let part = path.with_file_name(hidden);
        let mut options = OpenOptions::new();
        options.write(true).create_new(true).mode(0o600);
        let file = privately(|| options.open(&part))?;
        Ok(Self { file, path: part })
    }

    fn becomes(self, path: &Path) -> io::Result<()> {
        self.file.sync_all()?;
        fs::rename(&self.path, path)
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        // Not there any more when it got its name.
        let _gone = fs::remove_file(&self.path);
    }
}

/// The newest bytes of the file, whose last line says how it went.
#[derive(Default)]
struct Last(Vec<u8>);

/// The last line.
#[derive(Deserialize)]
struct End {
    end: u64,
    damaged_at: Option<u64>,
}

impl Last {
    fn saw(&mut self, piece: &[u8]) {
        self.0.extend(&piece[piece.len().saturating_sub(TAIL)..]);
        let surplus = self.0.len().saturating_sub(TAIL);
        self.0.drain(..surplus);
    }

    fn end(&self) -> Result<End, Failure> {
        let mut lines = self.0.split(|byte| *byte == b'\n');
        let line = lines.rfind(|line| !line.is_empty());
        let end = line.and_then(|line| serde_json::from_slice(line).ok());
        end.ok_or_else(|| Failure::new(Exit::Failed, "the daemon stopped before the end"))
    }

    fn judge(&self) -> Done {
        let End { end, damaged_at } = self.end()?;
        match damaged_at {
            None => Ok(()),
            Some(seq) => Err(Failure::new(
                Exit::Failed,
                format!(
                    "the session is damaged at event {seq}: only the {end} before it were written"
                ),
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_line_says_how_it_went_however_it_is_cut() {
        let table = [
            ("{\"quire\":1}\n{\"chain\":\"x\",\"end\":2}\n", Some(None)),
            (
                "{\"end\":1}\n{\"chain\":\"x\",\"end\":2,\"damaged_at\":3}\n",
                Some(Some(3)),
            ),
            ("{\"quire\":1}\n{\"seq\":2}\n", None),
            ("", None),
        ];
        for (text, want) in table {
            for size in [1, 7, 4096] {
                let mut last = Last::default();
                last.saw(&[b'x'; 4 * TAIL]);
                last.saw(b"\n");
                text.as_bytes()
                    .chunks(size)
                    .for_each(|piece| last.saw(piece));
                let found = last.end().ok().map(|end| end.damaged_at);
                assert_eq!(found, want, "for {text:?} by {size}");
            }
        }
    }

    #[test]
    fn a_part_that_is_dropped_leaves_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("session.jsonl");
        drop(Part::beside(&path).unwrap());
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
        Part::beside(&path).unwrap().becomes(&path).unwrap();
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
        assert!(
            Part::beside(directory.path()).is_err(),
            "a directory is no file"
        );
    }
}
