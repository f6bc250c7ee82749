//! Whether a sample that failed is asked for again, and when.
//!
//! Time and randomness are passed in. This is the only place that retries: no layer below does, so
//! that a bad day costs a handful of requests and not their square.

use std::time::Duration;

use crate::pure::sample::{SampleError, SampleErrorKind};

/// Most requests for one sample.
pub const MAX_REQUESTS: u32 = 8;

/// Most requests for one sample whose answers begin and break off, or make no sense.
pub const MAX_BROKEN: u32 = 5;

/// Longest time for one sample, from its first request to the start of its last.
pub const MAX_ELAPSED: Duration = Duration::from_secs(300);

const BASE: Duration = Duration::from_millis(200);
const MAX_BACKOFF: Duration = Duration::from_secs(30);

/// What to do about a failed request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Ask again after this long.
    Wait(Duration),
    /// The error is the sample's result.
    GiveUp,
}

/// Judges the failure of the `requests`th request for a sample, `elapsed` after the first began.
///
/// The wait is drawn evenly from zero to 200 ms times 2^(requests - 1), at most 30 s ("full
/// jitter"), by `dice`, any random number; but a wait that the provider asks for is kept in full.
#[must_use]
pub fn decide(error: &SampleError, requests: u32, elapsed: Duration, dice: u32) -> Verdict {
    if requests >= most_requests(error.kind) {
        return Verdict::GiveUp;
    }
    let drawn = backoff(requests).mul_f64(f64::from(dice) / f64::from(u32::MAX));
    let wait = drawn.max(error.retry_after.unwrap_or_default());
    match elapsed.checked_add(wait) {
        Some(start) if start <= MAX_ELAPSED => Verdict::Wait(wait),
        _ => Verdict::GiveUp,
    }
}

fn most_requests(kind: SampleErrorKind) -> u32 {
    match kind {
        SampleErrorKind::RateLimited | SampleErrorKind::Unreachable => MAX_REQUESTS,
        SampleErrorKind::Cut | SampleErrorKind::Garbage => MAX_BROKEN,
        SampleErrorKind::Credentials
        | SampleErrorKind::Configuration
        | SampleErrorKind::BadRequest
        | SampleErrorKind::TooLarge => 1,
    }
}

fn backoff(requests: u32) -> Duration {
    let doubled = 1_u32.checked_shl(requests.saturating_sub(1));
    BASE.saturating_mul(doubled.unwrap_or(u32::MAX))
        .min(MAX_BACKOFF)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(kind: SampleErrorKind, retry_after: Option<u64>) -> SampleError {
        SampleError {
            kind,
            message: String::new(),
            retry_after: retry_after.map(Duration::from_secs),
        }
    }

    #[test]
    fn each_kind_has_its_number_of_requests() {
        use SampleErrorKind::*;
        let table = [
            (Credentials, 1),
            (BadRequest, 1),
            (TooLarge, 1),
            (RateLimited, 8),
            (Unreachable, 8),
            (Cut, 5),
            (Garbage, 5),
        ];
        for (kind, want) in table {
            let error = error(kind, None);
            let mut requests = 1;
            while decide(&error, requests, Duration::ZERO, 0) != Verdict::GiveUp {
                requests += 1;
            }
            assert_eq!(requests, want, "for {kind:?}");
        }
    }

    #[test]
    fn the_wait_doubles_is_capped_and_jitters_down_to_nothing() {
        let error = error(SampleErrorKind::Unreachable, None);
        let waits = [200, 400, 800, 1600, 3200, 6400, 12_800];
        for (requests, most) in (1..).zip(waits) {
            let wait = |dice| decide(&error, requests, Duration::ZERO, dice);
            assert_eq!(wait(u32::MAX), Verdict::Wait(Duration::from_millis(most)));
            assert_eq!(wait(0), Verdict::Wait(Duration::ZERO));
        }
        for requests in [9, 33, u32::MAX] {
            assert_eq!(backoff(requests), MAX_BACKOFF);
        }
    }

    #[test]
    fn a_wait_asked_for_is_kept_within_five_minutes_in_all() {
        let asked = |seconds, elapsed| {
            let error = error(SampleErrorKind::RateLimited, Some(seconds));
            decide(&error, 1, Duration::from_secs(elapsed), 0)
        };
        assert_eq!(asked(120, 0), Verdict::Wait(Duration::from_secs(120)));
        assert_eq!(asked(120, 180), Verdict::Wait(Duration::from_secs(120)));
        assert_eq!(asked(120, 181), Verdict::GiveUp);
        assert_eq!(asked(u64::MAX, 1), Verdict::GiveUp);
    }
}
