//! The session as text: what the agent does as progress, what it says as output.
//!
//! Only the last message of a turn that ended well goes to standard output, so that
//! `answer=$(quire exec ...)` holds the answer alone. On a terminal messages stream there as they
//! come. [`Target::Transcript`] puts everything on standard output, as `quire logs` does.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
};

use quire_proto::{
    id::{ItemId, TurnId},
    v1::{
        ActivityKind, FileChange, FileOperation, NoticeItem, NoticeLevel, Outcome, OutcomeStatus,
        PlanItem, PlanStepStatus, ToolCallItem, item::Kind,
    },
};

use super::{
    End, Fold, Printed, command_output,
    paint::{Ink, Paint, duration, printable},
    whole_message,
};
use crate::{
    failure::Failure,
    view::{Change, Marked, Turn, View, ViewItem, how_it_ended, words_of_loss},
};

/// Last lines of a command's output that are shown.
const OUTPUT_LINES: usize = 12;

/// What goes where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// The last message alone to standard output, when the turn has ended.
    LastMessage,
    /// Messages to standard output as they grow, the rest to standard error.
    Stream,
    /// Everything to standard output, prompts too, messages as they grow.
    Transcript,
}

/// Whether a message has been printed as progress.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Told {
    Yes,
    /// It may be the last one, which is output.
    NotYet,
}

/// One session as text.
#[derive(Debug)]
pub struct Plain {
    target: Target,
    /// For standard output.
    out: Paint,
    /// For standard error.
    err: Paint,
    /// The newest whole message of the turn, and whether it was already told as progress.
    held: Option<(String, Told)>,
    /// Bytes of each growing message that were printed.
    streamed: BTreeMap<ItemId, usize>,
    /// Running calls whose titles were printed.
    announced: BTreeSet<ItemId>,
    /// The one printed last, whose outcome need not name it again.
    newest: Option<ItemId>,
    /// Why the turn is paused, as last told.
    paused: Option<String>,
    /// Standard output stands in the middle of a line.
    line_is_open: bool,
}

impl Plain {
    /// A fold that prints for `target`.
    #[must_use]
    pub fn new(target: Target, out: Paint, err: Paint) -> Self {
        Self {
            target,
            out,
            err,
            held: None,
            streamed: BTreeMap::new(),
            announced: BTreeSet::new(),
            newest: None,
            paused: None,
            line_is_open: false,
        }
    }

    fn change(&mut self, view: &View, change: Change, printed: &mut Printed) {
        match change {
            Change::ItemAppeared(id) | Change::ItemChanged(id) => {
                if let Some(item) = view.item(id) {
                    self.announce(id, item, printed);
                }
            }
            Change::ItemGrew(id) => {
                if let Some(item) = view.item(id) {
                    self.stream(id, item, printed);
                }
            }
            Change::ItemSettled(id) => {
                if let Some(item) = view.item(id) {
                    self.settle(id, item, printed);
                }
            }
            Change::TurnRetried(id) => self.retried(view.turn(id), printed),
            Change::TurnSuspended(id) => self.suspended(view.turn(id), printed),
            Change::ActivityChanged => self.paused(view, printed),
            Change::TurnEnded(id) => self.end_turn(view, id, printed),
            Change::ApprovalAsked(id) => {
                if let Some(approval) = view.approval(id) {
                    let title = printable(&approval.title);
                    let text = format!("? approval {id}: {title}");
                    self.progress_line(Ink::Yellow, &text, printed);
                    self.files(&approval.files, printed);
                }
            }
            Change::EventsLost(seq) | Change::JobEnded(seq) => self.mark(view, seq, printed),
            Change::NewerEvent(seq) => {
                self.progress_line(Ink::Dim, &format!("newer event (seq {seq})"), printed);
            }
            Change::EventsMissing => {
                let text = "some events are missing here: the log and this client disagree";
                self.progress_line(Ink::Yellow, text, printed);
            }
            _ => {}
        }
    }

    fn announce(&mut self, id: ItemId, item: &ViewItem, printed: &mut Printed) {
        let Some(Kind::ToolCall(call)) = item.kind() else {
            return;
        };
        self.tell_held(printed);
        if item.is_growing() && !call.title.is_empty() && self.announced.insert(id) {
            self.newest = Some(id);
            self.progress_line(Ink::Bold, &title(call), printed);
        }
    }

