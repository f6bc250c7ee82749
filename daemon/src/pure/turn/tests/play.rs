//! A session played through by hand, its effects as lines.

use super::*;

/// A session played through by hand.
pub(super) struct Play {
    pub(super) transcript: Transcript,
    pub(super) turn: Turn,
    /// All events so far.
    pub(super) log: Vec<Event>,
}

impl Play {
    pub(super) fn begin(prompt: &str) -> (Self, Vec<String>) {
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
        let created = Body::SessionCreated(created).into();
        let log = vec![record(&mut transcript, created)];
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
            news: Vec::new(),
            ends: Vec::new(),
            max_samples: 5,
            now: now(1),
        };
        let (turn, effects) = Turn::begin(&transcript, beginning);
        let mut play = Self {
            transcript,
            turn,
            log,
        };
        let lines = play.carry_out(effects);
        (play, lines)
    }

    pub(super) fn step(&mut self, input: Input) -> Vec<String> {
        self.step_at(now(2), input)
    }

    pub(super) fn step_at(&mut self, now: Now, input: Input) -> Vec<String> {
        let effects = self.turn.step(&self.transcript, now, input);
        self.carry_out(effects)
    }

    pub(super) fn carry_out(&mut self, effects: Vec<Effect>) -> Vec<String> {
        let mut lines = Vec::new();
        for effect in effects {
            lines.extend(line(&effect));
            if let Effect::Append(entry) = effect {
                self.record(*entry);
            }
        }
        lines
    }

    /// The model answers with these calls, "name arguments", and nothing else.
    pub(super) fn answer_calls(&mut self, calls: &[&str]) -> Vec<String> {
        let mut deltas: Vec<Delta> = calls
            .iter()
            .map(|call| Delta::Call(written(call)))
            .collect();
        deltas.push(ended());
        self.step(Input::Deltas(deltas))
    }

    pub(super) fn say(&mut self, text: &str) -> Vec<String> {
        self.step(Input::Deltas(vec![Delta::Text(text.to_owned()), ended()]))
    }

    pub(super) fn prepared(&mut self, item: u64, command: &str) -> Vec<String> {
        self.look(item, command, Vec::new())
    }

    /// As `prepared`, with a diff of one file to be shown.
    pub(super) fn shown(&mut self, item: u64, command: &str, diff: &str) -> Vec<String> {
        let file = FileChange {
            diff: diff.to_owned(),
            ..FileChange::default()
        };
        self.look(item, command, vec![file])
    }

    fn look(&mut self, item: u64, command: &str, preview: Vec<FileChange>) -> Vec<String> {
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
            preview,
        };
        self.step(Input::Prepared {
            item: id(item),
            look: Ok(look),
        })
    }

    pub(super) fn finished(&mut self, item: u64) -> Vec<String> {
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

    pub(super) fn decide(&mut self, verdict: ApprovalVerdict, stop: bool) -> Vec<String> {
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

    /// Something happens beside the turn.
    pub(super) fn record(&mut self, entry: impl Into<Entry>) {
        let event = record(&mut self.transcript, entry.into());
        self.log.push(event);
    }

    pub(super) fn steer(&mut self, text: &str) {
        self.queue(text, PromptMode::Steer);
    }

    pub(super) fn queue(&mut self, text: &str, mode: PromptMode) {
        let queued = QueuedPrompt {
            request_id: text.to_owned(),
            prompt: Some(PromptItem {
                text: text.to_owned(),
                ..PromptItem::default()
            }),
            mode: mode.into(),
            by: None,
        };
        self.record(Body::PromptQueued(PromptQueued {
            prompt: Some(queued),
        }));
    }

    pub(super) fn failed(&mut self, kind: SampleErrorKind) -> Vec<String> {
        self.step(Input::SampleFailed {
            error: SampleError::new(kind, "bad day"),
            dice: u32::MAX,
        })
    }

    pub(super) fn interrupt(&mut self) -> Vec<String> {
        self.step(Input::Interrupt {
            by: None,
            request_id: "i".to_owned(),
        })
    }

    /// Another daemon takes over with what the log holds.
    pub(super) fn take_over(&mut self, grown: &[(u64, &str)]) -> Vec<String> {
        let grown: BTreeMap<_, _> = grown
            .iter()
            .map(|(item, text)| (id(*item), (*text).to_owned()))
            .collect();
        let remains = Remains {
            turn: self.turn.id(),
            grown,
            max_samples: 5,
            now: now(3),
        };
        let (turn, effects) = Turn::resume(&self.transcript, &remains);
        self.turn = turn;
        self.carry_out(effects)
    }

    pub(super) fn stop_reason(&self) -> StopReason {
        assert!(self.turn.has_ended(), "the turn goes on");
        StopReason::try_from(self.transcript.summary().last_stop).unwrap()
    }

    /// Every call of the transcript has one outcome in the request, right after the calls of its
    /// answer.
    pub(super) fn assert_legal_request(&self) {
        let frame = Frame {
            full_model: "p/m",
            cache_key: "test",
            instructions: "",
            tools: Vec::new(),
        };
        let mut open = Vec::new();
        let mut named = BTreeSet::new();
        for entry in request(&self.transcript, frame).input {
            match entry {
                crate::pure::sample::Input::Call(call) => {
                    assert!(named.insert(call.call_id.clone()), "a name used twice");
                    open.push(call.call_id);
                }
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

/// Both clocks at once.
pub(super) fn now(ms: u64) -> Now {
    Now {
        wall_ms: i64::try_from(ms).unwrap(),
        steady: Duration::from_millis(ms),
    }
}

pub(super) fn id(number: u64) -> ItemId {
    ItemId::new(number).unwrap()
}

pub(super) fn written(call: &str) -> Call {
    let (tool, arguments) = call.split_once(' ').unwrap_or((call, ""));
    Call {
        call_id: format!("call-{arguments}"),
        tool: tool.to_owned(),
        arguments: arguments.to_owned(),
        kind: ArgumentsKind::Json,
        opaque: Vec::new(),
    }
}

/// A suspended turn goes on.
pub(super) const SENT_ON: &str = "retried 0 the turn was suspended and is sent on";

pub(super) fn ended() -> Delta {
    Delta::Ended {
        stop: Stop::Done,
        usage: Usage {
            output_tokens: 1,
            ..Usage::default()
        },
    }
}

pub(super) fn record(transcript: &mut Transcript, entry: Entry) -> Event {
    let seq = transcript.head() + 1;
    let Entry {
        body,
        by,
        request_id,
    } = entry;
    let event = Event {
        seq,
        time_ms: 1,
        by,
        request_id,
        body: Some(body),
    };
    transcript.apply(&event);
    event
}

pub(super) fn line(effect: &Effect) -> Option<String> {
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

pub(super) fn event_line(body: &Body) -> Option<String> {
    Some(match body {
        Body::TurnStarted(started) => format!("turn {} started", started.turn),
        Body::TurnEnded(ended) => format!("ended {:?} {}", ended.stop_reason(), ended.error_kind),
        Body::TurnSuspended(_) => "suspended".to_owned(),
        Body::SampleRetried(retried) if retried.daemon_ended => format!("died {}", retried.attempt),
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

pub(super) fn item_line(item: &Item) -> String {
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
