//! Who is killed first when memory runs out.

use std::fs::{self, File};

/// How soon the kernel kills a process when memory runs out: the command before those who look after
/// it, and before the daemon. What can't be set stays.
pub(super) struct Expendable(Option<(File, String)>);

impl Expendable {
    const SCORE: &str = "500";

    /// Opened while `/proc` is still the host's.
    pub(super) fn open() -> Self {
        let path = "/proc/self/oom_score_adj";
        let own = fs::read_to_string(path).and_then(|own| {
            let file = File::options().write(true).open(path)?;
            Ok((file, own))
        });
        Self(own.ok())
    }

    /// From now on children are begun as expendable.
    pub(super) fn set(&self) {
        self.write(Self::SCORE);
    }

    /// As it was before.
    pub(super) fn restore(&self) {
        if let Some((_, own)) = &self.0 {
            self.write(own);
        }
    }

    fn write(&self, score: &str) {
        if let Some((file, _)) = &self.0 {
            let _ = rustix::io::write(file, score.as_bytes());
        }
    }
}
