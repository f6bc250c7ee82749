//! Cells: the parts of the transcript, each a pure function from what is known to rows.
//!
//! A cell knows its width and whether it is unfolded, never where on the screen it stands or what
//! time it is. So a finished cell is drawn once and stays as it is, in a viewport as well as in the
//! terminal's own scrollback.

use quire_proto::{
    id::{ItemId, TurnId},
    v1::{self, NoticeLevel, PlanStepStatus, StopReason, item::Kind},
};
use ratatui::{
    style::Style,
    text::{Line, Span},
};

use super::{
    text::{
        amount, markdown,
        safe::{self, Care},
        wrap::{Break, Indent, wrap},
    },
    theme,
};
use crate::view::{Mark, Marked, Turn, View, ViewItem, how_it_ended, words_of_loss};

mod call;
mod files;
mod fold;

pub(super) use files::changes;

/// Blank columns before all text; markers stand in them.
pub(super) const MARGIN: usize = 2;

/// Names one cell of a session's transcript.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum CellId {
    /// An item.
    Item(ItemId),
    /// How a turn ended.
    TurnEnd(TurnId),
    /// A mark between the items: the seq of its event.
    Mark(u64),
}

/// How a cell is to be drawn.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Look {
    /// Columns there are.
    pub(super) width: usize,
    /// Long output is shown whole.
    pub(super) unfolded: bool,
    /// This process, whose own prompts and answers need no name.
    pub(super) me: u32,
}

/// All cells of a session in order.
pub(super) fn order(view: &View) -> Vec<CellId> {
    let mut cells = Vec::new();
    let mut marks = view
        .marks()
        .iter()
        .filter(|mark| shows(view, mark))
        .peekable();
    let mut items = view.items().peekable();
    while let Some(mark) = marks.next_if(|mark| mark.after.is_none()) {
        cells.push(CellId::Mark(mark.seq));
    }
    while let Some((id, item)) = items.next() {
        cells.push(CellId::Item(id));
        while let Some(mark) = marks.next_if(|mark| mark.after <= Some(id)) {
            cells.push(CellId::Mark(mark.seq));
        }
        let turn = item.item().turn;
        let is_last = items
            .peek()
            .is_none_or(|(_, next)| next.item().turn != turn);
        let ended = TurnId::new(turn).filter(|id| {
            let turn = view.turn(*id);
            turn.is_some_and(|turn| turn.ended.is_some())
        });
        cells.extend(ended.filter(|_| is_last).map(CellId::TurnEnd));
    }
    cells
}

/// Rows of one cell, with the blank row that parts it from the cell `before` it.
pub(super) fn render(
    view: &View,
    before: Option<CellId>,
    cell: CellId,
    look: Look,
) -> Vec<Line<'static>> {
    let mut rows = match cell {
        CellId::Item(id) => view
            .item(id)
            .map_or_else(Vec::new, |item| item_rows(view, item, look)),
        CellId::TurnEnd(id) => view
            .turn(id)
            .map_or_else(Vec::new, |turn| turn_end(turn, look)),
        CellId::Mark(seq) => view
            .mark_at(seq)
            .map_or_else(Vec::new, |mark| mark_rows(view, mark, look)),
    };
    if !rows.is_empty() && before.is_some_and(|before| !belongs_to(view, before, cell)) {
        rows.insert(0, Line::default());
    }
    rows
}

/// A job's end that the conversation tells as well stands there.
fn shows(view: &View, mark: &Mark) -> bool {
    !matches!(&mark.what, Marked::JobEnded { job } if view.tells_end_of(job))
}

fn mark_rows(view: &View, mark: &Mark, look: Look) -> Vec<Line<'static>> {
    match &mark.what {
        Marked::Newer => {
            let seq = mark.seq;
            let text = format!("event {seq} is of a newer version of Quire: update to see it");
            marked("·", theme::DIM, &text, theme::DIM, look)
        }
        Marked::Lost { events } => {
            marked("!", theme::WARN, &words_of_loss(*events), theme::WARN, look)
        }
        Marked::JobEnded { job } => job_end(view, job, look),
    }
}

