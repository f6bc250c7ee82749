//! What keys do, without a picture.

use quire_proto::v1::{self, ApprovalVerdict, PromptMode, SandboxMode, StopReason, event::Body};

use super::stage::{Stage, approval, found, message, prompt};
use crate::tui::{
    app::{Effect, Input, Leaving, Note, Role},
    calls::{Answer, Call, Ticket},
    command::Setting,
    keys::Mode,
};

/// The only call among the effects.
fn call(effects: Vec<Effect>) -> (Ticket, Call) {
    match effects.as_slice() {
        [Effect::Call(ticket, call)] => (*ticket, call.clone()),
        _ => panic!("{effects:?} is not one call"),
    }
}

fn said(text: &str, mode: PromptMode) -> Call {
    Call::Prompt {
        text: text.into(),
        mode,
    }
}

#[test]
fn enter_sends_joins_and_tab_queues() {
    let mut stage = Stage::new();
    stage.write("hello");
    assert_eq!(
        call(stage.press("Enter")).1,
        said("hello", PromptMode::Unspecified)
    );
    stage.turn_started();
    stage.write("also");
    assert_eq!(
        call(stage.press("Enter")).1,
        said("also", PromptMode::Unspecified)
    );
    stage.write("later");
    assert_eq!(call(stage.press("Tab")).1, said("later", PromptMode::Queue));
    assert!(stage.app.composer.is_empty());
}

#[test]
fn nothing_is_sent_when_nothing_is_written() {
    let mut stage = Stage::new();
    assert_eq!(stage.press("Enter"), []);
    stage.write("  ");
    assert_eq!(stage.press("Enter"), []);
    assert_eq!(stage.app.composer.text(), "  ");
}

#[test]
fn a_prompt_is_sending_until_it_comes_back_as_an_event() {
    let mut stage = Stage::new();
    stage.write("hello");
    let (ticket, _) = call(stage.press("Enter"));
    assert!(stage.picture(60, 10).contains("hello  sending"));
    stage.input(Input::Answered(ticket, Answer::Done { seq: 3 }));
    assert!(stage.picture(60, 10).contains("hello  sending"));
    stage.turn_started();
    stage.item(1, prompt("hello"));
    let picture = stage.picture(60, 10);
    assert!(picture.contains("› hello") && !picture.contains("sending"));
}

#[test]
fn a_refused_prompt_comes_back_to_the_composer() {
    let mut stage = Stage::new();
    stage.write("hello");
    let (ticket, _) = call(stage.press("Enter"));
    stage.write("more");
    stage.input(Input::Answered(
        ticket,
        Answer::Refused("the disk is full".into()),
    ));
    assert_eq!(stage.app.composer.text(), "hello\nmore");
    let picture = stage.picture(60, 10);
    assert!(picture.contains("✗ the disk is full") && !picture.contains("sending"));
}

#[test]
fn escape_interrupts_the_running_turn_once_and_does_nothing_when_idle() {
    let mut stage = Stage::new();
    assert_eq!(stage.press("Esc"), []);
    stage.turn_started();
    assert_eq!(call(stage.press("Esc")).1, Call::Interrupt { turn: 1 });
    assert_eq!(stage.press("Esc"), []);
}

#[test]
fn an_interrupt_that_came_too_late_is_no_failure() {
    let mut stage = Stage::new();
    stage.turn_started();
    let (ticket, _) = call(stage.press("Esc"));
    let answer = Answer::TooLate("turn 1 has ended".into());
    stage.input(Input::Answered(ticket, answer));
    assert_eq!(stage.app.note, Some(Note::Said("turn 1 has ended".into())));
}

#[test]
fn control_c_clears_then_warns_then_leaves() {
    let mut stage = Stage::new();
    stage.write("draft");
    assert_eq!(stage.press("Ctrl+C"), []);
    assert!(stage.app.composer.is_empty());
    assert_eq!(stage.press("Ctrl+C"), []);
    assert!(
        stage
            .picture(60, 10)
            .contains("press Ctrl+C again to leave")
    );
    stage.write("x");
    stage.press("Backspace");
    assert_eq!(stage.press("Ctrl+C"), [], "another key in between");
    assert_eq!(stage.press("Ctrl+C"), [Effect::Leave(Leaving::Detached)]);
}

#[test]
fn control_d_leaves_only_when_nothing_is_written() {
    let mut stage = Stage::new();
    stage.write("x");
    assert_eq!(stage.press("Ctrl+D"), []);
    stage.press("Backspace");
    assert_eq!(stage.press("Ctrl+D"), [Effect::Leave(Leaving::Detached)]);
}

