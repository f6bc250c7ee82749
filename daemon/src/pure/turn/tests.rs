//! Turns played through without a daemon: inputs in, effects out, as lines to compare.

mod lost;
mod play;
mod resume;

use std::collections::{BTreeMap, BTreeSet};

use quire_proto::v1::{
    Access, ApprovalAnswer, ApprovalVerdict, ArgumentsKind, Decision, Event, EventLost, FileChange,
    Intent, JobEnded, JobStarted, Outcome, OutcomeStatus, Policy, PromptItem, PromptMode,
    PromptQueued, QueuedPrompt, Rule, SandboxMode, SessionCreated, SessionState, StopReason, Usage,
    event::Body, item::Kind,
};

use super::{resume::Remains, *};
use crate::pure::{
    request::{Frame, request},
    sample::{Call, Delta, SampleError, SampleErrorKind, Stop},
};
use play::*;

#[test]
fn a_last_message_and_the_end_it_brings_are_written_together() {
    let (mut play, _) = Play::begin("hi");
    let text = Delta::Text("Hello".into());
    let lines = play.step(Input::Deltas(vec![text, Delta::MessageDone]));
    assert_eq!(lines, ["started 2 message ``", "grow 2 Hello"]);
    let transcript = play.transcript.clone();
    let effects = play
        .turn
        .step(&transcript, now(2), Input::Deltas(vec![ended()]));
    // What is appended with nothing between is one commit.
    let appends: Vec<_> = effects
        .iter()
        .map(|effect| matches!(effect, Effect::Append(_)))
        .collect();
    assert_eq!(appends, [false, true, true, true, false], "{effects:?}");
    assert_eq!(
        play.carry_out(effects),
        ["completed 2 message `Hello`", "ended Done "]
    );
}

#[test]
fn a_message_grows_and_ends_the_turn() {
    let (mut play, lines) = Play::begin("hi");
    assert_eq!(
        lines,
        ["turn 1 started", "completed 1 prompt `hi`", "sample"]
    );
    let lines = play.step(Input::Deltas(vec![Delta::Text("Hel".into())]));
    assert_eq!(lines, ["started 2 message ``", "grow 2 Hel"]);
    assert_eq!(
        play.step(Input::Deltas(vec![Delta::Text("lo".into())])),
        ["grow 2 lo"]
    );
    assert_eq!(
        play.step(Input::Deltas(vec![ended()])),
        ["completed 2 message `Hello`", "ended Done "]
    );
}

#[test]
fn a_call_is_prepared_promised_run_and_answered() {
    let (mut play, _) = Play::begin("go");
    assert_eq!(
        play.answer_calls(&["sh a"]),
        ["started 2 call sh", "prepare 2"]
    );
    assert_eq!(play.prepared(2, "make"), ["changed 2 call sh", "act 2"]);
    assert_eq!(play.finished(2), ["completed 2 call Succeeded", "sample"]);
    play.assert_legal_request();
    play.say("done");
    assert_eq!(play.stop_reason(), StopReason::Done);
}

#[test]
fn reading_calls_run_beside_each_other_and_the_rest_in_order() {
    let (mut play, _) = Play::begin("go");
    play.answer_calls(&["r a", "r b", "sh c", "r d"]);
    assert_eq!(
        play.prepared(2, "read"),
        ["changed 2 call r", "act 2", "prepare 3"]
    );
    assert_eq!(
        play.prepared(3, "read"),
        ["changed 3 call r", "act 3", "prepare 4"]
    );
    // A writing call is looked at early, so that it is known to write; it waits for those that read.
    assert_eq!(play.finished(3), ["completed 3 call Succeeded"]);
    assert_eq!(play.prepared(4, "make"), [""; 0]);
    assert_eq!(
        play.finished(2),
        ["completed 2 call Succeeded", "prepare 4"]
    );
    assert_eq!(play.prepared(4, "make"), ["changed 4 call sh", "act 4"]);
    play.finished(4);
    play.prepared(5, "read");
    assert_eq!(play.finished(5), ["completed 5 call Succeeded", "sample"]);
    play.assert_legal_request();
}

#[test]
fn what_a_rule_asks_waits_for_an_answer_and_is_looked_at_again() {
    let (mut play, _) = Play::begin("go");
    play.answer_calls(&["sh a"]);
    assert_eq!(play.prepared(2, "ask"), ["changed 2 call sh", "asked"]);
    assert_eq!(
        play.transcript
            .item(id(2))
            .and_then(acting::call_of)
            .unwrap()
            .intent,
        None
    );
    assert_eq!(
        play.decide(ApprovalVerdict::Once, false),
        ["decided Once", "prepare 2"]
    );
    assert_eq!(play.prepared(2, "ask"), ["changed 2 call sh", "act 2"]);
}

