//! Cuts a script into words and breaks between commands, as a POSIX shell with bash's additions
//! would, without expanding anything.

use super::{Shape, Word};

/// A part of a script, in order.
pub(super) enum Piece {
    Word(Word),
    /// Text for the command's standard input.
    Fed(String),
    /// Where one command ends.
    Break,
}

/// A script in pieces.
#[derive(Default)]
pub(super) struct Scanned {
    pub(super) pieces: Vec<Piece>,
    /// Scripts within: of substitutions.
    pub(super) nested: Vec<String>,
    pub(super) opaque: Option<&'static str>,
}

/// Cuts `text` into pieces.
pub(super) fn scan(text: &str) -> Scanned {
    let mut scanner = Scanner {
        chars: text.chars().collect(),
        at: 0,
        word: None,
        redirect: None,
        awaited: Vec::new(),
        out: Scanned::default(),
    };
    scanner.run();
    scanner.out
}

/// What the next word is for, when it isn't the command's.
#[derive(Clone, Copy)]
enum Redirect {
    File,
    /// After `>&`: a number or `-`, else a file.
    Descriptor,
    HereString,
    HereDocument {
        tabs: bool,
    },
}

struct Scanner {
    chars: Vec<char>,
    at: usize,
    word: Option<Word>,
    redirect: Option<Redirect>,
    /// Here-documents whose bodies begin after this line.
    awaited: Vec<(String, bool)>,
    out: Scanned,
}

impl Scanner {
    fn run(&mut self) {
        while let Some(c) = self.next() {
            match c {
                ' ' | '\t' => self.end_word(),
                '\n' => self.end_line(),
                '#' if self.word.is_none() => self.skip_comment(),
                '\\' => self.escape(),
                '\'' => self.single_quotes(),
                '"' => self.double_quotes(),
                '$' => self.dollar(),
                '`' => self.backticks(),
                ';' | '|' | '&' => self.separator(c),
                '(' | ')' => {
                    self.opaque("it has a subshell or a function");
                    self.end_command();
                }
                '<' | '>' => self.redirection(c),
                _ => self.plain(c),
            }
        }
        self.end_line();
    }

    fn next(&mut self) -> Option<char> {
        let c = self.chars.get(self.at).copied();
        self.at += usize::from(c.is_some());
        c
    }

    fn peek(&self) -> Option<char> {
        self.chars.get(self.at).copied()
    }

    fn eat(&mut self, c: char) -> bool {
        let there = self.peek() == Some(c);
        self.at += usize::from(there);
        there
    }

    fn opaque(&mut self, reason: &'static str) {
        self.out.opaque.get_or_insert(reason);
    }

    fn word(&mut self) -> &mut Word {
        self.word.get_or_insert_with(|| Word {
            text: String::new(),
            shape: Shape::Literal,
            quoted: false,
        })
    }

    fn quote(&mut self) {
        let word = self.word();
        word.quoted |= !word.text.contains('=');
    }

    fn push(&mut self, c: char) {
        if c.is_control() && c != '\n' && c != '\t' {
            self.opaque("it holds a control character");
        }
        self.word().text.push(c);
    }

    fn unknown(&mut self, shown: &str, reason: &'static str) {
        self.opaque(reason);
        let word = self.word();
        word.shape = Shape::Unknown;
        word.text.push_str(shown);
    }

    fn plain(&mut self, c: char) {
        let alone = self.word.is_none();
        let ends = |next: Option<char>| next.is_none_or(|c| c.is_whitespace() || c == ';');
        match c {
            '*' | '?' => self.glob(),
            // Alone it is a command.
            '[' if !(alone && ends(self.peek())) => self.glob(),
            // `{}` and a lone `{` are no brace expansions.
            '{' if self.peek() == Some('}') => {
                self.at += 1;
                self.word().text.push('{');
                return self.push('}');
            }
            '{' if !(alone && ends(self.peek())) => {
                return self.unknown("{", "it has a brace expansion");
            }
            _ => {}
        }
        self.push(c);
    }

