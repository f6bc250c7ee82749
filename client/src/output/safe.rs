//! Makes text harmless: after this no character acts on the terminal or hides from the reader.
//!
//! Control characters become their pictures (ESC is `␛`), what has no picture is written as
//! `<U+202E>`, and tabs become spaces. Nothing is ever left out, but for the colours and the
//! overwritten starts of lines in the output of commands ([`output_line`]).

use std::borrow::Cow;

use unicode_width::UnicodeWidthChar as _;

/// Columns between tab stops.
const TAB: usize = 4;

/// How closely the reader must see what is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Care {
    /// Text to read: joiners that scripts and emoji need stay as they are.
    Prose,
    /// Something to approve: every character that is blank or invisible, but for the plain space,
    /// is spelled out.
    Exact,
}

/// One line made safe. A line break inside it is shown as its picture.
pub(crate) fn line(text: &str, care: Care) -> Cow<'_, str> {
    if !text.chars().any(|c| unsafe_char(c, care)) {
        return Cow::Borrowed(text);
    }
    let mut safe = String::with_capacity(text.len() + 16);
    let mut column = 0;
    for c in text.chars() {
        let before = safe.len();
        match c {
            '\t' if care == Care::Prose => {
                safe.extend(std::iter::repeat_n(' ', TAB - column % TAB));
            }
            '\t' => safe.push('→'),
            _ if unsafe_char(c, care) => spell_out(&mut safe, c),
            _ => safe.push(c),
        }
        let added = safe[before..].chars();
        column += added.filter_map(|c| c.width()).sum::<usize>();
    }
    Cow::Owned(safe)
}

/// The lines of a text, each made safe. A final line break does not begin another line.
pub(crate) fn lines(text: &str, care: Care) -> impl Iterator<Item = Cow<'_, str>> {
    text.lines().map(move |text| line(text, care))
}

/// One line of a command's output as a terminal would end up showing it: colours are dropped and
/// what a carriage return overwrote is gone. Every other control character is shown.
pub(crate) fn output_line(text: &str) -> Cow<'_, str> {
    let text = text.strip_suffix('\r').unwrap_or(text);
    let text = text.rsplit('\r').next().unwrap_or(text);
    if !text.contains('\u{1b}') {
        return line(text, Care::Prose);
    }
    Cow::Owned(line(&without_colours(text), Care::Prose).into_owned())
}

/// Drops `ESC [ digits m`, the one sequence that programs write even to files.
fn without_colours(text: &str) -> String {
    let mut kept = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("\u{1b}[") {
        let (before, sequence) = rest.split_at(at);
        kept.push_str(before);
        let body = &sequence[2..];
        let end = body.find(|c: char| !(c.is_ascii_digit() || c == ';' || c == ':'));
        match end {
            Some(end) if body[end..].starts_with('m') => rest = &body[end + 1..],
            _ => {
                kept.push_str("\u{1b}[");
                rest = body;
            }
        }
    }
    kept.push_str(rest);
    kept
}

/// A text of several lines made safe where it is read as it comes: line ends and tabs stay, and the
/// carriage returns that programs write before line ends are dropped.
pub(crate) fn text(text: &str) -> Cow<'_, str> {
    let kept = |c: char| matches!(c, '\n' | '\t');
    if !text
        .chars()
        .any(|c| !kept(c) && unsafe_char(c, Care::Prose))
    {
        return Cow::Borrowed(text);
    }
    let mut safe = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        match c {
            '\r' => {}
            _ if !kept(c) && unsafe_char(c, Care::Prose) => spell_out(&mut safe, c),
            _ => safe.push(c),
        }
    }
    Cow::Owned(safe)
}

fn unsafe_char(c: char, care: Care) -> bool {
    match c {
        ' '..='~' => false,
        // Zero-width joiner and non-joiner, and the selector of the emoji form.
        '\u{200c}' | '\u{200d}' | '\u{fe0f}' => care == Care::Exact,
        _ if c.is_control() || is_invisible(c) => true,
        _ if care == Care::Exact => c.is_whitespace() || c.width() == Some(0),
        _ => false,
    }
}

/// Characters that reorder what follows, break lines, or show nothing at all.
fn is_invisible(c: char) -> bool {
    matches!(c,
        '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}'
        | '\u{180b}'..='\u{180f}' | '\u{200b}' | '\u{200e}' | '\u{200f}'
        | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{feff}'
        | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}' | '\u{1d173}'..='\u{1d17a}'
        | '\u{e0000}'..='\u{e0fff}')
}

fn spell_out(safe: &mut String, c: char) {
    match c {
        '\0'..='\x1f' => safe.extend(char::from_u32(0x2400 + u32::from(c))),
        '\x7f' => safe.push('␡'),
        _ => safe.push_str(&format!("<U+{:04X}>", u32::from(c))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_acts_on_the_terminal() {
        let table = [
            ("plain Grüße 日本", "plain Grüße 日本"),
            ("\x1b]0;title\x07", "␛]0;title␇"),
            ("\x1b]52;c;aGk=\x1b\\", "␛]52;c;aGk=␛\\"),
            ("a\u{9b}31mb", "a<U+009B>31mb"),
            ("rm \u{202e}fdp.exe", "rm <U+202E>fdp.exe"),
            ("a\u{2066}b\u{200b}c\u{feff}", "a<U+2066>b<U+200B>c<U+FEFF>"),
            ("one\ntwo\r", "one␊two␍"),
            ("a\u{2028}b\x7f\0", "a<U+2028>b␡␀"),
            ("\tx", "    x"),
            ("abc\tx", "abc x"),
            ("日\tx", "日  x"),
            ("👩\u{200d}🔬", "👩\u{200d}🔬"),
        ];
        for (text, want) in table {
            assert_eq!(line(text, Care::Prose), want, "for {text:?}");
        }
    }

    #[test]
    fn what_is_approved_hides_nothing() {
        let table = [
            ("rm -rf\u{a0}/", "rm -rf<U+00A0>/"),
            ("a\u{200d}b", "a<U+200D>b"),
            ("a\tb", "a→b"),
            ("e\u{301}", "e<U+0301>"),
            ("plain é", "plain é"),
        ];
        for (text, want) in table {
            assert_eq!(line(text, Care::Exact), want, "for {text:?}");
        }
    }

    #[test]
    fn output_loses_colours_and_overwritten_text_and_nothing_else() {
        let table = [
            ("\x1b[1;32mok\x1b[0m done", "ok done"),
            ("10%\r50%\r100%", "100%"),
            ("crlf\r", "crlf"),
            ("\x1b[2Jgone", "␛[2Jgone"),
            ("\x1b[31", "␛[31"),
            ("\x1b\x1b[mx", "␛x"),
        ];
        for (text, want) in table {
            assert_eq!(output_line(text), want, "for {text:?}");
        }
    }
}
