//! Cards that appear under the hands of someone who types: no key that was meant for the composer
//! answers, and none is lost.

use quire_proto::v1::{self, ApprovalVerdict, event::Body};

use super::stage::{Stage, approval};
use crate::tui::{
    app::{Effect, Input},
    calls::{Answer, Call},
    keys::Mode,
};

/// A card that appears this very moment.
fn appears(stage: &mut Stage) {
    let approval = Some(approval("git push"));
    stage.event(Body::ApprovalRequested(v1::ApprovalRequested { approval }));
}

/// A running turn; the last key was pressed long ago.
fn running() -> Stage {
    let mut stage = Stage::new();
    stage.turn_started();
    stage
}

fn answers(effects: &[Effect]) -> bool {
    matches!(effects, [Effect::Call(_, Call::Decide { .. })])
}

#[test]
fn a_sentence_begun_before_the_card_ends_in_the_composer() {
    // A card appears before the first letter, after it, and in the middle.
    for before in [0, 1, 5] {
        for pause in [0, 150, 399] {
            let mut stage = running();
            for (at, letter) in "yes and always".chars().enumerate() {
                if at == before {
                    appears(&mut stage);
                }
                assert_eq!(stage.press(&letter.to_string()), [], "{before} {pause}");
                stage.wait(pause);
            }
            assert_eq!(stage.app.composer.text(), "yes and always");
            stage.wait(60_000).write("yan");
            assert_eq!(
                stage.app.composer.text(),
                "yes and alwaysyan",
                "what is written has the keyboard until it is given away"
            );
        }
    }
}

#[test]
fn a_card_takes_answers_after_a_moment_without_keys() {
    // Milliseconds to the key, and whether it answers: nobody was at the keys.
    for (ms, want) in [(0, false), (499, false), (500, true)] {
        let mut stage = running();
        appears(&mut stage);
        assert_eq!(answers(&stage.wait(ms).press("y")), want, "after {ms} ms");
    }
    // A key that writes nothing makes it wait, too.
    for (ms, want) in [(399, false), (400, true)] {
        let mut stage = running();
        appears(&mut stage);
        stage.wait(450).press("Backspace");
        assert_eq!(answers(&stage.wait(ms).press("a")), want, "after {ms} ms");
    }
}

#[test]
fn an_open_card_takes_one_key_after_the_other() {
    let mut stage = running();
    appears(&mut stage);
    stage.wait(1_000).press("Down");
    assert!(answers(&stage.press("n")));
}

#[test]
fn enter_and_tab_mean_what_they_did_before_the_card() {
    for (key, mode) in [
        ("Enter", v1::PromptMode::Unspecified),
        ("Tab", v1::PromptMode::Queue),
    ] {
        let mut stage = running();
        appears(&mut stage);
        stage.write("hurry up");
        let effects = stage.press(key);
        let text = "hurry up".to_owned();
        assert!(
            matches!(effects.as_slice(), [Effect::Call(_, call)] if *call == Call::Prompt { text, mode }),
            "`{key}` made {effects:?}"
        );
        // Who wrote goes on writing; the card has to be asked for the keyboard.
        stage.wait(1_000).write("y");
        assert_eq!(stage.app.composer.text(), "y");
        stage.wait(400).press("Tab");
        assert_eq!(stage.app.mode(), Mode::Card);
        assert!(answers(&stage.press("y")));
    }
}

#[test]
fn escape_and_control_c_keep_their_meaning_under_a_new_card() {
    let mut stage = running();
    appears(&mut stage);
    let effects = stage.press("Esc");
    assert!(matches!(
        effects.as_slice(),
        [Effect::Call(_, Call::Interrupt { turn: 1 })]
    ));
    let mut stage = running();
    appears(&mut stage);
    stage.write("x").press("Ctrl+C");
    assert!(stage.app.composer.is_empty());
}

#[test]
fn a_paste_makes_a_card_wait() {
    let mut stage = running();
    appears(&mut stage);
    stage.input(Input::Paste("y".into()));
    stage.wait(1_000).write("a");
    assert_eq!(stage.app.composer.text(), "ya");
}

#[test]
fn a_card_that_was_behind_a_page_is_seen_before_it_takes_answers() {
    let mut stage = running();
    stage.press("F1");
    appears(&mut stage);
    stage.wait(10_000).press("Esc");
    assert_eq!(stage.press("y"), []);
    assert_eq!(stage.app.composer.text(), "y");
}