/// The end of a background command.
fn job_end(view: &View, job: &str, look: Look) -> Vec<Line<'static>> {
    let Some(known) = view.jobs().get(job) else {
        let text = format!("job {job} has ended");
        return marked("■", theme::DIM, &text, theme::DIM, look);
    };
    let (sign, style) = match (known.state(), known.exit_code) {
        (v1::JobState::Exited, Some(0)) => ("✓", theme::GOOD),
        (v1::JobState::Exited, Some(_)) => ("✗", theme::BAD),
        _ => ("?", theme::WARN),
    };
    let text = format!("job {job} {}: {}", how_it_ended(known), known.command);
    marked(sign, style, &text, theme::STRONG, look)
}

/// True when the two stand together without a blank row: the files a call changed, and calls that
/// show no output.
fn belongs_to(view: &View, before: CellId, cell: CellId) -> bool {
    let item = |cell| match cell {
        CellId::Item(id) => view.item(id),
        _ => None,
    };
    let (Some(before), Some(after)) = (item(before), item(cell)) else {
        return false;
    };
    match (before.kind(), after.kind()) {
        (Some(Kind::ToolCall(_)), Some(Kind::FileChange(change))) => {
            change.call == before.item().id
        }
        (Some(Kind::ToolCall(one)), Some(Kind::ToolCall(other))) => {
            call::is_brief(one) && call::is_brief(other)
        }
        _ => false,
    }
}

fn item_rows(view: &View, item: &ViewItem, look: Look) -> Vec<Line<'static>> {
    let mut rows = match item.kind() {
        Some(Kind::Prompt(prompt)) if !prompt.job_id.is_empty() => {
            let mut rows = job_end(view, &prompt.job_id, look);
            if look.unfolded {
                rows.extend(marked(" ", theme::DIM, &prompt.text, theme::DIM, look));
            }
            rows
        }
        Some(Kind::Prompt(prompt)) => prompt_rows(prompt, item.speaker(), look),
        Some(Kind::Message(_)) => {
            markdown::render(item.text(), look.width, MARGIN, item.is_growing())
        }
        Some(Kind::Reasoning(_)) => reasoning(item.text(), look),
        Some(Kind::ToolCall(call)) => return call::render(view, item, call, look),
        Some(Kind::FileChange(change)) => files::changes(&change.files, look, Care::Prose),
        Some(Kind::Plan(plan)) => plan_rows(plan, look),
        // Said to the model, not to people.
        Some(Kind::Notice(notice)) if notice.for_model && !look.unfolded => Vec::new(),
        Some(Kind::Notice(notice)) => notice_rows(notice, look),
        Some(Kind::Compaction(compaction)) => compaction_rows(compaction, look),
        None => marked(
            "·",
            theme::DIM,
            "an item of a newer version of Quire",
            theme::DIM,
            look,
        ),
    };
    if item.is_cut_off() {
        rows.extend(marked("■", theme::WARN, "cut off here", theme::DIM, look));
    }
    rows
}

/// A text with a marker in the margin. Each of its lines is wrapped by words.
fn marked(
    marker: &'static str,
    of_marker: Style,
    text: &str,
    of_text: Style,
    look: Look,
) -> Vec<Line<'static>> {
    let marker = Indent::marker(Span::styled(format!("{marker} "), of_marker));
    let below = Indent::blank(MARGIN);
    let lines = safe::lines(text, Care::Prose).enumerate();
    lines
        .flat_map(|(number, line)| {
            let indent = if number == 0 { &marker } else { &below };
            let span = Span::styled(line, of_text);
            wrap(&[span], look.width, Break::Words, indent)
        })
        .collect()
}

fn prompt_rows(
    prompt: &v1::PromptItem,
    by: Option<&v1::ClientRef>,
    look: Look,
) -> Vec<Line<'static>> {
    let mut rows = marked("›", theme::PERSON, &prompt.text, theme::STRONG, look);
    if let (Some(by), Some(row)) = (by.filter(|by| by.pid != look.me), rows.last_mut()) {
        let label = Span::styled(
            format!("  from {}", safe::line(&by.name, Care::Prose)),
            theme::DIM,
        );
        // Where it does not fit beside the text it stands below.
        if row.width() + label.width() <= look.width {
            row.push_span(label);
        } else {
            rows.push(Line::from(label));
        }
    }
    for image in &prompt.images {
        let size = amount::bytes(image.data.len() as u64);
        let text = format!("[{}, {size}]", safe::line(&image.media_type, Care::Prose));
        rows.push(Line::from(vec![
            Span::raw(" ".repeat(MARGIN)),
            Span::styled(text, theme::DIM),
        ]));
    }
    rows
}