    fn glob(&mut self) {
        let word = self.word();
        if word.shape == Shape::Literal {
            word.shape = Shape::Glob;
        }
    }

    fn end_word(&mut self) {
        let Some(word) = self.word.take() else {
            return;
        };
        match self.redirect.take() {
            None => self.out.pieces.push(Piece::Word(word)),
            Some(Redirect::File) if word.literal() == Some("/dev/null") => {}
            Some(Redirect::Descriptor) if is_descriptor(&word) => {}
            Some(Redirect::File | Redirect::Descriptor) => {
                self.opaque("it redirects to or from a file")
            }
            Some(Redirect::HereString) => self.out.pieces.push(Piece::Fed(word.text)),
            Some(Redirect::HereDocument { tabs }) => self.awaited.push((word.text, tabs)),
        }
    }

    fn end_command(&mut self) {
        self.end_word();
        self.out.pieces.push(Piece::Break);
    }

    fn end_line(&mut self) {
        self.end_word();
        for (end, tabs) in std::mem::take(&mut self.awaited) {
            let body = self.here_document(&end, tabs);
            self.out.pieces.push(Piece::Fed(body));
        }
        self.out.pieces.push(Piece::Break);
    }

    fn here_document(&mut self, end: &str, tabs: bool) -> String {
        let mut body = String::new();
        while self.at < self.chars.len() {
            let mut line = String::new();
            while let Some(c) = self.next().filter(|c| *c != '\n') {
                line.push(c);
            }
            let shown = if tabs {
                line.trim_start_matches('\t')
            } else {
                &line
            };
            if shown == end {
                break;
            }
            body.push_str(shown);
            body.push('\n');
        }
        body
    }

    fn skip_comment(&mut self) {
        while self.peek().is_some_and(|c| c != '\n') {
            self.at += 1;
        }
    }

    fn escape(&mut self) {
        match self.next() {
            Some('\n') => {}
            Some(c) => {
                self.quote();
                self.push(c);
            }
            None => self.push('\\'),
        }
    }

    fn single_quotes(&mut self) {
        self.quote();
        loop {
            match self.next() {
                Some('\'') => return,
                Some(c) => self.push(c),
                None => return self.opaque("a quote has no end"),
            }
        }
    }

    /// `$'...'`: its escapes aren't read, but its end must be found.
    fn dollar_quotes(&mut self) {
        self.unknown("", "it has an escaped quote");
        self.quote();
        loop {
            match self.next() {
                Some('\'') => return,
                Some('\\') => {
                    if let Some(c) = self.next() {
                        self.push(c);
                    }
                }
                Some(c) => self.push(c),
                None => return,
            }
        }
    }

    fn double_quotes(&mut self) {
        self.quote();
        loop {
            match self.next() {
                Some('"') => return,
                // Within double quotes other quotes mean nothing.
                Some('$') if matches!(self.peek(), Some('\'' | '"')) => self.push('$'),
                Some('$') => self.dollar(),
                Some('`') => self.backticks(),
                Some('\\') => match self.next() {
                    Some('\n') => {}
                    Some(c @ ('$' | '`' | '"' | '\\')) => self.push(c),
                    Some(c) => {
                        self.push('\\');
                        self.push(c);
                    }
                    None => return self.opaque("a quote has no end"),
                },
                Some(c) => self.push(c),
                None => return self.opaque("a quote has no end"),
            }
        }
    }

