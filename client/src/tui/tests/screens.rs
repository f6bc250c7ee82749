//! Pictures of every state.

use insta::assert_snapshot;
use quire_proto::v1::{
    self, ActivityKind, ItemStatus, PlanStepStatus, PromptMode, StopReason, event::Body,
    item::Kind, session_service_watch_response::Update,
};
use ratatui::style::Color;

use super::stage::{
    DIFF, Stage, approval, changed, command, looked, message, prompt, ran, reasoning,
};
use crate::tui::app::{Input, Role};

#[test]
fn an_empty_session_says_where_it_is_and_what_to_do() {
    assert_snapshot!(Stage::new().picture(72, 12), @r#"
    "  Quire  /home/u/sample                                                 "
    "                                                                        "
    "  Say what to do. It goes on when you leave.                            "
    "  ? shows all keys.                                                     "
    "                                                                        "
    "                                                                        "
    "                                                                        "
    "                                                                        "
    "                                                                        "
    "────────────────────────────────────────────────────────── k3m9x2rt7w ──"
    "› Say what to do                                                        "
    "  openai/gpt-5.2 · workspace-write · asks on request                    "
    "#);
}

#[test]
fn a_finished_turn_reads_from_top_to_bottom() {
    let mut stage = Stage::new();
    stage.event(Body::SessionChanged(v1::SessionChanged {
        title: Some("Fix the failing test".into()),
        ..v1::SessionChanged::default()
    }));
    stage.turn_started();
    stage
        .item(1, prompt("make the tests pass"))
        .item(2, reasoning("The tests fail somewhere.\nRun them first."))
        .item(
            3,
            ran("cargo test", 101, "running 1 test\ntest adds ... FAILED\n"),
        )
        .item(4, looked("read src/lib.rs"))
        .item(5, looked("search \"fn add\""))
        .item(6, looked("edit src/lib.rs"))
        .item(7, Kind::FileChange(changed(6, "src/lib.rs", DIFF)))
        .item(
            8,
            message("`add` subtracted. It **adds** now:\n\n- one line changed\n- the test passes"),
        );
    stage.wait(34_000).turn_ended(StopReason::Done, "");
    assert_snapshot!(stage.picture(72, 36), @r#"
    "› make the tests pass                                                   "
    "                                                                        "
    "∴ The tests fail somewhere.                                             "
    "  Run them first.                                                       "
    "                                                                        "
    "✗ cargo test  exit 101 · 1.2 s                                          "
    "  └ running 1 test                                                      "
    "    test adds ... FAILED                                                "
    "                                                                        "
    "✓ read src/lib.rs                                                       "
    "✓ search "fn add"                                                       "
    "✓ edit src/lib.rs                                                       "
    "± changed src/lib.rs  +1 −1                                             "
    "    1   pub fn add(a: i32, b: i32) -> i32 {                             "
    "    2 -     a - b                                                       "
    "    2 +     a + b                                                       "
    "    3   }                                                               "
    "    4                                                                   "
    "                                                                        "
    "  add subtracted. It adds now:                                          "
    "                                                                        "
    "  • one line changed                                                    "
    "  • the test passes                                                     "
    "                                                                        "
    "─ done · 34 s · 12.3k tokens · $0.042                                   "
    "                                                                        "
    "                                                                        "
    "                                                                        "
    "                                                                        "
    "                                                                        "
    "                                                                        "
    "                                                                        "
    "                                                                        "
    "── Fix the failing test ────────────────────────────────── k3m9x2rt7w ──"
    "› Say what to do                                                        "
    "  openai/gpt-5.2 · workspace-write · asks on request        12.3k tokens"
    "#);
}

#[test]
fn text_streams_in_while_the_status_tells_what_is_awaited() {
    let mut stage = Stage::new();
    stage.turn_started().activity(ActivityKind::Streaming, "");
    stage
        .item(1, prompt("explain"))
        .growing(2, message(""))
        .delta(2, 0, "It starts with `main` and goes on un")
        .wait(12_000);
    assert_snapshot!(stage.picture(72, 12), @r#"
    "› explain                                                               "
    "                                                                        "
    "  It starts with main and goes on un                                    "
    "                                                                        "
    "                                                                        "
    "                                                                        "
    "                                                                        "
    "                                                                        "
    "⠋ the model writes · 12 s · Esc interrupts                              "
    "────────────────────────────────────────────────────────── k3m9x2rt7w ──"
    "› Enter joins the turn, Tab queues for the next                         "
    "  openai/gpt-5.2 · workspace-write · asks on request                    "
    "#);
}

#[test]
fn a_running_command_shows_the_end_of_its_output() {
    let mut stage = Stage::new();
    stage
        .turn_started()
        .activity(ActivityKind::Acting, "cargo test");
    let lines: String = (1..=40)
        .map(|n| format!("test case_{n} ... ok\n"))
        .collect();
    stage
        .item(1, prompt("make the tests pass"))
        .growing(3, Kind::ToolCall(command("cargo test")))
        .delta(3, 0, lines)
        .wait(3_000);
    assert_snapshot!(stage.picture(72, 16), @r#"
    "› make the tests pass                                                   "
    "                                                                        "
    "● cargo test  running                                                   "
    "  └ … 34 lines before (Ctrl+O)                                          "
    "    test case_35 ... ok                                                 "
    "    test case_36 ... ok                                                 "
    "    test case_37 ... ok                                                 "
    "    test case_38 ... ok                                                 "
    "    test case_39 ... ok                                                 "
    "    test case_40 ... ok                                                 "
    "                                                                        "
    "                                                                        "
    "⠋ running cargo test · 3 s · Esc interrupts                             "
    "────────────────────────────────────────────────────────── k3m9x2rt7w ──"
    "› Enter joins the turn, Tab queues for the next                         "
    "  openai/gpt-5.2 · workspace-write · asks on request                    "
    "#);
    stage.press("Ctrl+O");
    assert_snapshot!(stage.picture(72, 10), @r#"
    "    test case_36 ... ok                                                 "
    "    test case_37 ... ok                                                 "
    "    test case_38 ... ok                                                 "
    "    test case_39 ... ok                                                 "
    "    test case_40 ... ok                                                 "
    "                                                                        "
    "⠋ running cargo test · 3 s · Esc interrupts                             "
    "────────────────────────────────────────────────────────── k3m9x2rt7w ──"
    "› Enter joins the turn, Tab queues for the next                         "
    "  openai/gpt-5.2 · workspace-write · asks on request                    "
    "#);
}

#[test]
fn calls_say_how_they_ended_in_words() {
    let mut stage = Stage::new();
    stage.turn_started();
    let ended = |status: v1::OutcomeStatus, text: &str| {
        Kind::ToolCall(v1::ToolCallItem {
            outcome: Some(v1::Outcome {
                status: status.into(),
                text: text.into(),
                ..v1::Outcome::default()
            }),
            ..command("make")
        })
    };
    let background = Kind::ToolCall(v1::ToolCallItem {
        outcome: Some(v1::Outcome {
            status: v1::OutcomeStatus::Succeeded.into(),
            job_id: "j4w8".into(),
            still_running: true,
            ..v1::Outcome::default()
        }),
        ..command("npm run dev")
    });
    stage
        .item(
            1,
            ended(v1::OutcomeStatus::Failed, "no such directory `src`"),
        )
        .item(2, ended(v1::OutcomeStatus::Denied, "denied by a rule"))
        .item(3, ended(v1::OutcomeStatus::Interrupted, ""))
        .item(4, ended(v1::OutcomeStatus::Unknown, ""))
        .item(5, background)
        .growing(
            6,
            Kind::ToolCall(v1::ToolCallItem {
                intent: None,
                ..command("ls")
            }),
        );
    assert_snapshot!(stage.picture(60, 20), @r#"
    "✗ make  failed                                              "
    "  └ no such directory `src`                                 "
    "                                                            "
    "⊘ make  denied                                              "
    "  └ denied by a rule                                        "
    "                                                            "
    "■ make  interrupted                                         "
    "                                                            "
    "? make  unknown: it may or may not have run                 "
    "                                                            "
    "● npm run dev  goes on as job j4w8                          "
    "                                                            "
    "○ ls  about to run                                          "
    "                                                            "
    "                                                            "
    "                                                            "
    "⠋ working · 0 s · Esc interrupts                            "
    "────────────────────────────────────────────── k3m9x2rt7w ──"
    "› Enter joins the turn, Tab queues for the next             "
    "  openai/gpt-5.2 · workspace-write · asks on request        "
    "#);
}

#[test]
fn plans_notices_and_failures_stand_out() {
    let mut stage = Stage::new();
    let step = |text: &str, status: PlanStepStatus| v1::PlanStep {
        text: text.into(),
        status: status.into(),
    };
    let notice = |level: v1::NoticeLevel, text: &str| {
        Kind::Notice(v1::NoticeItem {
            level: level.into(),
            text: text.into(),
            for_model: false,
        })
    };
    stage.turn_started();
    stage
        .item(
            1,
            Kind::Plan(v1::PlanItem {
                explanation: String::new(),
                steps: vec![
                    step("run the tests", PlanStepStatus::Completed),
                    step("fix `add`", PlanStepStatus::InProgress),
                    step("run them again", PlanStepStatus::Pending),
                ],
            }),
        )
        .item(2, notice(v1::NoticeLevel::Info, "the daemon was restarted"))
        .item(
            3,
            notice(v1::NoticeLevel::Warning, "the sandbox has no seccomp"),
        )
        .item(
            4,
            Kind::Compaction(v1::CompactionItem {
                tokens_before: 120_000,
                tokens_after: 8_000,
                ..v1::CompactionItem::default()
            }),
        );
    stage.event_of(None, None);
    stage.turn_ended(
        StopReason::ModelError,
        "the provider refused the key: set `OPENAI_API_KEY`",
    );
    assert_snapshot!(stage.picture(60, 22), @r#"
    "≡ Plan                                                      "
    "  ✓ run the tests                                           "
    "  ▸ fix `add`                                               "
    "  ○ run them again                                          "
    "                                                            "
    "· the daemon was restarted                                  "
    "                                                            "
    "! the sandbox has no seccomp                                "
    "                                                            "
    "≈ earlier talk summed up for the model: 120k → 8k tokens    "
    "                                                            "
    "· event 7 is of a newer version of Quire: update to see it  "
    "                                                            "
    "✗ the provider refused the key: set `OPENAI_API_KEY`        "
    "                                                            "
    "                                                            "
    "                                                            "
    "                                                            "
    "                                                            "
    "────────────────────────────────────────────── k3m9x2rt7w ──"
    "› Say what to do                                            "
    "  openai/gpt-5.2 · workspace-write · asks on request        "
    "#);
}

#[test]
fn an_approval_shows_exactly_what_would_run() {
    let mut stage = Stage::new();
    stage.turn_started();
    stage
        .item(1, prompt("publish it"))
        .growing(
            3,
            Kind::ToolCall(v1::ToolCallItem {
                intent: None,
                ..command("git push")
            }),
        )
        .ask(approval(
            "git push origin main &&\n\trm -rf \u{202e}target\u{1b}[2K",
        ));
    assert_snapshot!(stage.picture(72, 26), @r#"
    "› publish it                                                            "
    "                                                                        "
    "? git push  waits for an answer                                         "
    "                                                                        "
    "                                                                        "
    "                                                                        "
    "                                                                        "
    "                                                                        "
    "                                                                        "
    "                                                                        "
    "! waits for an answer · 1 s                                             "
    "╭ Run this command? ───────────────────────────────────────────────────╮"
    "│ $ git push origin main &&                                            │"
    "│   →rm -rf <U+202E>target␛[2K                                         │"
    "│                                                                      │"
    "│ in      /home/u/sample                                               │"
    "│ why     a rule says to ask before `git push`                         │"
    "│                                                                      │"
    "│ y    yes, once                                                       │"
    "│ a    yes, for this session                                           │"
    "│ A    yes, always, by a rule: `git push`                              │"
    "│ n    no                                                              │"
    "│ d    no, with a word to the model                                    │"
    "│ Esc  interrupt the turn                                              │"
    "╰──────────────────────────────────────────────────────────────────────╯"
    "  openai/gpt-5.2 · workspace-write · asks on request                    "
    "#);
    stage.press("d");
    stage.write("use a branch");
    assert_snapshot!(stage.picture(72, 26), @r#"
    "› publish it                                                            "
    "                                                                        "
    "? git push  waits for an answer                                         "
    "                                                                        "
    "                                                                        "
    "                                                                        "
    "                                                                        "
    "                                                                        "
    "                                                                        "
    "                                                                        "
    "                                                                        "
    "                                                                        "
    "                                                                        "
    "! waits for an answer · 1 s                                             "
    "╭ Run this command? ───────────────────────────────────────────────────╮"
    "│ $ git push origin main &&                                            │"
    "│   →rm -rf <U+202E>target␛[2K                                         │"
    "│                                                                      │"
    "│ in      /home/u/sample                                               │"
    "│ why     a rule says to ask before `git push`                         │"
    "│                                                                      │"
    "│ no, and this word to the model (Esc goes back):                      │"
    "╰──────────────────────────────────────────────────────────────────────╯"
    "────────────────────────────────────────────────────────── k3m9x2rt7w ──"
    "› use a branch                                                          "
    "  openai/gpt-5.2 · workspace-write · asks on request                    "
    "#);
}

#[test]
fn an_approval_waits_for_the_keyboard_while_something_is_written() {
    let mut stage = Stage::new();
    stage.turn_started();
    stage.write("and then").ask(approval("git push"));
    assert_snapshot!(stage.picture(60, 18), @r#"
    "  Quire  /home/u/sample                                     "
    "                                                            "
    "  Say what to do. It goes on when you leave.                "
    "  ? shows all keys.                                         "
    "                                                            "
    "                                                            "
    "! waits for an answer · 1 s · Esc interrupts                "
    "╭ Run this command? ───────────────────────────────────────╮"
    "│ $ git push                                               │"
    "│                                                          │"
    "│ in      /home/u/sample                                   │"
    "│ why     a rule says to ask before `git push`             │"
    "│                                                          │"
    "│ Tab to answer                                            │"
    "╰──────────────────────────────────────────────────────────╯"
    "────────────────────────────────────────────── k3m9x2rt7w ──"
    "› and then                                                  "
    "  openai/gpt-5.2 · workspace-write · asks on request        "
    "#);
}

#[test]
fn an_approval_of_an_edit_shows_the_diff() {
    let mut stage = Stage::new();
    stage.turn_started();
    let edit = v1::Approval {
        files: changed(3, "src/lib.rs", DIFF).files,
        access: None,
        rule: None,
        tool: "apply_patch".into(),
        reason: "the workspace is read-only".into(),
        ..approval("")
    };
    stage.ask(edit);
    assert_snapshot!(stage.picture(60, 22), @r#"
    "  Quire  /home/u/sample                                     "
    "                                                            "
    "  Say what to do. It goes on when you leave.                "
    "                                                            "
    "! waits for an answer · 1 s                                 "
    "╭ Make this change? ───────────────────────────────────────╮"
    "│ ± changed src/lib.rs  +1 −1                              │"
    "│     1   pub fn add(a: i32, b: i32) -> i32 {              │"
    "│     2 -     a - b                                        │"
    "│     2 +     a + b                                        │"
    "│     3   }                                                │"
    "│     4                                                    │"
    "│                                                          │"
    "│ why     the workspace is read-only                       │"
    "│                                                          │"
    "│ y    yes, once                                           │"
    "│ a    yes, for this session                               │"
    "│ n    no                                                  │"
    "│ d    no, with a word to the model                        │"
    "│ Esc  interrupt the turn                                  │"
    "╰──────────────────────────────────────────────────────────╯"
    "  openai/gpt-5.2 · workspace-write · asks on request        "
    "#);
}

#[test]
fn an_approval_taller_than_the_screen_says_that_more_follows() {
    let mut stage = Stage::new();
    stage.turn_started();
    let lines: Vec<String> = (1..=30).map(|n| format!("echo {n}")).collect();
    stage.ask(approval(&lines.join("\n")));
    assert_snapshot!(stage.picture(60, 16), @r#"
    "  Quire  /home/u/sample                                     "
    "                                                            "
    "! waits for an answer · 1 s                                 "
    "╭ Run this command? ───────────────────────────────────────╮"
    "│ $ echo 1                                                 │"
    "│   echo 2                                                 │"
    "│   echo 3                                                 │"
    "│   echo 4                                                 │"
    "│   echo 5                                                 │"
    "│   echo 6                                                 │"
    "│                                                          │"
    "│ y yes, once   a yes, for this session                    │"
    "│ A yes, always, by a rule: `git push`   n no              │"
    "│ d no, with a word to the model   Esc interrupt the turn  │"
    "╰────────────────────────────────────────── ↓ 27 rows more ╯"
    "  openai/gpt-5.2 · workspace-write · asks on request        "
    "#);
    stage.press("Ctrl+End");
    assert_snapshot!(stage.picture(60, 16), @r#"
    "  Quire  /home/u/sample                                     "
    "                                                            "
    "! waits for an answer · 1 s                                 "
    "╭ Run this command? ───────────────────────────────────────╮"
    "│   echo 28                                                │"
    "│   echo 29                                                │"
    "│   echo 30                                                │"
    "│                                                          │"
    "│ in      /home/u/sample                                   │"
    "│ why     a rule says to ask before `git push`             │"
    "│                                                          │"
    "│ y yes, once   a yes, for this session                    │"
    "│ A yes, always, by a rule: `git push`   n no              │"
    "│ d no, with a word to the model   Esc interrupt the turn  │"
    "╰──────────────────────────────────────────────────────────╯"
    "  openai/gpt-5.2 · workspace-write · asks on request        "
    "#);
}

#[test]
fn prompts_that_wait_stand_above_the_composer() {
    let mut stage = Stage::new();
    stage
        .turn_started()
        .activity(ActivityKind::Asking, "openai/gpt-5.2");
    stage.item(1, prompt("first"));
    for (text, mode) in [
        ("then run the linter", PromptMode::Queue),
        ("use tabs", PromptMode::Steer),
    ] {
        stage.event(Body::PromptQueued(v1::PromptQueued {
            prompt: Some(v1::QueuedPrompt {
                request_id: text.into(),
                prompt: Some(v1::PromptItem {
                    text: text.into(),
                    images: vec![],
                }),
                mode: mode.into(),
                by: None,
            }),
        }));
    }
    stage.write("one more").press("Tab");
    stage.write("two\\").press("Enter");
    stage.write("rows");
    assert_snapshot!(stage.picture(72, 14), @r#"
    "› first                                                                 "
    "                                                                        "
    "                                                                        "
    "                                                                        "
    "                                                                        "
    "                                                                        "
    "⠋ asking openai/gpt-5.2 · 0 s · Esc interrupts                          "
    "› then run the linter  queued                                           "
    "› use tabs  joins the turn                                              "
    "› one more  sending                                                     "
    "────────────────────────────────────────────────────────── k3m9x2rt7w ──"
    "› two                                                                   "
    "  rows                                                                  "
    "  openai/gpt-5.2 · workspace-write · asks on request            2 queued"
    "#);
}

#[test]
fn the_help_is_the_table_of_keys() {
    let mut stage = Stage::new();
    stage.press("?");
    assert_snapshot!(stage.picture(90, 70), @r#"
    "╭ Keys and commands ─────────────────────────────────────────────────────────── q closes ╮"
    "│ Talking to the agent                                                                   │"
    "│   Enter                           send; while a turn runs: join it                     │"
    "│   Tab                             go to the approval that waits                        │"
    "│   Tab                             while a turn runs: queue for the next turn           │"
    "│   Esc                             interrupt the turn                                   │"
    "│   Ctrl+C                          clear what is written                                │"
    "│   Ctrl+D                          leave; the turn goes on                              │"
    "│   ?                               this help                                            │"
    "│                                                                                        │"
    "│ When an approval is asked                                                              │"
    "│   y                               yes, once                                            │"
    "│   a                               yes, for this session                                │"
    "│   A                               yes, always, by a rule                               │"
    "│   n                               no                                                   │"
    "│   d                               no, with a word to the model                         │"
    "│   Esc                             interrupt the turn                                   │"
    "│   Tab                             back to what is written                              │"
    "│   Enter                           send the no and its word                             │"
    "│   Esc                             back to the card                                     │"
    "│   Up, k                           scroll up one row                                    │"
    "│   Down, j                         scroll down one row                                  │"
    "│                                                                                        │"
    "│ Everywhere                                                                             │"
    "│   Ctrl+C                          twice: leave; the turn goes on                       │"
    "│   PageUp                          scroll up                                            │"
    "│   PageDown                        scroll down                                          │"
    "│   Ctrl+Up                         scroll up one row                                    │"
    "│   Ctrl+Down                       scroll down one row                                  │"
    "│   Ctrl+Home                       to the beginning                                     │"
    "│   Ctrl+End                        to the end, and follow it                            │"
    "│   Ctrl+O                          show long output whole, or fold it                   │"
    "│   Ctrl+L                          draw the screen again                                │"
    "│   Ctrl+Z                          suspend; `fg` comes back                             │"
    "│                                                                                        │"
    "│ On a page, or when only watching                                                       │"
    "│   ?                               this help                                            │"
    "│   q, Esc, ?                       close the page                                       │"
    "│   q, Ctrl+D                       leave; the turn goes on                              │"
    "│                                                                                        │"
    "│ Writing                                                                                │"
    "│   Alt+Enter, Ctrl+J, Shift+Enter  new line; so does Enter after a `\`                  │"
    "│   Up                              row up; from the first: older prompt                 │"
    "│   Down                            row down; from the last: newer prompt                │"
    "│   Backspace, Ctrl+H               remove the character before                          │"
    "│   Delete, Ctrl+D                  remove the character under the cursor                │"
    "│   Left, Ctrl+B                    left                                                 │"
    "│   Right, Ctrl+F                   right                                                │"
    "│   Ctrl+Left, Alt+Left, Alt+b      word left                                            │"
    "│   Ctrl+Right, Alt+Right, Alt+f    word right                                           │"
    "│   Home, Ctrl+A                    start of the line                                    │"
    "│   End, Ctrl+E                     end of the line                                      │"
    "│   Ctrl+W, Alt+Backspace           cut the word before                                  │"
    "│   Ctrl+U                          cut to the start of the line                         │"
    "│   Ctrl+K                          cut to the end of the line                           │"
    "│   Ctrl+Y                          put back what was cut                                │"
    "│                                                                                        │"
    "│ Commands                                                                               │"
    "│   /help                           all keys and commands                                │"
    "│   /diff                           what this session changed                            │"
    "│   /model PROVIDER/MODEL           the model of the next request                        │"
    "│   /sandbox MODE                   read-only, workspace-write or full-access            │"
    "│   /approve POLICY                 untrusted, on-request or never                       │"
    "│   /rename TITLE                   a title for this session                             │"
    "│   /quit                           leave; the turn goes on                              │"
    "│                                                                                        │"
    "│                                                                                        │"
    "│                                                                                        │"
    "╰────────────────────────────────────────────────────────────────────────────────────────╯"
    "  openai/gpt-5.2 · workspace-write · asks on request                                      "
    "#);
    assert_snapshot!(stage.picture(44, 12), @r#"
    "╭ Keys and commands ───────────── q closes ╮"
    "│ Talking to the agent                     │"
    "│   Enter                                  │"
    "│       send; while a turn runs: join it   │"
    "│   Tab                                    │"
    "│       go to the approval that waits      │"
    "│   Tab                                    │"
    "│       while a turn runs: queue for the   │"
    "│       next turn                          │"
    "│   Esc                                    │"
    "╰───────────────────────── ↓ 114 rows more ╯"
    "  openai/gpt-5.2 · workspace-write          "
    "#);
}

#[test]
fn a_narrow_terminal_keeps_what_matters() {
    let mut stage = Stage::new();
    stage.turn_started().activity(
        ActivityKind::Acting,
        "cargo test --workspace --all-features",
    );
    stage
        .item(1, prompt("make the tests pass, and then all of the lints as well"))
        .item(2, ran("cargo test --workspace --all-features -- --nocapture", 101, "error: it failed\n"))
        .item(3, Kind::FileChange(changed(2, "src/lib.rs", DIFF)))
        .item(4, message("A paragraph that is wider than the forty columns there are.\n- and a bullet that is, too, as it should be"))
        .write("and a prompt that is wider than that as well");
    assert_snapshot!(stage.picture(40, 30), @r#"
    "› make the tests pass, and then all of  "
    "  the lints as well                     "
    "                                        "
    "✗ cargo test --workspace --all-features "
    "  -- --nocapture  exit 101 · 1.2 s      "
    "  └ error: it failed                    "
    "± changed src/lib.rs  +1 −1             "
    "    1   pub fn add(a: i32, b: i32) -> i3"
    "        2 {                             "
    "    2 -     a - b                       "
    "    2 +     a + b                       "
    "    3   }                               "
    "    4                                   "
    "                                        "
    "  A paragraph that is wider than the    "
    "  forty columns there are.              "
    "  • and a bullet that is, too, as it    "
    "    should be                           "
    "                                        "
    "                                        "
    "                                        "
    "                                        "
    "                                        "
    "                                        "
    "                                        "
    "⠋ running cargo test --workspace … · 0 s"
    "────────────────────────── k3m9x2rt7w ──"
    "› and a prompt that is wider than that  "
    "  as well                               "
    "  openai/gpt-5.2 · workspace-write      "
    "#);
    assert_snapshot!(stage.picture(12, 6), @r#"
    "            "
    "⠋ running c…"
    "── k3m9x2rt7"
    "  than that "
    "  as well   "
    "  workspace-"
    "#);
    // Nothing fits, nothing breaks.
    stage.picture(1, 1);
}

#[test]
fn wide_characters_keep_their_columns() {
    let mut stage = Stage::new();
    stage.turn_started();
    stage
        .item(1, prompt("日本語のテストを直して"))
        .item(
            2,
            message("修正しました。テストは**合格**です。👩\u{200d}🔬 ok"),
        )
        .write("次へ");
    assert_snapshot!(stage.picture(30, 14), @r#"
    "› 日本語のテストを直して      " Hidden by multi-width symbols: [(3, " "), (5, " "), (7, " "), (9, " "), (11, " "), (13, " "), (15, " "), (17, " "), (19, " "), (21, " "), (23, " ")]
    "                              "
    "  修正しました。テストは合格で" Hidden by multi-width symbols: [(3, " "), (5, " "), (7, " "), (9, " "), (11, " "), (13, " "), (15, " "), (17, " "), (19, " "), (21, " "), (23, " "), (25, " "), (27, " "), (29, " ")]
    "  す。👩‍🔬 ok                   " Hidden by multi-width symbols: [(3, " "), (5, " "), (7, " ")]
    "                              "
    "                              "
    "                              "
    "                              "
    "                              "
    "                              "
    "⠋ working · 0 s               "
    "──────────────── k3m9x2rt7w ──"
    "› 次へ                        " Hidden by multi-width symbols: [(3, " "), (5, " ")]
    "  workspace-write             "
    "#);
}

#[test]
fn hostile_text_stays_text() {
    let hostile = "\u{1b}]0;owned\u{7}\u{1b}]52;c;eA==\u{1b}\\\u{9b}2J\u{202e}evil";
    let mut stage = Stage::new();
    stage.event(Body::SessionChanged(v1::SessionChanged {
        title: Some(hostile.into()),
        model: Some(hostile.into()),
        ..v1::SessionChanged::default()
    }));
    stage.turn_started().activity(ActivityKind::Acting, hostile);
    let mut call = command(hostile);
    call.tool = hostile.into();
    stage
        .item(1, prompt(hostile))
        .item(2, reasoning(hostile))
        .item(
            3,
            message(&format!(
                "```{hostile}\n{hostile}\n```\n# {hostile}\n- {hostile}"
            )),
        )
        .growing(4, Kind::ToolCall(call))
        .delta(4, 0, format!("{hostile}\r{hostile}\n"))
        .item(
            5,
            Kind::FileChange(changed(4, hostile, &format!("@@ -1 +1 @@\n-{hostile}\n"))),
        )
        .item(
            6,
            Kind::Plan(v1::PlanItem {
                explanation: hostile.into(),
                steps: vec![v1::PlanStep {
                    text: hostile.into(),
                    status: 1,
                }],
            }),
        )
        .ask(v1::Approval {
            reason: hostile.into(),
            ..approval(hostile)
        });
    for (width, height) in [(100, 60), (30, 60)] {
        let terminal = stage.drawn(width, height);
        for cell in &terminal.backend().buffer().content {
            let control = |c: char| c.is_control() || ('\u{202a}'..='\u{202e}').contains(&c);
            assert!(
                !cell.symbol().contains(control),
                "{:?} is on the screen",
                cell.symbol()
            );
        }
    }
    assert_snapshot!(stage.picture(64, 60), @r#"
    "› ␛]0;owned␇␛]52;c;eA==␛\<U+009B>2J<U+202E>evil                 "
    "                                                                "
    "∴ ␛]0;owned␇␛]52;c;eA==␛\<U+009B>2J<U+202E>evil                 "
    "                                                                "
    "    ␛]0;owned␇␛]52;c;eA==␛\<U+009B>2J<U+202E>evil               "
    "    ␛]0;owned␇␛]52;c;eA==␛\<U+009B>2J<U+202E>evil               "
    "  ␛]0;owned␇␛]52;c;eA==␛\<U+009B>2J<U+202E>evil                 "
    "  • ␛]0;owned␇␛]52;c;eA==␛\<U+009B>2J<U+202E>evil               "
    "                                                                "
    "● ␛]0;owned␇␛]52;c;eA==␛\<U+009B>2J<U+202E>evil  running        "
    "  └ ␛]0;owned␇␛]52;c;eA==␛\<U+009B>2J<U+202E>evil               "
    "± changed ␛]0;owned␇␛]52;c;eA==␛\<U+009B>2J<U+202E>evil  +0 −0  "
    "    1 - ␛]0;owned␇␛]52;c;eA==␛\<U+009B>2J<U+202E>evil           "
    "                                                                "
    "≡ ␛]0;owned␇␛]52;c;eA==␛\<U+009B>2J<U+202E>evil                 "
    "  ○ ␛]0;owned␇␛]52;c;eA==␛\<U+009B>2J<U+202E>evil               "
    "                                                                "
    "                                                                "
    "                                                                "
    "                                                                "
    "                                                                "
    "                                                                "
    "                                                                "
    "                                                                "
    "                                                                "
    "                                                                "
    "                                                                "
    "                                                                "
    "                                                                "
    "                                                                "
    "                                                                "
    "                                                                "
    "                                                                "
    "                                                                "
    "                                                                "
    "                                                                "
    "                                                                "
    "                                                                "
    "                                                                "
    "                                                                "
    "                                                                "
    "                                                                "
    "                                                                "
    "                                                                "
    "                                                                "
    "! waits for an answer · 1 s                                     "
    "╭ Run this command? ───────────────────────────────────────────╮"
    "│ $ ␛]0;owned␇␛]52;c;eA==␛\<U+009B>2J<U+202E>evil              │"
    "│                                                              │"
    "│ in      /home/u/sample                                       │"
    "│ why     ␛]0;owned␇␛]52;c;eA==␛\<U+009B>2J<U+202E>evil        │"
    "│                                                              │"
    "│ y    yes, once                                               │"
    "│ a    yes, for this session                                   │"
    "│ A    yes, always, by a rule: `git push`                      │"
    "│ n    no                                                      │"
    "│ d    no, with a word to the model                            │"
    "│ Esc  interrupt the turn                                      │"
    "╰──────────────────────────────────────────────────────────────╯"
    "  workspace-write                                               "
    "#);
}

#[test]
fn output_without_an_end_costs_no_more_than_what_is_shown() {
    let mut stage = Stage::new();
    stage.turn_started();
    stage
        .growing(3, Kind::ToolCall(command("yes | tr -d '\\n'")))
        .delta(3, 0, "y".repeat(1_500_000));
    assert_snapshot!(stage.picture(40, 14), @r#"
    "● yes | tr -d '\n'  running             "
    "  └ … the line begins before (Ctrl+O)   "
    "    yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy"
    "    yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy"
    "    yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy"
    "    yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy"
    "    yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy"
    "    yyyy                                "
    "                                        "
    "                                        "
    "⠋ working · 0 s · Esc interrupts        "
    "────────────────────────── k3m9x2rt7w ──"
    "› Enter joins the turn, Tab queues for… "
    "  openai/gpt-5.2 · workspace-write      "
    "#);
}

#[test]
fn a_reader_who_scrolled_up_stays_there_while_text_comes_in() {
    let mut stage = Stage::new();
    stage.turn_started();
    for id in 1..=10 {
        stage.item(id, message(&format!("message {id}")));
    }
    stage.picture(40, 12);
    stage.press("PageUp");
    let before = stage.picture(40, 12);
    stage.item(11, message("message 11"));
    assert_eq!(stage.picture(40, 12), before);
    assert_snapshot!(before, @r#"
    "                                        "
    "  message 5                             "
    "                                        "
    "  message 6                             "
    "                                        "
    "  message 7                             "
    "        ↓ more below · Ctrl+End         "
    "                                        "
    "⠋ working · 0 s · Esc interrupts        "
    "────────────────────────── k3m9x2rt7w ──"
    "› Enter joins the turn, Tab queues for… "
    "  openai/gpt-5.2 · workspace-write      "
    "#);
    stage.press("PageDown");
    stage.press("PageDown");
    let after = stage.picture(40, 12);
    assert!(after.contains("message 11") && !after.contains("more below"));
}

#[test]
fn watching_only_and_full_access_are_plain_to_see() {
    let mut stage = Stage::with(Role::Observe);
    let policy = v1::Policy {
        sandbox: v1::SandboxMode::FullAccess.into(),
        approve: v1::ApprovePolicy::Never.into(),
        ..v1::Policy::default()
    };
    stage.event(Body::SessionChanged(v1::SessionChanged {
        policy: Some(policy),
        ..v1::SessionChanged::default()
    }));
    let client = |id: &str| v1::ClientRef {
        id: id.into(),
        ..v1::ClientRef::default()
    };
    stage.update(Update::Presence(v1::Presence {
        clients: vec![client("c1"), client("c2"), client("c3")],
    }));
    assert_snapshot!(stage.picture(76, 10), @r#"
    "  Quire  /home/u/sample                                                     "
    "                                                                            "
    "  Nothing has been said yet.                                                "
    "                                                                            "
    "                                                                            "
    "                                                                            "
    "                                                                            "
    "────────────────────────────────────────────────────────────── k3m9x2rt7w ──"
    "  you only watch this session · q leaves · ? shows all keys                 "
    "  openai/gpt-5.2 ·  FULL ACCESS  · never asks              2 others attached"
    "#);
}

#[test]
fn a_lost_daemon_is_told_and_nothing_is_shown_twice() {
    let mut stage = Stage::new();
    stage.turn_started();
    stage.growing(2, message("")).delta(2, 0, "half a sen");
    stage.input(Input::LinkLost(String::new()));
    stage.wait(2_000);
    assert_snapshot!(stage.picture(60, 10), @r#"
    "  half a sen                                                "
    "                                                            "
    "                                                            "
    "                                                            "
    "                                                            "
    "                                                            "
    "! reconnecting to the daemon · 2 s · Esc interrupts         "
    "────────────────────────────────────────────── k3m9x2rt7w ──"
    "› Enter joins the turn, Tab queues for the next             "
    "  openai/gpt-5.2 · workspace-write · asks on request        "
    "#);
    stage.input(Input::LinkFound { me: "c7".into() });
    stage.delta(2, 5, "a sentence");
    let picture = stage.picture(60, 10);
    assert!(picture.contains("half a sentence ") && !picture.contains("reconnecting"));
}

#[test]
fn cut_off_text_says_so() {
    let mut stage = Stage::new();
    stage.turn_started();
    stage.growing(2, message("")).delta(2, 0, "half a sen");
    let item = v1::Item {
        id: 2,
        turn: 1,
        status: ItemStatus::CutOff.into(),
        kind: Some(message("half a sen")),
        ..v1::Item::default()
    };
    stage.event(Body::ItemCompleted(v1::ItemCompleted { item: Some(item) }));
    stage.turn_ended(StopReason::Interrupted, "");
    assert_snapshot!(stage.picture(50, 10), @r#"
    "  half a sen                                      "
    "■ cut off here                                    "
    "                                                  "
    "■ interrupted                                     "
    "                                                  "
    "                                                  "
    "                                                  "
    "──────────────────────────────────── k3m9x2rt7w ──"
    "› Say what to do                                  "
    "  openai/gpt-5.2 · workspace-write                "
    "#);
}

#[test]
fn without_colour_nothing_has_one() {
    let mut stage = Stage::new();
    stage.app.setup.colour = false;
    stage.turn_started();
    stage
        .item(7, Kind::FileChange(changed(0, "src/lib.rs", DIFF)))
        .ask(approval("ls"));
    let terminal = stage.drawn(60, 30);
    let cells = &terminal.backend().buffer().content;
    assert!(
        cells
            .iter()
            .all(|cell| (cell.fg, cell.bg) == (Color::Reset, Color::Reset))
    );
    stage.app.setup.colour = true;
    let terminal = stage.drawn(60, 30);
    let mut cells = terminal.backend().buffer().content.iter();
    assert!(cells.any(|cell| cell.fg != Color::Reset));
}

#[test]
fn ten_thousand_items_cost_a_screenful() {
    let mut stage = Stage::new();
    stage.turn_started();
    for id in 1..=10_000 {
        stage.item(id, message(&format!("message {id}")));
    }
    assert!(stage.picture(40, 20).contains("message 10000"));
    assert!(stage.app.transcript.cells_drawn() < 30);
    stage.press("Ctrl+Home");
    assert!(stage.picture(40, 20).contains("message 1 "));
    assert!(stage.app.transcript.cells_drawn() < 60);
}
