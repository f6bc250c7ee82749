//! Reads a patch from text, strictly where a guess could edit the wrong thing and leniently where
//! models are known to be sloppy: blanks around markers, a here-document around the whole, a first
//! chunk without `@@`, empty lines for empty context, line numbers from unified diffs, several
//! `@@` lines in a row.

use super::{Chunk, Edit, Line, Patch};

const BEGIN: &str = "*** Begin Patch";
const END: &str = "*** End Patch";
const ADD: &str = "*** Add File:";
const DELETE: &str = "*** Delete File:";
const UPDATE: &str = "*** Update File:";
const MOVE: &str = "*** Move to:";
const END_OF_FILE: &str = "*** End of File";

/// Why a text is not a patch.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseError {
    /// There is no text.
    #[error("the patch is empty: begin with `{BEGIN}`")]
    Empty,
    /// It does not begin as a patch.
    #[error("the first line of a patch must be `{BEGIN}`")]
    NoBegin,
    /// It was cut, or something follows.
    #[error("the last line of a patch must be `{END}`")]
    NoEnd,
    /// It changes nothing.
    #[error(
        "the patch names no file: write `{ADD} path`, `{DELETE} path` or `{UPDATE} path` after `{BEGIN}`"
    )]
    NoFiles,
    /// One line does not belong where it is.
    #[error("line {line} of the patch: {problem}")]
    Line {
        /// From 1.
        line: usize,
        /// What is wrong, and what to write instead.
        problem: String,
    },
}

impl Patch {
    /// Reads a patch.
    ///
    /// # Errors
    ///
    /// [`ParseError`], when any part of the text does not follow the grammar: a patch that was cut
    /// off is never read as a shorter one.
    pub fn parse(text: &str) -> Result<Self, ParseError> {
        let mut edits = Vec::new();
        let mut lines = body(text)?;
        while let Some(header) = lines.next_header()? {
            edits.push(lines.edit(header)?);
        }
        if edits.is_empty() {
            return Err(ParseError::NoFiles);
        }
        Ok(Self { edits })
    }
}

/// The lines between the first and the last marker.
fn body(text: &str) -> Result<Lines<'_>, ParseError> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let all: Vec<&str> = text
        .split('\n')
        .map(|line| line.strip_suffix('\r').unwrap_or(line))
        .collect();
    let blank = |line: &&str| line.trim().is_empty();
    let mut start = all.iter().take_while(|line| blank(line)).count();
    let mut end = all.len() - all.iter().rev().take_while(|line| blank(line)).count();
    if start >= end {
        return Err(ParseError::Empty);
    }
    if end - start >= 2 && here_document(all[start]) == Some(all[end - 1].trim()) {
        (start, end) = (start + 1, end - 1);
    }
    if all[start..end].first().map(|line| line.trim()) != Some(BEGIN) {
        return Err(ParseError::NoBegin);
    }
    if end - start < 2 || all[end - 1].trim() != END {
        return Err(ParseError::NoEnd);
    }
    Ok(Lines {
        lines: all[..end - 1].to_vec(),
        next: start + 1,
    })
}

/// The word that ends a here-document begun by this line.
fn here_document(line: &str) -> Option<&str> {
    let word = line.trim().strip_prefix("<<")?.trim();
    let word = ['\'', '"']
        .iter()
        .find_map(|&quote| word.strip_prefix(quote)?.strip_suffix(quote))
        .unwrap_or(word);
    (!word.is_empty() && word.chars().all(|c| c.is_alphanumeric() || c == '_')).then_some(word)
}

/// What the header of a file section says.
enum Header {
    Add(String),
    Delete(String),
    Update(String),
}

/// The lines of a patch and how far they are read.
struct Lines<'a> {
    lines: Vec<&'a str>,
    next: usize,
}

