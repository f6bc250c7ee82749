//! Waiting for a condition, with a deadline.
//!
//! The only place of the tests that sleeps. What can announce itself (output of a process, requests
//! to the mock model, updates of a watch) is awaited through condition variables instead; what is
//! left is state of the machine that announces nothing: files, and processes that are not children.

use std::{
    thread,
    time::{Duration, Instant},
};

/// How long a test waits for something that must happen. Far above what it takes, so that a busy
/// machine fails no test; only a failing test ever waits this long.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Between two looks at a condition that announces nothing.
const INTERVAL: Duration = Duration::from_millis(5);

/// Waits until `look` finds something, up to [`PATIENCE`].
///
/// # Panics
///
/// At the deadline, naming `what` was awaited.
pub fn until_some<T>(what: &str, look: impl FnMut() -> Option<T>) -> T {
    within(PATIENCE, look).unwrap_or_else(|| panic!("waited {PATIENCE:?} in vain for {what}"))
}

/// Waits until `holds`, up to [`PATIENCE`].
///
/// # Panics
///
/// At the deadline, naming `what` was awaited.
pub fn until(what: &str, mut holds: impl FnMut() -> bool) {
    until_some(what, || holds().then_some(()));
}

/// Waits until `look` finds something; `None` once `limit` has passed.
pub fn within<T>(limit: Duration, mut look: impl FnMut() -> Option<T>) -> Option<T> {
    let deadline = Instant::now() + limit;
    loop {
        if let Some(found) = look() {
            return Some(found);
        }
        if Instant::now() >= deadline {
            return None;
        }
        thread::sleep(INTERVAL);
    }
}

/// Lets time pass. Only where time itself is the fault or the measure: a frozen process, a clock that
/// is wrong, an idle daemon.
pub fn pass(time: Duration) {
    thread::sleep(time);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_condition_is_looked_at_until_it_holds() {
        let mut looks = 0;
        until("three looks", || {
            looks += 1;
            looks == 3
        });
        assert_eq!(looks, 3);
    }

    #[test]
    fn a_condition_that_never_holds_ends_at_the_limit() {
        assert_eq!(within(Duration::ZERO, || None::<()>), None);
    }
}
