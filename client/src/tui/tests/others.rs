//! What other clients do, as it is told here.

use insta::assert_snapshot;
use quire_proto::v1::{
    self, ApprovalVerdict, PromptMode, StopReason, event::Body, item::Kind,
    session_service_watch_response::Update,
};

use super::stage::{ME, Stage, approval, command, found, prompt};
use crate::tui::{
    app::{Effect, Input, Leaving, Note, Role},
    calls::{Answer, Call},
    keys::Mode,
};

fn client(name: &str, pid: u32) -> v1::ClientRef {
    v1::ClientRef {
        id: format!("c{pid}"),
        name: name.into(),
        pid,
        observer: name == "logs",
    }
}

/// The line that stands above the composer.
fn told(stage: &Stage) -> Option<&str> {
    match &stage.app.note {
        Some(Note::Said(line)) => Some(line),
        _ => None,
    }
}

fn decided(verdict: ApprovalVerdict, by: Option<v1::ClientRef>, message: &str) -> Body {
    let answer = v1::ApprovalAnswer {
        verdict: verdict.into(),
        automatic: by.is_none(),
        by,
        message: message.into(),
        ..v1::ApprovalAnswer::default()
    };
    Body::ApprovalDecided(v1::ApprovalDecided {
        id: 1,
        answer: Some(answer),
    })
}

#[test]
fn how_an_approval_was_answered_elsewhere_is_one_line() {
    use ApprovalVerdict::{Deny, Once, Rule, Session};
    let exec = || Some(client("exec", 123));
    let table = [
        (
            decided(Once, exec(), ""),
            Some("approved by exec (pid 123): git push"),
        ),
        (
            decided(Session, exec(), ""),
            Some("approved for this session by exec (pid 123): git push"),
        ),
        (
            decided(Rule, exec(), ""),
            Some("approved for ever by exec (pid 123): git push"),
        ),
        (
            decided(Deny, exec(), "no"),
            Some("denied by exec (pid 123): git push"),
        ),
        (
            decided(Deny, None, ""),
            Some("denied by the policy: git push"),
        ),
        (
            decided(Deny, None, "the turn was interrupted"),
            Some("not asked: the turn was interrupted: git push"),
        ),
        (decided(Once, Some(client("tui", ME)), ""), None),
    ];
    for (body, want) in table {
        let mut stage = Stage::new();
        stage.turn_started();
        stage.ask(approval("git push"));
        stage.event(body);
        assert_eq!(stage.app.mode(), Mode::Compose);
        assert_eq!(told(&stage), want);
    }
}

#[test]
fn who_answers_a_moment_too_late_is_told_what_everyone_is() {
    let line = Some("approved by exec (pid 123): git push");
    let answered = || decided(ApprovalVerdict::Once, Some(client("exec", 123)), "");
    let late = || Answer::TooLate("already approved from exec (pid 123)".into());
    for event_first in [true, false] {
        let mut stage = Stage::new();
        stage.turn_started();
        stage.ask(approval("git push"));
        let effects = stage.press("n");
        let [Effect::Call(ticket, Call::Decide { .. })] = effects.as_slice() else {
            panic!("{effects:?} is no answer");
        };
        if event_first {
            stage.event(answered());
            assert_eq!(told(&stage), line);
            stage.input(Input::Answered(*ticket, late()));
        } else {
            stage.input(Input::Answered(*ticket, late()));
            stage.event(answered());
        }
        assert_eq!(told(&stage), line, "the event came first: {event_first}");
        assert_eq!(stage.app.mode(), Mode::Compose);
    }
}

#[test]
fn several_questions_are_asked_one_after_the_other() {
    let mut stage = Stage::new();
    stage.turn_started();
    for id in 1..=3 {
        stage.ask(v1::Approval {
            id,
            ..approval(&format!("git push {id}"))
        });
    }
    assert!(stage.picture(72, 26).contains("Run this command? (1 of 3)"));
    stage.press("y");
    let picture = stage.wait(1_000).picture(72, 26);
    assert!(picture.contains("Run this command? (2 of 3)"), "{picture}");
    assert!(picture.contains("$ git push 2"), "{picture}");
}

#[test]
fn settings_that_someone_else_changed_are_told_and_own_ones_are_not() {
    let changed = |model: Option<&str>, policy| {
        Body::SessionChanged(v1::SessionChanged {
            model: model.map(str::to_owned),
            policy,
            ..v1::SessionChanged::default()
        })
    };
    let policy = v1::Policy {
        sandbox: v1::SandboxMode::FullAccess.into(),
        approve: v1::ApprovePolicy::Never.into(),
        ..v1::Policy::default()
    };
    let table = [
        (
            changed(Some("a/b"), None),
            "exec (pid 7) set the model to a/b",
        ),
        (
            changed(None, Some(policy)),
            "exec (pid 7) set the sandbox to full-access, set approvals to never",
        ),
        (
            Body::SessionChanged(v1::SessionChanged {
                title: Some("new".into()),
                ..v1::SessionChanged::default()
            }),
            "exec (pid 7) renamed the session: new",
        ),
    ];
    for (body, want) in table {
        for (by, want) in [
            (Some(client("exec", 7)), Some(want)),
            (Some(client("tui", ME)), None),
            (None, None),
        ] {
            let mut stage = Stage::new();
            stage.event_of(Some(body.clone()), by);
            assert_eq!(told(&stage), want);
        }
    }
}

