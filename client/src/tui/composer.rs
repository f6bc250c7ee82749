//! The text being written: several lines, a cursor, and the prompts written before.
//!
//! Pure: [`Composer::edit`] changes it, [`Composer::rows`] says how it is shown at a width. What
//! was pasted is kept byte for byte, but for line ends; only the picture of it is made safe.

use std::{borrow::Cow, ops::Range};

use unicode_segmentation::UnicodeSegmentation as _;

use super::text::{
    safe::{self, Care},
    wrap::{Break, Size, row_end},
};

/// One change of the text or the cursor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Edit {
    /// A line break at the cursor.
    Newline,
    /// Removes the character before the cursor.
    Backspace,
    /// Removes the character under the cursor.
    Delete,
    /// One character left.
    Left,
    /// One character right.
    Right,
    /// To the start of this or the previous word.
    WordLeft,
    /// To the end of this or the next word.
    WordRight,
    /// To the start of the line.
    Home,
    /// To the end of the line.
    End,
    /// One row up; from the first row to the prompt before.
    Up,
    /// One row down; from the last row to the prompt after.
    Down,
    /// Removes the word before the cursor.
    CutWord,
    /// Removes the line before the cursor.
    CutToStart,
    /// Removes the line after the cursor.
    CutToEnd,
    /// Puts back what was last removed by a cut.
    PutBack,
}

/// The text being written. See the module.
#[derive(Clone, Debug, Default)]
pub(super) struct Composer {
    text: String,
    /// Byte offset in `text`, on a grapheme boundary.
    cursor: usize,
    /// Columns there are for text, as last drawn.
    width: usize,
    cut: String,
    history: History,
}

/// Prompts written before, and where in them the reader is.
#[derive(Clone, Debug, Default)]
struct History {
    prompts: Vec<String>,
    /// Index in `prompts`; `None` while the text is new.
    at: Option<usize>,
    /// The new text, kept while older prompts are looked at.
    draft: String,
}

/// The composer's text as rows, with the cursor among them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Rows {
    /// Safe text, one entry a row.
    pub(super) text: Vec<String>,
    /// Row and column of the cursor.
    pub(super) cursor: (usize, usize),
}

impl Composer {
    /// What has been written.
    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// True when nothing has been written.
    pub(super) fn is_empty(&self) -> bool {
        self.text.is_empty()
    }

    /// Puts text at the cursor; line ends of any system become `\n`.
    pub(super) fn insert(&mut self, text: &str) {
        let text = text.replace("\r\n", "\n").replace('\r', "\n");
        self.text.insert_str(self.cursor, &text);
        self.cursor += text.len();
        // What was put in may have joined the character at the cursor.
        self.cursor = self.boundary_at_or_after(self.cursor);
    }

    /// Takes the text out and leaves nothing.
    pub(super) fn take(&mut self) -> String {
        self.history.at = None;
        self.cursor = 0;
        std::mem::take(&mut self.text)
    }

    /// Gives back a text that could not be sent, before whatever has been written since.
    pub(super) fn give_back(&mut self, text: &str) {
        let since = self.take();
        self.insert(text);
        if !since.is_empty() {
            self.insert("\n");
            self.insert(&since);
        }
    }

    /// Keeps a prompt for [`Edit::Up`].
    pub(super) fn remember(&mut self, prompt: &str) {
        if self
            .history
            .prompts
            .last()
            .is_none_or(|last| last != prompt)
        {
            self.history.prompts.push(prompt.to_owned());
        }
    }

    /// Tells how many columns there are for text, on which moving up and down depends.
    pub(super) fn set_width(&mut self, width: usize) {
        self.width = width;
    }

    /// True when the cursor stands behind a `\` that ends the text: the next Enter is a line break.
    pub(super) fn ends_in_backslash(&self) -> bool {
        self.cursor == self.text.len() && self.text.ends_with('\\')
    }

    /// Carries out one edit.
    pub(super) fn edit(&mut self, edit: Edit) {
        match edit {
            Edit::Newline => self.insert("\n"),
            Edit::Backspace => self.remove(self.before(self.cursor)..self.cursor),
            Edit::Delete => self.remove(self.cursor..self.after(self.cursor)),
            Edit::Left => self.cursor = self.before(self.cursor),
            Edit::Right => self.cursor = self.after(self.cursor),
            Edit::WordLeft => self.cursor = self.word_start(),
            Edit::WordRight => self.cursor = self.word_end(),
            Edit::Home => self.cursor = self.line().start,
            Edit::End => self.cursor = self.line().end,
            Edit::Up => self.up(),
            Edit::Down => self.down(),
            Edit::CutWord => self.cut(self.word_start()..self.cursor),
            Edit::CutToStart => self.cut(self.line().start..self.cursor),
            Edit::CutToEnd => self.cut(self.cursor..self.line().end),
            Edit::PutBack => self.insert(&self.cut.clone()),
        }
    }

