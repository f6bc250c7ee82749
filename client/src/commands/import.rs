//! Make a session of a file.

use std::{
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
};

use futures_util::{Stream, stream};
use quire_proto::v1::{SessionServiceImportRequest, SessionServiceImportResponse};
use serde::Serialize;
use tokio::sync::{mpsc, oneshot};
use tonic::{Response, Status};

use super::{Done, request_id};
use crate::{
    connect::Connection,
    context::{self, Context},
    failure::{Exit, Failure},
    link::Link,
    output::json_text,
    world,
};

/// Bytes sent at a time.
const PIECE: usize = 256 << 10;

/// Pieces read ahead.
const AHEAD: usize = 4;

/// Make a session of what `quire export` wrote, and print its id.
///
/// The session works in this directory from now on, with the rights a new session would have here; what
/// the file says of either is not believed. It keeps its id unless a session here has or had it, and its model
/// if that can be asked here. Nothing goes on by itself: a turn that ran is ended as interrupted, queued
/// prompts are taken out, jobs are not followed. What only the files of its jobs held is not taken over.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  quire import session.jsonl
  quire import -C ~/src/project session.jsonl
  ssh host quire export @last | quire import
  zcat build.jsonl.gz | quire import -

A file that was cut or damaged is taken up to there; what is missing is said, and the exit code is 1.
One that is no exported session is refused with 2. At most 1 GiB; the daemon needs up to four times
the size of the file in memory meanwhile.")]
pub struct Arguments {
    /// The file; `-` or none reads standard input.
    file: Option<PathBuf>,
    /// Directory to work in.
    #[arg(long, short = 'C', value_name = "DIR")]
    cd: Option<PathBuf>,
    /// Print a JSON object instead of the id.
    #[arg(long)]
    json: bool,
}

/// What is printed with `--json`.
#[derive(Serialize)]
struct Imported<'a> {
    id: &'a str,
    title: &'a str,
    workspace: &'a str,
    notices: &'a [String],
}

/// Carries it out.
///
/// # Errors
///
/// When the file can't be read, or something of it could not be taken.
pub async fn run(arguments: Arguments, context: &Context) -> Done {
    let first = SessionServiceImportRequest {
        request_id: request_id(),
        world: Some(world::here(arguments.cd.as_deref())?),
        ..SessionServiceImportRequest::default()
    };
    let file = arguments.file.filter(|path| path != Path::new("-"));
    let imported = match file {
        Some(path) => from_file(&path, first, context).await?,
        None if context.ends.stdin => {
            return Err(Failure::usage(
                "no file: name one, or send one to standard input",
            ));
        }
        None => {
            let link = context.connect("import").await?;
            send(link.connection(), io::stdin(), first).await??
        }
    };
    let SessionServiceImportResponse { session, notices } = imported.into_inner();
    let session = session.unwrap_or_default();
    context::print(match arguments.json {
        false => format!("{}\n", session.id),
        true => {
            let told = Imported {
                id: &session.id,
                title: &session.title,
                workspace: &session.workspace,
                notices: &notices,
            };
            json_text(&told) + "\n"
        }
    })?;
    match notices.is_empty() {
        true => Ok(()),
        false => Err(Failure::new(Exit::Failed, notices.join("\n"))),
    }
}

/// A file can be read again when the daemon dies meanwhile, unless it is a pipe.
async fn from_file(
    path: &Path,
    first: SessionServiceImportRequest,
    context: &Context,
) -> Result<Response<SessionServiceImportResponse>, Failure> {
    let wrong = |error: io::Error| {
        let message = format!("cannot read `{}`: {error}", path.display());
        Failure::usage(message)
    };
    let open = || {
        let file = File::open(path)?;
        match file.metadata()?.is_dir() {
            true => Err(io::ErrorKind::IsADirectory.into()),
            false => Ok(file),
        }
    };
    let file = open().map_err(wrong)?;
    let again = file.metadata().is_ok_and(|metadata| metadata.is_file());
    let mut link = Link::open(&context.host, context.who("import")).await?;
    if !again {
        return Ok(send(link.connection(), file, first).await??);
    }
    link.call(async |connection| {
        // It was there a moment ago; the daemon's word for what is wrong would be no better.
        let file = open().map_err(|error| Status::invalid_argument(error.to_string()))?;
        let sent = send(connection, file, first.clone()).await;
        sent.unwrap_or_else(|failure| Err(Status::invalid_argument(failure.to_string())))
    })
    .await
}