#[test]
fn an_interrupt_from_elsewhere_names_who() {
    let mut stage = Stage::new();
    stage.turn_started();
    let ended = v1::TurnEnded {
        turn: 1,
        stop_reason: StopReason::Interrupted.into(),
        ..v1::TurnEnded::default()
    };
    stage.event_of(Some(Body::TurnEnded(ended)), Some(client("exec", 7)));
    assert_eq!(told(&stage), Some("exec (pid 7) interrupted the turn"));
}

#[test]
fn prompts_and_answers_of_others_carry_their_name() {
    let mut stage = Stage::new();
    stage.turn_started();
    for (id, text, by) in [
        (1, "mine", client("tui", ME)),
        (2, "theirs", client("exec", 7)),
        (3, &"long ".repeat(13), client("python", 8)),
    ] {
        let item = v1::Item {
            id,
            turn: 1,
            status: v1::ItemStatus::Completed.into(),
            kind: Some(prompt(text)),
            ..v1::Item::default()
        };
        let body = Body::ItemCompleted(v1::ItemCompleted { item: Some(item) });
        stage.event_of(Some(body), Some(by));
    }
    stage
        .growing(4, Kind::ToolCall(command("git push")))
        .ask(v1::Approval {
            item: 4,
            ..approval("git push")
        });
    stage.event(decided(ApprovalVerdict::Once, Some(client("exec", 7)), ""));
    assert_snapshot!(stage.picture(72, 16), @r#"
    "› mine                                                                  "
    "                                                                        "
    "› theirs  from exec                                                     "
    "                                                                        "
    "› long long long long long long long long long long long long long      "
    "  from python                                                           "
    "                                                                        "
    "● git push  running · approved by exec                                  "
    "                                                                        "
    "                                                                        "
    "                                                                        "
    "⠋ working · 1 s · Esc interrupts                                        "
    "· approved by exec (pid 7): git push                                    "
    "────────────────────────────────────────────────────────── k3m9x2rt7w ──"
    "› Enter joins the turn, Tab queues for the next                         "
    "  openai/gpt-5.2 · workspace-write · asks on request                    "
    "#);
}

#[test]
fn who_is_attached_is_counted_and_shown_on_demand() {
    let mut stage = Stage::new();
    let clients = vec![client("tui", ME), client("exec", 7), client("logs", 8)];
    let me = clients[0].id.clone();
    stage.input(Input::LinkFound(found(&me)));
    stage.update(Update::Presence(v1::Presence { clients }));
    let picture = stage.picture(90, 10);
    assert!(
        picture.contains("2 others attached · 1 only to watch"),
        "{picture}"
    );
    stage.write("/who").press("Enter");
    assert_snapshot!(stage.picture(60, 8), @r#"
    "╭ Who is attached ─────────────────────────────── q closes ╮"
    "│   tui (pid 4000)  this terminal                          │"
    "│   exec (pid 7)                                           │"
    "│   logs (pid 8)  only watches                             │"
    "│                                                          │"
    "│                                                          │"
    "╰──────────────────────────────────────────────────────────╯"
    "  openai/gpt-5.2 · workspace-write · asks on request        "
    "#);
}

#[test]
fn commands_lead_to_other_sessions_and_out() {
    let mut stage = Stage::new();
    stage.write("/sessions");
    assert_eq!(stage.press("Enter"), [Effect::Leave(Leaving::Choosing)]);
    stage.write("/detach");
    assert_eq!(stage.press("Enter"), [Effect::Leave(Leaving::Detached)]);
    stage.write("/fork another way");
    let effects = stage.press("Enter");
    let [Effect::Call(ticket, Call::Fork { title })] = effects.as_slice() else {
        panic!("{effects:?} makes no copy");
    };
    assert_eq!(title, "another way");
    let forked = Answer::Forked {
        session: "copy".into(),
    };
    let effects = stage.input(Input::Answered(*ticket, forked));
    assert_eq!(effects, [Effect::Leave(Leaving::Switched("copy".into()))]);
    stage.write("/queue").press("Enter");
    assert_eq!(told(&stage), Some("nothing is queued"));
}

#[test]
fn an_observer_is_asked_for_nothing_and_sends_nothing() {
    let mut stage = Stage::with(Role::Observe);
    stage.turn_started();
    let prompt = Some(v1::QueuedPrompt {
        request_id: "a".into(),
        mode: PromptMode::Queue.into(),
        ..v1::QueuedPrompt::default()
    });
    stage.event(Body::PromptQueued(v1::PromptQueued { prompt }));
    stage.ask(approval("git push"));
    assert_eq!(stage.update(Update::WorldWanted(v1::WorldWanted {})), []);
    let keys = [
        "y", "Up", "Alt+Up", "Ctrl+Q", "Ctrl+X", "d", "Enter", "Tab", "K", "e",
    ];
    for key in keys {
        assert_eq!(stage.press(key), [], "for `{key}`");
        assert_eq!(stage.app.mode(), Mode::Observe, "for `{key}`");
    }
    assert_eq!(stage.input(Input::Paste("text".into())), []);
    assert!(stage.app.composer.is_empty());
}
