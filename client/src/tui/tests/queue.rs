//! The queue: edited, moved, emptied, and taken away under the editor's hands.

use insta::assert_snapshot;
use quire_proto::v1::{self, PromptMode, event::Body};

use super::stage::{ME, Stage, approval, prompt};
use crate::tui::{
    app::{Effect, Input, Note},
    calls::{Answer, Call, Requeue, Ticket},
    keys::Mode,
};

/// A client that is not this one.
fn exec() -> v1::ClientRef {
    v1::ClientRef {
        id: "c9".into(),
        name: "exec".into(),
        pid: 77,
        observer: false,
    }
}

fn me() -> v1::ClientRef {
    v1::ClientRef {
        id: "c1".into(),
        name: "tui".into(),
        pid: ME,
        observer: false,
    }
}

fn queue(stage: &mut Stage, id: &str, text: &str, by: v1::ClientRef) {
    let queued = v1::QueuedPrompt {
        request_id: id.into(),
        prompt: Some(said(text)),
        mode: PromptMode::Queue.into(),
        by: Some(by),
    };
    let prompt = Some(queued);
    stage.event(Body::PromptQueued(v1::PromptQueued { prompt }));
}

fn said(text: &str) -> v1::PromptItem {
    v1::PromptItem {
        text: text.into(),
        ..v1::PromptItem::default()
    }
}

/// A running turn and three prompts that wait: `a`, `b` and `c`.
fn waiting() -> Stage {
    let mut stage = Stage::new();
    stage.turn_started();
    stage.item(1, prompt("begin"));
    queue(&mut stage, "a", "alpha", me());
    queue(&mut stage, "b", "beta\nand more", exec());
    queue(&mut stage, "c", "gamma", me());
    stage
}

fn call(effects: &[Effect]) -> (Ticket, String, Requeue) {
    match effects {
        [Effect::Call(ticket, Call::Requeue { queued, change })] => {
            (*ticket, queued.clone(), change.clone())
        }
        _ => panic!("{effects:?} is not one change of the queue"),
    }
}

/// What one press asks for.
fn asks(stage: &mut Stage, key: &str) -> (String, Requeue) {
    let (_, queued, change) = call(&stage.press(key));
    (queued, change)
}

fn taken(stage: &mut Stage, id: &str) {
    let removed = v1::PromptRemoved {
        request_id: id.into(),
    };
    stage.event(Body::PromptRemoved(removed));
}

