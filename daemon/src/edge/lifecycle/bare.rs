//! Statuses that the gRPC library makes by itself, told as the daemon tells its own: with the canonical
//! code, a sentence and a reason.
//!
//! Only answers without a reason are touched, and only those that end before anything was answered.

use tonic::{
    Code, Status,
    body::Body,
    codegen::http::{HeaderMap, Response},
};

use super::routes::no_such_method;
use crate::edge::status::refuse;

const DETAILS: &str = "grpc-status-details-bin";
/// How the library begins to say that a message is longer than we take.
const TOO_LARGE: &str = "Error, decoded message length too large";

/// The answer of the call at `path`, with a reason if it says no.
pub(super) fn reasoned(answer: Response<Body>, path: &str) -> Response<Body> {
    match reason(answer.headers(), path) {
        Some(status) => status.into_http(),
        None => answer,
    }
}

fn reason(headers: &HeaderMap, path: &str) -> Option<Status> {
    if headers.contains_key(DETAILS) {
        return None;
    }
    let bare = Status::from_header_map(headers)?;
    let message = bare.message();
    match bare.code() {
        Code::OutOfRange if message.starts_with(TOO_LARGE) => {
            let message = format!("the message is too large: {}", after_colon(message));
            Some(refuse(Code::ResourceExhausted, "TOO_LARGE", message))
        }
        // What we call internal has a reason; this is a message that is no protobuf of its type, or is cut
        // off, or none of gRPC.
        Code::Internal => {
            let message = format!("the message is not what `{path}` takes: {message}");
            Some(refuse(Code::InvalidArgument, "INVALID", message))
        }
        // The service is there and knows no such method.
        Code::Unimplemented if message.is_empty() => Some(no_such_method(path)),
        Code::Unimplemented => {
            let message = "compressed messages are not read: send them as they are";
            Some(refuse(Code::Unimplemented, "COMPRESSED", message))
        }
        _ => None,
    }
}

fn after_colon(message: &str) -> &str {
    message.split_once(": ").map_or(message, |(_, rest)| rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_library_says_gets_code_and_reason() {
        let too_large = format!("{TOO_LARGE}: found 9 bytes, the limit is: 8 bytes");
        let malformed = "failed to decode Protobuf message: X.y: invalid wire type";
        let compressed = "Content is compressed with `gzip` which isn't supported";
        let table = [
            (Status::out_of_range(too_large), Code::ResourceExhausted),
            (Status::internal(malformed), Code::InvalidArgument),
            (Status::unimplemented(""), Code::Unimplemented),
            (Status::unimplemented(compressed), Code::Unimplemented),
        ];
        for (bare, want) in table {
            let answer = reasoned(bare.into_http(), "/a.B/C");
            let told = Status::from_header_map(answer.headers()).unwrap();
            assert_eq!(told.code(), want, "{told:?}");
            assert!(answer.headers().contains_key(DETAILS), "{told:?}");
        }
    }

    #[test]
    fn what_we_say_ourselves_stays() {
        let ours = refuse(Code::OutOfRange, "X", TOO_LARGE);
        assert!(reason(ours.into_http::<Body>().headers(), "/a.B/C").is_none());
        assert!(reason(&HeaderMap::new(), "/a.B/C").is_none(), "all is well");
    }
}