impl<'a> Lines<'a> {
    fn peek(&self) -> Option<&'a str> {
        self.lines.get(self.next).copied()
    }

    /// An error about the line to be read next.
    fn wrong(&self, problem: impl Into<String>) -> ParseError {
        ParseError::Line {
            line: self.next + 1,
            problem: problem.into(),
        }
    }

    /// Reads the header of the next file, past empty lines; `None` at the end.
    fn next_header(&mut self) -> Result<Option<Header>, ParseError> {
        while self.peek().is_some_and(|line| line.trim().is_empty()) {
            self.next += 1;
        }
        let Some(line) = self.peek() else {
            return Ok(None);
        };
        let header = header(line).ok_or_else(|| {
            self.wrong(format!(
                "`{}` is no file header: write `{ADD} path`, `{DELETE} path` or `{UPDATE} path`",
                line.trim()
            ))
        })?;
        self.next += 1;
        Ok(Some(header))
    }

    fn edit(&mut self, header: Header) -> Result<Edit, ParseError> {
        match header {
            Header::Add(path) => Ok(Edit::Add {
                path,
                lines: self.added()?,
            }),
            Header::Delete(path) => Ok(Edit::Delete { path }),
            Header::Update(path) => {
                let from = self.next;
                let move_to = self.move_to()?;
                self.skip_diff_header();
                let chunks = self.chunks()?;
                if chunks.is_empty() && move_to.is_none() {
                    return Err(ParseError::Line {
                        line: from,
                        problem: format!(
                            "the update of `{path}` changes nothing: add a chunk that starts with `@@`"
                        ),
                    });
                }
                Ok(Edit::Update {
                    path,
                    move_to,
                    chunks,
                })
            }
        }
    }

    /// The lines of a new file.
    fn added(&mut self) -> Result<Vec<String>, ParseError> {
        let mut added = Vec::new();
        while let Some(line) = self.peek() {
            if let Some(text) = line.strip_prefix('+') {
                added.push(text.to_owned());
                self.next += 1;
            } else if self.at_section_end() {
                break;
            } else {
                return Err(self.wrong(format!(
                    "`{line}` is no line of a new file: begin each of them with `+`"
                )));
            }
        }
        Ok(added)
    }

    /// Whether nothing but empty lines stands before the next header or the end.
    fn at_section_end(&self) -> bool {
        let rest = &self.lines[self.next..];
        let blank = rest.iter().take_while(|line| line.trim().is_empty());
        rest.get(blank.count())
            .is_none_or(|line| header(line).is_some())
    }

    fn move_to(&mut self) -> Result<Option<String>, ParseError> {
        let Some(path) = self.peek().and_then(|line| line.trim().strip_prefix(MOVE)) else {
            return Ok(None);
        };
        let path = path.trim();
        if path.is_empty() {
            return Err(self.wrong(format!("`{MOVE}` names no path")));
        }
        self.next += 1;
        Ok(Some(path.to_owned()))
    }

    /// Skips the two file names that some models carry over from unified diffs.
    fn skip_diff_header(&mut self) {
        if let [old, new, chunk, ..] = &self.lines[self.next..]
            && old.starts_with("--- ")
            && new.starts_with("+++ ")
            && chunk.starts_with("@@")
        {
            self.next += 2;
        }
    }

    fn chunks(&mut self) -> Result<Vec<Chunk>, ParseError> {
        let mut chunks = Vec::new();
        while let Some(line) = self.peek() {
            // Outside a chunk no context can stand, so padded headers are headers. The first
            // chunk may lack its `@@`, and an empty line may be its first context.
            if self.at_section_end() {
                break;
            }
            if !chunks.is_empty() && line.trim().is_empty() {
                self.next += 1;
                continue;
            }
            if !chunks.is_empty() && !line.starts_with("@@") {
                return Err(self.wrong("begin the next chunk with `@@`"));
            }
            chunks.push(self.chunk()?);
        }
        Ok(chunks)
    }

    fn chunk(&mut self) -> Result<Chunk, ParseError> {
        let from = self.next + 1;
        let mut chunk = Chunk::default();
        // Only the first marker may be padded: behind it a padded one is context.
        let mut marker = self
            .peek()
            .and_then(|line| line.trim_start().strip_prefix("@@"));
        while let Some(text) = marker {
            self.anchor(text, &mut chunk)?;
            marker = self.peek().and_then(|line| line.strip_prefix("@@"));
        }
        while let Some(line) = self.peek() {
            // A line that begins with a blank is context here, even if its text is a marker.
            if line.starts_with("@@") || header(line).is_some() && !line.starts_with(' ') {
                break;
            }
            if line.trim_end() == END_OF_FILE {
                chunk.at_end = true;
                self.next += 1;
                break;
            }
            chunk.lines.push(self.line(line)?);
            self.next += 1;
        }
        drop_separators(&mut chunk.lines);
        if chunk.lines.is_empty() {
            return Err(ParseError::Line {
                line: from,
                problem: "the chunk has no lines: write lines that begin with ` `, `-` or `+`"
                    .to_owned(),
            });
        }
        Ok(chunk)
    }

    /// Reads what follows `@@`.
    fn anchor(&mut self, marker: &str, chunk: &mut Chunk) -> Result<(), ParseError> {
        if let Some(line) = diff_line(marker) {
            chunk.line = Some(line);
        } else if let Some(text) = marker.strip_prefix(' ') {
            let text = text.trim_end();
            if !text.is_empty() {
                chunk.anchors.push(text.to_owned());
            }
        } else if !marker.trim().is_empty() {
            return Err(self.wrong("write `@@` alone, or `@@ ` and a whole line of the file"));
        }
        self.next += 1;
        Ok(())
    }

    fn line(&self, line: &str) -> Result<Line, ParseError> {
        let mut chars = line.chars();
        match chars.next() {
            None => Ok(Line::Context(String::new())),
            Some(' ') => Ok(Line::Context(chars.as_str().to_owned())),
            Some('-') => Ok(Line::Remove(chars.as_str().to_owned())),
            Some('+') => Ok(Line::Add(chars.as_str().to_owned())),
            Some(_) => Err(self.wrong(format!(
                "`{line}` is no line of a chunk: begin it with ` ` (context), `-` (removed) or `+` (added)"
            ))),
        }
    }
}

