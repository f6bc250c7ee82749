//! What fits what was typed, and how well.
//!
//! Each word must be found in the id's beginning, the title, the newest prompt or the workspace: as it
//! stands, or with little between its letters. Case does not matter.

use quire_proto::v1::Session;

/// How well a session fits, more is better; `None` when a word is not found at all.
pub(super) fn score(query: &str, session: &Session) -> Option<u32> {
    let words = query.split_whitespace();
    words.map(|word| of_word(word, session)).sum()
}

fn of_word(word: &str, session: &Session) -> Option<u32> {
    const ID: u32 = 1_000;
    let word: Vec<char> = folded(word);
    let id: Vec<char> = folded(&session.id);
    let by_id = id.starts_with(&word).then_some(ID);
    // What people named it counts most.
    let fields = [
        (&session.title, 4),
        (&session.last_prompt, 3),
        (&session.workspace, 2),
    ];
    let by_text = fields
        .into_iter()
        .filter_map(|(text, weight)| Some(weight * of_text(&word, &folded(text))?));
    by_id.into_iter().chain(by_text).max()
}

fn folded(text: &str) -> Vec<char> {
    text.chars().flat_map(char::to_lowercase).collect()
}

fn of_text(word: &[char], text: &[char]) -> Option<u32> {
    const WHOLE: u32 = 100;
    const AT_WORD: u32 = 50;
    let starts_word = |at: usize| at == 0 || !text[at - 1].is_alphanumeric();
    let places = || (0..text.len()).filter(|at| text[*at..].starts_with(word));
    if places().any(starts_word) {
        return Some(WHOLE + AT_WORD);
    }
    if places().next().is_some() {
        return Some(WHOLE);
    }
    let begins = (0..text.len()).filter(|at| Some(&text[*at]) == word.first());
    let spans = begins.filter_map(|at| {
        let span = span(word, &text[at..])?;
        let bonus = if starts_word(at) { AT_WORD } else { 0 };
        Some(bonus + WHOLE.saturating_sub(u32::try_from(span).ok()?) / 2)
    });
    spans.max()
}

/// Characters from the first letter of the word to its last, when the letters stand there in order and
/// not too far apart to be meant.
fn span(word: &[char], text: &[char]) -> Option<usize> {
    let most = 2 * word.len() + 2;
    let mut wanted = word.iter().peekable();
    for (at, c) in text.iter().take(most).enumerate() {
        wanted.next_if(|wanted| *wanted == c);
        if wanted.peek().is_none() {
            return Some(at + 1);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn session() -> Session {
        Session {
            id: "k3m9x2rt7w".into(),
            title: "Fix the failing tests".into(),
            last_prompt: "now run Clippy too".into(),
            workspace: "/home/u/src/calc".into(),
            ..Session::default()
        }
    }

    #[test]
    fn every_word_must_be_found_somewhere() {
        let table = [
            ("", true),
            ("fix", true),
            ("FAILING calc", true),
            ("ftest", true),
            ("fests", false),
            ("tsts", true),
            ("clpy", true),
            ("k3m", true),
            ("m9x", false),
            ("fix nothing", false),
            ("xyz", false),
        ];
        for (query, want) in table {
            assert_eq!(score(query, &session()).is_some(), want, "for `{query}`");
        }
    }

    #[test]
    fn the_better_match_comes_first() {
        let better = [
            ("k3m9", "fix"),
            ("fix", "clippy"),
            ("clippy", "calc"),
            ("fail", "ail"),
            ("ail", "fxe"),
        ];
        for (one, other) in better {
            let (one, other) = (score(one, &session()), score(other, &session()));
            assert!(one > other, "{one:?} is not above {other:?}");
        }
    }
}