    fn stream(&mut self, id: ItemId, item: &ViewItem, printed: &mut Printed) {
        let is_message = matches!(item.kind(), Some(Kind::Message(_)));
        if self.target == Target::LastMessage || !is_message {
            return;
        }
        let from = self.streamed.get(&id).copied().unwrap_or(0);
        let text = item.text();
        if let Some(new) = text.get(from..).filter(|new| !new.is_empty()) {
            printed.to(End::Out).push_str(&printable(new));
            self.line_is_open = !new.ends_with('\n');
        }
        self.streamed.insert(id, text.len());
    }

    fn settle(&mut self, id: ItemId, item: &ViewItem, printed: &mut Printed) {
        match item.kind() {
            Some(Kind::Message(_)) => self.settle_message(id, item, printed),
            Some(Kind::ToolCall(call)) => self.settle_call(id, call, printed),
            // Nobody said it: it tells the end of a job, which was told when it came.
            Some(Kind::Prompt(prompt)) if !prompt.job_id.is_empty() => {}
            Some(Kind::Prompt(prompt)) if self.target == Target::Transcript => {
                for line in printable(&prompt.text).lines() {
                    self.progress_line(Ink::Cyan, &format!("> {line}"), printed);
                }
            }
            Some(Kind::Reasoning(_)) => {
                for line in printable(item.text().trim()).lines() {
                    self.progress_line(Ink::Dim, line, printed);
                }
            }
            Some(Kind::FileChange(change)) => self.files(&change.files, printed),
            Some(Kind::Plan(plan)) => self.plan(plan, printed),
            // Said to the model, not to people.
            Some(Kind::Notice(notice)) if notice.for_model => {}
            Some(Kind::Notice(notice)) => self.notice(notice, printed),
            Some(Kind::Compaction(compaction)) => {
                let (before, after) = (compaction.tokens_before, compaction.tokens_after);
                let text = format!("summarised: {before} tokens are now {after}");
                self.progress_line(Ink::Dim, &text, printed);
            }
            Some(Kind::Prompt(_)) | None => {}
        }
    }

    fn settle_message(&mut self, id: ItemId, item: &ViewItem, printed: &mut Printed) {
        self.stream(id, item, printed);
        self.streamed.remove(&id);
        self.close_line(printed);
        if item.is_cut_off() && !item.text().is_empty() {
            if self.target == Target::LastMessage {
                for line in printable(item.text()).lines() {
                    self.progress_line(Ink::Dim, line, printed);
                }
            }
            self.progress_line(Ink::Dim, "(the message was cut off here)", printed);
        }
        if self.target == Target::LastMessage
            && let Some(text) = whole_message(item)
        {
            self.tell_held(printed);
            self.held = Some((text.to_owned(), Told::NotYet));
        }
    }

    /// The turn goes on after its newest message, so that one is progress.
    fn tell_held(&mut self, printed: &mut Printed) {
        if let Some((text, told @ Told::NotYet)) = &mut self.held {
            *told = Told::Yes;
            let _infallible = writeln!(printed.to(End::Err), "{}", printable(text));
        }
    }

    fn settle_call(&mut self, id: ItemId, call: &ToolCallItem, printed: &mut Printed) {
        self.announced.remove(&id);
        if self.newest.take() != Some(id) {
            self.progress_line(Ink::Bold, &title(call), printed);
        }
        let Some(outcome) = &call.outcome else {
            return;
        };
        let (ink, mut words) = outcome_words(outcome);
        if ink == Ink::Green && !is_command(call) {
            return;
        }
        if outcome.wall_ms > 0 {
            let _infallible = write!(words, ", {}", duration(outcome.wall_ms));
        }
        self.tail(command_output(outcome), printed);
        self.progress_line(ink, &format!("  {words}"), printed);
    }

    /// The last lines of a command's output.
    fn tail(&mut self, output: &str, printed: &mut Printed) {
        let output = printable(output.trim_end());
        let lines: Vec<_> = output.lines().collect();
        let left_out = lines.len().saturating_sub(OUTPUT_LINES);
        if left_out > 0 {
            self.progress_line(Ink::Dim, &format!("  ... {left_out} lines"), printed);
        }
        for line in &lines[left_out..] {
            self.progress_line(Ink::Dim, &format!("  {line}"), printed);
        }
    }

    fn files(&mut self, files: &[FileChange], printed: &mut Printed) {
        for file in files {
            let text = format!(
                "{} {} (+{} -{})",
                letter(file.operation()),
                printable(&file.path),
                file.added_lines,
                file.removed_lines
            );
            self.progress_line(Ink::Bold, &text, printed);
            let (end, paint) = self.progress_end(printed);
            end.push_str(&paint.diff(&file.diff));
        }
    }