#[test]
fn who_queued_what_stands_above_the_composer() {
    let mut stage = waiting();
    assert_snapshot!(stage.picture(60, 10), @r#"
    "› begin                                                     "
    "                                                            "
    "                                                            "
    "⠋ working · 0 s · Esc interrupts                            "
    "› alpha  queued                                             "
    "› beta …  exec · queued                                     "
    "› gamma  queued                                             "
    "────────────────────────────────────────────── k3m9x2rt7w ──"
    "› Enter joins the turn, Tab queues for the next             "
    "  openai/gpt-5.2 · workspace-write                  3 queued"
    "#);
    stage.press("Ctrl+Q");
    stage.press("Up");
    assert_snapshot!(stage.picture(60, 10), @r#"
    "› begin                                                     "
    "                                                            "
    "                                                            "
    "⠋ working · 0 s                                             "
    "› alpha  queued                                             "
    "▸ beta …  exec · queued                                     "
    "› gamma  queued                                             "
    "────────────────────────────────────────────── k3m9x2rt7w ──"
    "  Enter edits · d takes out · Shift+Up moves up · Esc back  "
    "  openai/gpt-5.2 · workspace-write                  3 queued"
    "#);
    stage.press("Enter");
    assert_snapshot!(stage.picture(60, 10), @r#"
    "› begin                                                     "
    "                                                            "
    "⠋ working · 0 s                                             "
    "› alpha  queued                                             "
    "› beta …  exec · you edit it                                "
    "› gamma  queued                                             "
    "────────────────────────────────────────────── k3m9x2rt7w ──"
    "› beta                                                      "
    "  and more                                                  "
    "  openai/gpt-5.2 · workspace-write                  3 queued"
    "#);
}

#[test]
fn more_than_a_few_are_counted() {
    let mut stage = waiting();
    for number in 1..=6 {
        queue(&mut stage, &format!("n{number}"), "another", me());
    }
    assert!(stage.picture(60, 14).contains("… +6 more"));
    stage.press("Ctrl+Q");
    let picture = stage.picture(60, 20);
    assert!(
        picture.contains("▸ another") && picture.contains("… +2 more"),
        "{picture}"
    );
}

#[test]
fn the_newest_comes_back_into_an_empty_composer_and_is_saved() {
    for key in ["Up", "Alt+Up"] {
        let mut stage = waiting();
        stage.press(key);
        assert_eq!(stage.app.mode(), Mode::Edit);
        stage.write(" ray");
        let change = Requeue::Rewrite(said("gamma ray"));
        assert_eq!(asks(&mut stage, "Enter"), ("c".into(), change));
        // It shows when the event comes.
        assert!(!stage.picture(60, 12).contains("gamma ray"));
        stage.event(Body::PromptChanged(v1::PromptChanged {
            request_id: "c".into(),
            prompt: Some(said("gamma ray")),
            before: None,
        }));
        assert!(stage.picture(60, 12).contains("› gamma ray"));
    }
}

#[test]
fn what_was_being_written_comes_back_after_an_edit() {
    let mut stage = waiting();
    stage.write("draft");
    stage.press("Ctrl+Q");
    stage.press("e");
    assert_eq!(stage.app.composer.text(), "gamma");
    assert_eq!(stage.press("Esc"), [], "nothing is changed");
    assert_eq!(stage.app.composer.text(), "draft");
    stage.press("Ctrl+Q");
    stage.press("Enter");
    assert_eq!(stage.press("Enter"), [], "nothing was written");
    assert_eq!(
        (stage.app.composer.text(), stage.app.mode()),
        ("draft", Mode::Compose)
    );
}

#[test]
fn a_prompt_moves_by_one_place() {
    let table = [
        (0, "K", None),
        (0, "J", Some(("a", "c"))),
        (1, "Shift+Up", Some(("b", "a"))),
        (1, "Shift+Down", Some(("b", ""))),
        (2, "Alt+Up", Some(("c", "b"))),
        (2, "Alt+Down", None),
    ];
    for (place, key, want) in table {
        let mut stage = waiting();
        stage.press("Ctrl+Q");
        for _ in place..2 {
            stage.press("Up");
        }
        let effects = stage.press(key);
        let asked = (!effects.is_empty()).then(|| {
            let (_, queued, change) = call(&effects);
            (queued, change)
        });
        let want =
            want.map(|(id, before): (&str, &str)| (id.to_owned(), Requeue::Before(before.into())));
        assert_eq!(asked, want, "`{key}` on {place}");
    }
}

#[test]
fn a_prompt_is_taken_out_and_the_keyboard_goes_on_to_another() {
    let mut stage = waiting();
    stage.press("Ctrl+Q");
    assert_eq!(asks(&mut stage, "d"), ("c".into(), Requeue::Remove));
    taken(&mut stage, "c");
    assert_eq!(asks(&mut stage, "d"), ("b".into(), Requeue::Remove));
    taken(&mut stage, "b");
    taken(&mut stage, "a");
    assert_eq!(stage.app.mode(), Mode::Compose);
    let mut stage = waiting();
    stage.press("Up");
    assert_eq!(asks(&mut stage, "Ctrl+X"), ("c".into(), Requeue::Remove));
    assert_eq!(
        (stage.app.composer.text(), stage.app.mode()),
        ("", Mode::Compose)
    );
}

#[test]
fn what_is_written_stays_when_the_prompt_is_taken_under_it() {
    let mut stage = waiting();
    stage.write("draft");
    stage.press("Ctrl+Q");
    stage.press("Enter");
    stage.write(" ray");
    taken(&mut stage, "c");
    assert_eq!(stage.app.composer.text(), "draft\ngamma ray");
    assert_eq!(stage.app.mode(), Mode::Compose);
    assert!(
        stage
            .picture(80, 12)
            .contains("the prompt you edit has been taken")
    );
}

#[test]
fn what_is_written_stays_when_someone_takes_the_prompt_out_and_who_is_named() {
    let mut stage = waiting();
    stage.press("Up");
    let removed = v1::PromptRemoved {
        request_id: "c".into(),
    };
    stage.event_of(Some(Body::PromptRemoved(removed)), Some(exec()));
    assert_eq!(
        (stage.app.composer.text(), stage.app.mode()),
        ("gamma", Mode::Compose)
    );
    let told = "exec (pid 77) took a prompt out of the queue: gamma";
    assert_eq!(stage.app.note, Some(Note::Said(told.into())));
}

#[test]
fn an_edit_that_comes_too_late_gives_the_text_back() {
    let mut stage = waiting();
    stage.press("Up");
    stage.write(" ray");
    let (ticket, ..) = call(&stage.press("Enter"));
    stage.write("meanwhile");
    let late = Answer::TooLate("that prompt is not in the queue any more".into());
    stage.input(Input::Answered(ticket, late));
    assert_eq!(stage.app.composer.text(), "gamma ray\nmeanwhile");
    assert!(matches!(&stage.app.note, Some(Note::Said(line)) if line.contains("Enter sends")));
}

#[test]
fn a_text_given_back_is_never_mixed_with_one_that_is_edited() {
    let mut stage = waiting();
    stage.write("steer");
    let effects = stage.press("Enter");
    let [Effect::Call(ticket, _)] = effects.as_slice() else {
        panic!("{effects:?} is not one call");
    };
    stage.press("Up");
    stage.input(Input::Answered(
        *ticket,
        Answer::Refused("the disk is full".into()),
    ));
    assert_eq!(stage.app.composer.text(), "gamma");
    stage.press("Esc");
    assert_eq!(stage.app.composer.text(), "steer");
}

#[test]
fn a_card_over_an_edit_loses_nothing() {
    let mut stage = waiting();
    stage.press("Up");
    stage.ask(approval("git push"));
    assert_eq!(stage.app.mode(), Mode::Edit, "something is written");
    stage.app.card.take_focus();
    stage.press("d");
    stage.write("use a branch");
    taken(&mut stage, "c");
    stage.press("Esc");
    stage.press("Tab");
    assert_eq!(
        (stage.app.composer.text(), stage.app.mode()),
        ("gamma", Mode::Compose)
    );
}

#[test]
fn enter_pressed_as_the_prompt_is_taken_sends_no_other() {
    for (ms, sends) in [(0, false), (999, false), (1_000, true)] {
        let mut stage = waiting();
        stage.press("Up");
        stage.write(" ray");
        taken(&mut stage, "c");
        let effects = stage.wait(ms).press("Enter");
        assert_eq!(!effects.is_empty(), sends, "after {ms} ms: {effects:?}");
        let told = stage
            .picture(80, 12)
            .contains("the prompt you edit has been taken");
        assert_eq!(told, !sends, "after {ms} ms");
        assert_eq!(stage.app.composer.is_empty(), sends, "after {ms} ms");
    }
}