#[test]
fn a_word_with_a_yes_is_told_with_the_outcome() {
    let (mut play, _) = Play::begin("go");
    play.answer_calls(&["sh a"]);
    play.prepared(2, "ask");
    let answer = ApprovalAnswer {
        verdict: ApprovalVerdict::Once.into(),
        message: "but quickly".to_owned(),
        ..ApprovalAnswer::default()
    };
    play.step(Input::Decided {
        approval: play
            .transcript
            .newest_approval()
            .and_then(|asked| ApprovalId::new(asked.id))
            .unwrap(),
        answer,
        request_id: "d".to_owned(),
    });
    play.prepared(2, "ask");
    play.finished(2);
    let call = play
        .transcript
        .item(id(2))
        .and_then(acting::call_of)
        .unwrap();
    let told = call.outcome.as_ref().unwrap();
    assert_eq!(
        told.text,
        "[approved with the words: but quickly]\noutcome 2"
    );
}

#[test]
fn an_approval_is_for_what_was_shown_and_nothing_else() {
    let (mut play, _) = Play::begin("go");
    play.answer_calls(&["sh a"]);
    play.prepared(2, "ask");
    play.decide(ApprovalVerdict::Once, false);
    assert_eq!(play.prepared(2, "ask more"), ["changed 2 call sh", "asked"]);
}

/// A person may take an hour to say yes, and the file may change meanwhile.
#[test]
fn an_edit_is_made_as_it_was_approved_or_not_at_all() {
    for (later, want) in [("+one", "act 2"), ("+two", "completed 2 call Failed")] {
        let (mut play, _) = Play::begin("go");
        play.answer_calls(&["sh a"]);
        play.shown(2, "ask", "+one");
        play.decide(ApprovalVerdict::Once, false);
        let lines = play.shown(2, "ask", later);
        assert!(lines.iter().any(|line| line == want), "{lines:?}");
    }
}

#[test]
fn denials_are_told_to_the_model_or_stop_the_turn() {
    let (mut play, _) = Play::begin("go");
    play.answer_calls(&["sh a"]);
    assert_eq!(
        play.prepared(2, "deny"),
        ["completed 2 call Denied", "sample"]
    );
    let (mut play, _) = Play::begin("go");
    play.answer_calls(&["sh a", "sh b"]);
    play.prepared(2, "ask");
    let lines = play.decide(ApprovalVerdict::Deny, true);
    let want = [
        "decided Deny",
        "completed 2 call Denied",
        "completed 3 call Denied",
        "ended Denied denied",
    ];
    assert_eq!(lines, want);
    play.assert_legal_request();
}

#[test]
fn an_interrupt_ends_once_what_runs_is_dead() {
    let (mut play, _) = Play::begin("go");
    play.answer_calls(&["sh a", "sh b"]);
    play.prepared(2, "make");
    let lines = play.interrupt();
    assert_eq!(
        lines,
        [
            "completed 4 notice for_model=false",
            "stop 2",
            "completed 3 call Interrupted"
        ]
    );
    assert!(!play.turn.has_ended(), "the command still runs");
    let lines = play.finished(2);
    let want = [
        "completed 2 call Interrupted",
        "completed 5 notice for_model=true",
        "ended Interrupted ",
    ];
    assert_eq!(lines, want);
    assert!(play.interrupt().is_empty(), "nothing leaves the end");
    play.assert_legal_request();
}

#[test]
fn an_interrupt_in_mid_sentence_keeps_what_was_said() {
    let (mut play, _) = Play::begin("go");
    play.step(Input::Deltas(vec![Delta::Text("half a".into())]));
    let lines = play.interrupt();
    assert_eq!(
        lines.get(1).map(String::as_str),
        Some("completed 2 message `half a`")
    );
    assert_eq!(play.stop_reason(), StopReason::Interrupted);
}

#[test]
fn a_cut_answer_is_kept_and_asked_for_again_without_it() {
    let (mut play, _) = Play::begin("go");
    let call = Delta::Call(written("sh a"));
    play.step(Input::Deltas(vec![
        Delta::Text("half".into()),
        Delta::MessageDone,
        call,
    ]));
    let lines = play.failed(SampleErrorKind::Cut);
    assert_eq!(
        lines,
        [
            "completed 3 call Interrupted cut off",
            "retried 1 bad day",
            "later 200ms"
        ]
    );
    assert_eq!(play.step(Input::Waited), ["sample"]);
    play.assert_legal_request();
}

