//! A file that is hashed as it is read: what was shown of it and what it is known by are the same bytes.

use std::{
    fs::File,
    io::{self, Read},
};

use sha2::{Digest, Sha256};

use super::KEPT_FILE;
use crate::pure::transcript::seen::Fingerprint;

/// Largest file that is read to its end only to know it, in bytes.
const KNOWN: u64 = 16 << 20;

/// A reader that remembers what passed through it.
pub struct Hashed {
    file: File,
    /// As it was opened, in bytes.
    length: u64,
    /// Bytes read so far.
    read: u64,
    /// `None` for a file too large to be known.
    hash: Option<Sha256>,
    /// All of it, while it is small enough to be kept.
    bytes: Vec<u8>,
}

/// A content that was read to its end.
pub struct Shown {
    /// Names it.
    pub content: Fingerprint,
    /// All of it if it can be kept, else its beginning.
    pub bytes: Vec<u8>,
}

impl Hashed {
    /// Reads `file`, which stands at its beginning.
    ///
    /// # Errors
    ///
    /// When the system cannot tell how large it is.
    pub fn new(file: File) -> io::Result<Self> {
        let length = file.metadata()?.len();
        Ok(Self {
            file,
            length,
            read: 0,
            hash: (length <= KNOWN).then(Sha256::new),
            bytes: Vec::new(),
        })
    }

    /// Bytes the file had when it was opened.
    #[must_use]
    pub fn length(&self) -> u64 {
        self.length
    }

    /// Reads to the end. `None` when the file is larger than 16 MiB, or is made up by the kernel as it is
    /// read: such a content is not there to be compared with.
    ///
    /// # Errors
    ///
    /// When it cannot be read on.
    pub fn finish(mut self) -> io::Result<Option<Shown>> {
        if self.hash.is_some() {
            // Not for ever, if it grows as fast as it is read.
            let left = (KNOWN + 1).saturating_sub(self.read);
            io::copy(&mut self.by_ref().take(left), &mut io::sink())?;
        }
        let made_up = self.read < self.length || (self.length == 0 && self.read > 0);
        let hash = self.hash.filter(|_| !made_up);
        Ok(hash.map(|hash| Shown {
            content: hash.finalize().into(),
            bytes: self.bytes,
        }))
    }
}

impl Read for Hashed {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.file.read(buffer)?;
        let new = &buffer[..count];
        self.read += count as u64;
        if self.read > KNOWN {
            self.hash = None;
        }
        if let Some(hash) = &mut self.hash {
            hash.update(new);
            // One byte more than is kept tells a whole content from a beginning.
            let room = (KEPT_FILE + 1).saturating_sub(self.bytes.len());
            self.bytes.extend_from_slice(&new[..count.min(room)]);
        }
        Ok(count)
    }
}
