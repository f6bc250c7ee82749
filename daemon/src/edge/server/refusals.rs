//! Every refusal of the layers below as one gRPC status.

use std::collections::HashMap;

use quire_proto::{
    id::InvalidId,
    v1::{Approval, ApprovalVerdict, ClientRef},
};
use tonic::{Code, Status};

use crate::{
    adapters::store::StoreError,
    edge::{
        registry::Missing,
        status::{refuse, refuse_with},
    },
    pure::sample::{SampleError, SampleErrorKind},
    session::{Refusal, Running},
};

/// A request that can never be right.
pub(super) fn invalid(message: impl Into<String>) -> Status {
    refuse(Code::InvalidArgument, "INVALID", message)
}

/// A call that a later version answers.
pub(super) fn not_yet(what: &str) -> Status {
    refuse(
        Code::Unimplemented,
        "NOT_YET",
        format!("{what} is not in this version yet"),
    )
}

/// A malformed id.
pub(super) fn bad_id(error: InvalidId) -> Status {
    invalid(error.to_string())
}

impl From<Missing> for Status {
    fn from(missing: Missing) -> Self {
        let message = missing.to_string();
        match missing {
            Missing::NotFound(_) => refuse(Code::NotFound, "NOT_FOUND", message),
            Missing::Ambiguous { .. } => refuse(Code::InvalidArgument, "AMBIGUOUS", message),
            Missing::Store(error) => error.into(),
        }
    }
}

impl From<StoreError> for Status {
    fn from(error: StoreError) -> Self {
        let (code, reason) = match &error {
            StoreError::Full => (Code::ResourceExhausted, "DISK_FULL"),
            StoreError::Missing(_) => (Code::NotFound, "NOT_FOUND"),
            StoreError::Damaged { .. } | StoreError::Corrupt(_) => (Code::DataLoss, "DAMAGED"),
            StoreError::Closed => (Code::Unavailable, "DRAINING"),
            StoreError::Newer { .. } => (Code::FailedPrecondition, "NEWER_STORE"),
            StoreError::Io(_) | StoreError::Unusable { .. } | StoreError::OutOfOrder { .. } => {
                (Code::Internal, "STORE")
            }
        };
        refuse(code, reason, error.to_string())
    }
}

impl From<Refusal> for Status {
    fn from(refusal: Refusal) -> Self {
        let message = refusal.to_string();
        match refusal {
            Refusal::Busy(running) => {
                refuse_with(Code::Aborted, "BUSY", facts_of_turn(&running), message)
            }
            Refusal::OtherTurn { running, .. } => refuse_with(
                Code::Aborted,
                "OTHER_TURN",
                facts_of_turn(&running),
                message,
            ),
            Refusal::Answered { approval, .. } => {
                let facts = facts_of_answer(&approval);
                refuse_with(Code::FailedPrecondition, "ANSWERED", facts, message)
            }
            Refusal::NoApproval { .. } => refuse(Code::NotFound, "NO_APPROVAL", message),
            Refusal::ManyApprovals(_) => refuse(Code::InvalidArgument, "AMBIGUOUS", message),
            Refusal::NoRule => refuse(Code::FailedPrecondition, "NO_RULE", message),
            Refusal::Running { .. } => refuse(Code::FailedPrecondition, "BUSY", message),
            Refusal::NoJob(_) => refuse(Code::NotFound, "NOT_FOUND", message),
            Refusal::NotDetached(_) => refuse(Code::FailedPrecondition, "NOT_DETACHED", message),
            Refusal::NotQueued => refuse(Code::NotFound, "NOT_QUEUED", message),
            Refusal::NotSaid => refuse(Code::FailedPrecondition, "NOT_SAID", message),
            Refusal::BeforeItself => invalid(message),
            Refusal::Store(error) => error.into(),
            Refusal::Closed => refuse(Code::Unavailable, "CLOSED", message),
        }
    }
}

/// Which turn runs, and who began it.
fn facts_of_turn(running: &Running) -> HashMap<String, String> {
    let turn = [("running_turn", running.turn.to_string())];
    facts(turn.into_iter().chain(facts_of_client(running.by.as_ref())))
}

/// How an approval was answered, by whom and when.
fn facts_of_answer(approval: &Approval) -> HashMap<String, String> {
    let answer = approval.answer.clone().unwrap_or_default();
    let verdict = match answer.verdict() {
        ApprovalVerdict::Once => "once",
        ApprovalVerdict::Session => "session",
        ApprovalVerdict::Rule => "rule",
        ApprovalVerdict::Deny => "deny",
        ApprovalVerdict::Unspecified => "",
    };
    let told = [
        ("approval", approval.id.to_string()),
        ("verdict", verdict.to_owned()),
        ("decided_ms", answer.decided_ms.to_string()),
        ("automatic", answer.automatic.to_string()),
    ];
    facts(told.into_iter().chain(facts_of_client(answer.by.as_ref())))
}

fn facts_of_client(client: Option<&ClientRef>) -> impl Iterator<Item = (&'static str, String)> {
    let told = client.map(|client| {
        [
            ("client_id", client.id.clone()),
            ("client_name", client.name.clone()),
            ("client_pid", client.pid.to_string()),
        ]
    });
    told.into_iter().flatten()
}

fn facts(told: impl Iterator<Item = (&'static str, String)>) -> HashMap<String, String> {
    told.map(|(name, value)| (name.to_owned(), value)).collect()
}

impl From<SampleError> for Status {
    fn from(error: SampleError) -> Self {
        let (code, reason) = match error.kind {
            SampleErrorKind::Credentials => (Code::FailedPrecondition, "CREDENTIALS"),
            SampleErrorKind::Configuration => (Code::FailedPrecondition, "CONFIGURATION"),
            SampleErrorKind::RateLimited => (Code::ResourceExhausted, "RATE_LIMITED"),
            SampleErrorKind::Unreachable | SampleErrorKind::Cut => {
                (Code::Unavailable, "UNREACHABLE")
            }
            SampleErrorKind::BadRequest | SampleErrorKind::Garbage | SampleErrorKind::TooLarge => {
                (Code::Internal, "MODEL")
            }
        };
        refuse(code, reason, error.message)
    }
}
