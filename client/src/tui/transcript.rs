//! The viewport on the transcript: which rows are on the screen.
//!
//! The place is held as a cell and a row in it, and only cells on or near the screen are ever
//! drawn, so a session of ten thousand items costs no more than a screenful. Rows of a cell are
//! kept until it changes or the width does.

use std::{collections::HashMap, ops::Range};

use ratatui::text::Line;

use super::{
    cell::{self, CellId, Look},
    keys::Scroll,
};
use crate::view::{Change, View};

/// Cells whose rows are kept. More than the tallest screen shows.
const KEPT: usize = 1_024;

/// The viewport. [`prepare`](Self::prepare) brings it up to date, [`rows`](Self::rows) tells what
/// it shows.
#[derive(Debug, Default)]
pub(super) struct Transcript {
    order: Vec<CellId>,
    /// The order of cells has changed.
    reordered: bool,
    drawn: HashMap<CellId, Vec<Line<'static>>>,
    look: Look,
    height: usize,
    place: Place,
    shown: Vec<(CellId, Range<usize>)>,
}

/// Where the first row of the viewport is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Place {
    /// Wherever the last row is on the screen.
    #[default]
    End,
    /// At this row of this cell.
    At(CellId, usize),
}

/// A row of the transcript: index of its cell in the order, and the row in the cell.
type Position = (usize, usize);

impl Transcript {
    /// Takes note of what an update changed.
    pub(super) fn changed(&mut self, view: &View, change: Change) {
        match change {
            Change::ItemGrew(id) | Change::ItemChanged(id) | Change::ItemSettled(id) => {
                self.drawn.remove(&CellId::Item(id));
            }
            Change::ItemAppeared(_)
            | Change::TurnEnded(_)
            | Change::NewerEvent(_)
            | Change::EventsLost(_)
            | Change::JobEnded(_)
            | Change::OlderItems => {
                self.reordered = true;
            }
            Change::ApprovalAsked(id) | Change::ApprovalDecided(id) => {
                let item = view.approval(id).map(|approval| approval.item);
                let item = item.and_then(quire_proto::id::ItemId::new);
                item.and_then(|item| self.drawn.remove(&CellId::Item(item)));
            }
            Change::JobsChanged => self.drawn.clear(),
            Change::Rewound | Change::Replaced => {
                self.drawn.clear();
                self.reordered = true;
            }
            Change::TurnStarted(_)
            | Change::TurnSuspended(_)
            | Change::TurnRetried(_)
            | Change::QueueChanged
            | Change::SessionChanged
            | Change::EventsMissing
            | Change::Synced
            | Change::PresenceChanged
            | Change::ActivityChanged => {}
        }
    }

    /// Shows long output whole, or folds it again.
    pub(super) fn toggle_unfolded(&mut self) {
        self.look.unfolded = !self.look.unfolded;
        self.drawn.clear();
    }

    /// True when the last row is on the screen and stays there as the transcript grows.
    pub(super) fn follows(&self) -> bool {
        self.place == Place::End
    }

    /// Finds the rows to show in a viewport of this size.
    pub(super) fn prepare(&mut self, view: &View, me: u32, width: usize, height: usize) {
        self.look.me = me;
        if self.look.width != width {
            self.look.width = width;
            self.drawn.clear();
        }
        if self.drawn.len() > KEPT {
            self.drawn.clear();
        }
        if std::mem::take(&mut self.reordered) {
            self.order = cell::order(view);
        }
        self.height = height;
        let top = self.top(view);
        self.shown = self.window(view, top);
    }

    /// The rows on the screen, as last prepared.
    pub(super) fn rows(&self) -> impl Iterator<Item = &Line<'static>> {
        let drawn = |cell: &CellId| self.drawn.get(cell).map_or(&[][..], Vec::as_slice);
        let shown = self.shown.iter();
        shown.flat_map(move |(cell, rows)| drawn(cell).get(rows.clone()).unwrap_or_default())
    }

    /// Moves the viewport.
    pub(super) fn scroll(&mut self, view: &View, scroll: Scroll) {
        let page = self.height.saturating_sub(2).max(1);
        let top = self.top(view);
        let to = match scroll {
            Scroll::Up => self.above(view, top, 1),
            Scroll::PageUp => self.above(view, top, page),
            Scroll::Down => self.below(view, top, 1),
            Scroll::PageDown => self.below(view, top, page),
            Scroll::Top => (0, 0),
            Scroll::Bottom => self.end(view),
        };
        let end = self.end(view);
        let cell = self.order.get(to.0).filter(|_| to < end);
        self.place = cell.map_or(Place::End, |cell| Place::At(*cell, to.1));
    }

    /// The first row on the screen. Where the place is gone or the end has come into view, the end
    /// is followed again.
    fn top(&mut self, view: &View) -> Position {
        let end = self.end(view);
        let Place::At(cell, row) = self.place else {
            return end;
        };
        let Some(index) = self.order.iter().rposition(|known| *known == cell) else {
            self.place = Place::End;
            return end;
        };
        let last = self.count(view, index).saturating_sub(1);
        let top = (index, row.min(last));
        if top >= end {
            self.place = Place::End;
        }
        top.min(end)
    }

    /// The first row when the last row is at the bottom of the screen.
    fn end(&mut self, view: &View) -> Position {
        let after_last = (self.order.len(), 0);
        self.above(view, after_last, self.height)
    }

    fn above(&mut self, view: &View, from: Position, mut rows: usize) -> Position {
        let (mut index, mut row) = from;
        while rows > row {
            rows -= row;
            if index == 0 {
                return (0, 0);
            }
            index -= 1;
            row = self.count(view, index);
        }
        (index, row - rows)
    }

    fn below(&mut self, view: &View, from: Position, rows: usize) -> Position {
        let (mut index, mut row) = (from.0, from.1 + rows);
        while index < self.order.len() {
            let count = self.count(view, index);
            if row < count {
                break;
            }
            row -= count;
            index += 1;
        }
        (index, row).min(self.end(view))
    }

    /// How many cells hold rows.
    #[cfg(test)]
    pub(super) fn cells_drawn(&self) -> usize {
        self.drawn.len()
    }

    fn window(&mut self, view: &View, top: Position) -> Vec<(CellId, Range<usize>)> {
        let mut shown = Vec::new();
        let mut room = self.height;
        let (mut index, mut row) = top;
        while room > 0 && index < self.order.len() {
            let end = self.count(view, index).min(row + room);
            shown.push((self.order[index], row..end));
            room -= end - row;
            (index, row) = (index + 1, 0);
        }
        shown
    }

    /// Rows of a cell; draws it if it has not been.
    fn count(&mut self, view: &View, index: usize) -> usize {
        let cell = self.order[index];
        let before = index.checked_sub(1).map(|before| self.order[before]);
        let look = self.look;
        let rows = self.drawn.entry(cell);
        rows.or_insert_with(|| cell::render(view, before, cell, look))
            .len()
    }
}