fn reasoning(text: &str, look: Look) -> Vec<Line<'static>> {
    if text.trim().is_empty() {
        return vec![];
    }
    let rows = marked("∴", theme::DIM, text, theme::THOUGHT, look);
    fold::tail(rows, fold::THOUGHTS, look)
}

fn plan_rows(plan: &v1::PlanItem, look: Look) -> Vec<Line<'static>> {
    let title = if plan.explanation.is_empty() {
        "Plan"
    } else {
        &plan.explanation
    };
    let mut rows = marked("≡", theme::BUSY, title, theme::STRONG, look);
    for step in &plan.steps {
        let (sign, of_sign, of_text) = match step.status() {
            PlanStepStatus::Completed => ("✓ ", theme::GOOD, theme::DIM),
            PlanStepStatus::InProgress => ("▸ ", theme::BUSY, theme::STRONG),
            PlanStepStatus::Pending | PlanStepStatus::Unspecified => {
                ("○ ", theme::DIM, theme::PLAIN)
            }
        };
        let text = Span::styled(safe::line(&step.text, Care::Prose), of_text);
        let indent = Indent::marker(Span::styled(sign, of_sign)).within(MARGIN);
        rows.extend(wrap(&[text], look.width, Break::Words, &indent));
    }
    rows
}

fn notice_rows(notice: &v1::NoticeItem, look: Look) -> Vec<Line<'static>> {
    let (sign, style) = match notice.level() {
        NoticeLevel::Error => ("✗", theme::BAD),
        NoticeLevel::Warning => ("!", theme::WARN),
        NoticeLevel::Info | NoticeLevel::Unspecified => ("·", theme::DIM),
    };
    marked(sign, style, &notice.text, style, look)
}

fn compaction_rows(compaction: &v1::CompactionItem, look: Look) -> Vec<Line<'static>> {
    let title = format!(
        "earlier talk summed up for the model: {} → {} tokens",
        amount::tokens(compaction.tokens_before),
        amount::tokens(compaction.tokens_after)
    );
    let mut rows = marked("≈", theme::DIM, &title, theme::DIM, look);
    if look.unfolded {
        rows.extend(markdown::render(
            &compaction.summary,
            look.width,
            MARGIN,
            false,
        ));
    }
    rows
}

fn turn_end(turn: &Turn, look: Look) -> Vec<Line<'static>> {
    let Some(ended) = &turn.ended else {
        return vec![];
    };
    let otherwise = match ended.stop_reason() {
        StopReason::Done => {
            let text = turn_figures(turn, ended);
            return marked("─", theme::DIM, &text, theme::DIM, look);
        }
        StopReason::Interrupted => {
            return marked("■", theme::WARN, "interrupted", theme::WARN, look);
        }
        StopReason::Denied => "the turn stopped: an approval was denied",
        StopReason::ModelError => "the model could not be asked",
        StopReason::Limit => "the turn reached a limit",
        StopReason::MaxTokens => "the model reached its output limit",
        StopReason::Refused => "the provider refused to answer",
        StopReason::Internal | StopReason::Unspecified => "the turn failed",
    };
    let text = if ended.error.is_empty() {
        otherwise
    } else {
        &ended.error
    };
    marked("✗", theme::BAD, text, theme::BAD, look)
}

fn turn_figures(turn: &Turn, ended: &v1::TurnEnded) -> String {
    let usage = ended.usage.unwrap_or_default();
    let mut figures = Vec::new();
    if turn.started_ms > 0 {
        figures.push(amount::duration(turn.ended_ms - turn.started_ms));
    }
    let tokens = usage.input_tokens + usage.output_tokens;
    if tokens > 0 {
        figures.push(format!("{} tokens", amount::tokens(tokens)));
    }
    figures.push(amount::money(usage.cost_micros));
    figures.retain(|figure| !figure.is_empty());
    figures.insert(0, "done".to_owned());
    figures.join(" · ")
}
