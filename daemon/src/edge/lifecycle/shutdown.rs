//! The end of the daemon: who asks for it, who waits for it, and what makes sure that it comes.

use std::{fmt, io, process, sync::Arc, thread, time::Duration};

use tokio::{
    signal::unix::{SignalKind, signal},
    sync::watch,
};

/// A drain that takes longer is cut.
const DEADLINE: Duration = Duration::from_secs(5);

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Phase {
    Serving,
    /// What is being written is finished; nothing new begins.
    Draining,
    /// Nothing more is waited for.
    Ending,
}

/// Asks for the daemon's end, and tells when it was asked for. Asked for once, it comes.
#[derive(Clone, Debug)]
pub struct ShutdownHandle(Arc<watch::Sender<Phase>>);

impl ShutdownHandle {
    pub(super) fn new() -> Self {
        Self(Arc::new(watch::channel(Phase::Serving).0))
    }

    /// Lets everyone finish what is being written, then ends the daemon. `cause` goes to the log.
    pub fn drain(&self, cause: impl fmt::Display) {
        self.advance(Phase::Draining, &cause);
    }

    /// Ends the daemon without waiting for turns to settle. `cause` goes to the log.
    pub fn end_now(&self, cause: impl fmt::Display) {
        self.advance(Phase::Ending, &cause);
    }

    /// True once the end was asked for, in whatever way.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        *self.0.borrow() >= Phase::Draining
    }

    /// Returns when the end was asked for. Streams to watchers end then, or they hold the drain up.
    pub async fn draining(&self) {
        self.reach(Phase::Draining).await;
    }

    /// Returns when nothing more is to be waited for.
    pub(super) async fn ending(&self) {
        self.reach(Phase::Ending).await;
    }

    async fn reach(&self, phase: Phase) {
        let mut phases = self.0.subscribe();
        // The sender is in `self`, so the channel can't be closed.
        let _reached = phases.wait_for(|now| *now >= phase).await;
    }

    fn advance(&self, to: Phase, cause: &dyn fmt::Display) {
        let mut before = to;
        self.0.send_if_modified(|phase| {
            before = *phase;
            *phase = to.max(before);
            before < to
        });
        if before < to {
            tracing::info!(%cause, ?to, "shutting down");
        }
        if before == Phase::Serving {
            watch_drain(DEADLINE);
        }
    }

    /// Drains on SIGTERM, SIGINT and SIGHUP; the second one ends at once. Keeps a file that is too
    /// large from killing the daemon.
    pub(super) fn listen_to_signals(&self) -> io::Result<()> {
        let fatal = [
            ("SIGTERM", SignalKind::terminate()),
            ("SIGINT", SignalKind::interrupt()),
            ("SIGHUP", SignalKind::hangup()),
        ];
        for (name, kind) in fatal {
            let mut signals = signal(kind)?;
            let handle = self.clone();
            tokio::spawn(async move {
                while signals.recv().await.is_some() {
                    if handle.is_draining() {
                        handle.end_now(name);
                    } else {
                        handle.drain(name);
                    }
                }
            });
        }
        // Once it is listened to, the write fails with an error that is reported like any other.
        let too_large = rustix::process::Signal::XFSZ.as_raw();
        let _listened_to = signal(SignalKind::from_raw(too_large))?;
        Ok(())
    }
}

/// A thread of its own, so that nothing the runtime hangs in can hold the end up.
fn watch_drain(deadline: Duration) {
    let watchdog = thread::Builder::new().name("watchdog".into());
    let started = watchdog.stack_size(256 << 10).spawn(move || {
        thread::sleep(deadline);
        tracing::error!(?deadline, "the drain hangs: ending without it");
        process::exit(1);
    });
    if let Err(error) = started {
        tracing::warn!(%error, "no watchdog for the drain");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_end_is_told_to_all_and_only_comes_nearer() {
        let handle = ShutdownHandle(Arc::new(watch::channel(Phase::Draining).0));
        handle.draining().await;
        handle.drain("again");
        assert!(handle.is_draining());
        let other = handle.clone();
        let waits = tokio::spawn(async move { other.ending().await });
        handle.end_now("test");
        waits.await.unwrap();
        handle.drain("late");
        handle.ending().await;
    }
}