    /// The text as it is shown at `width` columns.
    pub(super) fn rows(&self, width: usize) -> Rows {
        let layout = layout(&self.text, width);
        let row = row_of(&layout, self.cursor);
        let shown = |range: &Range<usize>| self.text[range.clone()].graphemes(true).map(shown);
        let before = layout[row].start..self.cursor;
        let column = shown(&before).map(|text| Size::of(&text).width).sum();
        Rows {
            text: layout.iter().map(|range| shown(range).collect()).collect(),
            cursor: (row, column),
        }
    }

    fn remove(&mut self, range: Range<usize>) {
        self.cursor = range.start;
        self.text.replace_range(range, "");
        self.cursor = self.boundary_at_or_after(self.cursor);
    }

    fn cut(&mut self, range: Range<usize>) {
        if !range.is_empty() {
            self.text[range.clone()].clone_into(&mut self.cut);
            self.remove(range);
        }
    }

    fn up(&mut self) {
        if !self.move_rows(-1) {
            self.look_back();
        }
    }

    fn down(&mut self) {
        if !self.move_rows(1) {
            self.look_forward();
        }
    }

    /// False when there is no such row.
    fn move_rows(&mut self, by: isize) -> bool {
        let layout = layout(&self.text, self.width);
        let (row, column) = self.rows(self.width).cursor;
        let Some(target) = row.checked_add_signed(by).and_then(|row| layout.get(row)) else {
            return false;
        };
        let mut columns = 0;
        self.cursor = target.start;
        for grapheme in self.text[target.clone()].graphemes(true) {
            columns += Size::of(&shown(grapheme)).width;
            if columns > column {
                break;
            }
            self.cursor += grapheme.len();
        }
        // The end of a row that goes on below belongs to the row below.
        if self.cursor == target.end && row_of(&layout, self.cursor) > row_of(&layout, target.start)
        {
            self.cursor = self.before(self.cursor);
        }
        true
    }

    fn look_back(&mut self) {
        let at = self.history.at.unwrap_or(self.history.prompts.len());
        let Some(older) = at.checked_sub(1) else {
            return;
        };
        if self.history.at.is_none() {
            self.history.draft.clone_from(&self.text);
        }
        self.history.at = Some(older);
        self.show(self.history.prompts[older].clone());
    }

    fn look_forward(&mut self) {
        let Some(at) = self.history.at else {
            return;
        };
        match self.history.prompts.get(at + 1).cloned() {
            Some(newer) => {
                self.history.at = Some(at + 1);
                self.show(newer);
            }
            None => {
                self.history.at = None;
                let draft = std::mem::take(&mut self.history.draft);
                self.show(draft);
            }
        }
    }

    fn show(&mut self, text: String) {
        self.cursor = text.len();
        self.text = text;
    }

    fn before(&self, at: usize) -> usize {
        let last = self.text[..at].grapheme_indices(true).next_back();
        last.map_or(0, |(start, _)| start)
    }

    fn after(&self, at: usize) -> usize {
        let next = self.text[at..].graphemes(true).next();
        at + next.map_or(0, str::len)
    }

    fn boundary_at_or_after(&self, at: usize) -> usize {
        let mut starts = self.text.grapheme_indices(true).map(|(start, _)| start);
        starts.find(|start| *start >= at).unwrap_or(self.text.len())
    }

    /// The line the cursor is on, without its line break.
    fn line(&self) -> Range<usize> {
        let start = self.text[..self.cursor].rfind('\n').map_or(0, |at| at + 1);
        let end = self.text[self.cursor..].find('\n');
        start..end.map_or(self.text.len(), |at| self.cursor + at)
    }

    fn word_start(&self) -> usize {
        let mut words = self.text[..self.cursor].unicode_word_indices();
        words.next_back().map_or(0, |(start, _)| start)
    }

    fn word_end(&self) -> usize {
        let word = self.text[self.cursor..].unicode_word_indices().next();
        word.map_or(self.text.len(), |(start, word)| {
            self.cursor + start + word.len()
        })
    }
}

/// How one grapheme is shown. A tab is four columns wherever it stands, so that the column of the
/// cursor is a plain sum.
fn shown(grapheme: &str) -> Cow<'_, str> {
    safe::line(grapheme, Care::Prose)
}

/// Byte ranges of the rows; at least one.
fn layout(text: &str, width: usize) -> Vec<Range<usize>> {
    let mut rows = Vec::new();
    let mut line_start = 0;
    for line in text.split('\n') {
        let graphemes: Vec<(usize, &str)> = line.grapheme_indices(true).collect();
        let sizes: Vec<Size> = graphemes.iter().map(|(_, g)| Size::of(&shown(g))).collect();
        let byte = |index: usize| graphemes.get(index).map_or(line.len(), |(at, _)| *at);
        let mut start = 0;
        loop {
            let end = row_end(&sizes, start, width.max(1), Break::Words);
            rows.push(line_start + byte(start)..line_start + byte(end));
            if end >= sizes.len() {
                break;
            }
            start = end;
        }
        line_start += line.len() + 1;
    }
    rows
}

