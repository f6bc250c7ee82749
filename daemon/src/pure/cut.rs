//! Long output, cut in the middle: the beginning and the end are what a reader needs.

use std::collections::VecDeque;

/// Takes output of any length and keeps its beginning and its end.
///
/// Never holds more than its budget, however much comes.
#[derive(Clone, Debug)]
pub struct Cut {
    /// Most bytes kept at the beginning; as many at the end.
    half: usize,
    head: Vec<u8>,
    tail: VecDeque<u8>,
    /// Bytes and line ends left out between the two.
    left_out: Amount,
    total: Amount,
}

/// How much output.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Amount {
    bytes: u64,
    lines: u64,
}

impl Amount {
    fn add(&mut self, byte: u8) {
        self.bytes += 1;
        self.lines += u64::from(byte == b'\n');
    }
}

impl Cut {
    /// Keeps at most `budget` bytes.
    #[must_use]
    pub fn new(budget: usize) -> Self {
        Self {
            half: (budget / 2).max(1),
            head: Vec::new(),
            tail: VecDeque::new(),
            left_out: Amount::default(),
            total: Amount::default(),
        }
    }

    /// Takes more.
    pub fn push(&mut self, bytes: &[u8]) {
        self.total.bytes += bytes.len() as u64;
        self.total.lines += bytes.iter().filter(|byte| **byte == b'\n').count() as u64;
        let (first, rest) = bytes.split_at(bytes.len().min(self.half - self.head.len()));
        self.head.extend_from_slice(first);
        // What would not stay anyway is not queued up first.
        let (passing, rest) = rest.split_at(rest.len().saturating_sub(self.half));
        let surplus = match passing {
            [] => (self.tail.len() + rest.len()).saturating_sub(self.half),
            _ => self.tail.len(),
        };
        for byte in self.tail.drain(..surplus) {
            self.left_out.add(byte);
        }
        passing.iter().for_each(|byte| self.left_out.add(*byte));
        self.tail.extend(rest);
    }

    /// Counts bytes that came but can't be had any more.
    pub fn skip(&mut self, bytes: u64) {
        for byte in self.tail.drain(..) {
            self.left_out.add(byte);
        }
        self.left_out.bytes += bytes;
        self.total.bytes += bytes;
    }

    /// Bytes that came in all.
    #[must_use]
    pub fn total_bytes(&self) -> u64 {
        self.total.bytes
    }

    /// The text, with a line in the middle that says what is left out. Bytes that are not UTF-8
    /// become U+FFFD; no character is cut in two.
    #[must_use]
    pub fn text(&self) -> String {
        let tail: Vec<u8> = self.tail.iter().copied().collect();
        if self.left_out.bytes == 0 {
            return String::from_utf8_lossy(&[self.head.as_slice(), &tail].concat()).into_owned();
        }
        let head = &self.head[..whole_end(&self.head)];
        let tail_start = whole_start(&tail);
        let lost = (self.head.len() - head.len() + tail_start) as u64;
        let (bytes, total) = (self.left_out.bytes + lost, self.total);
        let lines = match self.left_out.lines {
            0 => String::new(),
            lines => format!("{lines} lines, "),
        };
        format!(
            "{}\n[... {lines}{bytes} bytes left out of {} lines, {} bytes ...]\n{}",
            String::from_utf8_lossy(head),
            total.lines,
            total.bytes,
            String::from_utf8_lossy(&tail[tail_start..]),
        )
    }
}

/// Cuts `text` to at most about `budget` bytes in the middle.
#[must_use]
pub fn cut(text: &str, budget: usize) -> String {
    let mut cut = Cut::new(budget);
    cut.push(text.as_bytes());
    cut.text()
}

/// Where the last whole character ends.
fn whole_end(bytes: &[u8]) -> usize {
    let continued = bytes
        .iter()
        .rev()
        .take(3)
        .take_while(|byte| is_continuation(**byte))
        .count();
    let Some(first) = bytes.len().checked_sub(continued + 1) else {
        return bytes.len();
    };
    let length = match bytes[first] {
        0xf0.. => 4,
        0xe0.. => 3,
        0xc0.. => 2,
        _ => 1,
    };
    if first + length > bytes.len() {
        first
    } else {
        bytes.len()
    }
}

/// Where the first whole character starts.
fn whole_start(bytes: &[u8]) -> usize {
    bytes
        .iter()
        .take(3)
        .take_while(|byte| is_continuation(**byte))
        .count()
}

fn is_continuation(byte: u8) -> bool {
    byte & 0xc0 == 0x80
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_fits_is_unchanged() {
        for text in ["", "a", "äöü", "0123456789"] {
            assert_eq!(cut(text, 10), text);
        }
    }

    #[test]
    fn the_middle_is_left_out_and_counted() {
        let text = "one\ntwo\nthree\nfour\nfive\n";
        let want = "one\n\n[... 3 lines, 16 bytes left out of 5 lines, 24 bytes ...]\nive\n";
        assert_eq!(cut(text, 8), want);
    }

    #[test]
    fn no_character_is_cut_in_two() {
        let text = "aää€€€€öö";
        for budget in 2..text.len() {
            assert!(!cut(text, budget).contains('\u{fffd}'), "at {budget}");
        }
    }

    #[test]
    fn bytes_gone_from_disk_are_counted() {
        let mut cut = Cut::new(8);
        cut.push(b"abcdef");
        cut.skip(100);
        cut.push(b"xyz");
        assert_eq!(
            cut.text(),
            "abcd\n[... 102 bytes left out of 0 lines, 109 bytes ...]\nxyz"
        );
        assert_eq!(cut.total_bytes(), 109);
    }

    proptest! {
        #[test]
        fn pieces_make_no_difference(text in ".{0,200}", budget in 2usize..80, step in 1usize..50) {
            let mut whole = Cut::new(budget);
            whole.push(text.as_bytes());
            let mut pieces = Cut::new(budget);
            for piece in text.as_bytes().chunks(step) {
                pieces.push(piece);
            }
            prop_assert_eq!(whole.text(), pieces.text());
            prop_assert!(pieces.head.len() + pieces.tail.len() <= budget);
            let kept = (pieces.head.len() + pieces.tail.len()) as u64;
            prop_assert_eq!(kept + pieces.left_out.bytes, text.len() as u64);
        }
    }
}
