//! Every refusal of the layers below as one gRPC status.

use quire_proto::id::InvalidId;
use tonic::{Code, Status};

use crate::{
    adapters::store::StoreError,
    edge::{registry::Missing, status::refuse},
    pure::sample::{SampleError, SampleErrorKind},
    session::Refusal,
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
            Refusal::Busy { .. } => refuse(Code::Aborted, "BUSY", message),
            Refusal::OtherTurn { .. } => refuse(Code::Aborted, "OTHER_TURN", message),
            Refusal::Answered(_) => refuse(Code::FailedPrecondition, "ANSWERED", message),
            Refusal::NoApproval => refuse(Code::NotFound, "NO_APPROVAL", message),
            Refusal::ManyApprovals(_) => refuse(Code::InvalidArgument, "AMBIGUOUS", message),
            Refusal::NoRule => refuse(Code::FailedPrecondition, "NO_RULE", message),
            Refusal::Running { .. } => refuse(Code::FailedPrecondition, "BUSY", message),
            Refusal::NoJob(_) => refuse(Code::NotFound, "NOT_FOUND", message),
            Refusal::NotDetached(_) => refuse(Code::FailedPrecondition, "NOT_DETACHED", message),
            Refusal::NotQueued => refuse(Code::NotFound, "NOT_QUEUED", message),
            Refusal::Store(error) => error.into(),
            Refusal::Closed => refuse(Code::Unavailable, "CLOSED", message),
        }
    }
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
