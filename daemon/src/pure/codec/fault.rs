//! What a provider says when it gives no answer: statuses, error objects and error events, judged by
//! what the turn can do about them.

use std::time::Duration;

use serde_json::Value;

use crate::pure::sample::{SampleError, SampleErrorKind};

/// Longest message of a provider that is passed on, in characters.
const MAX_MESSAGE: usize = 300;

/// What an error object says.
struct Said {
    /// Code and type, whichever there are.
    codes: [String; 2],
    message: String,
}

/// Judges an answer that is not a success.
#[must_use]
pub fn from_status(status: u16, body: &[u8], retry_after: Option<Duration>) -> SampleError {
    let said = serde_json::from_slice(body)
        .ok()
        .and_then(|value: Value| said(&value));
    let message = match &said {
        Some(said) => said.message.clone(),
        None => plain(&String::from_utf8_lossy(body)),
    };
    let message = if message.is_empty() {
        format!("answered with status {status}")
    } else {
        format!("answered with status {status}: {message}")
    };
    let unpaid = said.as_ref().and_then(Said::kind) == Some(SampleErrorKind::Credentials);
    let kind = match status {
        401..=403 => SampleErrorKind::Credentials,
        // A spent quota does not come back by waiting, though it has the status of a limit.
        429 if unpaid => SampleErrorKind::Credentials,
        429 => SampleErrorKind::RateLimited,
        408 | 409 | 425 | 500.. => SampleErrorKind::Unreachable,
        _ => SampleErrorKind::BadRequest,
    };
    SampleError {
        kind,
        message,
        retry_after,
    }
}

/// Judges the error object inside an answer that began as a success; `None` when there is none.
/// `begun` tells whether a part of the answer came before it.
#[must_use]
pub fn from_object(value: &Value, begun: bool) -> Option<SampleError> {
    let said = said(value)?;
    let kind = said.kind().unwrap_or(if begun {
        SampleErrorKind::Cut
    } else {
        SampleErrorKind::Unreachable
    });
    let what = [&said.message, &said.codes[0], &said.codes[1]];
    let what = what.into_iter().find(|text| !text.is_empty());
    Some(SampleError {
        kind,
        message: match what {
            Some(what) => format!("reported an error: {what}"),
            None => "reported an error without a message".to_owned(),
        },
        retry_after: match kind {
            SampleErrorKind::RateLimited => wait_named_in(&said.message),
            _ => None,
        },
    })
}

/// An answer that is not one.
pub(super) fn garbage(message: &str) -> SampleError {
    SampleError::new(SampleErrorKind::Garbage, message)
}

/// Text as one line of at most 300 characters, without control characters.
#[must_use]
pub fn one_line(text: &str) -> String {
    let words = text.split(|c: char| c.is_whitespace() || c.is_control());
    let line = words
        .filter(|word| !word.is_empty())
        .collect::<Vec<_>>()
        .join(" ");
    match line.char_indices().nth(MAX_MESSAGE) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line,
    }
}

impl Said {
    /// Codes say more than statuses and come also where there is no status. `None` for those that
    /// only say that the provider failed.
    fn kind(&self) -> Option<SampleErrorKind> {
        self.codes.iter().find_map(|code| match code.as_str() {
            "401"
            | "402"
            | "403"
            | "invalid_api_key"
            | "authentication_error"
            | "permission_error"
            | "insufficient_quota"
            | "billing_hard_limit_reached" => Some(SampleErrorKind::Credentials),
            "429" | "rate_limit_exceeded" | "rate_limit_error" | "too_many_requests" => {
                Some(SampleErrorKind::RateLimited)
            }
            "400"
            | "404"
            | "413"
            | "422"
            | "invalid_request_error"
            | "context_length_exceeded"
            | "invalid_prompt"
            | "model_not_found"
            | "not_found_error" => Some(SampleErrorKind::BadRequest),
            _ => None,
        })
    }
}

/// Finds what is said in the shapes that providers use: `{"error": {..}}`, `{"error": "text"}`,
/// `{"message": ..}`, `{"detail": ..}`, and any of those as the first of a list.
fn said(value: &Value) -> Option<Said> {
    if let Value::Array(values) = value {
        return said(values.first()?);
    }
    let error = match value.get("error") {
        None | Some(Value::Null) => value,
        Some(error) => error,
    };
    let message = [Some(error), error.get("message"), error.get("detail")]
        .into_iter()
        .flatten()
        .find_map(Value::as_str)
        .map(one_line);
    let codes = [scalar(error.get("code")), scalar(error.get("type"))];
    if message.is_none() && std::ptr::eq(error, value) {
        return None;
    }
    Some(Said {
        codes,
        message: message.unwrap_or_default(),
    })
}

