//! Colour for text output, and what keeps foreign text from playing with the terminal.

use std::borrow::Cow;

use super::safe;

/// Paints, or leaves text as it is.
#[derive(Clone, Copy, Debug, Default)]
pub struct Paint {
    /// False for files, pipes and `NO_COLOR`.
    pub colour: bool,
}

/// What a piece of text is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ink {
    /// Stands out.
    Bold,
    /// Stands back.
    Dim,
    /// Went wrong, or was taken away.
    Red,
    /// Went well, or was added.
    Green,
    /// Wants attention.
    Yellow,
    /// Names a place.
    Cyan,
}

impl Paint {
    /// `text` in `ink`.
    #[must_use]
    pub fn with(self, ink: Ink, text: &str) -> String {
        if !self.colour || text.is_empty() {
            return text.to_owned();
        }
        let code = match ink {
            Ink::Bold => 1,
            Ink::Dim => 2,
            Ink::Red => 31,
            Ink::Green => 32,
            Ink::Yellow => 33,
            Ink::Cyan => 36,
        };
        format!("\x1b[{code}m{text}\x1b[0m")
    }

    /// A unified diff with its additions and removals told apart, each line ended.
    #[must_use]
    pub fn diff(self, diff: &str) -> String {
        let mut text = String::with_capacity(diff.len());
        for line in diff.lines() {
            let line = printable(line);
            let painted = match line.as_bytes().first() {
                _ if line.starts_with("+++") || line.starts_with("---") => {
                    self.with(Ink::Bold, &line)
                }
                Some(b'+') => self.with(Ink::Green, &line),
                Some(b'-') => self.with(Ink::Red, &line),
                Some(b'@') => self.with(Ink::Cyan, &line),
                _ => line.into_owned(),
            };
            text.push_str(&painted);
            text.push('\n');
        }
        text
    }
}

/// `text` with everything spelled out that acts on a terminal or hides from the reader; line ends
/// and tabs stay.
#[must_use]
pub fn printable(text: &str) -> Cow<'_, str> {
    safe::text(text)
}

/// Milliseconds as people say them.
#[must_use]
pub fn duration(ms: i64) -> String {
    match ms {
        ..1_000 => format!("{} ms", ms.max(0)),
        1_000..60_000 => format!("{}.{} s", ms / 1_000, ms % 1_000 / 100),
        60_000..3_600_000 => format!("{} min {} s", ms / 60_000, ms % 60_000 / 1_000),
        _ => format!("{} h {} min", ms / 3_600_000, ms % 3_600_000 / 60_000),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn foreign_text_cannot_command_the_terminal() {
        let table = [
            ("plain\n\ttext", "plain\n\ttext"),
            ("a\r\nb", "a\nb"),
            ("\x1b[2Jgone", "␛[2Jgone"),
            ("bell\x07 c1\u{9b}31m", "bell␇ c1<U+009B>31m"),
            ("rm \u{202e}fdp\u{200b}.exe", "rm <U+202E>fdp<U+200B>.exe"),
        ];
        for (text, want) in table {
            assert_eq!(printable(text), want);
        }
    }

    #[test]
    fn durations_read_well() {
        let table = [
            (-5, "0 ms"),
            (999, "999 ms"),
            (1_250, "1.2 s"),
            (61_000, "1 min 1 s"),
            (7_260_000, "2 h 1 min"),
        ];
        for (ms, want) in table {
            assert_eq!(duration(ms), want);
        }
    }
}
