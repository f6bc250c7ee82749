//! Just enough of Rust's lexis to tell names from comments and strings, and to leave out what is
//! compiled for tests only.

/// One token. Literals are reduced to their presence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Token {
    /// A name or keyword, raw names without their `r#`.
    Name(String),
    /// One character of punctuation; `::` comes as [`Token::Path`].
    Mark(char),
    /// `::`
    Path,
    /// A string, character, byte or number.
    Literal,
}

impl Token {
    /// Whether this is the given name.
    #[must_use]
    pub fn is(&self, name: &str) -> bool {
        matches!(self, Self::Name(own) if own == name)
    }
}

/// A source, taken apart.
#[derive(Debug, Default)]
pub struct Source {
    /// All tokens outside comments.
    pub tokens: Vec<Token>,
    /// The text of every comment.
    pub comments: Vec<String>,
}

impl Source {
    /// Takes a source apart. What is no Rust gives nonsense, not an error: the compiler has seen
    /// these files before.
    #[must_use]
    pub fn read(text: &str) -> Self {
        let mut reader = Reader { rest: text };
        let mut source = Self::default();
        while let Some(first) = reader.peek() {
            match first {
                _ if reader.rest.starts_with("//") => source.comments.push(reader.line()),
                _ if reader.rest.starts_with("/*") => source.comments.push(reader.block()),
                _ if reader.rest.starts_with("::") => {
                    reader.skip(2);
                    source.tokens.push(Token::Path);
                }
                _ if reader.raw_string() => source.tokens.push(Token::Literal),
                '"' => source.tokens.push(reader.string()),
                '\'' => source.tokens.extend(reader.quote()),
                _ if first.is_ascii_digit() => source.tokens.push(reader.number()),
                _ if first == '_' || first.is_alphabetic() => source.tokens.push(reader.name()),
                _ if first.is_whitespace() => reader.skip(first.len_utf8()),
                mark => {
                    reader.skip(mark.len_utf8());
                    source.tokens.push(Token::Mark(mark));
                }
            }
        }
        source
    }

    /// The tokens without the items that carry `#[cfg(test)]`.
    #[must_use]
    pub fn shipped(&self) -> Vec<Token> {
        let mut shipped = Vec::new();
        let mut rest = self.tokens.as_slice();
        while let [first, after @ ..] = rest {
            if let Some(item) = test_attribute(rest) {
                rest = past_item(item);
            } else {
                shipped.push(first.clone());
                rest = after;
            }
        }
        shipped
    }
}

/// What follows `#[cfg(test)]`, if `tokens` start with it, alone or within `all(...)`.
fn test_attribute(tokens: &[Token]) -> Option<&[Token]> {
    let [Token::Mark('#'), Token::Mark('['), cfg, inner @ ..] = tokens else {
        return None;
    };
    let end = closing(inner, 1)?;
    let words = inner.get(..end)?;
    let negated = words.iter().any(|token| token.is("not") || token.is("any"));
    let tests = cfg.is("cfg") && words.iter().any(|token| token.is("test")) && !negated;
    tests.then(|| inner.get(end + 1..)).flatten()
}

/// What follows an item: past its further attributes, and its braces or its semicolon.
fn past_item(mut tokens: &[Token]) -> &[Token] {
    while let [Token::Mark('#'), Token::Mark('['), inner @ ..] = tokens {
        let end = closing(inner, 1).map_or(inner.len(), |end| end + 1);
        tokens = inner.get(end..).unwrap_or_default();
    }
    let end = tokens
        .iter()
        .position(|token| matches!(token, Token::Mark('{' | ';')));
    let Some(end) = end else { return &[] };
    let after = tokens.get(end + 1..).unwrap_or_default();
    if tokens.get(end) == Some(&Token::Mark(';')) {
        return after;
    }
    let close = closing(after, 1).map_or(after.len(), |close| close + 1);
    match after.get(close..).unwrap_or_default() {
        // `use a::{b, c};`
        [Token::Mark(';'), rest @ ..] => rest,
        rest => rest,
    }
}

/// Where the bracket closes that is open `depth` deep at the start.
fn closing(tokens: &[Token], mut depth: usize) -> Option<usize> {
    tokens.iter().position(|token| {
        match token {
            Token::Mark('(' | '[' | '{') => depth += 1,
            Token::Mark(')' | ']' | '}') => depth -= 1,
            _ => {}
        }
        depth == 0
    })
}

struct Reader<'s> {
    rest: &'s str,
}

