//! Pictures of what is hard to show: narrow screens, wide scripts, hostile and endless text.

use insta::assert_snapshot;
use quire_proto::v1::{self, ActivityKind, event::Body, item::Kind};
use ratatui::style::Color;

use super::stage::{DIFF, Stage, approval, changed, command, message, prompt, ran, reasoning};

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
