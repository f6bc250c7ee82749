//! Turns played through without a daemon: inputs in, effects out, as lines to compare.

use std::collections::BTreeMap;

use quire_proto::v1::{
    Access, ApprovalAnswer, ApprovalVerdict, ArgumentsKind, Decision, Event, Intent, Outcome,
    OutcomeStatus, Policy, PromptItem, PromptMode, PromptQueued, QueuedPrompt, Rule, SandboxMode,
    SessionCreated, StopReason, Usage, event::Body, item::Kind,
};

use super::{resume::Remains, *};
use crate::pure::{
    request::{Frame, request},
    sample::{Call, Delta, SampleError, SampleErrorKind, Stop},
};

/// A session played through by hand.
struct Play {
    transcript: Transcript,
    turn: Turn,
}

impl Play {
    fn begin(prompt: &str) -> (Self, Vec<String>) {
        let mut transcript = Transcript::of("test");
        let rule = |prefix: &str, decision: Decision| Rule {
            prefix: vec![prefix.to_owned()],
            decision: decision.into(),
            reason: "a rule says so".to_owned(),
        };
        let policy = Policy {
            sandbox: SandboxMode::WorkspaceWrite.into(),
            approve: quire_proto::v1::ApprovePolicy::OnRequest.into(),
            rules: vec![rule("ask", Decision::Ask), rule("deny", Decision::Deny)],
            ..Policy::default()
        };
        let created = SessionCreated {
            workspace: "/w".to_owned(),
            cwd: "/w".to_owned(),
            model: "p/m".to_owned(),
            policy: Some(policy),
            ..SessionCreated::default()
        };
        record(&mut transcript, Body::SessionCreated(created).into());
        let prompt = QueuedPrompt {
            request_id: "r1".to_owned(),
            prompt: Some(PromptItem {
                text: prompt.to_owned(),
                ..PromptItem::default()
            }),
            ..QueuedPrompt::default()
        };
        let beginning = Beginning {
            prompt,
            preamble: None,
            max_samples: 5,
            now_ms: 1,
        };
        let (turn, effects) = Turn::begin(&transcript, beginning);
        let mut play = Self { transcript, turn };
        let lines = play.carry_out(effects);
        (play, lines)
    }

    fn step(&mut self, input: Input) -> Vec<String> {
        let effects = self.turn.step(&self.transcript, 2, input);
        self.carry_out(effects)
    }

    fn carry_out(&mut self, effects: Vec<Effect>) -> Vec<String> {
        let mut lines = Vec::new();
        for effect in effects {
            lines.extend(line(&effect));
            if let Effect::Append(entry) = effect {
                record(&mut self.transcript, *entry);
            }
        }
        lines
    }

    /// The model answers with these calls, "name arguments", and nothing else.
    fn answer_calls(&mut self, calls: &[&str]) -> Vec<String> {
        let mut deltas: Vec<Delta> = calls
            .iter()
            .map(|call| Delta::Call(written(call)))
            .collect();
        deltas.push(ended());
        self.step(Input::Deltas(deltas))
    }

    fn say(&mut self, text: &str) -> Vec<String> {
        self.step(Input::Deltas(vec![Delta::Text(text.to_owned()), ended()]))
    }

    fn prepared(&mut self, item: u64, command: &str) -> Vec<String> {
        let read_only = command == "read";
        let access = Access {
            command: command.to_owned(),
            read_only,
            cwd: "/w".to_owned(),
            ..Access::default()
        };
        let job_id = format!("job{item}");
        let intent = (!read_only).then_some(Intent {
            job_id,
            ..Intent::default()
        });
        let look = Look {
            title: command.to_owned(),
            access,
            intent,
            preview: Vec::new(),
        };
        self.step(Input::Prepared {
            item: id(item),
            look: Ok(look),
        })
    }

    fn finished(&mut self, item: u64) -> Vec<String> {
        let outcome = Outcome {
            status: OutcomeStatus::Succeeded.into(),
            text: format!("outcome {item}"),
            job_id: format!("job{item}"),
            ..Outcome::default()
        };
        self.step(Input::Finished {
            item: id(item),
            ending: Ending {
                outcome,
                items: Vec::new(),
            },
        })
    }