fn scalar(value: Option<&Value>) -> String {
    match value {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Number(number)) => number.to_string(),
        _ => String::new(),
    }
}

/// What a body that is not JSON says; nothing of a page made for browsers.
fn plain(body: &str) -> String {
    let text = body.trim_start();
    if text.starts_with('<') {
        return "(a web page)".to_owned();
    }
    one_line(text)
}

/// "Please try again in 1.898s": streams have no header for it.
fn wait_named_in(message: &str) -> Option<Duration> {
    let (_, rest) = message.split_once("try again in ")?;
    let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
    let number: f64 = rest[..end].parse().ok()?;
    let seconds = if rest[end..].starts_with("ms") {
        number / 1000.0
    } else if rest[end..].trim_start().starts_with('s') {
        number
    } else {
        return None;
    };
    Duration::try_from_secs_f64(seconds).ok()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn statuses_are_judged_by_what_can_be_done() {
        use SampleErrorKind::{BadRequest, Credentials, RateLimited, Unreachable};
        let table = [
            (400, BadRequest),
            (401, Credentials),
            (402, Credentials),
            (403, Credentials),
            (404, BadRequest),
            (408, Unreachable),
            (409, Unreachable),
            (413, BadRequest),
            (422, BadRequest),
            (429, RateLimited),
            (500, Unreachable),
            (503, Unreachable),
            (529, Unreachable),
        ];
        for (status, kind) in table {
            assert_eq!(from_status(status, b"", None).kind, kind, "for {status}");
        }
        let spent = br#"{"error":{"code":"insufficient_quota","message":"pay"}}"#;
        assert_eq!(from_status(429, spent, None).kind, Credentials);
    }

    #[test]
    fn messages_are_found_in_every_shape() {
        let table = [
            (
                r#"{"error":{"message":"no such\n model","code":null}}"#,
                ": no such model",
            ),
            (r#"{"error":"out of memory"}"#, ": out of memory"),
            (r#"[{"error":{"message":"in a list"}}]"#, ": in a list"),
            (r#"{"message":"bare"}"#, ": bare"),
            (r#"{"detail":"not found"}"#, ": not found"),
            ("\n<html><h1>Bad gateway</h1>", ": (a web page)"),
            ("upstream\u{7} said no", ": upstream said no"),
            ("", ""),
        ];
        for (body, want) in table {
            let error = from_status(404, body.as_bytes(), None);
            let want = format!("answered with status 404{want}");
            assert_eq!(error.message, want, "for {body}");
        }
    }

    #[test]
    fn long_messages_are_trimmed() {
        let error = from_status(400, "é".repeat(1000).as_bytes(), None);
        assert_eq!(error.message.chars().filter(|&c| c == 'é').count(), 300);
        assert!(error.message.ends_with('…'));
    }

    #[test]
    fn objects_in_a_stream_are_judged_by_code() {
        use SampleErrorKind::{BadRequest, Cut, RateLimited, Unreachable};
        let table = [
            (
                json!({"code": "rate_limit_exceeded", "message": "try again in 1.5s"}),
                RateLimited,
            ),
            (json!({"error": {"code": 429, "message": "x"}}), RateLimited),
            (
                json!({"error": {"code": "context_length_exceeded"}}),
                BadRequest,
            ),
            (
                json!({"error": {"type": "invalid_request_error"}}),
                BadRequest,
            ),
            (json!({"error": {"code": "server_error"}}), Unreachable),
        ];
        for (object, kind) in table {
            assert_eq!(from_object(&object, false).unwrap().kind, kind, "{object}");
        }
        let failed = json!({"error": {"code": "server_error"}});
        assert_eq!(from_object(&failed, true).unwrap().kind, Cut);
        assert_eq!(from_object(&json!({"choices": []}), false), None);
    }

    #[test]
    fn a_wait_is_read_from_the_message() {
        let table = [
            ("Please try again in 1.5s.", Some(1500)),
            ("Please try again in 20ms.", Some(20)),
            ("try again in 35 seconds", Some(35_000)),
            ("try again in a while", None),
            ("try again in 3 days", None),
        ];
        for (message, want) in table {
            let want = want.map(Duration::from_millis);
            assert_eq!(wait_named_in(message), want, "for {message}");
        }
    }
}
