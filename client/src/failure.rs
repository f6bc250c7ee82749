//! How a command of the client ends otherwise than well: an exit code and what to tell, one line
//! unless the daemon has found several mistakes.
//!
//! Every error on the way out becomes a [`Failure`]; nothing below `run` prints one or ends the
//! process. Scripts rely on the codes: they are listed in the README and never change their meaning.

use std::process::ExitCode;

use quire_proto::v1::{self, StopReason};
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

/// What the exit code says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// The turn failed, or something else did that no other code names.
    Failed = 1,
    /// Wrong use: arguments, or a name that names nothing.
    Usage = 2,
    /// Stopped for an approval that was denied or that no one could give.
    Denied = 3,
    /// The configuration or the credentials are wrong or missing.
    Configuration = 4,
    /// No model could be reached.
    Unreachable = 5,
    /// A limit was reached: cost, requests or time.
    Limit = 6,
    /// The sandbox asked for cannot be had.
    Sandbox = 7,
    /// No daemon, and none could be started.
    NoDaemon = 8,
    /// Interrupted by a person.
    Interrupted = 130,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// Why a command ends otherwise than well.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Failure {
    exit: Exit,
    /// A line for each mistake; empty when all has been said already.
    message: String,
}

impl Failure {
    /// A failure told by `message`: one line, or one for each of several mistakes.
    #[must_use]
    pub fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self {
            exit,
            message: trimmed_lines(&message.into()),
        }
    }

    /// A failure about which everything has been said already.
    #[must_use]
    pub fn silent(exit: Exit) -> Self {
        Self {
            exit,
            message: String::new(),
        }
    }

    /// Wrong use.
    #[must_use]
    pub fn usage(message: impl Into<String>) -> Self {
        Self::new(Exit::Usage, message)
    }

    /// Something of the versions to come.
    #[must_use]
    pub fn not_yet(what: &str) -> Self {
        Self::usage(format!("`{what}` is not in this version yet"))
    }

    /// The code the process ends with.
    #[must_use]
    pub fn exit(&self) -> Exit {
        self.exit
    }

    /// What to tell, one line for each mistake; `None` when all has been said.
    #[must_use]
    pub fn message(&self) -> Option<&str> {
        Some(self.message.as_str()).filter(|message| !message.is_empty())
    }

    /// How a turn ended, when that was not well.
    #[must_use]
    pub fn of_turn(ended: &v1::TurnEnded) -> Option<Self> {
        Self::of_stop(ended.stop_reason(), &ended.error, &ended.error_kind)
    }

    /// As [`of_turn`](Self::of_turn), from the parts of it that other messages carry.
    #[must_use]
    pub fn of_stop(reason: StopReason, error: &str, kind: &str) -> Option<Self> {
        let (exit, otherwise) = match reason {
            StopReason::Done | StopReason::Unspecified => return None,
            StopReason::Interrupted => (Exit::Interrupted, "the turn was interrupted"),
            StopReason::Denied => (Exit::Denied, "the turn stopped for a denied approval"),
            StopReason::ModelError => (exit_of_kind(kind), "the model could not be asked"),
            StopReason::Limit => (Exit::Limit, "the turn reached a limit"),
            StopReason::Internal => (exit_of_kind(kind), "the turn failed"),
            StopReason::MaxTokens => (Exit::Limit, "the model reached its output limit"),
            StopReason::Refused => (Exit::Failed, "the provider refused to answer"),
        };
        let message = if error.is_empty() { otherwise } else { error };
        Some(Self::new(exit, message))
    }
}

fn exit_of_kind(kind: &str) -> Exit {
    match kind {
        "credentials" | "configuration" => Exit::Configuration,
        "unreachable" | "rate_limited" => Exit::Unreachable,
        "limit" => Exit::Limit,
        "denied" => Exit::Denied,
        _ => Exit::Failed,
    }
}

impl From<Status> for Failure {
    fn from(status: Status) -> Self {
        let info = status.get_details_error_info();
        let exit = info
            .and_then(|info| exit_of_reason(&info.reason))
            .unwrap_or_else(|| exit_of_code(status.code()));
        let message = match (status.code(), status.message()) {
            (Code::Unavailable, _) if exit == Exit::NoDaemon => "the daemon went away",
            (_, "") => status.code().description(),
            (_, message) => message,
        };
        Self::new(exit, message)
    }
}

fn exit_of_reason(reason: &str) -> Option<Exit> {
    match reason {
        "CREDENTIALS" | "CONFIGURATION" => Some(Exit::Configuration),
        "UNREACHABLE" => Some(Exit::Unreachable),
        "NOT_FOUND" | "AMBIGUOUS" | "INVALID" => Some(Exit::Usage),
        "SANDBOX_UNAVAILABLE" => Some(Exit::Sandbox),
        _ => None,
    }
}

fn exit_of_code(code: Code) -> Exit {
    match code {
        Code::InvalidArgument | Code::NotFound | Code::Unimplemented | Code::OutOfRange => {
            Exit::Usage
        }
        Code::Unavailable | Code::Unauthenticated | Code::PermissionDenied => Exit::NoDaemon,
        Code::DeadlineExceeded => Exit::Limit,
        _ => Exit::Failed,
    }
}

