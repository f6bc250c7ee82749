//! `wire = "script"`: a model whose answers stand in a file, for the demo, for tests, and to replay
//! a session that someone reports.
//!
//! # The file
//!
//! TOML. Each `[[step]]` answers one sample:
//!
//! ```toml
//! tokens_per_second = 60         # for every step that says nothing else; without it text comes at once
//!
//! [[step]]
//! reasoning = "A test fails."    # thought before the words
//! say = "I look at the tests."   # the message
//! delay_ms = 300                 # silence before the first word
//! tokens_per_second = 20         # how fast text comes; a token is a word with the blanks before it
//!
//! [[step.call]]                  # any number of calls, made after the words
//! tool = "exec_command"
//! arguments = { cmd = "cargo test" }
//!
//! [[step.call]]
//! tool = "apply_patch"
//! input = "*** Begin Patch\n..." # free text instead of `arguments`
//!
//! [[step]]
//! fail = "429"                   # 429 | 500 | reset | garbage | credentials
//! times = 2                      # requests that fail so before the step is played; 1 by default
//! retry_after_ms = 50            # with 429: the wait asked for
//! say = "Done."                  # a step that only fails goes before the next one
//!
//! [[step]]
//! repeat = 3                     # the step three times; "{i}" in its texts becomes 0, 1, 2
//! say = "Once more, {i}."
//! ```
//!
//! # Which step is played
//!
//! That is read from the request alone: a step that makes calls is over when as many outcomes stand
//! in the conversation, one that only speaks when its message does. So a session goes on rightly
//! after a crash, and a second prompt in a session continues with the steps behind. Only failures
//! are counted outside, by whoever plays. When every step is over, a message says so, again and
//! again. A conversation that was compacted begins the script anew.

mod parse;
mod play;

use std::time::Duration;

use crate::pure::sample::{Delta, SampleError};

/// A script that was read without fault.
#[derive(Clone, Debug, PartialEq)]
pub struct Script {
    /// Never empty: the last one says that the script has ended.
    steps: Vec<Step>,
}

/// A fault in a script.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {message}")]
pub struct ScriptError {
    /// Counted from 1.
    pub line: usize,
    /// What is wrong there, and what would be right.
    pub message: String,
}

/// What becomes of one sample.
#[derive(Clone, Debug, PartialEq)]
pub struct Performance {
    /// In order.
    pub beats: Vec<Beat>,
    /// Comes after the beats; without it the last beat ends with [`Delta::Ended`].
    pub failure: Option<SampleError>,
}

/// Deltas that come together.
#[derive(Clone, Debug, PartialEq)]
pub struct Beat {
    /// Silence before them.
    pub wait: Duration,
    /// Never empty.
    pub deltas: Vec<Delta>,
}

#[derive(Clone, Debug, Default, PartialEq)]
struct Step {
    /// Each so often, before the step is played.
    failures: Vec<(Failure, u32)>,
    reasoning: String,
    say: String,
    calls: Vec<ScriptedCall>,
    delay: Duration,
    /// Between two tokens of text.
    pause: Duration,
}

#[derive(Clone, Debug, PartialEq)]
struct ScriptedCall {
    tool: String,
    written: Written,
}

#[derive(Clone, Debug, PartialEq)]
enum Written {
    Json(serde_json::Value),
    Freeform(String),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Failure {
    RateLimited { retry_after: Option<Duration> },
    ServerError,
    Reset,
    Garbage,
    Credentials,
}
