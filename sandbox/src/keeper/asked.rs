//! What clients ask of a keeper, each once.

use std::{
    collections::VecDeque,
    path::Path,
    time::{Duration, Instant},
};

use quire_sandbox::{
    record::{self, JOB_FILE, JobRecord},
    spec::{Label, Lifetime, Size},
    wire::{Event, IDS, Order, Request},
};
use rustix::termios::{Winsize, tcsetwinsize};

use super::Keeper;

/// The ids of what was carried out, the newest last.
#[derive(Debug, Default)]
pub(super) struct Asked(VecDeque<Vec<u8>>);

impl Asked {
    fn knows(&self, id: &[u8]) -> bool {
        self.0.iter().any(|known| known == id)
    }

    fn remember(&mut self, id: Vec<u8>) {
        if self.0.len() == IDS {
            self.0.pop_front();
        }
        self.0.push_back(id);
    }
}

impl Keeper {
    /// Carries out all that a client has asked.
    pub(super) fn answer(&mut self, index: usize) {
        while let Some((id, request)) = self.clients[index].request() {
            let answer = match id {
                Some(id) if self.asked.knows(&id) => Event::Done,
                id => {
                    let answer = self.carry_out(request, index);
                    // What was denied may be asked again.
                    if let (Some(id), Event::Done) = (id, &answer) {
                        self.asked.remember(id);
                    }
                    answer
                }
            };
            self.clients[index].tell(&answer);
        }
    }

    fn carry_out(&mut self, request: Request, index: usize) -> Event {
        match request {
            Request::Write(_) if !self.input.is_open() => {
                Event::Denied("its standard input is closed".to_owned())
            }
            Request::Write(bytes) => {
                self.input.write(&bytes);
                Event::Done
            }
            Request::Order(order) => {
                let carried_out = self.obey(order, index);
                carried_out.map_or_else(Event::Denied, |()| Event::Done)
            }
        }
    }

    fn obey(&mut self, order: Order, index: usize) -> Result<(), String> {
        match order {
            Order::Status => {
                let (started, grew) = (self.started(), Event::Grew(self.output.total()));
                self.clients[index].tell(&started);
                self.clients[index].tell(&grew);
            }
            Order::CloseStdin => self.input.close(),
            Order::Resize(size) => self.resize(size)?,
            Order::Signal(signal) => match u8::try_from(signal) {
                Ok(signal @ 1..=64) => self.signal(signal),
                _ => return Err(format!("there is no signal {signal}")),
            },
            Order::Detach { ms } => self.detach(Duration::from_millis(ms))?,
            Order::Stop => self.stop(),
        }
        Ok(())
    }

    fn resize(&self, size: Size) -> Result<(), String> {
        let terminal = self.input.terminal();
        let terminal = terminal.ok_or_else(|| "it has no terminal".to_owned())?;
        let size = Winsize {
            ws_row: size.rows,
            ws_col: size.columns,
            ws_xpixel: 0,
            ws_ypixel: 0,
        };
        tcsetwinsize(terminal, size).map_err(|error| format!("cannot resize the terminal: {error}"))
    }

    /// Written down before it holds: a daemon to come must not take it for its session's.
    fn detach(&mut self, most: Duration) -> Result<(), String> {
        let job = JobRecord {
            label: Label {
                lifetime: Lifetime::Detached,
                ..self.job.label.clone()
            },
            ..self.job.clone()
        };
        record::write(Path::new("."), JOB_FILE, &job)
            .map_err(|error| format!("cannot write down that it is detached: {error}"))?;
        self.job = job;
        // A limit so far away that no clock reaches it is none.
        let wall = Instant::now().checked_add(most);
        self.stop.wall = [self.stop.wall, wall].into_iter().flatten().min();
        Ok(())
    }
}
