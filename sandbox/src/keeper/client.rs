//! One connection to a keeper, never waited for.

use std::io::{self, Read, Write};
use std::os::{
    fd::{AsFd, BorrowedFd},
    unix::net::UnixStream,
};

use quire_sandbox::wire::{Decoder, Event, Request};
use rustix::event::PollFlags;

/// Most bytes of answers that wait for a client before it is no longer listened to.
const MOST_WAITING: usize = 64 << 10;

/// Someone connected.
#[derive(Debug)]
pub(crate) struct Client {
    stream: UnixStream,
    decoder: Decoder,
    waiting: Vec<u8>,
    /// How much output it was told of.
    told: u64,
    gone: bool,
}

impl Client {
    /// Takes over a connection.
    pub(crate) fn new(stream: UnixStream, decoder: Decoder) -> io::Result<Self> {
        stream.set_nonblocking(true)?;
        Ok(Self {
            stream,
            decoder,
            waiting: Vec::new(),
            told: 0,
            gone: false,
        })
    }

    /// What to wait for.
    pub(crate) fn interest(&self, may_ask: bool) -> PollFlags {
        let mut flags = PollFlags::empty();
        flags.set(PollFlags::OUT, !self.waiting.is_empty());
        flags.set(PollFlags::IN, may_ask && self.waiting.len() < MOST_WAITING);
        flags
    }

    pub(crate) fn is_gone(&self) -> bool {
        self.gone
    }

    pub(crate) fn descriptor(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }

    /// Takes in what came.
    pub(crate) fn receive(&mut self) {
        let mut bytes = [0; 4096];
        match self.stream.read(&mut bytes) {
            Ok(0) => self.gone = true,
            Ok(count) => self.decoder.feed(&bytes[..count]),
            Err(error)
                if error.kind() == io::ErrorKind::WouldBlock
                    || error.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => self.gone = true,
        }
    }

    /// The next whole request, with its id if it has one. One that can't be understood ends the
    /// connection.
    pub(crate) fn request(&mut self) -> Option<(Option<Vec<u8>>, Request)> {
        let request = self
            .decoder
            .next_frame()
            .and_then(|frame| frame.as_ref().map(Request::decode).transpose());
        request.unwrap_or_else(|_| {
            self.gone = true;
            None
        })
    }

    /// Sends, as far as it goes now.
    pub(crate) fn tell(&mut self, event: &Event) {
        self.waiting.extend(event.encode());
        self.flush();
    }

    /// Tells how much output there is, unless the last such word has not been taken yet: then
    /// [`flush`](Self::flush) is followed by the newest.
    pub(crate) fn tell_output(&mut self, total: u64) {
        if self.told < total && self.waiting.is_empty() {
            self.told = total;
            self.tell(&Event::Grew(total));
        }
    }

    /// Sends what waits, as far as it goes.
    pub(crate) fn flush(&mut self) {
        while !self.waiting.is_empty() {
            match self.stream.write(&self.waiting) {
                Ok(count) => drop(self.waiting.drain(..count)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => {
                    self.gone = true;
                    return;
                }
            }
        }
    }
}
