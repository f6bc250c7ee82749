//! The person's end: screen, keys and signals. One for as long as the terminal is taken, whatever is shown
//! on it meanwhile.

use std::time::{SystemTime, UNIX_EPOCH};

use crossterm::event::{Event, EventStream};
use futures_util::StreamExt as _;
use rustix::process::Signal as Number;
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::terminal::Screen;
use crate::failure::{Exit, Failure};

/// The terminal, taken over. It is given back when this is dropped.
pub(super) struct Console {
    /// What is drawn on.
    pub(super) screen: Screen,
    events: EventStream,
    signals: Signals,
}

/// What came from the person or from their terminal.
pub(super) enum Sign {
    /// A key, a paste, a new size, the focus.
    Event(Event),
    /// The terminal is gone, as after a hang-up.
    Gone,
    /// A signal asks for the end: its number.
    End(i32),
    /// The process goes on after it was stopped: the terminal may be as someone else left it.
    Continued,
}

impl Console {
    /// Takes the terminal over.
    ///
    /// # Errors
    ///
    /// When there is none, or it can't be used.
    pub(super) fn open() -> Result<Self, Failure> {
        let signals = Signals::listen()?;
        Ok(Self {
            screen: Screen::open()?,
            events: EventStream::new(),
            signals,
        })
    }

    /// The next sign. Dropping the future loses nothing.
    pub(super) async fn next(&mut self) -> Sign {
        tokio::select! {
            biased;
            sign = self.signals.next() => sign,
            event = self.events.next() => match event {
                Some(Ok(event)) => Sign::Event(event),
                Some(Err(_)) | None => Sign::Gone,
            },
        }
    }
}

/// Signals that the client acts on.
struct Signals {
    term: Signal,
    hangup: Signal,
    interrupt: Signal,
    quit: Signal,
    go_on: Signal,
}

impl Signals {
    fn listen() -> Result<Self, Failure> {
        let listen = |kind| {
            signal(kind).map_err(|error| {
                Failure::new(Exit::Failed, format!("cannot listen for signals: {error}"))
            })
        };
        Ok(Self {
            term: listen(SignalKind::terminate())?,
            hangup: listen(SignalKind::hangup())?,
            interrupt: listen(SignalKind::interrupt())?,
            quit: listen(SignalKind::quit())?,
            go_on: listen(SignalKind::from_raw(Number::CONT.as_raw()))?,
        })
    }

    async fn next(&mut self) -> Sign {
        let kind = tokio::select! {
            _ = self.term.recv() => SignalKind::terminate(),
            _ = self.hangup.recv() => SignalKind::hangup(),
            _ = self.interrupt.recv() => SignalKind::interrupt(),
            _ = self.quit.recv() => SignalKind::quit(),
            _ = self.go_on.recv() => return Sign::Continued,
        };
        Sign::End(kind.as_raw_value())
    }
}

/// Milliseconds since the Unix epoch.
pub(super) fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| {
        i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
    })
}
