//! What the scripted model answers, and how it fails.

use std::{
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use quire_proto::id::JobId;
use serde_json::Value;
use tokio::sync::watch;

use crate::wait::PATIENCE;

/// One answer of the model: text and calls in order.
#[derive(Clone, Debug, Default)]
pub struct Reply {
    pub(super) parts: Vec<Part>,
    pub(super) fault: Option<(Fault, usize)>,
    pub(super) delivery: Delivery,
    pub(super) cached_tokens: u64,
}

/// A piece of an answer, before it is put into a wire format.
#[derive(Clone, Debug)]
pub(super) enum Part {
    /// Text, streamed piece by piece.
    Say(Vec<String>),
    /// A shell command, by whatever tool of the request runs one; other arguments as given.
    Shell(String, Value),
    /// A file, by whatever tool of the request reads one.
    Read(String),
    /// A patch, by the request's `apply_patch`, freeform or not.
    Patch(String),
    /// A call by name.
    Call(String, Value),
    /// Nothing more is sent until the gate opens.
    Hold(Gate),
}

/// How the bytes of an answer are sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Delivery {
    /// A chunk for each event.
    #[default]
    Events,
    /// A chunk for each byte.
    Bytes,
    /// Every event twice.
    Twice,
    /// That many events in a chunk.
    Batches(usize),
    /// A chunk for each event, and this long between them.
    Paced(Duration),
}

/// A way to fail, instead of an answer or in the middle of one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// This status, with `Retry-After` in seconds if given, and an error body as providers write it.
    Status(u16, Option<u64>),
    /// A 200 with a page of HTML.
    Html,
    /// The connection is reset in the middle of the answer.
    Reset,
    /// The answer ends properly in the middle, without its terminal event.
    Cut,
    /// Silence in the middle of the answer.
    Stall,
    /// A line that is no JSON in the middle of an otherwise whole answer.
    GarbageLine,
    /// Nothing at all after the request.
    NoHeaders,
}

impl Reply {
    /// An answer of this text, in pieces of one word.
    #[must_use]
    pub fn say(text: &str) -> Self {
        Self::default().and_say(text)
    }

    /// An answer that runs this shell command.
    #[must_use]
    pub fn shell(command: &str) -> Self {
        Self::default().and_shell(command)
    }

    /// An answer that applies this patch.
    #[must_use]
    pub fn patch(patch: &str) -> Self {
        Self::default().and(Part::Patch(patch.to_owned()))
    }

    /// An answer that reads this file.
    #[must_use]
    pub fn read(path: &str) -> Self {
        Self::default().and(Part::Read(path.to_owned()))
    }

    /// An answer that calls this tool. `{job}` in the arguments becomes the newest job that an
    /// outcome has named.
    #[must_use]
    pub fn call(tool: &str, arguments: Value) -> Self {
        Self::default().and(Part::Call(tool.to_owned(), arguments))
    }

    /// An answer of so many one-token pieces.
    #[must_use]
    pub fn tokens(count: usize) -> Self {
        Self::default().and(Part::Say((0..count).map(token).collect()))
    }

    /// Then says this.
    #[must_use]
    pub fn and_say(self, text: &str) -> Self {
        let pieces = text.split_inclusive(' ').map(str::to_owned).collect();
        self.and(Part::Say(pieces))
    }

    /// Then runs this shell command, side by side with the calls before it.
    #[must_use]
    pub fn and_shell(self, command: &str) -> Self {
        self.and(Part::Shell(command.to_owned(), Value::Null))
    }

    /// Then runs this shell command with further arguments, an object.
    #[must_use]
    pub fn and_shell_with(self, command: &str, arguments: Value) -> Self {
        self.and(Part::Shell(command.to_owned(), arguments))
    }

    /// Then sends nothing until the gate opens.
    #[must_use]
    pub fn and_hold(self, gate: &Gate) -> Self {
        self.and(Part::Hold(gate.clone()))
    }

    /// Fails the first `times` requests for this answer like so.
    #[must_use]
    pub fn failing(mut self, fault: Fault, times: usize) -> Self {
        self.fault = Some((fault, times));
        self
    }