#[test]
fn the_card_names_its_keys_when_they_answer() {
    let mut stage = running();
    appears(&mut stage);
    let (tall, low) = (stage.picture(72, 26), stage.picture(72, 18));
    assert!(
        tall.contains("│ ·    yes, once") && tall.contains("│ Esc  interrupt"),
        "{tall}"
    );
    assert!(
        low.contains("│ · yes, once   · yes, for this session"),
        "{low}"
    );
    assert_eq!(stage.app.moves_every_ms(), Some(100));
    let opened = stage.wait(500).picture(72, 26);
    assert!(opened.contains("│ y    yes, once"), "{opened}");
}

#[test]
fn the_next_card_is_as_careful_as_the_first() {
    let mut stage = running();
    for id in [1, 2] {
        stage.ask(v1::Approval {
            id,
            ..approval("git push")
        });
    }
    assert!(answers(&stage.press("y")));
    assert_eq!(stage.press("y"), []);
    assert_eq!(stage.app.composer.text(), "y");
}

#[test]
fn a_card_leaves_the_keyboard_in_the_queue_until_it_is_asked() {
    let mut stage = running();
    let prompt = Some(v1::QueuedPrompt {
        request_id: "a".into(),
        prompt: Some(v1::PromptItem {
            text: "alpha".into(),
            ..v1::PromptItem::default()
        }),
        mode: v1::PromptMode::Queue.into(),
        by: None,
    });
    stage.event(Body::PromptQueued(v1::PromptQueued { prompt }));
    stage.press("Ctrl+Q");
    stage.ask(approval("git push"));
    assert_eq!(stage.app.mode(), Mode::Queue);
    stage.press("Tab");
    assert_eq!(stage.app.mode(), Mode::Card);
    let effects = stage.press("n");
    assert!(
        matches!(
            effects.as_slice(),
            [Effect::Call(
                _,
                Call::Decide {
                    verdict: ApprovalVerdict::Deny,
                    ..
                }
            )]
        ),
        "{effects:?}"
    );
}

#[test]
fn a_word_that_is_cut_short_stays_behind_what_was_written_before() {
    for (draft, want) in [("", "use a branch"), ("draft", "draft\nuse a branch")] {
        let mut stage = running();
        stage.write(draft).ask(approval("git push"));
        stage.app.card.take_focus();
        stage.press("d");
        stage.write("use a branch");
        let answer = Some(v1::ApprovalAnswer {
            verdict: ApprovalVerdict::Once.into(),
            ..v1::ApprovalAnswer::default()
        });
        stage.event(Body::ApprovalDecided(v1::ApprovalDecided { id: 1, answer }));
        assert_eq!(
            (stage.app.composer.text(), stage.app.mode()),
            (want, Mode::Compose)
        );
        assert_eq!(stage.press("Enter"), [], "it was to send the no");
        // The card that comes next does not take the draft's keyboard.
        stage.ask(v1::Approval {
            id: 2,
            ..approval("git push")
        });
        assert_eq!(stage.app.mode(), Mode::Compose);
    }
}

#[test]
fn a_word_that_came_too_late_comes_back() {
    let mut stage = running();
    stage.ask(approval("git push")).press("d");
    stage.write("use a branch");
    let effects = stage.press("Enter");
    let [Effect::Call(ticket, Call::Decide { .. })] = effects.as_slice() else {
        panic!("{effects:?} is no answer");
    };
    assert_eq!(stage.app.composer.text(), "");
    let late = Answer::TooLate("already approved".into());
    stage.input(Input::Answered(*ticket, late));
    assert_eq!(stage.app.composer.text(), "use a branch");
}

#[test]
fn a_page_says_that_an_approval_waits_and_keeps_the_keyboard() {
    let mut stage = running();
    stage.write("/who").press("Enter");
    assert!(!stage.picture(60, 8).contains("an approval waits"));
    appears(&mut stage);
    let picture = stage.wait(1_000).picture(60, 8);
    assert!(picture.contains("╰ an approval waits: Esc ─"), "{picture}");
    assert_eq!(stage.press("y"), []);
    assert_eq!(stage.app.mode(), Mode::Page);
    stage.press("Esc");
    stage.wait(1_000);
    assert_eq!(stage.app.mode(), Mode::Card);
}

#[test]
fn the_help_opens_over_a_word_and_leaves_it() {
    let mut stage = running();
    stage.ask(approval("git push")).press("d");
    stage.write("why").press("F1");
    assert_eq!(stage.app.mode(), Mode::Page);
    stage.press("Esc");
    assert_eq!(
        (stage.app.composer.text(), stage.app.mode()),
        ("why", Mode::Word)
    );
    assert!(answers(&stage.press("Enter")));
}
