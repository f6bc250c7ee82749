//! Turns taken over by another daemon, once and again.

use super::*;

#[test]
fn another_daemon_goes_on_where_the_log_ends() {
    let (mut play, _) = Play::begin("go");
    play.step(Input::Deltas(vec![Delta::Text("shown".into())]));
    assert_eq!(
        play.take_over(&[(2, "shown")]),
        ["completed 2 message `shown` cut off", "died 1", "sample"]
    );

    let (mut play, _) = Play::begin("go");
    play.answer_calls(&["sh a", "sh b"]);
    assert_eq!(play.take_over(&[]), ["died 1", "prepare 2"]);
    play.prepared(2, "make");
    assert_eq!(play.take_over(&[]), ["resume 2 job2"]);
    assert_eq!(
        play.finished(2),
        ["completed 2 call Succeeded", "prepare 3"]
    );
    play.prepared(3, "ask");
    assert!(play.take_over(&[]).is_empty(), "the approval still waits");
    assert_eq!(
        play.decide(ApprovalVerdict::Once, false),
        ["decided Once", "prepare 3"]
    );
    assert_eq!(
        play.take_over(&[]),
        ["died 1", "prepare 3"],
        "nobody is asked twice"
    );
    assert_eq!(play.prepared(3, "ask"), ["changed 3 call sh", "act 3"]);

    let (mut play, _) = Play::begin("go");
    play.step(Input::Deltas(vec![Delta::Call(written("sh a"))]));
    assert_eq!(
        play.take_over(&[]),
        ["completed 2 call Interrupted cut off", "died 1", "sample"]
    );
    play.assert_legal_request();
}

#[test]
fn a_turn_taken_over_without_a_key_waits_for_a_client() {
    let (mut play, _) = Play::begin("go");
    play.take_over(&[]);
    assert_eq!(play.failed(SampleErrorKind::Credentials), ["suspended"]);
    assert!(play.take_over(&[]).is_empty(), "it still waits");
    assert_eq!(play.step(Input::Continue), [SENT_ON, "sample"]);
}

/// What the log says after a daemon died in the middle of a request.
const DIED: [[&str; 2]; 2] = [["died 1", "sample"], ["died 2", "sample"]];

#[test]
fn the_third_daemon_in_a_row_that_dies_over_a_request_is_the_last() {
    let (mut play, _) = Play::begin("go");
    for want in DIED {
        assert_eq!(play.take_over(&[]), want);
    }
    assert_eq!(play.take_over(&[]), ["suspended"]);
    assert_eq!(play.transcript.summary().state(), SessionState::Suspended);
    let Some(Body::TurnSuspended(suspended)) = play.log.last().and_then(|last| last.body.as_ref())
    else {
        panic!("{:?}", play.log.last())
    };
    assert!(
        suspended.reason.contains("`quire send`"),
        "{}",
        suspended.reason
    );
    assert!(
        !suspended.wants_world,
        "a client that comes back must not begin the loop again"
    );
    for _ in 0..3 {
        assert!(play.take_over(&[]).is_empty(), "nothing is asked by itself");
    }
}

#[test]
fn a_turn_sent_on_by_a_person_has_all_its_attempts_again() {
    let prompts: [Happens; 3] = [
        |_| {},
        |play| play.steer("go on"),
        |play| play.queue("later", PromptMode::Queue),
    ];
    for prompt in prompts {
        let (mut play, _) = Play::begin("go");
        (0..3).for_each(|_| drop(play.take_over(&[])));
        prompt(&mut play);
        let lines = play.step(Input::Continue);
        assert_eq!(lines.first().map(String::as_str), Some(SENT_ON));
        assert_eq!(lines.last().map(String::as_str), Some("sample"));
        assert_eq!(play.transcript.summary().state(), SessionState::Running);
        for want in DIED {
            assert_eq!(play.take_over(&[]), want);
        }
        assert_eq!(play.take_over(&[]), ["suspended"]);
    }
}

/// Something that happens to a turn.
type Happens = fn(&mut Play);