    fn plan(&mut self, plan: &PlanItem, printed: &mut Printed) {
        for step in &plan.steps {
            let (mark, ink) = match step.status() {
                PlanStepStatus::Completed => ("[x]", Ink::Green),
                PlanStepStatus::InProgress => ("[>]", Ink::Bold),
                PlanStepStatus::Pending | PlanStepStatus::Unspecified => ("[ ]", Ink::Dim),
            };
            let text = format!("{mark} {}", printable(&step.text));
            self.progress_line(ink, &text, printed);
        }
    }

    fn notice(&mut self, notice: &NoticeItem, printed: &mut Printed) {
        let (word, ink) = match notice.level() {
            NoticeLevel::Error => ("error", Ink::Red),
            NoticeLevel::Warning => ("warning", Ink::Yellow),
            NoticeLevel::Info | NoticeLevel::Unspecified => ("note", Ink::Dim),
        };
        let text = format!("{word}: {}", printable(&notice.text));
        self.progress_line(ink, &text, printed);
    }

    fn mark(&mut self, view: &View, seq: u64, printed: &mut Printed) {
        match view.mark_at(seq).map(|mark| &mark.what) {
            Some(Marked::Lost { events }) => {
                self.progress_line(Ink::Yellow, &words_of_loss(*events), printed);
            }
            Some(Marked::JobEnded { job }) => {
                if let Some(job) = view.jobs().get(job) {
                    let (id, command) = (printable(&job.id), printable(&job.command));
                    let text = format!("job {id} {}: {command}", how_it_ended(job));
                    self.progress_line(Ink::Bold, &text, printed);
                }
            }
            Some(Marked::Newer) | None => {}
        }
    }

    fn retried(&mut self, turn: Option<&Turn>, printed: &mut Printed) {
        if let Some(retried) = turn.and_then(|turn| turn.retried.as_ref()) {
            let text = if retried.daemon_ended {
                "the daemon ended; asked again".to_owned()
            } else {
                let wait = duration(retried.wait_ms);
                format!("asking again in {wait}: {}", printable(&retried.error))
            };
            self.progress_line(Ink::Yellow, &text, printed);
        }
    }

    /// Nothing can be written down: told once for each reason.
    fn paused(&mut self, view: &View, printed: &mut Printed) {
        let activity = view.activity();
        let paused = activity.filter(|activity| activity.kind() == ActivityKind::Paused);
        let why = paused.map(|activity| activity.detail.clone());
        if let Some(why) = why.as_ref().filter(|_| why != self.paused) {
            let text = format!("the turn is paused: {}", printable(why));
            self.progress_line(Ink::Yellow, &text, printed);
        }
        self.paused = why;
    }

    fn suspended(&mut self, turn: Option<&Turn>, printed: &mut Printed) {
        if let Some(reason) = turn.and_then(|turn| turn.suspended.as_ref()) {
            let text = format!("the turn waits: {}", printable(reason));
            self.progress_line(Ink::Yellow, &text, printed);
        }
    }

    fn end_turn(&mut self, view: &View, id: TurnId, printed: &mut Printed) {
        let ended = view.turn(id).and_then(|turn| turn.ended.as_ref());
        let failure = ended.and_then(Failure::of_turn);
        if failure.is_some() {
            self.tell_held(printed);
            self.held = None;
        } else if let Some((message, _)) = self.held.take() {
            // Byte for byte: what reads this is a program.
            let _infallible = writeln!(printed.to(End::Out), "{message}");
        }
        if let Some(failure) = failure.filter(|_| self.target == Target::Transcript) {
            self.progress_line(Ink::Red, &format!("stopped: {failure}"), printed);
        }
    }

    /// A message that streams is left where it stands when something else has to be said.
    fn close_line(&mut self, printed: &mut Printed) {
        if self.line_is_open {
            self.line_is_open = false;
            printed.to(End::Out).push('\n');
        }
    }

    fn progress_end<'p>(&mut self, printed: &'p mut Printed) -> (&'p mut String, Paint) {
        self.close_line(printed);
        match self.target {
            Target::Transcript => (printed.to(End::Out), self.out),
            Target::Stream | Target::LastMessage => (printed.to(End::Err), self.err),
        }
    }

    fn progress_line(&mut self, ink: Ink, text: &str, printed: &mut Printed) {
        let (end, paint) = self.progress_end(printed);
        end.push_str(&paint.with(ink, text));
        end.push('\n');
    }
}

impl Fold for Plain {
    fn changed(&mut self, view: &View, changes: &[Change], printed: &mut Printed) {
        for change in changes {
            self.change(view, *change, printed);
        }
    }
}

