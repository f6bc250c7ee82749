//! What people should know of this daemon, whoever asks.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::watch;

use super::ShutdownHandle;
use crate::adapters::store::Health;

/// Most sentences kept; a fault that comes again and again is told once, and others by the log.
const MOST: usize = 20;

/// Sentences for every client that comes. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct Notices(Arc<Mutex<Vec<String>>>);

impl Notices {
    /// Tells one more, unless it was told before.
    pub fn add(&self, sentence: impl Into<String>) {
        let sentence = sentence.into();
        tracing::warn!(notice = sentence);
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if all.len() < MOST && !all.contains(&sentence) {
            all.push(sentence);
        }
    }

    /// Takes back what no longer holds.
    pub fn remove(&self, sentence: &str) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|told| told != sentence);
    }

    /// All of them, oldest first.
    #[must_use]
    pub fn all(&self) -> Vec<String> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

/// Tells what the store tells, for as long as it holds, until the store is gone. A store that only a new
/// start can help ends the daemon: the clients start the next one.
pub(super) async fn follow(
    mut health: watch::Receiver<Health>,
    notices: Notices,
    shutdown: ShutdownHandle,
) {
    let mut told: Vec<String> = Vec::new();
    loop {
        let now = health.borrow_and_update().clone();
        let holds: Vec<String> = now.notices().map(String::from).collect();
        for over in told.iter().filter(|sentence| !holds.contains(sentence)) {
            notices.remove(over);
        }
        holds.iter().for_each(|sentence| notices.add(sentence));
        told = holds;
        if now.is_condemned() {
            shutdown.drain("the event store is damaged");
        }
        if health.changed().await.is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_is_told_once_and_can_be_taken_back() {
        let notices = Notices::default();
        notices.add("full");
        notices.clone().add("full");
        notices.add("moved");
        notices.remove("full");
        assert_eq!(notices.all(), ["moved"]);
    }
}