    fn decide(&mut self, verdict: ApprovalVerdict, stop: bool) -> Vec<String> {
        let answer = ApprovalAnswer {
            verdict: verdict.into(),
            stop,
            ..ApprovalAnswer::default()
        };
        let request_id = "d".to_owned();
        self.step(Input::Decided {
            approval: ApprovalId::FIRST,
            answer,
            request_id,
        })
    }

    fn steer(&mut self, text: &str) {
        let queued = QueuedPrompt {
            request_id: text.to_owned(),
            prompt: Some(PromptItem {
                text: text.to_owned(),
                ..PromptItem::default()
            }),
            mode: PromptMode::Steer.into(),
            by: None,
        };
        record(
            &mut self.transcript,
            Body::PromptQueued(PromptQueued {
                prompt: Some(queued),
            })
            .into(),
        );
    }

    fn failed(&mut self, kind: SampleErrorKind) -> Vec<String> {
        self.step(Input::SampleFailed {
            error: SampleError::new(kind, "bad day"),
            dice: u32::MAX,
        })
    }

    fn interrupt(&mut self) -> Vec<String> {
        self.step(Input::Interrupt {
            by: None,
            request_id: "i".to_owned(),
        })
    }

    /// Another daemon takes over with what the log holds.
    fn take_over(&mut self, grown: &[(u64, &str)]) -> Vec<String> {
        let grown: BTreeMap<_, _> = grown
            .iter()
            .map(|(item, text)| (id(*item), (*text).to_owned()))
            .collect();
        let remains = Remains {
            turn: self.turn.id(),
            grown,
            max_samples: 5,
            now_ms: 3,
        };
        let (turn, effects) = Turn::resume(&self.transcript, &remains);
        self.turn = turn;
        self.carry_out(effects)
    }

    fn stop_reason(&self) -> StopReason {
        assert!(self.turn.has_ended(), "the turn goes on");
        StopReason::try_from(self.transcript.summary().last_stop).unwrap()
    }

    /// Every call of the transcript has one outcome in the request, right after the calls of its
    /// answer.
    fn assert_legal_request(&self) {
        let frame = Frame {
            full_model: "p/m",
            cache_key: "test",
            instructions: "",
            tools: Vec::new(),
        };
        let mut open = Vec::new();
        for entry in request(&self.transcript, frame).input {
            match entry {
                crate::pure::sample::Input::Call(call) => open.push(call.call_id),
                crate::pure::sample::Input::Outcome { call_id, .. } => {
                    assert_eq!(open.remove(0), call_id);
                }
                other => assert!(
                    open.is_empty(),
                    "{other:?} stands between a call and its outcome"
                ),
            }
        }
        assert!(open.is_empty(), "calls without outcome: {open:?}");
    }
}

fn id(number: u64) -> ItemId {
    ItemId::new(number).unwrap()
}

fn written(call: &str) -> Call {
    let (tool, arguments) = call.split_once(' ').unwrap_or((call, ""));
    Call {
        call_id: format!("call-{arguments}"),
        tool: tool.to_owned(),
        arguments: arguments.to_owned(),
        kind: ArgumentsKind::Json,
        opaque: Vec::new(),
    }
}

fn ended() -> Delta {
    Delta::Ended {
        stop: Stop::Done,
        usage: Usage {
            output_tokens: 1,
            ..Usage::default()
        },
    }
}

fn record(transcript: &mut Transcript, entry: Entry) {
    let seq = transcript.head() + 1;
    let Entry {
        body,
        by,
        request_id,
    } = entry;
    transcript.apply(&Event {
        seq,
        time_ms: 1,
        by,
        request_id,
        body: Some(body),
    });
}

