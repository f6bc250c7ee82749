//! Refusals of requests that were never read, because they can't be: given a code, a sentence and a reason
//! like all others.
//!
//! The gRPC library makes them by itself, before anyone here is asked: for a method that is none, a message
//! that is too large, compressed, or no message at all.

use tonic::{
    Code, Status,
    codegen::http::{HeaderMap, Response},
};

use super::MESSAGE_MAX;
use crate::edge::status::refuse;

/// Puts our words in place of the library's, if it was the library that refused. What we refuse has details.
pub(super) fn reworded<B>(path: &str, mut answer: Response<B>) -> Response<B> {
    // A refusal is in the headers alone; an answer that begins has its status after the last message.
    if answer.headers().contains_key(Status::GRPC_STATUS)
        && let Some(refused) = Status::from_header_map(answer.headers())
        && refused.details().is_empty()
        && let Some(refused) = in_our_words(path, &refused)
    {
        replace(answer.headers_mut(), &refused);
    }
    answer
}

fn replace(headers: &mut HeaderMap, refused: &Status) {
    let mut told = HeaderMap::new();
    if refused.add_header(&mut told).is_ok() {
        // Whatever else stands there stays, such as the encodings that would be read.
        headers.extend(told);
    }
}

/// `None` for what is no refusal of a request.
fn in_our_words(path: &str, refused: &Status) -> Option<Status> {
    let refused = match (refused.code(), refused.message()) {
        (Code::Unimplemented, "") => no_such_method(path),
        (Code::Unimplemented, _) => {
            let message = "compressed messages are not read: send them as they are";
            refuse(Code::Unimplemented, "COMPRESSED", message)
        }
        (Code::OutOfRange | Code::ResourceExhausted, _) => {
            let message = format!("the message is larger than {MESSAGE_MAX} bytes");
            refuse(Code::ResourceExhausted, "TOO_LARGE", message)
        }
        (Code::Internal, why) => {
            let message = format!("the request can't be read: {why}");
            refuse(Code::InvalidArgument, "MALFORMED", message)
        }
        _ => return None,
    };
    Some(refused)
}

/// The refusal of a method that nobody here has.
pub(super) fn no_such_method(path: &str) -> Status {
    let message = format!("this daemon has no method `{path}`");
    refuse(Code::Unimplemented, "NO_SUCH_METHOD", message)
}

#[cfg(test)]
mod tests {
    use tonic_types::StatusExt as _;

    use super::*;

    fn reason(status: Status) -> (Code, String) {
        let answer = reworded("/x.Y/Z", status.into_http::<()>());
        let told = Status::from_header_map(answer.headers()).unwrap();
        let info = told.get_error_details().error_info().cloned();
        (
            told.code(),
            info.map_or_else(String::new, |info| info.reason),
        )
    }

    #[test]
    fn the_librarys_refusals_have_reasons_and_ours_stay() {
        let ours = refuse(Code::Internal, "STORE", "the disk failed");
        let table = [
            (ours, Code::Internal, "STORE"),
            (
                Status::unimplemented(""),
                Code::Unimplemented,
                "NO_SUCH_METHOD",
            ),
            (
                Status::unimplemented("gzip"),
                Code::Unimplemented,
                "COMPRESSED",
            ),
            (
                Status::out_of_range("9"),
                Code::ResourceExhausted,
                "TOO_LARGE",
            ),
            (Status::internal("EOF"), Code::InvalidArgument, "MALFORMED"),
            (Status::cancelled("left"), Code::Cancelled, ""),
        ];
        for (status, code, wanted) in table {
            let shown = format!("{status:?}");
            assert_eq!(reason(status), (code, wanted.to_owned()), "{shown}");
        }
    }
}