    fn dollar(&mut self) {
        const SUBSTITUTES: &str = "it has a substitution";
        match self.peek() {
            Some('(') => {
                self.at += 1;
                self.unknown("$()", SUBSTITUTES);
                let inner = self.until_closed('(', ')');
                // `$((...))` is arithmetic, in which substitutions may still hide.
                let inner = inner
                    .trim_start_matches('(')
                    .trim_end_matches(')')
                    .to_owned();
                self.out.nested.push(inner);
            }
            Some('{') => {
                self.at += 1;
                self.unknown("${}", SUBSTITUTES);
                let inner = self.until_closed('{', '}');
                self.out.nested.push(inner);
            }
            Some('\'') => {
                self.at += 1;
                self.dollar_quotes();
            }
            Some('"') => self.opaque("it has a translated quote"),
            Some(c) if c.is_ascii_alphanumeric() || "_@*#?-$!".contains(c) => {
                let mut name = String::from("$");
                while let Some(c) = self
                    .peek()
                    .filter(|c| c.is_ascii_alphanumeric() || *c == '_')
                {
                    name.push(c);
                    self.at += 1;
                }
                if name.len() == 1 {
                    name.push(c);
                    self.at += 1;
                }
                self.unknown(&name, SUBSTITUTES);
            }
            _ => self.push('$'),
        }
    }

    fn backticks(&mut self) {
        self.unknown("``", "it has a substitution");
        let mut inner = String::new();
        loop {
            match self.next() {
                Some('`') | None => break,
                Some('\\') => inner.extend(self.next()),
                Some(c) => inner.push(c),
            }
        }
        self.out.nested.push(inner);
    }

    /// The text up to the bracket that closes one already eaten. Quotes hide brackets.
    fn until_closed(&mut self, open: char, close: char) -> String {
        let mut depth = 1;
        let mut quote = None;
        let mut inner = String::new();
        while let Some(c) = self.next() {
            match (quote, c) {
                (Some('\''), '\'') | (Some('"'), '"') => quote = None,
                (None, '\'' | '"') => quote = Some(c),
                (None | Some('"'), '\\') => {
                    inner.push(c);
                    inner.extend(self.next());
                    continue;
                }
                (None, c) if c == open => depth += 1,
                (None, c) if c == close => {
                    depth -= 1;
                    if depth == 0 {
                        break;
                    }
                }
                _ => {}
            }
            inner.push(c);
        }
        inner
    }

    fn separator(&mut self, c: char) {
        if c == '&' && self.peek() == Some('>') {
            self.at += 1;
            self.end_word();
            self.eat('>');
            self.redirect = Some(Redirect::File);
            return;
        }
        let double = self.eat(c);
        if c == '&' && !double {
            self.opaque("it starts something in the background");
        }
        if c == '|' && !double {
            self.eat('&');
        }
        self.end_command();
    }

    fn redirection(&mut self, c: char) {
        // Digits right before it name a file descriptor.
        let descriptor = self
            .word
            .as_ref()
            .is_some_and(|word| !word.quoted && word.text.bytes().all(|b| b.is_ascii_digit()));
        if descriptor {
            self.word = None;
        }
        if self.eat('(') {
            let shown = if c == '<' { "<()" } else { ">()" };
            self.unknown(shown, "it has a substitution");
            let inner = self.until_closed('(', ')');
            self.out.nested.push(inner);
            return;
        }
        self.end_word();
        if c == '<' && self.eat('<') {
            self.opaque("it has a here-document");
            self.redirect = Some(if self.eat('<') {
                Redirect::HereString
            } else {
                Redirect::HereDocument {
                    tabs: self.eat('-'),
                }
            });
            return;
        }
        if self.eat('&') {
            self.redirect = Some(Redirect::Descriptor);
            return;
        }
        if c == '>' && !self.eat('>') {
            self.eat('|');
        } else if c == '<' && self.eat('>') {
            self.opaque("it redirects to or from a file");
        }
        self.redirect = Some(Redirect::File);
    }
}

/// `>&1` and `>&-` only join or close descriptors; `>&file` writes.
fn is_descriptor(word: &Word) -> bool {
    let text = word.literal().unwrap_or_default();
    text == "-" || (!text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()))
}
