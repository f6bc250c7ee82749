//! A file's bytes as lines that remember their endings, and the file's encoding as far as an edit
//! must know it.

/// A file split into lines.
pub(super) struct Text<'a> {
    /// The UTF-8 byte order mark, or nothing.
    pub(super) mark: &'a [u8],
    pub(super) lines: Vec<TextLine<'a>>,
    /// What a line that is added ends with: the first ending of the file.
    pub(super) ending: &'a [u8],
    pub(super) encoding: Encoding,
}

/// One line of a file.
#[derive(Clone, Copy)]
pub(super) struct TextLine<'a> {
    pub(super) text: &'a [u8],
    /// Empty for a last line that is not ended.
    pub(super) ending: &'a [u8],
}

/// How the text of a patch becomes bytes of the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Encoding {
    /// UTF-8, perhaps with foreign bytes in it.
    Utf8,
    /// Not UTF-8, and no character of it is: one byte is one character. Read as Latin-1.
    Latin1,
}

const UTF8_MARK: &[u8] = "\u{feff}".as_bytes();

impl<'a> Text<'a> {
    /// Splits a file; `None` when it is UTF-16 or UTF-32, which no line of a patch can match.
    pub(super) fn split(bytes: &'a [u8]) -> Option<Self> {
        if is_wide(bytes) {
            return None;
        }
        let body = bytes.strip_prefix(UTF8_MARK).unwrap_or(bytes);
        let lines = split_lines(body);
        let ending = lines.first().map_or(&b"\n"[..], |line| line.ending);
        Some(Self {
            mark: &bytes[..bytes.len() - body.len()],
            lines,
            ending: if ending.is_empty() { b"\n" } else { ending },
            encoding: encoding(body),
        })
    }
}

impl Encoding {
    /// The bytes of `text`, or the first character this encoding lacks.
    pub(super) fn encode(self, text: &str) -> Result<Vec<u8>, char> {
        match self {
            Self::Utf8 => Ok(text.as_bytes().to_vec()),
            Self::Latin1 => text
                .chars()
                .map(|c| u8::try_from(c).map_err(|_| c))
                .collect(),
        }
    }

    /// The text of `bytes`; what is not text becomes U+FFFD.
    pub(super) fn decode(self, bytes: &[u8]) -> String {
        match self {
            Self::Utf8 => String::from_utf8_lossy(bytes).into_owned(),
            Self::Latin1 => bytes.iter().map(|&byte| char::from(byte)).collect(),
        }
    }
}

/// Splits at LF and CR LF; at CR only in a file that has no LF at all, for elsewhere a lone CR is
/// content (a progress bar in a log, say).
fn split_lines(body: &[u8]) -> Vec<TextLine<'_>> {
    let end = if body.contains(&b'\n') { b'\n' } else { b'\r' };
    body.split_inclusive(|&byte| byte == end)
        .map(|line| {
            let text = line.strip_suffix(&[end]).map_or(line, |text| {
                if end == b'\n' {
                    text.strip_suffix(b"\r").unwrap_or(text)
                } else {
                    text
                }
            });
            TextLine {
                text,
                ending: &line[text.len()..],
            }
        })
        .collect()
}

fn encoding(body: &[u8]) -> Encoding {
    let mut invalid = false;
    for chunk in body.utf8_chunks() {
        if !chunk.valid().is_ascii() {
            return Encoding::Utf8;
        }
        invalid |= !chunk.invalid().is_empty();
    }
    if invalid {
        Encoding::Latin1
    } else {
        Encoding::Utf8
    }
}

/// Whether the bytes are UTF-16 or UTF-32: by their mark, or because every second byte is zero.
fn is_wide(bytes: &[u8]) -> bool {
    if bytes.starts_with(b"\xff\xfe") || bytes.starts_with(b"\xfe\xff") {
        return true;
    }
    let head = &bytes[..bytes.len().min(4096) & !1];
    let zeros = |offset: usize| {
        head.iter()
            .skip(offset)
            .step_by(2)
            .filter(|&&byte| byte == 0)
            .count()
    };
    let (even, odd) = (zeros(0), zeros(1));
    let half = head.len() / 2;
    // Half of the units suffice: text in other scripts has zero bytes in its blanks only, but such
    // files carry a mark.
    half >= 2 && (even * 2 > half && odd == 0 || odd * 2 > half && even == 0)
}
