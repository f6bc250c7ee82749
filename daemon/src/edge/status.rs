//! How the daemon says no: one canonical code, one sentence, and a reason that programs can match.

use std::collections::HashMap;

use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt as _};

use crate::pure::cut::cut;

/// Bytes of a sentence, and of a fact. It travels twice in the trailers of an answer, of which clients take
/// 16 KiB, and what it repeats of a request may be of any length.
const MOST: usize = 1_000;

/// An error for a caller. `reason` is UPPER_SNAKE_CASE and never changes its meaning; `message` is one
/// clear sentence for people and never holds a secret.
#[must_use]
pub fn refuse(code: Code, reason: &str, message: impl Into<String>) -> Status {
    refuse_with(code, reason, HashMap::new(), message)
}

/// As [`refuse`], with facts for programs: names and values, none of them a secret.
#[must_use]
pub fn refuse_with(
    code: Code,
    reason: &str,
    facts: HashMap<String, String>,
    message: impl Into<String>,
) -> Status {
    let facts = facts.into_iter();
    let facts: HashMap<_, _> = facts.map(|(name, value)| (name, bounded(value))).collect();
    let details = ErrorDetails::with_error_info(reason, quire_proto::ERROR_DOMAIN, facts);
    Status::with_error_details(code, bounded(message.into()), details)
}

fn bounded(text: String) -> String {
    if text.len() <= MOST {
        return text;
    }
    // On one line, as every sentence.
    cut(&text, MOST).replace('\n', " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_carries_code_sentence_and_reason() {
        let status = refuse(Code::NotFound, "NO_SESSION", "no session `x`");
        assert_eq!(status.code(), Code::NotFound);
        assert_eq!(status.message(), "no session `x`");
        let info = status.get_error_details().error_info().cloned().unwrap();
        assert_eq!(info.reason, "NO_SESSION");
        assert_eq!(info.domain, "quire.v1");
    }

    #[test]
    fn a_refusal_fits_the_trailers_of_an_answer() {
        let status = refuse(
            Code::NotFound,
            "N",
            format!("no `{}`: look", "語".repeat(50_000)),
        );
        assert!(
            status.message().len() < 2 * MOST,
            "{}",
            status.message().len()
        );
        assert!(status.message().starts_with("no `語") && status.message().ends_with("`: look"));
        assert!(status.details().len() < 2 * MOST);
    }
}