impl Reader<'_> {
    fn peek(&self) -> Option<char> {
        self.rest.chars().next()
    }

    fn skip(&mut self, bytes: usize) {
        self.rest = self.rest.get(bytes..).unwrap_or_default();
    }

    fn take(&mut self, bytes: usize) -> String {
        let taken = self.rest.get(..bytes).unwrap_or(self.rest).to_owned();
        self.skip(bytes);
        taken
    }

    fn line(&mut self) -> String {
        let end = self.rest.find('\n').unwrap_or(self.rest.len());
        self.take(end)
    }

    fn block(&mut self) -> String {
        let mut depth = 0_usize;
        let mut end = self.rest.len();
        let bytes = self.rest.as_bytes();
        let mut at = 0;
        while at < bytes.len() {
            match bytes.get(at..at + 2) {
                Some(b"/*") => {
                    depth += 1;
                    at += 2;
                }
                Some(b"*/") => {
                    depth -= 1;
                    at += 2;
                    if depth == 0 {
                        end = at;
                        break;
                    }
                }
                _ => at += 1,
            }
        }
        self.take(end)
    }

    /// Skips `r"..."`, `r#"..."#`, `br"..."` and the like; false if there is none here.
    fn raw_string(&mut self) -> bool {
        let prefix = ["r", "br", "cr"].iter().find(|prefix| {
            let after = self.rest.strip_prefix(**prefix).unwrap_or_default();
            after.trim_start_matches('#').starts_with('"')
        });
        let Some(prefix) = prefix else { return false };
        self.skip(prefix.len());
        let hashes = self.rest.len() - self.rest.trim_start_matches('#').len();
        self.skip(hashes + 1);
        let end = format!("\"{}", "#".repeat(hashes));
        let close = self.rest.find(&end);
        self.skip(close.map_or(self.rest.len(), |at| at + end.len()));
        true
    }

    fn string(&mut self) -> Token {
        self.skip(1);
        self.until_quote('"');
        Token::Literal
    }

    fn until_quote(&mut self, quote: char) {
        while let Some(next) = self.peek() {
            self.skip(next.len_utf8());
            if next == '\\' {
                self.skip(self.peek().map_or(0, char::len_utf8));
            } else if next == quote {
                return;
            }
        }
    }

    /// A character, or nothing for a lifetime, which is no name of anything.
    fn quote(&mut self) -> Option<Token> {
        self.skip(1);
        let mut ahead = self.rest.chars();
        let (first, second) = (ahead.next(), ahead.next());
        if first == Some('\\') || second == Some('\'') {
            self.until_quote('\'');
            return Some(Token::Literal);
        }
        self.name();
        None
    }

    fn number(&mut self) -> Token {
        self.name();
        Token::Literal
    }

    fn name(&mut self) -> Token {
        if self.rest.starts_with("r#") {
            self.skip(2);
        }
        let inside = |letter: char| letter == '_' || letter.is_alphanumeric();
        let end = self.rest.find(|letter| !inside(letter));
        Token::Name(self.take(end.unwrap_or(self.rest.len())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(tokens: &[Token]) -> Vec<&str> {
        let names = tokens.iter().filter_map(|token| match token {
            Token::Name(name) => Some(name.as_str()),
            _ => None,
        });
        names.collect()
    }

    #[test]
    fn names_in_comments_and_strings_do_not_count() {
        let source = Source::read(
            "a /* b /* c */ d */ \"e \\\" f\" r#\"g\" h\"# 'i' '\\'' b'j' &'k l // m\n br\"n\" r#o 0xfe",
        );
        assert_eq!(names(&source.tokens), ["a", "b", "l", "o"]);
        assert_eq!(source.comments, ["/* b /* c */ d */", "// m"]);
    }

    #[test]
    fn what_is_compiled_for_tests_is_left_out() {
        let table = [
            ("a #[cfg(test)] mod t { fn x() { y } } b", vec!["a", "b"]),
            ("#[cfg(test)] #[path = \"x\"] mod t; b", vec!["b"]),
            ("#[cfg(test)] use x::{y, z}; b", vec!["b"]),
            ("#[cfg(all(test, unix))] fn x() {} b", vec!["b"]),
            (
                "#[cfg(not(test))] fn x() {}",
                vec!["cfg", "not", "test", "fn", "x"],
            ),
            ("#[cfg(unix)] fn x() {}", vec!["cfg", "unix", "fn", "x"]),
        ];
        for (text, want) in table {
            let shipped = Source::read(text).shipped();
            assert_eq!(names(&shipped), want, "for `{text}`");
        }
    }
}
