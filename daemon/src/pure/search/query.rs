//! What a person typed, as words to be found.

use super::words::{Word, words};

/// Terms that count; all of them must match, so this bounds the work.
const TERMS: usize = 32;

/// Words of one term that count.
const WORDS: usize = 32;

/// Characters from which on the beginning of a word is enough.
const PREFIX: usize = 3;

/// What is searched for. Any text can be read as one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Query {
    /// All of them must be there.
    pub(super) wanted: Vec<Term>,
    /// None of them may be.
    pub(super) unwanted: Vec<Term>,
    cut: bool,
}

/// Words that stand together, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Term {
    words: Vec<String>,
    /// The last may be the beginning of a longer one.
    prefix: bool,
}

impl Query {
    /// Reads `typed`: words that must all be there, each also as the beginning of a longer word if it
    /// has three characters or more; `"words in quotes"` that stand so; `-word` and `-"some words"` that
    /// must not be there. `--word` is a word.
    #[must_use]
    pub fn parse(typed: &str) -> Self {
        let mut query = Self::default();
        let mut rest = typed.trim_start();
        while !rest.is_empty() {
            let (unwanted, body) = match rest.strip_prefix('-') {
                Some(body) if !body.starts_with('-') => (true, body),
                _ => (false, rest),
            };
            let (quoted, body) = match body.strip_prefix('"') {
                Some(body) => (true, body),
                None => (false, body),
            };
            let end = match quoted {
                true => body.find('"'),
                false => body.find(char::is_whitespace),
            };
            let (text, after) = body.split_at(end.unwrap_or(body.len()));
            query.add(text, quoted, unwanted);
            let after = after.strip_prefix('"').unwrap_or(after);
            rest = after.trim_start();
        }
        query
    }

    fn add(&mut self, text: &str, quoted: bool, unwanted: bool) {
        let mut found: Vec<String> = words(text).map(|word| word.text).collect();
        let Some(last) = found.last() else { return };
        let prefix = !quoted && !unwanted && last.chars().count() >= PREFIX;
        let longer = found.len() > WORDS;
        if self.wanted.len() + self.unwanted.len() == TERMS {
            self.cut = true;
            return;
        }
        self.cut |= longer;
        found.truncate(WORDS);
        let term = Term {
            words: found,
            prefix: prefix && !longer,
        };
        let terms = if unwanted {
            &mut self.unwanted
        } else {
            &mut self.wanted
        };
        if !terms.contains(&term) {
            terms.push(term);
        }
    }

    /// True when nothing in it can be found.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.wanted.is_empty()
    }

    /// True when it was too long and only its beginning counts.
    #[must_use]
    pub fn is_cut(&self) -> bool {
        self.cut
    }

    /// The query for SQLite's FTS5; `None` when nothing can be found.
    #[must_use]
    pub fn expression(&self) -> Option<String> {
        if self.is_empty() {
            return None;
        }
        let wanted: Vec<_> = self.wanted.iter().map(Term::expression).collect();
        let unwanted = self.unwanted.iter();
        let unwanted: String = unwanted
            .map(|term| format!(" NOT {}", term.expression()))
            .collect();
        Some(format!("({}){unwanted}", wanted.join(" AND ")))
    }
}

impl Term {
    /// Words hold no quote and nothing else that means something to FTS5.
    fn expression(&self) -> String {
        let star = if self.prefix { " *" } else { "" };
        format!("\"{}\"{star}", self.words.join(" "))
    }

    /// Where it stands in `text`: the first word of each place, and the last.
    pub(super) fn places<'a>(
        &'a self,
        text: &'a [Word],
    ) -> impl Iterator<Item = (&'a Word, &'a Word)> + 'a {
        let last = self.words.len() - 1;
        let matches = move |window: &[Word]| {
            let mut pairs = window.iter().zip(&self.words).enumerate();
            pairs.all(|(at, (word, want))| {
                word.text == *want || (at == last && self.prefix && word.text.starts_with(want))
            })
        };
        let windows = text.windows(self.words.len());
        windows
            .filter(move |window| matches(window))
            .map(move |window| (&window[0], &window[last]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_typed_becomes_terms() {
        let table = [
            ("fix it", Some(r#"("fix" * AND "it")"#)),
            ("\"fix it\" now", Some(r#"("fix it" AND "now" *)"#)),
            ("read_to::str", Some(r#"("read to str" *)"#)),
            (
                "a -b -\"c d\" --e",
                Some(r#"("a" AND "e") NOT "b" NOT "c d""#),
            ),
            ("日本", Some("(\"日 本\")")),
            ("same SAME same", Some(r#"("same" *)"#)),
            ("\"open", Some(r#"("open")"#)),
            (
                "NEAR(a b) AND title:x* ^y",
                Some(r#"("near a" AND "b" AND "and" * AND "title x" AND "y")"#),
            ),
            ("-only", None),
            ("", None),
            ("\"\" - -- * \0 \u{2}", None),
        ];
        for (typed, want) in table {
            assert_eq!(
                Query::parse(typed).expression().as_deref(),
                want,
                "for {typed:?}"
            );
        }
    }

    #[test]
    fn what_is_too_long_is_cut_and_says_so() {
        assert!(!Query::parse("one two").is_cut());
        let many: String = (0..1_000).map(|n| format!("w{n} ")).collect();
        let query = Query::parse(&many);
        assert_eq!((query.wanted.len(), query.is_cut()), (TERMS, true));
        let long = Query::parse(&format!("\"{many}\""));
        assert_eq!((long.wanted[0].words.len(), long.is_cut()), (WORDS, true));
    }
}
