//! How the daemon says no: one canonical code, one sentence, and a reason that programs can match.

use std::collections::HashMap;

use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt as _};

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
    let details = ErrorDetails::with_error_info(reason, quire_proto::ERROR_DOMAIN, facts);
    Status::with_error_details(code, message, details)
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
}