    /// Sends every byte alone.
    #[must_use]
    pub fn byte_by_byte(mut self) -> Self {
        self.delivery = Delivery::Bytes;
        self
    }

    /// Sends every event twice.
    #[must_use]
    pub fn twice(mut self) -> Self {
        self.delivery = Delivery::Twice;
        self
    }

    /// Sends so many events in a chunk.
    #[must_use]
    pub fn in_batches(mut self, events: usize) -> Self {
        self.delivery = Delivery::Batches(events.max(1));
        self
    }

    /// Waits this long before each event.
    #[must_use]
    pub fn paced(mut self, pause: Duration) -> Self {
        self.delivery = Delivery::Paced(pause);
        self
    }

    /// Says that so many of the input tokens came from the provider's cache.
    #[must_use]
    pub fn cached(mut self, tokens: u64) -> Self {
        self.cached_tokens = tokens;
        self
    }

    /// With `{job}` in its calls replaced.
    pub(super) fn naming(&self, job: Option<&JobId>) -> Self {
        let name = job.map_or("no-job", JobId::as_str);
        let mut reply = self.clone();
        for part in &mut reply.parts {
            if let Part::Call(_, arguments) = part {
                let text = arguments.to_string().replace("{job}", name);
                *arguments = serde_json::from_str(&text).unwrap_or_default();
            }
        }
        reply
    }

    /// All of its text.
    #[must_use]
    pub fn text(&self) -> String {
        let says = self.parts.iter().filter_map(|part| match part {
            Part::Say(pieces) => Some(pieces.concat()),
            _ => None,
        });
        says.collect()
    }

    /// Calls it makes.
    pub(super) fn calls(&self) -> usize {
        let not_calls = |part: &&Part| matches!(part, Part::Say(_) | Part::Hold(_));
        self.parts.len() - self.parts.iter().filter(not_calls).count()
    }

    fn and(mut self, part: Part) -> Self {
        self.parts.push(part);
        self
    }
}

/// A short word, a line break now and then: the same for the same number.
fn token(number: usize) -> String {
    const SYLLABLES: [&str; 8] = ["ba", "co", "di", "fu", "ge", "ho", "ja", "ki"];
    let pick = |shift: usize| SYLLABLES[(number.wrapping_mul(2_654_435_761) >> shift) % 8];
    let end = if number % 16 == 15 { "\n" } else { " " };
    format!("{}{}{end}", pick(7), pick(13))
}

/// Holds an answer in mid-stream until the test says so.
#[derive(Clone, Debug)]
pub struct Gate {
    open: watch::Sender<bool>,
    reached: Arc<(Mutex<usize>, Condvar)>,
}

impl Gate {
    /// A closed one.
    #[must_use]
    pub fn closed() -> Self {
        Self {
            open: watch::Sender::new(false),
            reached: Arc::default(),
        }
    }

    /// Lets answers pass, now and from now on.
    pub fn open(&self) {
        self.open.send_replace(true);
    }

    /// Waits until an answer has come to this gate.
    ///
    /// # Panics
    ///
    /// When none comes in time.
    pub fn wait_reached(&self) {
        self.wait_reached_times(1);
    }

    /// Waits until so many answers have come to this gate.
    ///
    /// # Panics
    ///
    /// When they don't come in time.
    pub fn wait_reached_times(&self, times: usize) {
        let (reached, _) = self
            .reached
            .1
            .wait_timeout_while(self.lock(), PATIENCE, |reached| *reached < times)
            .unwrap_or_else(PoisonError::into_inner);
        assert!(*reached >= times, "no answer of the model came to the gate");
    }

    pub(super) async fn pass(&self) {
        *self.lock() += 1;
        self.reached.1.notify_all();
        // The sender lives as long as this gate does, so this can't fail.
        let _ = self.open.subscribe().wait_for(|open| *open).await;
    }

    fn lock(&self) -> MutexGuard<'_, usize> {
        self.reached
            .0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}
