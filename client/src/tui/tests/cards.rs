//! Pictures of what waits for the person: approvals, the queue, the help, the status.

use insta::assert_snapshot;
use quire_proto::v1::{
    self, ActivityKind, PromptMode, event::Body, item::Kind, session_service_watch_response::Update,
};

use super::stage::{DIFF, Stage, approval, changed, command, prompt};
use crate::tui::app::Role;

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
                    ..v1::PromptItem::default()
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
    "⠋ asking openai/gpt-5.2 · 0 s · Esc interrupts · Enter joins, Tab queues"
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
    assert_snapshot!(stage.picture(90, 91), @r#"
    "╭ Keys and commands ─────────────────────────────────────────────────────────── q closes ╮"
    "│ Talking to the agent                                                                   │"
    "│   Enter                           nothing written: go on, when suspended or lost       │"
    "│   Enter                           send; while a turn runs: join it                     │"
    "│   Tab                             go to the approval that waits                        │"
    "│   Tab                             while a turn runs: queue for the next turn           │"
    "│   Esc                             interrupt the turn                                   │"
    "│   Up, Alt+Up                      nothing written: edit the newest queued prompt       │"
    "│   Ctrl+Q                          go to the queue: edit, move, take out                │"
    "│   Ctrl+C                          clear what is written                                │"
    "│   Ctrl+D                          leave; the turn goes on                              │"
    "│   ?, F1                           this help                                            │"
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
    "│ In the queue                                                                           │"
    "│   Up, k                           to the prompt before                                 │"
    "│   Down, j                         to the prompt after                                  │"
    "│   Shift+Up, Alt+Up, K             move the prompt up                                   │"
    "│   Shift+Down, Alt+Down, J         move the prompt down                                 │"
    "│   Enter, e                        edit the prompt                                      │"
    "│   d, Delete, Backspace            take the prompt out                                  │"
    "│   Esc, q, Ctrl+Q                  back to what is written                              │"
    "│   Enter                           the queued prompt says what is written               │"
    "│   Esc                             leave the queued prompt as it was                    │"
    "│   Ctrl+X                          take the prompt out of the queue                     │"
    "│                                                                                        │"
    "│ Everywhere                                                                             │"
    "│   Ctrl+C                          twice: leave; the turn goes on                       │"
    "│   F1                              this help                                            │"
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
    "│   ?, F1                           this help                                            │"
    "│   q, Esc, ?, F1                   close the page                                       │"
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
    "│   /who                            who else is attached                                 │"
    "│   /queue                          go to the queue: edit, move, take out                │"
    "│   /sessions                       choose another session; this one goes on             │"
    "│   /fork [TITLE]                   go on in a copy of this session                      │"
    "│   /title TITLE                    a title for this session; so does `/rename`          │"
    "│   /rename TITLE                   a title for this session                             │"
    "│   /detach                         leave; the turn goes on; so does `/quit`             │"
    "│   /quit                           leave; the turn goes on                              │"
    "│                                                                                        │"
    "│                                                                                        │"
    "╰────────────────────────────────────────────────────────────────────────────────────────╯"
    "  openai/gpt-5.2 · workspace-write · asks on request                                      "
    "#);
    assert_snapshot!(stage.picture(44, 12), @r#"
    "╭ Keys and commands ───────────── q closes ╮"
    "│ Talking to the agent                     │"
    "│   Enter                                  │"
    "│       nothing written: go on, when       │"
    "│       suspended or lost                  │"
    "│   Enter                                  │"
    "│       send; while a turn runs: join it   │"
    "│   Tab                                    │"
    "│       go to the approval that waits      │"
    "│   Tab                                    │"
    "╰───────────────────────── ↓ 164 rows more ╯"
    "  openai/gpt-5.2 · workspace-write          "
    "#);
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