/// True when it is worth trying the same on a new connection: this one broke, its daemon is about to end,
/// or it found its socket again and met another daemon there, which has another token.
#[must_use]
pub fn is_lost(status: &Status) -> bool {
    let told = status.get_details_error_info();
    is_broken(status) || told.is_some_and(|told| told.reason == "TOKEN_MISSING_OR_WRONG")
}

/// True when the connection broke, or the daemon is about to end.
#[must_use]
pub fn is_broken(status: &Status) -> bool {
    let transport = matches!(
        status.code(),
        Code::Unavailable | Code::Unknown | Code::Cancelled | Code::Internal
    );
    // Whatever code it is given: no daemon says this, the connection does.
    let broken = status.message().starts_with("h2 protocol error");
    match status.get_details_error_info() {
        None => transport || broken,
        Some(told) => matches!(told.reason.as_str(), "CLOSED" | "DRAINING"),
    }
}

/// True when the daemon said that it is about to end because someone asked it to.
#[must_use]
pub fn is_announced(status: &Status) -> bool {
    let told = status.get_details_error_info();
    told.is_some_and(|told| told.reason == "DRAINING")
}

fn trimmed_lines(text: &str) -> String {
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    lines.collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use tonic_types::ErrorDetails;

    use super::*;

    #[test]
    fn the_daemons_reason_decides_the_exit_code() {
        let table = [
            (
                Some("CREDENTIALS"),
                Code::FailedPrecondition,
                Exit::Configuration,
            ),
            (
                Some("CONFIGURATION"),
                Code::InvalidArgument,
                Exit::Configuration,
            ),
            (Some("UNREACHABLE"), Code::Unavailable, Exit::Unreachable),
            (Some("AMBIGUOUS"), Code::InvalidArgument, Exit::Usage),
            (
                Some("SANDBOX_UNAVAILABLE"),
                Code::FailedPrecondition,
                Exit::Sandbox,
            ),
            (Some("SOMETHING_NEWER"), Code::Aborted, Exit::Failed),
            (None, Code::NotFound, Exit::Usage),
            (None, Code::Unimplemented, Exit::Usage),
            (None, Code::Unavailable, Exit::NoDaemon),
            (None, Code::Internal, Exit::Failed),
        ];
        for (reason, code, want) in table {
            let details = reason
                .map(|reason| ErrorDetails::with_error_info(reason, quire_proto::ERROR_DOMAIN, []));
            let status = match details {
                Some(details) => Status::with_error_details(code, "why", details),
                None => Status::new(code, "why"),
            };
            assert_eq!(
                Failure::from(status).exit(),
                want,
                "for {reason:?} {code:?}"
            );
        }
    }

    #[test]
    fn a_turn_that_ended_badly_has_its_code_and_its_sentence() {
        let table = [
            (StopReason::Done, "", None),
            (StopReason::Interrupted, "", Some(Exit::Interrupted)),
            (StopReason::Denied, "denied", Some(Exit::Denied)),
            (
                StopReason::ModelError,
                "credentials",
                Some(Exit::Configuration),
            ),
            (
                StopReason::ModelError,
                "rate_limited",
                Some(Exit::Unreachable),
            ),
            (StopReason::ModelError, "garbage", Some(Exit::Failed)),
            (StopReason::Internal, "internal", Some(Exit::Failed)),
            (StopReason::Limit, "limit", Some(Exit::Limit)),
        ];
        for (reason, kind, want) in table {
            let failure = Failure::of_stop(reason, "it said so", kind);
            assert_eq!(failure.as_ref().map(Failure::exit), want, "for {reason:?}");
            if let Some(failure) = failure {
                assert_eq!(failure.message(), Some("it said so"));
            }
        }
    }

    #[test]
    fn a_broken_line_is_told_from_an_answer() {
        let answer = |code, reason: &str| {
            let details = ErrorDetails::with_error_info(reason, quire_proto::ERROR_DOMAIN, []);
            Status::with_error_details(code, "why", details)
        };
        assert!(is_lost(&Status::new(Code::Unavailable, "broken pipe")));
        assert!(is_lost(&answer(Code::Unavailable, "DRAINING")));
        assert!(!is_lost(&answer(Code::Unavailable, "UNREACHABLE")));
        assert!(!is_lost(&answer(Code::Internal, "STORE")));
        let stranger = answer(Code::Unauthenticated, "TOKEN_MISSING_OR_WRONG");
        assert!(is_lost(&stranger) && !is_broken(&stranger));
        assert!(!is_lost(&Status::new(Code::NotFound, "no such session")));
        assert!(is_announced(&answer(Code::Unavailable, "DRAINING")));
        assert!(!is_announced(&answer(Code::Unavailable, "CLOSED")));
        assert!(!is_announced(&Status::new(
            Code::Unavailable,
            "broken pipe"
        )));
    }

    #[test]
    fn each_mistake_has_its_line() {
        let failure = Failure::usage("first\n\n  second\n");
        assert_eq!(failure.message(), Some("first\nsecond"));
    }
}
