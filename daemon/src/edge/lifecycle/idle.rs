//! A daemon that nobody needs goes away.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::{Engine, peers::Connections};

/// Longest time between two looks.
const LOOK: Duration = Duration::from_secs(30);

/// Returns when nobody was connected and nothing needed the daemon for `after`; `engine` has then
/// refused new work. Never returns when `after` is zero.
pub(super) async fn wait(engine: &dyn Engine, connections: &Connections, after: Duration) {
    if after.is_zero() {
        std::future::pending::<()>().await;
    }
    let mut needed = Instant::now();
    loop {
        sleep((after / 8).min(LOOK)).await;
        if connections.open() > 0 || engine.busy() {
            needed = Instant::now();
        } else if needed.elapsed() >= after && engine.retire() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use futures_util::future::BoxFuture;

    use super::*;

    /// Busy for so many looks, then refuses to retire so many times.
    struct Scripted {
        busy: AtomicU32,
        refusals: AtomicU32,
    }

    fn count_down(number: &AtomicU32) -> bool {
        let less = |left: u32| left.checked_sub(1);
        let (set, get) = (Ordering::Relaxed, Ordering::Relaxed);
        number.fetch_update(set, get, less).is_ok()
    }

    impl Engine for Scripted {
        fn busy(&self) -> bool {
            count_down(&self.busy)
        }

        fn retire(&self) -> bool {
            !count_down(&self.refusals)
        }

        fn drain(&self) -> BoxFuture<'static, ()> {
            Box::pin(std::future::ready(()))
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_time_counts_from_the_last_need() {
        let after = Duration::from_secs(80);
        let look = after / 8;
        // Looks that find the daemon busy, refusals to retire, looks until the end.
        let table = [(0, 0, 8), (3, 0, 11), (0, 1, 9), (5, 2, 15)];
        for (busy, refusals, want) in table {
            let engine = Scripted {
                busy: busy.into(),
                refusals: refusals.into(),
            };
            let start = Instant::now();
            wait(&engine, &Connections::default(), after).await;
            let looks = start.elapsed().as_millis() / look.as_millis();
            assert_eq!(looks, want, "for {busy} busy and {refusals} refusals");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn zero_means_never() {
        let engine = Scripted {
            busy: 0.into(),
            refusals: 0.into(),
        };
        let connections = Connections::default();
        let forever = wait(&engine, &connections, Duration::ZERO);
        let waited = tokio::time::timeout(Duration::from_secs(1 << 30), forever).await;
        assert!(waited.is_err());
    }
}
