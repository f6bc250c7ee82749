//! What people learn of the daemon beside what they asked for: its notices, and that it is silent.
//!
//! Each sentence is told once, on standard error. A screen that owns the terminal takes them from the
//! connection instead.

use std::{
    collections::BTreeSet,
    future::pending,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::time::{Instant, sleep_until};

use crate::{context, output::paint::printable, reach};

/// Between two signs of life that a watch asks for.
pub const HEARTBEAT_MS: u32 = 5_000;

/// A daemon that says nothing for so long is stopped, or its machine is overloaded: two heartbeats and
/// some.
pub const SILENT: Duration = Duration::from_secs(12);

/// The sentences told so far; clones share them.
#[derive(Clone, Debug, Default)]
pub struct Told(Arc<Mutex<BTreeSet<String>>>);

impl Told {
    /// Tells the sentences that were not told yet.
    pub fn tell(&self, sentences: impl IntoIterator<Item = String>) {
        for sentence in sentences {
            if self.is_new(&sentence) {
                say(&sentence);
            }
        }
    }

    fn is_new(&self, sentence: &str) -> bool {
        let mut told = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        told.insert(sentence.to_owned())
    }
}

/// Writes a sentence about the daemon to standard error.
pub fn say(sentence: &str) {
    // Nobody is left to tell when this cannot be written.
    let _unheard = context::progress(format!("quire: {}\n", printable(sentence)));
}

/// How long nothing was heard, and whether that was told.
#[derive(Clone, Copy, Debug)]
pub struct Silence {
    heard: Instant,
    told: bool,
}

impl Silence {
    /// Something was heard just now.
    #[must_use]
    pub fn broken() -> Self {
        Self {
            heard: Instant::now(),
            told: false,
        }
    }

    /// Returns when nothing was heard for [`SILENT`], with how long it is by then; once.
    pub async fn too_long(&mut self) -> Duration {
        if self.told {
            pending::<()>().await;
        }
        sleep_until(self.heard + SILENT).await;
        self.told = true;
        self.heard.elapsed()
    }
}

/// Waits for a call to the daemon `pid`, however long it takes, and says when that is unusually long.
pub async fn patiently<T>(pid: u32, call: impl Future<Output = T>) -> T {
    let mut call = std::pin::pin!(call);
    let mut silence = Silence::broken();
    loop {
        tokio::select! {
            biased;
            answer = &mut call => return answer,
            so_long = silence.too_long() => say(&reach::silence(pid, so_long)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_sentence_is_new_once() {
        let told = Told::default();
        assert!(told.is_new("full"));
        assert!(!told.clone().is_new("full"));
        assert!(told.is_new("moved"));
    }

    #[tokio::test(start_paused = true)]
    async fn silence_is_told_once_until_it_is_broken() {
        let mut silence = Silence::broken();
        assert_eq!(silence.too_long().await.as_secs(), SILENT.as_secs());
        let again = tokio::time::timeout(10 * SILENT, silence.too_long()).await;
        assert!(again.is_err());
        silence = Silence::broken();
        assert_eq!(silence.too_long().await.as_secs(), SILENT.as_secs());
    }
}
