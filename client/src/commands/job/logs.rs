//! What a job wrote, from a byte on, over the deaths of daemons.

use quire_proto::v1::{JobServiceReadOutputRequest, JobServiceReadOutputResponse, OutputStream};
use serde::Serialize;
use tonic::Status;

use super::{Done, about_job, find};
use crate::{
    commands::json_lines,
    context,
    failure::{Failure, is_lost},
    link::Link,
    output::paint::printable,
};

/// Print a job's output.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Id, unique prefix, or @last.
    job: String,
    /// Go on until it ends; a dead daemon is brought back.
    #[arg(long, short)]
    follow: bool,
    /// Begin at this byte of the output.
    #[arg(long, value_name = "N", default_value_t = 0)]
    offset: u64,
    /// JSON lines: where a piece begins, its stream and its text.
    #[arg(long)]
    json: bool,
}

/// How the output is told.
enum Form {
    /// As it is, for a program.
    Bytes,
    /// With everything spelled out that acts on a terminal; holds the start of a character that the next
    /// piece goes on with.
    Terminal(Vec<u8>),
    Json,
}

#[derive(Serialize)]
struct Line {
    offset: u64,
    stream: &'static str,
    text: String,
    /// Bytes right before it that are not kept.
    dropped_bytes: u64,
}

pub(super) async fn run(arguments: Arguments, mut link: Link, terminal: bool) -> Done {
    let job = find(&mut link, &arguments.job).await?.id;
    let mut form = match (arguments.json, terminal) {
        (true, _) => Form::Json,
        (false, true) => Form::Terminal(Vec::new()),
        (false, false) => Form::Bytes,
    };
    let mut request = JobServiceReadOutputRequest {
        job,
        offset: arguments.offset,
        follow: arguments.follow,
    };
    loop {
        let Err(lost) = print_from(&mut link, &mut request, &mut form).await? else {
            return form.end();
        };
        let from = link.broke(Some(&lost))?;
        link.reopen(from).await?;
    }
}

/// Prints to the end of the output and moves `request` on with it; the inner error is a broken
/// connection.
async fn print_from(
    link: &mut Link,
    request: &mut JobServiceReadOutputRequest,
    form: &mut Form,
) -> Result<Result<(), Status>, Failure> {
    // Not by `Link::call`: that a daemon answers at all must not count as getting on.
    let mut output = match link.connection().jobs().read_output(request.clone()).await {
        Ok(output) => output.into_inner(),
        Err(status) if is_lost(&status) => return Ok(Err(status)),
        Err(status) => return Err(about_job(status).into()),
    };
    loop {
        let piece = match output.message().await {
            Ok(Some(piece)) => piece,
            Ok(None) => return Ok(Ok(())),
            Err(status) if is_lost(&status) => return Ok(Err(status)),
            Err(status) => return Err(status.into()),
        };
        if let Some(piece) = after(piece, request.offset) {
            request.offset = piece.offset + piece.data.len() as u64;
            link.got_news();
            form.print(piece)?;
        }
    }
}

/// What of a piece lies at `offset` or after it; `None` when nothing does.
fn after(
    mut piece: JobServiceReadOutputResponse,
    offset: u64,
) -> Option<JobServiceReadOutputResponse> {
    let known = usize::try_from(offset.saturating_sub(piece.offset)).unwrap_or(usize::MAX);
    piece.data = piece.data.split_off(known.min(piece.data.len()));
    piece.offset = piece.offset.max(offset);
    (!piece.data.is_empty()).then_some(piece)
}

impl Form {
    fn print(&mut self, piece: JobServiceReadOutputResponse) -> Done {
        if let Self::Json = self {
            return context::print(json_lines([line(&piece)]));
        }
        if piece.dropped_bytes > 0 {
            context::progress(format!("({} bytes are not kept)\n", piece.dropped_bytes))?;
        }
        match self {
            Self::Terminal(unfinished) => context::print(harmless(unfinished, &piece.data)),
            Self::Bytes | Self::Json => context::print(piece.data),
        }
    }

    fn end(self) -> Done {
        match self {
            Self::Terminal(unfinished) => {
                context::print(String::from_utf8_lossy(&unfinished).as_bytes())
            }
            Self::Bytes | Self::Json => Ok(()),
        }
    }
}

fn line(piece: &JobServiceReadOutputResponse) -> Line {
    Line {
        offset: piece.offset,
        stream: match piece.stream() {
            OutputStream::Stdout | OutputStream::Unspecified => "stdout",
            OutputStream::Stderr => "stderr",
        },
        text: String::from_utf8_lossy(&piece.data).into_owned(),
        dropped_bytes: piece.dropped_bytes,
    }
}

/// A piece of output for a terminal; the start of a character that the next piece goes on with
/// stays in `unfinished`.
fn harmless(unfinished: &mut Vec<u8>, piece: &[u8]) -> String {
    unfinished.extend_from_slice(piece);
    let chunks = unfinished.utf8_chunks();
    let tail = chunks.last().map_or(0, |last| last.invalid().len());
    let whole = unfinished.len() - tail;
    let cut = std::str::from_utf8(&unfinished[whole..]);
    let goes_on = cut.is_err_and(|error| error.error_len().is_none());
    let rest = unfinished.split_off(if goes_on { whole } else { unfinished.len() });
    let text = std::mem::replace(unfinished, rest);
    printable(&String::from_utf8_lossy(&text)).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn output_for_a_terminal_is_harmless_and_whole() {
        let mut unfinished = Vec::new();
        let pieces: [&[u8]; 4] = [b"a\tb\n\x1b[2J\xc3", b"\xa9", b"\xff!", b"\xe6\x97"];
        let shown = pieces.map(|piece| harmless(&mut unfinished, piece));
        assert_eq!(shown, ["a\tb\n␛[2J", "é", "\u{fffd}!", ""]);
        assert_eq!(unfinished, b"\xe6\x97");
    }

    #[test]
    fn what_was_printed_is_not_printed_again() {
        let piece = |offset, data: &str| JobServiceReadOutputResponse {
            offset,
            data: data.into(),
            ..JobServiceReadOutputResponse::default()
        };
        let table = [
            (piece(4, "abc"), 4, Some((4, "abc"))),
            (piece(4, "abc"), 6, Some((6, "c"))),
            (piece(4, "abc"), 7, None),
            (piece(4, "abc"), 900, None),
            (piece(9, "abc"), 4, Some((9, "abc"))),
        ];
        for (piece, offset, want) in table {
            let left = after(piece, offset);
            let left = left.map(|left| (left.offset, String::from_utf8(left.data).unwrap()));
            let want = want.map(|(offset, data)| (offset, data.to_owned()));
            assert_eq!(left, want, "after {offset}");
        }
    }
}