/// What stands between the second death and the third decides whether it is the last.
#[test]
fn only_what_brings_the_turn_forward_counts_as_progress() {
    let table: [(&str, Happens, bool); 8] = [
        ("nothing", |_| {}, false),
        (
            "text",
            |play| drop(play.step(Input::Deltas(vec![Delta::Text("so".into())]))),
            true,
        ),
        (
            "a call that is not whole",
            |play| drop(play.step(Input::Deltas(vec![Delta::Call(written("sh a"))]))),
            true,
        ),
        (
            "a failed request",
            |play| drop(play.failed(SampleErrorKind::Cut)),
            true,
        ),
        ("a prompt", |play| play.steer("more"), true),
        (
            "a job's start",
            |play| {
                play.record(Body::JobStarted(JobStarted {
                    job_id: "j".to_owned(),
                    ..JobStarted::default()
                }));
            },
            false,
        ),
        (
            "a job's end",
            |play| {
                play.record(Body::JobEnded(JobEnded {
                    job_id: "j".to_owned(),
                    ..JobEnded::default()
                }));
            },
            false,
        ),
        (
            "a lost event",
            |play| play.record(Body::EventLost(EventLost {})),
            false,
        ),
    ];
    for (what, happens, progress) in table {
        let (mut play, _) = Play::begin("go");
        (0..2).for_each(|_| drop(play.take_over(&[])));
        happens(&mut play);
        let lines = play.take_over(&[]);
        let goes_on = !lines.iter().any(|line| line == "suspended");
        assert_eq!(goes_on, progress, "after {what}: {lines:?}");
    }
}

#[test]
fn a_daemon_that_dies_while_a_command_runs_is_no_loop() {
    let (mut play, _) = Play::begin("go");
    play.answer_calls(&["sh a"]);
    play.prepared(2, "make");
    for _ in 0..10 {
        assert_eq!(play.take_over(&[]), ["resume 2 job2"]);
    }
    assert_eq!(play.finished(2), ["completed 2 call Succeeded", "sample"]);
    for want in DIED {
        assert_eq!(play.take_over(&[]), want);
    }
}

#[test]
fn a_daemon_that_dies_while_a_person_is_asked_is_no_loop() {
    let (mut play, _) = Play::begin("go");
    play.answer_calls(&["sh a"]);
    play.prepared(2, "ask");
    for _ in 0..10 {
        assert!(play.take_over(&[]).is_empty());
    }
}

/// Looking at a call costs no money, but one that brings the daemon down must not do so for ever.
#[test]
fn a_call_whose_look_kills_the_daemon_is_left_after_three() {
    let suspended = || {
        let (mut play, _) = Play::begin("go");
        play.answer_calls(&["sh a", "sh b"]);
        assert_eq!(play.take_over(&[]), ["died 1", "prepare 2"]);
        assert_eq!(play.take_over(&[]), ["died 2", "prepare 2"]);
        assert_eq!(play.take_over(&[]), ["suspended"]);
        play
    };
    let mut play = suspended();
    assert_eq!(play.step(Input::Continue), [SENT_ON, "prepare 2"]);
    play.prepared(2, "make");
    assert_eq!(
        play.finished(2),
        ["completed 2 call Succeeded", "prepare 3"]
    );

    let mut play = suspended();
    play.interrupt();
    assert_eq!(play.stop_reason(), StopReason::Interrupted);
    play.assert_legal_request();
}

#[test]
fn an_interrupt_outlives_the_daemon_that_was_told() {
    let (mut play, _) = Play::begin("go");
    play.answer_calls(&["sh a", "sh b"]);
    play.prepared(2, "make");
    play.interrupt();
    assert_eq!(play.take_over(&[]), ["resume 2 job2", "stop 2"]);
    assert!(play.interrupt().is_empty(), "it is being interrupted");
    play.finished(2);
    assert_eq!(play.stop_reason(), StopReason::Interrupted);

    // Its notice was the last that was written.
    let (mut play, _) = Play::begin("go");
    let mut effects = play.turn.step(
        &play.transcript,
        now(2),
        Input::Interrupt {
            by: None,
            request_id: "i".to_owned(),
        },
    );
    effects.truncate(1);
    play.carry_out(effects);
    play.take_over(&[]);
    assert_eq!(play.stop_reason(), StopReason::Interrupted);
}
