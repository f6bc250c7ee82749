//! Pictures of the transcript in every state.

use insta::assert_snapshot;
use quire_proto::v1::{
    self, ActivityKind, ItemStatus, PlanStepStatus, StopReason, event::Body, item::Kind,
    session_service_watch_response::Update,
};

use super::stage::{DIFF, Stage, changed, command, found, looked, message, prompt, ran, reasoning};
use crate::tui::app::{Input, Met};

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
            ran(
                "cargo test",
                101,
                "Exit code: 101\nWall time: 1.2 s\nOutput:\nrunning 1 test\ntest adds ... FAILED\n",
            ),
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
    stage.input(Input::LinkFound(found("c7")));
    stage.delta(2, 5, "a sentence");
    let picture = stage.picture(60, 10);
    assert!(picture.contains("half a sentence ") && !picture.contains("reconnecting"));
}

#[test]
fn a_silent_daemon_is_told_until_it_says_something() {
    let mut stage = Stage::new();
    stage.turn_started();
    stage.input(Input::Silent(12_000));
    assert_eq!(stage.app.moves_every_ms(), Some(1_000));
    stage.wait(3_000);
    assert_snapshot!(stage.picture(72, 5), @r#"
    "                                                                        "
    "! the daemon (process 4711) has not answered for 15 s · Esc interrupts  "
    "────────────────────────────────────────────────────────── k3m9x2rt7w ──"
    "› Enter joins the turn, Tab queues for the next                         "
    "  openai/gpt-5.2 · workspace-write · asks on request                    "
    "#);
    stage.update(Update::Heartbeat(v1::Heartbeat::default()));
    assert!(!stage.picture(72, 5).contains("has not answered"));
}

#[test]
fn a_suspended_turn_says_why_and_which_key_goes_on() {
    let mut stage = Stage::new();
    stage.turn_started();
    stage.event(Body::TurnSuspended(v1::TurnSuspended {
        turn: 1,
        reason: "the daemon ended 3 times in a row".into(),
        wants_world: false,
    }));
    assert_snapshot!(stage.picture(80, 6), @r#"
    "                                                                                "
    "! suspended · 0 s · Enter goes on · Esc interrupts                              "
    "! the daemon ended 3 times in a row                                             "
    "────────────────────────────────────────────────────────────────── k3m9x2rt7w ──"
    "› Enter goes on, or say what to do                                              "
    "  openai/gpt-5.2 · workspace-write · asks on request                            "
    "#);
    stage.input(Input::LinkGivenUp(
        "the daemon died 3 times in a row".into(),
    ));
    assert_snapshot!(stage.picture(80, 6), @r#"
    "                                                                                "
    "! no daemon · 0 s · Enter goes on · Esc interrupts                              "
    "! the daemon died 3 times in a row                                              "
    "────────────────────────────────────────────────────────────────── k3m9x2rt7w ──"
    "› Enter goes on, or say what to do                                              "
    "  openai/gpt-5.2 · workspace-write · asks on request                            "
    "#);
}

#[test]
fn what_people_should_know_of_the_daemon_stands_above_the_composer_once() {
    let mut stage = Stage::new();
    let met = || Met {
        notices: vec![
            "the store was damaged".into(),
            "the disk is nearly full".into(),
        ],
        ..found("c2")
    };
    stage.input(Input::LinkFound(met()));
    assert_snapshot!(stage.picture(60, 6), @r#"
    "                                                            "
    "! the store was damaged                                     "
    "! the disk is nearly full                                   "
    "────────────────────────────────────────────── k3m9x2rt7w ──"
    "› Say what to do                                            "
    "  openai/gpt-5.2 · workspace-write · asks on request        "
    "#);
    stage.press("Ctrl+L");
    stage.input(Input::LinkFound(met()));
    assert!(!stage.picture(60, 6).contains("damaged"));
}

#[test]
fn the_end_of_a_background_job_and_lost_events_have_their_place() {
    let mut stage = Stage::new();
    stage.turn_started();
    stage.in_background("npm run dev", "jb2");
    for _ in 0..17 {
        stage.event(Body::EventLost(v1::EventLost {}));
    }
    stage.event(Body::JobEnded(v1::JobEnded {
        job_id: "jb2".into(),
        exit_code: Some(1),
        ..v1::JobEnded::default()
    }));
    assert_snapshot!(stage.picture(60, 12), @r#"
    "✗ npm run dev  job jb2 ended with exit 1                    "
    "                                                            "
    "! 17 events were lost by the disk                           "
    "                                                            "
    "✗ job jb2 ended with exit code 1: npm run dev               "
    "                                                            "
    "                                                            "
    "                                                            "
    "⠋ working · 0 s · Esc interrupts                            "
    "────────────────────────────────────────────── k3m9x2rt7w ──"
    "› Enter joins the turn, Tab queues for the next             "
    "  openai/gpt-5.2 · workspace-write · asks on request        "
    "#);
    let told = v1::PromptItem {
        text: "Job jb2 has ended".into(),
        job_id: "jb2".into(),
        ..v1::PromptItem::default()
    };
    stage.item(8, Kind::Prompt(told));
    let picture = stage.picture(60, 12);
    assert_eq!(picture.matches("ended with exit code 1").count(), 1);
    assert!(!picture.contains("›  Job"), "nobody said it: {picture}");
    stage.press("Up");
    assert!(stage.app.composer.is_empty());
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
