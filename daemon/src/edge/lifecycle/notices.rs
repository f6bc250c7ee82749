//! What people should know of this daemon, whoever asks.

use std::sync::{Arc, Mutex, PoisonError};

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