#[test]
fn answers_go_to_the_approval_on_the_card() {
    let table = [
        ("y", ApprovalVerdict::Once),
        ("a", ApprovalVerdict::Session),
        ("A", ApprovalVerdict::Rule),
        ("n", ApprovalVerdict::Deny),
    ];
    for (key, want) in table {
        let mut stage = Stage::new();
        stage.turn_started();
        stage.ask(approval("git push"));
        let (_, made) = call(stage.press(key));
        assert!(
            matches!(made, Call::Decide { verdict, .. } if verdict == want),
            "`{key}` made {made:?}"
        );
        assert_eq!(stage.press(key), [], "the answer is under way");
    }
}

#[test]
fn a_no_can_carry_a_word_and_the_draft_comes_back() {
    let mut stage = Stage::new();
    stage.turn_started();
    stage.ask(approval("git push"));
    stage.press("d");
    stage.write("use a branch");
    let (_, made) = call(stage.press("Enter"));
    let Call::Decide {
        verdict, message, ..
    } = made
    else {
        panic!("{made:?} is no answer");
    };
    assert_eq!(
        (verdict, message.as_str()),
        (ApprovalVerdict::Deny, "use a branch")
    );

    let mut stage = Stage::new();
    stage.turn_started();
    stage.write("draft").ask(approval("git push"));
    stage.press("Tab");
    stage.press("d");
    stage.write("no");
    stage.press("Esc");
    assert_eq!(stage.app.composer.text(), "draft");
    assert_eq!(stage.app.mode(), Mode::Card);
}

#[test]
fn a_key_meant_for_the_composer_never_approves() {
    let mut stage = Stage::new();
    stage.turn_started();
    stage.write("x").press("Backspace");
    let asked = Some(approval("git push"));
    stage.event(Body::ApprovalRequested(v1::ApprovalRequested {
        approval: asked.clone(),
    }));
    assert_eq!(
        stage.press("Backspace"),
        [],
        "the card has only just appeared"
    );
    assert_eq!(
        call(stage.wait(1_000).press("y")).1,
        Call::Decide {
            approval: quire_proto::id::ApprovalId::FIRST,
            verdict: ApprovalVerdict::Once,
            message: String::new(),
        }
    );

    let mut stage = Stage::new();
    stage.turn_started();
    stage.write("st").ask(approval("git push"));
    stage.write("y");
    assert_eq!(stage.app.composer.text(), "sty");

    let mut stage = Stage::new();
    stage.turn_started();
    stage.ask(approval("git push"));
    stage.input(Input::Paste("y".into()));
    assert_eq!(stage.app.composer.text(), "y");
}

#[test]
fn a_card_goes_when_someone_else_answers_and_says_who() {
    let mut stage = Stage::new();
    stage.turn_started();
    stage.ask(approval("git push"));
    stage.press("d");
    stage.write("half a word");
    let by = v1::ClientRef {
        id: "c9".into(),
        name: "exec".into(),
        pid: 77,
        observer: false,
    };
    let answer = v1::ApprovalAnswer {
        verdict: ApprovalVerdict::Once.into(),
        by: Some(by),
        ..v1::ApprovalAnswer::default()
    };
    let decided = v1::ApprovalDecided {
        id: 1,
        answer: Some(answer),
    };
    stage.event(Body::ApprovalDecided(decided));
    assert_eq!(stage.app.mode(), Mode::Compose);
    assert_eq!(stage.app.composer.text(), "half a word");
    assert!(
        stage
            .picture(60, 10)
            .contains("approved by exec (pid 77): git push")
    );
}

#[test]
fn a_refused_answer_brings_the_card_back() {
    let mut stage = Stage::new();
    stage.turn_started();
    stage.ask(approval("git push"));
    let (ticket, _) = call(stage.press("y"));
    assert_eq!(stage.app.mode(), Mode::Compose);
    stage.input(Input::Answered(
        ticket,
        Answer::Refused("the disk is full".into()),
    ));
    assert_eq!(stage.wait(1_000).app.mode(), Mode::Card);
}

#[test]
fn commands_change_the_session_and_mistakes_stay_in_the_composer() {
    let mut stage = Stage::new();
    stage.write("/sandbox full-access");
    let want = Call::Set(Setting::Sandbox(SandboxMode::FullAccess));
    assert_eq!(call(stage.press("Enter")).1, want);
    stage.write("/sandbox none");
    assert_eq!(stage.press("Enter"), []);
    assert_eq!(stage.app.composer.text(), "/sandbox none");
    assert!(matches!(stage.app.note, Some(Note::Failed(_))));
    stage.press("Ctrl+C");
    stage.write("/quit");
    assert_eq!(stage.press("Enter"), [Effect::Leave(Leaving::Detached)]);
}

#[test]
fn a_question_mark_is_help_only_on_an_empty_composer() {
    let mut stage = Stage::new();
    stage.write("why");
    stage.press("?");
    assert_eq!(stage.app.composer.text(), "why?");
    stage.press("Ctrl+C");
    stage.press("?");
    assert_eq!(stage.app.mode(), Mode::Page);
    stage.press("Esc");
    assert_eq!(stage.app.mode(), Mode::Compose);
}

