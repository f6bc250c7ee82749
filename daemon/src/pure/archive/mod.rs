//! A session as a file: JSON lines that a stranger can read, check and bring back.
//!
//! Version 1 of the form is told in `proto/README.md`. [`Writer`] makes it, [`Reader`] takes it in
//! pieces of any size, and [`settle()`] makes of a session that ran elsewhere one that is at rest here.
//! Nothing here reads or writes a file.
//!
//! Every line after the first begins with the SHA-256, in hex, of the line before's followed by the
//! rest of this line. So a line that was changed, moved, lost or added shows, whoever wrote it.

mod json;
mod reader;
mod settle;
#[cfg(test)]
pub(crate) mod tests;
mod writer;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

pub use reader::{Contents, NoArchive, Reader};
pub use settle::{Here, Source, last_model, moved, settle};
pub use writer::{Output, Writer};

/// The version of the form that is written, and the newest that is read.
pub const VERSION: u32 = 1;

/// Longest line that is read, in bytes.
pub const LINE_MAX: usize = 64 << 20;

/// What the first line says.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    /// Always "session".
    quire: String,
    version: u32,
    /// The session's name where it was.
    pub id: String,
    /// As lists showed it.
    #[serde(default)]
    pub title: String,
    /// Absolute directory where it worked.
    #[serde(default)]
    pub workspace: String,
    /// Milliseconds since the Unix epoch.
    #[serde(default)]
    pub exported_ms: i64,
    /// Version of the daemon that wrote it.
    #[serde(default)]
    pub daemon: String,
}

impl Header {
    /// The header of a file in today's form.
    #[must_use]
    pub fn new(id: String) -> Self {
        Self {
            quire: "session".to_owned(),
            version: VERSION,
            id,
            ..Self::default()
        }
    }
}

/// Bytes of a line before what is summed: `{"chain":"`, the sum, `",`.
const SUMMED_FROM: usize = 76;

/// The sum of all lines so far, as 64 hex digits.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Chain(String);

impl Chain {
    /// The sum of the first line, without its line end.
    fn start(line: &[u8]) -> Self {
        Self(hex(Sha256::digest(line).as_slice()))
    }

    /// The sum of the next line, of which `rest` is what follows the sum.
    fn next(&self, rest: &[u8]) -> Self {
        let digest = Sha256::new()
            .chain_update(&self.0)
            .chain_update(rest)
            .finalize();
        Self(hex(digest.as_slice()))
    }

    /// What a line with this sum begins with.
    fn opening(&self) -> String {
        format!("{{\"chain\":\"{}\",", self.0)
    }
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _never_fails = write!(text, "{byte:02x}");
        text
    })
}