fn title(call: &ToolCallItem) -> String {
    let named = [call.title.as_str(), call.tool.as_str()];
    let named = named.into_iter().find(|text| !text.is_empty());
    let mark = if is_command(call) { "$" } else { "*" };
    format!("{mark} {}", printable(named.unwrap_or_default()))
}

fn is_command(call: &ToolCallItem) -> bool {
    let access = call.access.as_ref();
    access.is_some_and(|access| !access.command.is_empty())
}

fn outcome_words(outcome: &Outcome) -> (Ink, String) {
    let (ink, words) = match (outcome.status(), outcome.exit_code) {
        (OutcomeStatus::Succeeded, None | Some(0)) if outcome.still_running => {
            let words = format!("runs on as job {}", outcome.job_id);
            return (Ink::Green, words);
        }
        (OutcomeStatus::Succeeded, None | Some(0)) => (Ink::Green, "ok"),
        (OutcomeStatus::Succeeded, Some(code)) => return (Ink::Red, format!("exit code {code}")),
        (OutcomeStatus::Denied, _) => (Ink::Yellow, "denied"),
        (OutcomeStatus::Interrupted, _) => (Ink::Yellow, "interrupted"),
        (OutcomeStatus::Unknown, _) => (Ink::Yellow, "nobody knows how it ended"),
        (OutcomeStatus::Failed | OutcomeStatus::Unspecified, _) => (Ink::Red, "failed"),
    };
    (ink, words.to_owned())
}

/// One letter for what happened to a file, as git has it.
#[must_use]
pub fn letter(operation: FileOperation) -> char {
    match operation {
        FileOperation::Added => 'A',
        FileOperation::Deleted => 'D',
        FileOperation::Moved => 'R',
        FileOperation::Modified | FileOperation::Unspecified => 'M',
    }
}

#[cfg(test)]
mod tests {
    use super::{super::story, *};

    fn print(target: Target, story: &[story::Update]) -> Printed {
        let mut fold = Plain::new(target, Paint::default(), Paint::default());
        story::fold(&mut fold, story)
    }

    #[test]
    fn only_the_last_message_is_output() {
        let printed = print(Target::LastMessage, &story::repair());
        insta::assert_snapshot!(printed.text(End::Out), @"All tests pass now.");
        insta::assert_snapshot!(printed.text(End::Err), @r#"
        Run them first.
        [x] find it
        [ ] repair it
        I run the tests.
        $ sh test.sh
          1 test failed
          exit code 1, 120 ms
        warning: no AGENTS.md
        * edit calc.sh
        M calc.sh (+1 -1)
        --- a/calc.sh
        +++ b/calc.sh
        @@ -1 +1 @@
        -a - b
        +a + b
        [x] find it
        [x] repair it
        $ sh test.sh
          ok
          ok, 120 ms
        "#);
    }

    #[test]
    fn a_terminal_gets_messages_as_they_grow() {
        let printed = print(Target::Stream, &story::repair());
        insta::assert_snapshot!(printed.text(End::Out), @r#"
        I run the tests.
        All tests pass now.
        "#);
    }

    #[test]
    fn a_transcript_is_all_output() {
        let printed = print(Target::Transcript, &story::repair());
        assert_eq!(printed.text(End::Err), "");
        insta::assert_snapshot!(printed.text(End::Out), @r#"
        > make the tests pass
        Run them first.
        I run the tests.
        [x] find it
        [ ] repair it
        $ sh test.sh
          1 test failed
          exit code 1, 120 ms
        warning: no AGENTS.md
        * edit calc.sh
        M calc.sh (+1 -1)
        --- a/calc.sh
        +++ b/calc.sh
        @@ -1 +1 @@
        -a - b
        +a + b
        [x] find it
        [x] repair it
        $ sh test.sh
          ok
          ok, 120 ms
        All tests pass now.
        "#);
    }

    #[test]
    fn what_was_lost_and_what_ended_is_told_once() {
        let printed = print(Target::Transcript, &story::damage());
        insta::assert_snapshot!(printed.text(End::Out), @r#"
        > serve it
        $ npm run dev
          runs on as job jb2
        17 events were lost by the disk
        the daemon ended; asked again
        the turn is paused: the disk is full
        job jb2 ended with exit code 1: npm run dev
        "#);
    }

    #[test]
    fn nothing_is_output_when_the_turn_failed() {
        let printed = print(Target::LastMessage, &story::failure());
        assert_eq!(printed.text(End::Out), "");
        insta::assert_snapshot!(printed.text(End::Err), @r#"
        asking again in 400 ms: connection refused
        I am
        "#);
    }
}