#[test]
fn who_only_watches_can_do_nothing_but_look_and_leave() {
    let mut stage = Stage::with(Role::Observe);
    stage.turn_started();
    stage.ask(approval("git push"));
    for key in ["y", "a", "n", "d", "Enter", "Tab", "Esc"] {
        assert_eq!(stage.press(key), [], "for `{key}`");
    }
    assert_eq!(stage.press("q"), [Effect::Leave(Leaving::Detached)]);
}

#[test]
fn watching_a_turn_ends_with_it() {
    let mut stage = Stage::with(Role::ObserveTurn);
    stage.turn_started();
    stage.item(1, message("done"));
    let effects = stage.turn_ended(StopReason::Done, "");
    assert_eq!(effects, [Effect::Leave(Leaving::TurnEnded)]);
}

#[test]
fn who_may_act_gives_their_world_when_asked_once_a_connection() {
    let asked = || v1::session_service_watch_response::Update::WorldWanted(v1::WorldWanted {});
    let mut stage = Stage::new();
    assert_eq!(stage.event(suspended(true)), []);
    assert_eq!(call(stage.update(asked())).1, Call::LendWorld);
    assert_eq!(stage.update(asked()), []);
    stage.input(Input::LinkLost(String::new()));
    assert_eq!(stage.input(Input::LinkFound(found("c2"))), []);
    assert_eq!(call(stage.update(asked())).1, Call::LendWorld);
    assert_eq!(Stage::with(Role::Observe).update(asked()), []);
}

fn suspended(wants_world: bool) -> Body {
    Body::TurnSuspended(v1::TurnSuspended {
        turn: 1,
        reason: "no key for `openai`".into(),
        wants_world,
    })
}

#[test]
fn a_turn_that_a_person_is_to_send_on_waits_for_enter() {
    let mut stage = Stage::new();
    stage.turn_started();
    assert_eq!(stage.event(suspended(false)), []);
    stage.input(Input::LinkLost(String::new()));
    stage.input(Input::LinkFound(found("c2")));
    assert_eq!(stage.synced(), []);
    stage.write("first this");
    assert_eq!(
        call(stage.press("Enter")).1,
        said("first this", PromptMode::Unspecified)
    );
    assert_eq!(call(stage.press("Enter")).1, Call::SendOn);
}

#[test]
fn a_daemon_that_was_given_up_is_tried_again_by_enter() {
    let mut stage = Stage::new();
    stage.input(Input::LinkGivenUp("the daemon died".into()));
    assert_eq!(stage.press("Enter"), [Effect::Reconnect]);
    assert_eq!(stage.press("Enter"), [], "it is being looked for already");
}

#[test]
fn who_looks_elsewhere_is_told_what_ends_and_what_is_asked() {
    let job_ended = || {
        Body::JobEnded(v1::JobEnded {
            job_id: "jb2".into(),
            exit_code: Some(3),
            ..v1::JobEnded::default()
        })
    };
    for focused in [true, false] {
        let mut stage = Stage::new();
        stage.turn_started();
        stage.in_background("npm run dev", "jb2");
        stage.input(Input::Focus(focused));
        let mut told = vec![
            stage.event(job_ended()),
            stage.event(Body::ApprovalRequested(v1::ApprovalRequested {
                approval: Some(approval("git push")),
            })),
            stage.event(suspended(false)),
            stage.turn_ended(StopReason::Done, ""),
        ];
        told.retain(|effects| !effects.is_empty());
        let want = match focused {
            true => vec![],
            false => [
                "npm run dev ended with exit code 3",
                "the session asks: git push",
                "the session waits: no key for `openai`",
                "the session: done",
            ]
            .map(|text| vec![Effect::Notify(text.into())])
            .into(),
        };
        assert_eq!(told, want);
    }
}

#[test]
fn prompts_of_the_session_are_the_history() {
    let mut stage = Stage::new();
    stage.turn_started();
    stage.item(1, prompt("first")).item(2, prompt("second"));
    stage.picture(60, 10);
    stage.press("Up");
    stage.press("Up");
    assert_eq!(stage.app.composer.text(), "first");
}

#[test]
fn nothing_moves_by_itself_when_idle() {
    let mut stage = Stage::new();
    assert_eq!(stage.app.moves_every_ms(), None);
    stage.turn_started();
    assert_eq!(stage.app.moves_every_ms(), Some(100));
    stage.ask(approval("git push"));
    assert_eq!(stage.app.moves_every_ms(), Some(1_000));
    stage.turn_ended(StopReason::Done, "");
    assert_eq!(stage.app.moves_every_ms(), None);
}