#[test]
fn a_provider_that_stays_down_ends_the_turn() {
    let (mut play, _) = Play::begin("go");
    for _ in 1..8 {
        play.failed(SampleErrorKind::Unreachable);
        assert_eq!(play.step(Input::Waited), ["sample"]);
    }
    assert_eq!(
        play.failed(SampleErrorKind::Unreachable),
        ["ended ModelError unreachable"]
    );
    let (mut play, _) = Play::begin("go");
    assert_eq!(
        play.failed(SampleErrorKind::Credentials),
        ["ended ModelError credentials"]
    );
}

#[test]
fn a_steering_prompt_joins_at_the_next_request() {
    let (mut play, _) = Play::begin("go");
    play.answer_calls(&["sh a"]);
    play.prepared(2, "make");
    play.steer("rather this");
    assert_eq!(
        play.finished(2).get(1).map(String::as_str),
        Some("completed 3 prompt `rather this`")
    );
    assert!(play.transcript.queue().is_empty());
    play.steer("and that");
    assert_eq!(play.say("fine").last().map(String::as_str), Some("sample"));
}

#[test]
fn limits_end_what_would_go_on_for_ever() {
    let (mut play, _) = Play::begin("go");
    for _ in 0..2 {
        assert_eq!(play.step(Input::Deltas(vec![ended()])), ["sample"]);
    }
    assert_eq!(
        play.step(Input::Deltas(vec![ended()])),
        ["ended ModelError garbage"]
    );
    let (mut play, _) = Play::begin("go");
    let mut lines = Vec::new();
    for item in 2..7 {
        play.answer_calls(&[&format!("sh {item}")]);
        play.prepared(item, "make");
        lines = play.finished(item);
    }
    assert_eq!(lines.last().map(String::as_str), Some("ended Limit limit"));
}

#[test]
fn a_call_that_comes_twice_runs_once_and_a_reused_name_is_repaired() {
    let (mut play, _) = Play::begin("go");
    let lines = play.answer_calls(&["sh a", "sh a"]);
    assert_eq!(lines, ["started 2 call sh", "prepare 2"]);
    play.prepared(2, "make");
    play.finished(2);
    play.answer_calls(&["sh a"]);
    play.prepared(3, "make");
    play.finished(3);
    play.assert_legal_request();
}

/// A clock set back or forth by a day makes no wait longer, and none shorter.
#[test]
fn waits_are_measured_by_the_clock_that_does_not_jump() {
    const DAY_MS: i64 = 86_400_000;
    let table = [
        (0, 299, "later"),
        (DAY_MS, 299, "later"),
        (-DAY_MS, 299, "later"),
        (0, 301, "ended"),
        (DAY_MS, 301, "ended"),
        (-DAY_MS, 301, "ended"),
    ];
    for (jump_ms, seconds, want) in table {
        let (mut play, _) = Play::begin("go");
        let later = Now {
            wall_ms: 1 + 1_000 * seconds + jump_ms,
            steady: Duration::from_secs(seconds.unsigned_abs()),
        };
        let failed = Input::SampleFailed {
            error: SampleError::new(SampleErrorKind::Unreachable, "bad day"),
            dice: u32::MAX,
        };
        let lines = play.step_at(later, failed);
        let last = lines.last().unwrap();
        assert!(
            last.starts_with(want),
            "{last} after {seconds} s and a jump of {jump_ms} ms"
        );
    }
}

#[test]
fn ends_of_jobs_come_before_the_prompt_and_are_marked_as_such() {
    let (mut play, _) = Play::begin("go");
    play.say("done");
    let end = PromptItem {
        text: "Job j ended.".to_owned(),
        job_id: "j".to_owned(),
        ..PromptItem::default()
    };
    let prompt = QueuedPrompt {
        request_id: "r2".to_owned(),
        prompt: Some(PromptItem {
            text: "and?".to_owned(),
            ..PromptItem::default()
        }),
        ..QueuedPrompt::default()
    };
    let beginning = Beginning {
        prompt,
        preamble: None,
        news: Vec::new(),
        ends: vec![end],
        max_samples: 5,
        now: now(9),
    };
    let (turn, effects) = Turn::begin(&play.transcript, beginning);
    play.turn = turn;
    let lines = play.carry_out(effects);
    assert_eq!(
        lines,
        [
            "turn 2 started",
            "completed 3 prompt `Job j ended.`",
            "completed 4 prompt `and?`",
            "sample"
        ]
    );
    let summary = play.transcript.summary();
    assert_eq!(
        (summary.last_prompt.as_str(), summary.title.as_str()),
        ("and?", "go")
    );
    let frame = Frame {
        full_model: "p/m",
        cache_key: "test",
        instructions: "",
        tools: Vec::new(),
    };
    let said = request(&play.transcript, frame)
        .input
        .into_iter()
        .rev()
        .nth(1);
    assert!(
        matches!(said, Some(crate::pure::sample::Input::User { text, .. }) if text == "[job ended] Job j ended.")
    );
}
