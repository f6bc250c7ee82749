//! Where lines of a patch occur in a file, from exactly to loosely.
//!
//! Each [`Pass`] maps a line to a key; lines with equal keys are equal in that pass. Keys are
//! numbered once per file and pass, so that a search compares numbers, and starts from the rarest
//! of its lines: many chunks on a large file stay about linear.

use std::{borrow::Cow, collections::HashMap};

use icu_normalizer::ComposingNormalizerBorrowed;

use super::text::{Encoding, Text};

/// How alike two lines must be. In the order they are tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Pass {
    /// Byte for byte.
    Exact,
    /// But for blanks at the end.
    TrailingBlanks,
    /// But for blanks at both ends.
    Indentation,
    /// Also but for the kind of dash, quote and blank, and for composed characters.
    Punctuation,
}

impl Pass {
    pub(super) const ALL: [Self; 4] = [
        Self::Exact,
        Self::TrailingBlanks,
        Self::Indentation,
        Self::Punctuation,
    ];
}

/// Lines of a file by their keys, built as passes need them.
pub(super) struct Seeker<'a> {
    text: &'a Text<'a>,
    indexes: [Option<Index>; Pass::ALL.len()],
}

struct Index {
    numbers: HashMap<Vec<u8>, u32>,
    /// The number of each line.
    lines: Vec<u32>,
    /// The lines of each number, ascending.
    places: Vec<Vec<usize>>,
}

impl<'a> Seeker<'a> {
    pub(super) fn new(text: &'a Text<'a>) -> Self {
        Self {
            text,
            indexes: [const { None }; Pass::ALL.len()],
        }
    }

    /// All places where `wanted` begins, ascending. `wanted` is not empty.
    pub(super) fn hits(&mut self, wanted: &[&str], pass: Pass) -> Vec<usize> {
        let encoding = self.text.encoding;
        let index = self.index(pass);
        let numbers: Option<Vec<u32>> = wanted
            .iter()
            .map(|line| {
                let bytes = encoding.encode(line).ok()?;
                let key = key(&bytes, encoding, pass);
                index.numbers.get(key.as_ref()).copied()
            })
            .collect();
        let Some(numbers) = numbers else {
            return Vec::new();
        };
        let rarest = (0..numbers.len()).min_by_key(|&i| index.places[numbers[i] as usize].len());
        let Some(rarest) = rarest else {
            return Vec::new();
        };
        index.places[numbers[rarest] as usize]
            .iter()
            .filter_map(|place| place.checked_sub(rarest))
            .filter(|&start| index.lines[start..].starts_with(&numbers))
            .collect()
    }

    /// Lines of the file whose key is that of `wanted`.
    pub(super) fn lines_like(&mut self, wanted: &str, pass: Pass) -> Vec<usize> {
        self.hits(&[wanted], pass)
    }

    fn index(&mut self, pass: Pass) -> &Index {
        let text = self.text;
        self.indexes[pass as usize].get_or_insert_with(|| Index::new(text, pass))
    }
}

impl Index {
    fn new(text: &Text<'_>, pass: Pass) -> Self {
        let mut numbers = HashMap::new();
        let mut places: Vec<Vec<usize>> = Vec::new();
        let mut lines = Vec::with_capacity(text.lines.len());
        for (place, line) in text.lines.iter().enumerate() {
            let key = key(line.text, text.encoding, pass);
            let number = match numbers.get(key.as_ref()) {
                Some(&number) => number,
                None => {
                    // A file of more than 4 billion different lines is past what is read.
                    let number = places.len() as u32;
                    numbers.insert(key.into_owned(), number);
                    places.push(Vec::new());
                    number
                }
            };
            lines.push(number);
            places[number as usize].push(place);
        }
        Self {
            numbers,
            lines,
            places,
        }
    }
}

/// What must be equal in `pass`.
fn key(line: &[u8], encoding: Encoding, pass: Pass) -> Cow<'_, [u8]> {
    match pass {
        Pass::Exact => Cow::Borrowed(line),
        Pass::TrailingBlanks => Cow::Borrowed(trim_end(line)),
        Pass::Indentation => Cow::Borrowed(trim_start(trim_end(line))),
        Pass::Punctuation => {
            let text: String = encoding.decode(line).chars().map(plain).collect();
            let composed = ComposingNormalizerBorrowed::new_nfc().normalize(text.trim());
            Cow::Owned(composed.into_owned().into_bytes())
        }
    }
}

/// The blank, dash or quote on a keyboard that stands for a typographic one. An ellipsis is not
/// three dots: it has another length, and changing it is often the point of the edit.
fn plain(c: char) -> char {
    match c {
        '\u{2010}'..='\u{2015}' | '\u{2212}' | '\u{fe58}' | '\u{fe63}' | '\u{ff0d}' => '-',
        '\u{2018}'..='\u{201b}' => '\'',
        '\u{201c}'..='\u{201f}' => '"',
        '\u{a0}' | '\u{2000}'..='\u{200a}' | '\u{202f}' | '\u{205f}' | '\u{3000}' => ' ',
        other => other,
    }
}

/// `line` without the blanks at its end. In a line that is not UTF-8 only ASCII counts as blank.
pub(super) fn trim_end(line: &[u8]) -> &[u8] {
    match std::str::from_utf8(line) {
        Ok(text) => text.trim_end().as_bytes(),
        Err(_) => line.trim_ascii_end(),
    }
}

fn trim_start(line: &[u8]) -> &[u8] {
    match std::str::from_utf8(line) {
        Ok(text) => text.trim_start().as_bytes(),
        Err(_) => line.trim_ascii_start(),
    }
}

/// The tabs and spaces a line begins with, or `None` for a blank line.
pub(super) fn indentation(line: &[u8]) -> Option<&[u8]> {
    let length = line
        .iter()
        .take_while(|byte| matches!(byte, b' ' | b'\t'))
        .count();
    (!trim_end(line).is_empty()).then(|| &line[..length])
}