/// Streams `source` to the daemon.
///
/// # Errors
///
/// Outside, when the source can't be read: then the call was broken off, and there is no session.
async fn send(
    connection: &Connection,
    source: impl Read + Send + 'static,
    first: SessionServiceImportRequest,
) -> Result<Result<Response<SessionServiceImportResponse>, Status>, Failure> {
    let (broke, broken) = oneshot::channel();
    let pieces = pieces(source, first, broke);
    let mut sessions = connection.sessions();
    tokio::select! {
        answer = sessions.import(pieces) => Ok(answer),
        Ok(error) = broken => Err(Failure::usage(format!("cannot read the file: {error}"))),
    }
}

/// `first`, then `source` in pieces. A source that fails does not end the stream, which would look like
/// the end of a shorter file: it says so on `broke`.
fn pieces(
    source: impl Read + Send + 'static,
    first: SessionServiceImportRequest,
    broke: oneshot::Sender<io::Error>,
) -> impl Stream<Item = SessionServiceImportRequest> {
    let read = read_ahead(source);
    stream::unfold(
        (read, Some(first), Some(broke)),
        |(mut read, first, mut broke)| async move {
            if let Some(first) = first {
                return Some((first, (read, None, broke)));
            }
            let chunk = match read.recv().await? {
                Ok(chunk) => chunk,
                Err(error) => {
                    let _told = broke.take().map(|broke| broke.send(error));
                    std::future::pending().await
                }
            };
            let piece = SessionServiceImportRequest {
                chunk,
                ..SessionServiceImportRequest::default()
            };
            Some((piece, (read, None, broke)))
        },
    )
}

/// Reads on a thread of its own, which ends with the source or with the receiver.
fn read_ahead(mut source: impl Read + Send + 'static) -> mpsc::Receiver<io::Result<Vec<u8>>> {
    let (pieces, read) = mpsc::channel(AHEAD);
    std::thread::spawn(move || {
        loop {
            let mut piece = Vec::with_capacity(PIECE);
            let got = (&mut source).take(PIECE as u64).read_to_end(&mut piece);
            let piece = match got {
                Ok(0) => return,
                Ok(_) => Ok(piece),
                Err(error) => Err(error),
            };
            let last = piece.is_err();
            if pieces.blocking_send(piece).is_err() || last {
                return;
            }
        }
    });
    read
}

#[cfg(test)]
mod tests {
    use futures_util::StreamExt as _;

    use super::*;

    /// Some bytes, then an error.
    struct Failing(usize);

    impl Read for Failing {
        fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
            let count = self.0.min(into.len());
            self.0 -= count;
            match count {
                0 => Err(io::Error::other("torn cable")),
                count => Ok(count),
            }
        }
    }

    #[tokio::test]
    async fn a_source_that_fails_never_looks_like_a_shorter_one() {
        let (broke, broken) = oneshot::channel();
        let first = SessionServiceImportRequest::default();
        let pieces = pieces(Failing(PIECE + 1), first, broke);
        let mut pieces = std::pin::pin!(pieces);
        let mut seen = 0;
        let error = tokio::select! {
            error = broken => error.unwrap(),
            () = async { while pieces.next().await.is_some() { seen += 1; } } => {
                panic!("the stream ended after {seen} pieces")
            }
        };
        assert_eq!(error.to_string(), "torn cable");
    }

    #[tokio::test]
    async fn a_source_is_sent_whole_and_in_order() {
        let bytes: Vec<u8> = (0..3 * PIECE + 5).map(|at| at as u8).collect();
        let (broke, _broken) = oneshot::channel();
        let first = SessionServiceImportRequest {
            request_id: "r".to_owned(),
            ..SessionServiceImportRequest::default()
        };
        let sent: Vec<_> = pieces(io::Cursor::new(bytes.clone()), first, broke)
            .collect()
            .await;
        assert_eq!((sent[0].request_id.as_str(), sent.len()), ("r", 5));
        let chunks = sent.iter().flat_map(|piece| piece.chunk.clone());
        assert!(chunks.eq(bytes));
    }
}
