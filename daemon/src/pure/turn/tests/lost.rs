//! Every point at which a daemon may die, and every end of its log that a disk may lose.

use super::*;
use crate::pure::sample::Input as Said;

/// The events of a turn in which everything happens: reasoning, text, calls beside each other, an
/// approval, a steering prompt, a cut answer.
fn story() -> Vec<Event> {
    let (mut play, _) = Play::begin("go");
    play.step(Input::Deltas(vec![
        Delta::Reasoning("hm".into()),
        Delta::ReasoningDone {
            opaque: b"o".to_vec(),
        },
        Delta::Text("I look.".into()),
    ]));
    play.answer_calls(&["r a", "r b", "sh c", "sh d"]);
    play.prepared(4, "read");
    play.prepared(5, "read");
    play.prepared(6, "make");
    play.finished(5);
    play.finished(4);
    play.finished(6);
    play.prepared(7, "ask");
    play.decide(ApprovalVerdict::Once, false);
    play.prepared(7, "ask");
    play.steer("and this");
    play.finished(7);
    play.step(Input::Deltas(vec![Delta::Text("half".into())]));
    play.failed(SampleErrorKind::Cut);
    play.step(Input::Waited);
    play.answer_calls(&["sh e"]);
    play.prepared(10, "make");
    play.finished(10);
    play.say("done");
    assert_eq!(play.stop_reason(), StopReason::Done);
    play.log
}

/// Answers whatever is waited for until the model is asked or the turn has ended. Returns the calls
/// that were run or found out about.
fn drive(play: &mut Play, lines: Vec<String>) -> Vec<u64> {
    let mut waiting: Vec<String> = lines;
    let mut run = Vec::new();
    loop {
        let Some(line) = waiting.pop() else {
            if play.transcript.pending_approvals().next().is_none() {
                return run;
            }
            waiting.extend(play.decide(ApprovalVerdict::Once, false));
            continue;
        };
        let words: Vec<&str> = line.split(' ').collect();
        let item = || words[1].parse::<u64>().unwrap();
        match words[0] {
            "prepare" => waiting.extend(play.prepared(item(), "make")),
            "act" | "resume" => {
                run.push(item());
                waiting.extend(play.finished(item()));
            }
            _ => {}
        }
    }
}

fn taken_over(events: &[Event], lost: usize) -> (Play, Vec<String>) {
    let (mut play, _) = Play::begin("unused");
    play.transcript = Transcript::of("test");
    for event in events {
        play.transcript.apply(event);
    }
    for _ in 0..lost {
        play.record(Body::EventLost(EventLost {}));
    }
    let lines = play.take_over(&[]);
    (play, lines)
}

fn asks(play: &Play, at: usize, lost: usize) {
    play.assert_legal_request();
    let frame = Frame {
        full_model: "p/m",
        cache_key: "test",
        instructions: "",
        tools: Vec::new(),
    };
    let input = request(&play.transcript, frame).input;
    assert!(!input.is_empty(), "nothing to answer after event {at}");
    for pair in input.windows(2) {
        let bare = matches!(pair, [Said::Reasoning { .. }, next]
            if !matches!(next, Said::Assistant { .. } | Said::Call(_) | Said::Reasoning { .. }));
        assert!(
            !bare,
            "reasoning leads nowhere after event {at}, {lost} lost"
        );
    }
    assert!(
        matches!(
            input.last(),
            Some(Said::User { .. } | Said::Outcome { .. } | Said::Assistant { .. })
        ),
        "the model has the last word after event {at}, {lost} lost"
    );
}

#[test]
fn whatever_the_log_ends_with_the_next_request_is_legal() {
    let story = story();
    for end in 2..story.len() {
        // A turn's start and its prompt are one commit, which only a bad disk can tear.
        for lost in usize::from(end == 2)..4 {
            let (mut play, lines) = taken_over(&story[..end], lost);
            let run = drive(&mut play, lines);
            if lost > 0 {
                assert!(
                    run.is_empty(),
                    "what may have run before ran after event {end}: {run:?}"
                );
            }
            let unfinished = play.transcript.unfinished(play.turn.id()).count();
            assert_eq!(unfinished, 0, "after event {end}, {lost} lost");
            asks(&play, end, lost);
        }
    }
}

#[test]
fn a_loss_is_told_once_to_people_and_to_the_model() {
    let story = story();
    let (mut play, _) = taken_over(&story[..20], 17);
    play.take_over(&[]);
    let notices: Vec<_> = play
        .transcript
        .items()
        .filter_map(|item| match &item.kind {
            Some(Kind::Notice(notice)) => Some((notice.for_model, notice.text.as_str())),
            _ => None,
        })
        .collect();
    let [(true, text)] = notices.as_slice() else {
        panic!("{notices:?}")
    };
    assert!(
        text.starts_with("Events 21 to 37 of this session were lost by the disk."),
        "{text}"
    );
}

#[test]
fn names_that_may_have_been_seen_are_not_given_again() {
    let story = story();
    let (play, _) = taken_over(&story[..20], 3);
    let before = {
        let mut transcript = Transcript::of("test");
        story[..20].iter().for_each(|event| transcript.apply(event));
        transcript
    };
    let notice = play.transcript.items().next_back().unwrap();
    assert_eq!(notice.id, before.next_item().get() + 3);
    assert_eq!(
        play.transcript.next_approval().get(),
        before.next_approval().get() + 3
    );
}