/// Empty lines after a chunk that only adds separate it from what follows: as context they would
/// tie the addition to some empty line of the file.
fn drop_separators(lines: &mut Vec<Line>) {
    let content = lines
        .iter()
        .rposition(|line| !matches!(line, Line::Context(text) if text.is_empty()))
        .map_or(0, |last| last + 1);
    if lines[..content].iter().all(|line| line.old().is_none()) {
        lines.truncate(content);
    }
}

fn header(line: &str) -> Option<Header> {
    let line = line.trim();
    let path = |marker: &str| {
        let path = line.strip_prefix(marker)?;
        let path = path.starts_with(' ').then(|| path.trim())?;
        (!path.is_empty()).then(|| path.to_owned())
    };
    path(ADD)
        .map(Header::Add)
        .or_else(|| path(DELETE).map(Header::Delete))
        .or_else(|| path(UPDATE).map(Header::Update))
}

/// The old line number in ` -12,3 +12,4 @@ ...`.
fn diff_line(marker: &str) -> Option<usize> {
    let (ranges, _heading) = marker.strip_prefix(' ')?.split_once("@@")?;
    let mut ranges = ranges.split_whitespace();
    let number = |range: Option<&str>, sign: char| -> Option<usize> {
        let range = range?.strip_prefix(sign)?;
        let (start, length) = range.split_once(',').unwrap_or((range, "1"));
        length.parse::<usize>().ok()?;
        start.parse().ok()
    };
    let old = number(ranges.next(), '-')?;
    number(ranges.next(), '+')?;
    ranges.next().is_none().then_some(old)
}