/// The row that shows a cursor at this byte: the later one where one ends and the next begins.
fn row_of(layout: &[Range<usize>], cursor: usize) -> usize {
    layout
        .iter()
        .rposition(|row| row.start <= cursor)
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `|` is the cursor, both in what is given and in what is wanted.
    fn composer(text: &str) -> Composer {
        let cursor = text.find('|').unwrap();
        Composer {
            text: text.replace('|', ""),
            cursor,
            width: 10,
            ..Composer::default()
        }
    }

    fn picture(composer: &Composer) -> String {
        let mut text = composer.text.clone();
        text.insert(composer.cursor, '|');
        text
    }

    #[test]
    fn edits_move_by_whole_characters_words_and_lines() {
        let table: [(&str, Edit, &str); 20] = [
            ("ab|c", Edit::Backspace, "a|c"),
            ("|abc", Edit::Backspace, "|abc"),
            ("e\u{301}|x", Edit::Backspace, "|x"),
            ("👩\u{200d}🔬|", Edit::Backspace, "|"),
            ("a|日本", Edit::Delete, "a|本"),
            ("a|", Edit::Delete, "a|"),
            ("a\n|b", Edit::Left, "a|\nb"),
            ("a|\nb", Edit::Right, "a\n|b"),
            ("one two|", Edit::WordLeft, "one |two"),
            ("one| two x", Edit::WordRight, "one two| x"),
            ("one\ntwo th|ree", Edit::Home, "one\n|two three"),
            ("one\nt|wo\nx", Edit::End, "one\ntwo|\nx"),
            ("one two |x", Edit::CutWord, "one |x"),
            ("a\none| two", Edit::CutToStart, "a\n| two"),
            ("a\none| two\nb", Edit::CutToEnd, "a\none|\nb"),
            ("one\ntw|o", Edit::Up, "on|e\ntwo"),
            ("o|ne\ntwo", Edit::Down, "one\nt|wo"),
            ("long one\nx|", Edit::Up, "l|ong one\nx"),
            ("one two three fo|ur", Edit::Up, "one two| three four"),
            ("a|b", Edit::Newline, "a\n|b"),
        ];
        for (before, edit, want) in table {
            let mut composer = composer(before);
            composer.edit(edit);
            assert_eq!(picture(&composer), want, "{edit:?} on {before:?}");
        }
    }

    #[test]
    fn older_prompts_come_up_at_the_edges_and_the_draft_comes_back() {
        let mut composer = composer("my\ndraft|");
        for prompt in ["first", "second", "second"] {
            composer.remember(prompt);
        }
        let table = [
            (Edit::Up, "my|\ndraft"),
            (Edit::Up, "second|"),
            (Edit::Up, "first|"),
            (Edit::Up, "first|"),
            (Edit::Down, "second|"),
            (Edit::Down, "my\ndraft|"),
            (Edit::Down, "my\ndraft|"),
        ];
        for (number, (edit, want)) in table.into_iter().enumerate() {
            composer.edit(edit);
            assert_eq!(picture(&composer), want, "step {number}");
        }
    }

    #[test]
    fn what_was_cut_can_be_put_back() {
        let mut composer = composer("one two|");
        composer.edit(Edit::CutWord);
        composer.edit(Edit::Home);
        composer.edit(Edit::PutBack);
        assert_eq!(picture(&composer), "two|one ");
    }

    #[test]
    fn a_text_given_back_stands_before_what_came_since() {
        let mut composer = composer("since|");
        composer.give_back("refused");
        assert_eq!(picture(&composer), "refused\nsince|");
    }

    #[test]
    fn pasted_text_is_kept_and_its_picture_is_safe() {
        let mut composer = Composer::default();
        composer.insert("a\r\nb\x1b[2J\tc");
        assert_eq!(composer.text(), "a\nb\x1b[2J\tc");
        let rows = composer.rows(20);
        assert_eq!(rows.text, ["a", "b␛[2J    c"]);
        assert_eq!(rows.cursor, (1, 10));
    }

    #[test]
    fn rows_wrap_between_words_and_hold_the_cursor() {
        let table = [
            ("|", vec![""], (0, 0)),
            ("one two| three", vec!["one two ", "three"], (0, 7)),
            ("one two |three", vec!["one two ", "three"], (1, 0)),
            ("日本語|日本語", vec!["日本語日", "本語"], (0, 6)),
            ("a\n|", vec!["a", ""], (1, 0)),
        ];
        for (text, want, cursor) in table {
            let rows = composer(text).rows(9);
            assert_eq!(
                (rows.text, rows.cursor),
                (want.iter().map(|r| (*r).to_owned()).collect(), cursor),
                "for {text:?}"
            );
        }
    }
}