fn line(effect: &Effect) -> Option<String> {
    Some(match effect {
        Effect::Append(entry) => event_line(&entry.body)?,
        Effect::Grow { item, text } => format!("grow {item} {text}"),
        Effect::Sample => "sample".to_owned(),
        Effect::StopSample | Effect::Activity(..) => return None,
        Effect::Later(wait) => format!("later {wait:?}"),
        Effect::Prepare { item, .. } => format!("prepare {item}"),
        Effect::Act { item } => format!("act {item}"),
        Effect::Resume { item, intent, .. } => format!("resume {item} {}", intent.job_id),
        Effect::Stop { item } => format!("stop {item}"),
        Effect::SaveRule(rule) => format!("save rule {}", rule.prefix.join(" ")),
    })
}

fn event_line(body: &Body) -> Option<String> {
    Some(match body {
        Body::TurnStarted(started) => format!("turn {} started", started.turn),
        Body::TurnEnded(ended) => format!("ended {:?} {}", ended.stop_reason(), ended.error_kind),
        Body::TurnSuspended(_) => "suspended".to_owned(),
        Body::SampleRetried(retried) => format!("retried {} {}", retried.attempt, retried.error),
        Body::ItemStarted(event) => format!("started {}", item_line(event.item.as_ref()?)),
        Body::ItemChanged(event) => format!("changed {}", item_line(event.item.as_ref()?)),
        Body::ItemCompleted(event) => format!("completed {}", item_line(event.item.as_ref()?)),
        Body::ApprovalRequested(_) => "asked".to_owned(),
        Body::ApprovalDecided(event) => format!("decided {:?}", event.answer.as_ref()?.verdict()),
        Body::SessionChanged(_) => "session changed".to_owned(),
        _ => return None,
    })
}

fn item_line(item: &Item) -> String {
    let cut = if item.status() == ItemStatus::CutOff {
        " cut off"
    } else {
        ""
    };
    let kind = match item.kind.as_ref().unwrap() {
        Kind::Prompt(prompt) => format!("prompt `{}`", prompt.text),
        Kind::Message(message) => format!("message `{}`", message.text),
        Kind::Reasoning(reasoning) => format!("reasoning `{}`", reasoning.text),
        Kind::ToolCall(call) => match &call.outcome {
            Some(outcome) => format!("call {:?}", outcome.status()),
            None => format!("call {}", call.tool),
        },
        Kind::Notice(notice) => format!("notice for_model={}", notice.for_model),
        other => format!("{other:?}"),
    };
    format!("{} {kind}{cut}", item.id)
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
    play.prepared(4, "make");
    play.finished(2);
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
fn an_approval_is_for_what_was_shown_and_nothing_else() {
    let (mut play, _) = Play::begin("go");
    play.answer_calls(&["sh a"]);
    play.prepared(2, "ask");
    play.decide(ApprovalVerdict::Once, false);
    assert_eq!(play.prepared(2, "ask more"), ["changed 2 call sh", "asked"]);
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

#[test]
fn another_daemon_goes_on_where_the_log_ends() {
    let (mut play, _) = Play::begin("go");
    play.step(Input::Deltas(vec![Delta::Text("shown".into())]));
    assert_eq!(
        play.take_over(&[(2, "shown")]),
        ["completed 2 message `shown` cut off", "sample"]
    );

    let (mut play, _) = Play::begin("go");
    play.answer_calls(&["sh a", "sh b"]);
    assert_eq!(play.take_over(&[]), ["prepare 2"]);
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
    assert_eq!(play.take_over(&[]), ["prepare 3"], "nobody is asked twice");
    assert_eq!(play.prepared(3, "ask"), ["changed 3 call sh", "act 3"]);

    let (mut play, _) = Play::begin("go");
    play.step(Input::Deltas(vec![Delta::Call(written("sh a"))]));
    assert_eq!(
        play.take_over(&[]),
        ["completed 2 call Interrupted cut off", "sample"]
    );
    play.assert_legal_request();
}

#[test]
fn a_turn_taken_over_without_a_key_waits_for_a_client() {
    let (mut play, _) = Play::begin("go");
    play.take_over(&[]);
    assert_eq!(play.failed(SampleErrorKind::Credentials), ["suspended"]);
    assert!(play.take_over(&[]).is_empty(), "it still waits");
    assert_eq!(play.step(Input::Continue), ["sample"]);
}
