//! When to draw: soon after something has changed, and never much more often than eyes can follow, however
//! much happens.

use std::time::Duration;

use tokio::time::Instant;

/// Least time between two pictures while text streams in.
pub(super) const FRAME: Duration = Duration::from_millis(33);
/// Least time between two pictures while someone types.
pub(super) const KEY_FRAME: Duration = Duration::from_millis(8);

/// When to draw: at once when nothing was drawn lately, else when the least time has passed.
pub(super) struct Pace {
    last: Instant,
    /// Least time since the last picture for the next one; `None` when nothing has changed.
    wanted: Option<Duration>,
}

impl Pace {
    pub(super) fn now() -> Self {
        Self {
            last: Instant::now(),
            wanted: Some(Duration::ZERO),
        }
    }

    pub(super) fn want(&mut self, after: Duration) {
        self.wanted = Some(self.wanted.map_or(after, |wanted| wanted.min(after)));
    }

    pub(super) fn is_due(&self) -> bool {
        self.wanted
            .is_some_and(|after| self.last.elapsed() >= after)
    }

    pub(super) fn due(&self, moves_every_ms: Option<u64>) -> Option<Instant> {
        let moves = moves_every_ms.map(Duration::from_millis);
        let after = self.wanted.into_iter().chain(moves).min()?;
        Some(self.last + after)
    }

    pub(super) fn drawn(&mut self) {
        self.last = Instant::now();
        self.wanted = None;
    }
}
