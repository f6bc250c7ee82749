//! What a command will read, held until it does.

use std::{
    collections::VecDeque,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
};

use rustix::io::Errno;

/// Most bytes that wait for the command before nobody is listened to any more.
const MOST_WAITING: usize = 1 << 20;
/// What ends the input of a terminal: the character, since a terminal can't be closed.
const END_OF_INPUT: u8 = 4;

/// Our end of a command's standard input.
#[derive(Debug)]
pub(crate) struct Input {
    descriptor: Option<OwnedFd>,
    waiting: VecDeque<u8>,
    /// To be closed when nothing waits any more.
    closing: bool,
}

impl Input {
    /// `None` for a command that reads nothing. The descriptor does not block.
    pub(crate) fn new(descriptor: Option<OwnedFd>) -> Self {
        Self {
            descriptor,
            waiting: VecDeque::new(),
            closing: false,
        }
    }

    /// False when nothing can be written any more.
    pub(crate) fn is_open(&self) -> bool {
        self.descriptor.is_some() && !self.closing
    }

    /// True while the command reads too slowly.
    pub(crate) fn is_full(&self) -> bool {
        self.waiting.len() >= MOST_WAITING
    }

    /// The descriptor, while something waits to be written to it.
    pub(crate) fn wants_room(&self) -> Option<BorrowedFd<'_>> {
        self.descriptor
            .as_ref()
            .filter(|_| !self.waiting.is_empty())
            .map(AsFd::as_fd)
    }

    /// The terminal, if that is what it is.
    pub(crate) fn terminal(&self) -> Option<&OwnedFd> {
        self.descriptor
            .as_ref()
            .filter(|descriptor| rustix::termios::isatty(descriptor))
    }

    /// Takes bytes for the command.
    pub(crate) fn write(&mut self, bytes: &[u8]) {
        self.waiting.extend(bytes);
        self.feed();
    }

    /// Ends the input, after what waits.
    pub(crate) fn close(&mut self) {
        match self.terminal() {
            Some(_) => self.waiting.push_back(END_OF_INPUT),
            None => self.closing = true,
        }
        self.feed();
    }

    /// Gives the command what it can take now.
    pub(crate) fn feed(&mut self) {
        while let (Some(descriptor), (part @ [_, ..], _)) =
            (&self.descriptor, self.waiting.as_slices())
        {
            match rustix::io::write(descriptor, part) {
                Ok(count) => drop(self.waiting.drain(..count)),
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return,
                // The command closed its input.
                Err(_) => self.drop_all(),
            }
        }
        if self.closing {
            self.drop_all();
        }
    }

    fn drop_all(&mut self) {
        self.descriptor = None;
        self.waiting.clear();
    }
}
