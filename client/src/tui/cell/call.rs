//! The cell of a tool call: what it is, how it stands, and the end of its output.

use quire_proto::v1::{self, JobState, OutcomeStatus};
use ratatui::{
    style::Style,
    text::{Line, Span},
};

use super::{Look, MARGIN, fold};
use crate::{
    output::command_output,
    tui::{
        text::{
            amount,
            safe::{self, Care},
            wrap::{Break, Indent, wrap},
        },
        theme,
    },
    view::{View, ViewItem},
};

/// A call that took less than this took no time worth telling.
const WORTH_TELLING_MS: i64 = 1_000;

/// How a call stands: a sign, its style, and the words beside the title.
struct Standing {
    sign: &'static str,
    style: Style,
    words: String,
}

/// True for a call that shows its title only, once it has succeeded.
pub(super) fn is_brief(call: &v1::ToolCallItem) -> bool {
    let runs_command = call
        .access
        .as_ref()
        .is_some_and(|access| !access.command.is_empty());
    let fine = call
        .outcome
        .as_ref()
        .is_none_or(|outcome| outcome.status() == OutcomeStatus::Succeeded);
    fine && !runs_command
        && call
            .intent
            .as_ref()
            .is_none_or(|intent| intent.job_id.is_empty())
}

/// Rows of a tool call.
pub(super) fn render(
    view: &View,
    item: &ViewItem,
    call: &v1::ToolCallItem,
    look: Look,
) -> Vec<Line<'static>> {
    let mut standing = standing(view, item, call);
    if let Some(who) = who_answered(view, item, look) {
        standing.words = match standing.words.as_str() {
            "" | "denied" => who,
            words => format!("{words} · {who}"),
        };
    }
    let mut rows = title(call, &standing, look);
    rows.extend(match &call.outcome {
        Some(outcome) if outcome.still_running => fold::live(item.growth(), look),
        Some(_) if is_brief(call) && !look.unfolded => vec![],
        Some(outcome) => fold::output(command_output(outcome).as_bytes(), 0, look),
        None => fold::live(item.growth(), look),
    });
    rows
}

fn title(call: &v1::ToolCallItem, standing: &Standing, look: Look) -> Vec<Line<'static>> {
    let title = if call.title.is_empty() {
        &call.tool
    } else {
        &call.title
    };
    let spans = [
        Span::styled(safe::line(title, Care::Prose), theme::STRONG),
        Span::styled(format!("  {}", standing.words), theme::DIM),
    ];
    let sign = Span::styled(format!("{} ", standing.sign), standing.style);
    debug_assert_eq!(sign.width(), MARGIN);
    wrap(&spans, look.width, Break::Words, &Indent::marker(sign))
}

fn standing(view: &View, item: &ViewItem, call: &v1::ToolCallItem) -> Standing {
    let stands = |sign, style, words: &str| Standing {
        sign,
        style,
        words: words.to_owned(),
    };
    let Some(outcome) = &call.outcome else {
        let asked = view
            .approvals()
            .any(|(_, approval)| approval.item == item.item().id);
        return match call.intent {
            _ if item.is_cut_off() => stands("■", theme::WARN, "cut off"),
            _ if asked => stands("?", theme::WARN, "waits for an answer"),
            Some(_) => stands("●", theme::BUSY, "running"),
            None => stands("○", theme::DIM, "about to run"),
        };
    };
    match outcome.status() {
        _ if outcome.still_running => in_background(view, outcome),
        OutcomeStatus::Succeeded => ended(outcome),
        OutcomeStatus::Failed => stands("✗", theme::BAD, "failed"),
        OutcomeStatus::Denied => stands("⊘", theme::WARN, "denied"),
        OutcomeStatus::Interrupted => stands("■", theme::WARN, "interrupted"),
        OutcomeStatus::Unknown | OutcomeStatus::Unspecified => {
            stands("?", theme::WARN, "unknown: it may or may not have run")
        }
    }
}

/// Who allowed or denied the call, when it wasn't this client.
fn who_answered(view: &View, item: &ViewItem, look: Look) -> Option<String> {
    let approval = view.approval_of(item.item().id)?;
    let answer = approval.answer.as_ref()?;
    let by = answer.by.as_ref().filter(|by| by.pid != look.me)?;
    let verdict = match answer.verdict() {
        v1::ApprovalVerdict::Deny => "denied",
        _ => "approved",
    };
    let name = safe::line(&by.name, Care::Prose);
    Some(format!("{verdict} by {name}"))
}

fn ended(outcome: &v1::Outcome) -> Standing {
    let mut words = Vec::new();
    let (sign, style) = match outcome.exit_code {
        None | Some(0) => ("✓", theme::GOOD),
        Some(code) => {
            words.push(format!("exit {code}"));
            ("✗", theme::BAD)
        }
    };
    if outcome.wall_ms >= WORTH_TELLING_MS {
        words.push(amount::duration(outcome.wall_ms));
    }
    Standing {
        sign,
        style,
        words: words.join(" · "),
    }
}

fn in_background(view: &View, outcome: &v1::Outcome) -> Standing {
    let job = view.jobs().get(&outcome.job_id);
    let id = safe::line(&outcome.job_id, Care::Prose);
    let (sign, style, words) = match job.map(|job| (job.state(), job.exit_code)) {
        Some((JobState::Exited, Some(0))) => ("✓", theme::GOOD, format!("job {id} ended")),
        Some((JobState::Exited, Some(code))) => {
            ("✗", theme::BAD, format!("job {id} ended with exit {code}"))
        }
        Some((JobState::Unknown, _)) => ("?", theme::WARN, format!("job {id} is gone")),
        _ => ("●", theme::BUSY, format!("goes on as job {id}")),
    };
    Standing { sign, style, words }
}
