//! Text in columns.

use unicode_width::UnicodeWidthStr as _;

use super::paint::printable;

/// Rows in columns as wide as their widest entry, two blanks apart.
#[must_use]
pub fn table<const N: usize>(rows: impl IntoIterator<Item = [String; N]>) -> String {
    let rows: Vec<_> = rows
        .into_iter()
        .map(|row| row.map(|entry| printable(&entry).replace(['\n', '\t'], " ")))
        .collect();
    let mut widths = [0; N];
    for row in &rows {
        for (width, entry) in widths.iter_mut().zip(row) {
            *width = entry.width().max(*width);
        }
    }
    let mut text = String::new();
    for row in &rows {
        let mut line = String::new();
        for (width, entry) in widths.iter().zip(row) {
            line.push_str(entry);
            line.push_str(&" ".repeat(width - entry.width() + 2));
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

/// How long ago something was, roughly.
#[must_use]
pub fn age(ms: i64) -> String {
    let seconds = ms.max(0) / 1_000;
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3_600 => format!("{} min", seconds / 60),
        3_600..86_400 => format!("{} h", seconds / 3_600),
        _ => format!("{} d", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wide_characters_count_twice() {
        let row = |a: &str, b: &str| [a.to_owned(), b.to_owned()];
        let text = table([row("日本", "x"), row("abc", "\x1by")]);
        assert_eq!(text, "日本  x\nabc   ␛y\n");
    }

    #[test]
    fn ages_are_rough() {
        let table = [
            (-1, "0 s"),
            (59_999, "59 s"),
            (3_599_000, "59 min"),
            (90_000_000, "1 d"),
        ];
        for (ms, want) in table {
            assert_eq!(age(ms), want);
        }
    }
}
