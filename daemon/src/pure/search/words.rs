//! Text as words.

use icu_normalizer::DecomposingNormalizerBorrowed;

/// Characters of a word; what is longer is told apart by its beginning alone.
const LONGEST: usize = 64;

/// One word, and where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Word {
    /// First byte.
    pub(super) start: usize,
    /// Byte after the last.
    pub(super) end: usize,
    /// Without case and accents; letters, digits and what is not ASCII.
    pub(super) text: String,
}

/// The words of `text`, in order.
pub(super) fn words(text: &str) -> impl Iterator<Item = Word> + '_ {
    let mut chars = text.char_indices().peekable();
    std::iter::from_fn(move || {
        loop {
            let (start, first) = chars.next()?;
            let mut end = start + first.len_utf8();
            match class(first) {
                Class::Gap | Class::Mark => continue,
                Class::Alone => {}
                Class::Part => {
                    while let Some((at, next)) = chars.peek().copied()
                        && matches!(class(next), Class::Part | Class::Mark)
                    {
                        end = at + next.len_utf8();
                        chars.next();
                    }
                }
            }
            let text = folded(&text[start..end]);
            if !text.is_empty() {
                return Some(Word { start, end, text });
            }
        }
    })
}

/// The words of `text`, parted by blanks: what an index is given.
#[must_use]
pub fn indexed(text: &str) -> String {
    let mut all = String::with_capacity(text.len());
    for word in words(text) {
        if !all.is_empty() {
            all.push(' ');
        }
        all.push_str(&word.text);
    }
    all
}

/// What a character is to a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Class {
    /// Belongs to one.
    Part,
    /// An accent: belongs to the one it follows.
    Mark,
    /// Is one.
    Alone,
    /// Parts words.
    Gap,
}

fn class(c: char) -> Class {
    match c {
        'a'..='z' | 'A'..='Z' | '0'..='9' => Class::Part,
        '\0'..='\x7f' => Class::Gap,
        '\u{300}'..='\u{36f}' => Class::Mark,
        _ if is_alone(c) => Class::Alone,
        _ if c.is_alphanumeric() => Class::Part,
        _ => Class::Gap,
    }
}

/// Thai to Lao, Burmese, Khmer, kana, Han, Hangul; then symbols and emoji. Where those write words,
/// nothing parts them.
fn is_alone(c: char) -> bool {
    let unparted = matches!(c,
        '\u{e00}'..='\u{eff}' | '\u{1000}'..='\u{109f}' | '\u{1780}'..='\u{17ff}'
        | '\u{3040}'..='\u{30ff}' | '\u{3400}'..='\u{4dbf}' | '\u{4e00}'..='\u{9fff}'
        | '\u{ac00}'..='\u{d7a3}' | '\u{f900}'..='\u{faff}' | '\u{20000}'..='\u{3ffff}');
    let symbol = matches!(c, '\u{2600}'..='\u{27bf}' | '\u{1f000}'..='\u{1faff}');
    (unparted && c.is_alphanumeric()) || symbol
}

fn folded(word: &str) -> String {
    if word.is_ascii() {
        let kept = word.len().min(LONGEST);
        return word[..kept].to_ascii_lowercase();
    }
    let decomposed = DecomposingNormalizerBorrowed::new_nfkd().normalize(word);
    let kept = decomposed.chars().filter(|c| match c {
        '\u{300}'..='\u{36f}' => false,
        c if c.is_ascii() => c.is_ascii_alphanumeric(),
        _ => true,
    });
    kept.flat_map(char::to_lowercase).take(LONGEST).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_falls_into_words() {
        let table = [
            ("Fix the parser.", "fix the parser"),
            ("std::fs::read_to_string(a)", "std fs read to string a"),
            ("src/lib.rs:10-40", "src lib rs 10 40"),
            ("HTTPServer v1.2", "httpserver v1 2"),
            ("Grüße ÉTÉ e\u{301}te\u{301}", "gruße ete ete"),
            ("ＦＵＬＬ ﬁne", "full fine"),
            ("日本語のテスト", "日 本 語 の テ ス ト"),
            (
                "한국어",
                "\u{1112}\u{1161}\u{11ab} \u{1100}\u{116e}\u{11a8} \u{110b}\u{1165}",
            ),
            ("ok🦀done ✓", "ok 🦀 done ✓"),
            ("Привет, МИР", "привет мир"),
            ("\u{2}a\0b\u{3} \"c\" *", "a b c"),
            ("½ ⑴ İ", "1\u{2044}2 1 i"),
            ("", ""),
            ("--- ... \u{301}", ""),
        ];
        for (text, want) in table {
            assert_eq!(indexed(text), want, "for {text:?}");
        }
    }

    #[test]
    fn words_know_where_they_stand_and_long_ones_are_cut() {
        let text = format!("é_{}", "x".repeat(1_000));
        let found: Vec<_> = words(&text).collect();
        assert_eq!((found[0].start, found[0].end), (0, 2));
        assert_eq!((found[1].start, found[1].end), (3, 1_003));
        assert_eq!(found[1].text.len(), LONGEST);
    }
}
