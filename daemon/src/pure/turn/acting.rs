//! Tool calls: looked at, decided, asked about, run in order, and answered.
//!
//! Calls that only read run beside each other; any other call waits for all before it, and those
//! after it wait for its outcome. A call is looked at only when it is its turn, because what it would
//! touch may depend on the calls before it.

use std::{collections::BTreeMap, path::Path};

use quire_proto::{
    id::{ApprovalId, ItemId},
    v1::{
        ActivityKind, Approval, ApprovalAnswer, ApprovalRequested, ApprovalVerdict, Decision, Item,
        ItemChanged, ItemStatus, Outcome, OutcomeStatus, Rule, SessionChanged, StopReason,
        ToolCallItem, event::Body, item::Kind,
    },
};

use super::{CallPhase, Effect, Ending, Entry, Look, MAX_BESIDE, Phase, Turn};
use crate::pure::{
    policy::{self, Verdict},
    sample::Call,
    transcript::Transcript,
};

/// Told of an edit that was approved as one thing and would be another by now.
const OVERTAKEN: &str = "not run, and no file changed: a file has changed since this edit was shown for \
                         approval, so it would not be the edit that was approved. Read what it is about \
                         again, then edit.";

impl Turn {
    pub(super) fn begin_acting(
        &mut self,
        transcript: &Transcript,
        calls: Vec<Item>,
        effects: &mut Vec<Effect>,
    ) {
        let ids = calls.iter().filter_map(|item| ItemId::new(item.id));
        self.phase = Phase::Acting(ids.map(|id| (id, CallPhase::Waiting)).collect());
        effects.push(Effect::Activity(ActivityKind::Acting, String::new()));
        self.schedule(transcript, &calls, effects);
    }

    /// Lets the next calls be looked at. `fresh` are items whose events are not in the transcript yet.
    pub(super) fn schedule(
        &mut self,
        transcript: &Transcript,
        fresh: &[Item],
        effects: &mut Vec<Effect>,
    ) {
        let Phase::Acting(calls) = &mut self.phase else {
            return;
        };
        let mut busy = 0;
        for (id, phase) in calls {
            match phase {
                CallPhase::Ended => continue,
                CallPhase::Acting { read_only: true } => busy += 1,
                CallPhase::Waiting if busy < MAX_BESIDE => {
                    let fresh = fresh.iter().find(|item| item.id == id.get());
                    if let Some(call) = fresh.or_else(|| transcript.item(*id)).and_then(call_of) {
                        // It waited for others after a person had said yes.
                        let approval = transcript.approval_of(*id);
                        let approval = approval.filter(|approval| approval.answer.is_some());
                        let approved = approval.and_then(|approval| approval.access.clone());
                        *phase = CallPhase::Preparing { approved };
                        effects.push(Effect::Prepare {
                            item: *id,
                            call: as_written(call),
                        });
                    }
                    return;
                }
                _ => return,
            }
        }
    }

    pub(super) fn prepared(
        &mut self,
        transcript: &Transcript,
        item: ItemId,
        look: Result<Look, Ending>,
        effects: &mut Vec<Effect>,
    ) {
        let Some(CallPhase::Preparing { approved }) = self.call_phase(item).cloned() else {
            return;
        };
        let look = match look {
            Ok(look) => look,
            Err(ending) => return self.settle_call(transcript, item, ending, effects),
        };
        // What was approved is exactly what was shown: anything else is asked again.
        if approved.as_ref() == Some(&look.access) {
            let shown = transcript.approval_of(item).map(|approval| &approval.files);
            if shown.is_none_or(|shown| *shown == look.preview) {
                return self.act(transcript, item, look, effects);
            }
            let ending = ending(OutcomeStatus::Failed, OVERTAKEN);
            return self.settle_call(transcript, item, ending, effects);
        }
        let verdict = policy::decide(
            &transcript.policy(),
            Path::new(transcript.workspace()),
            &look.access,
        );
        match verdict.decision {
            Decision::Allow => self.act(transcript, item, look, effects),
            Decision::Ask => self.ask_approval(transcript, item, (look, verdict), effects),
            Decision::Deny | Decision::Unspecified => {
                let ending = denied(format!("not run: {}", verdict.reason));
                let mut described = transcript.item(item).cloned();
                if let Some(Kind::ToolCall(call)) =
                    described.as_mut().and_then(|item| item.kind.as_mut())
                {
                    describe(
                        call,
                        Look {
                            intent: None,
                            ..look
                        },
                    );
                }
                effects.extend(described.map(|item| ended_item(self, item, &ending)));
                self.call_ended(transcript, item, ending.items, effects);
            }
        }
    }

    fn act(
        &mut self,
        transcript: &Transcript,
        item: ItemId,
        look: Look,
        effects: &mut Vec<Effect>,
    ) {
        let read_only = look.access.read_only;
        if !read_only && self.runs_before(item) {
            // What those before it read must not change under them. It is looked at again then.
            return self.set_phase(item, CallPhase::Waiting);
        }
        if let Some(changed) = changed_call(transcript, item, |call| describe(call, look)) {
            effects.push(changed);
        }
        self.set_phase(item, CallPhase::Acting { read_only });
        effects.push(Effect::Act { item });
        self.schedule(transcript, &[], effects);
    }

    fn ask_approval(
        &mut self,
        transcript: &Transcript,
        item: ItemId,
        (look, verdict): (Look, Verdict),
        effects: &mut Vec<Effect>,
    ) {
        let id = self.next_approval;
        self.next_approval = id.next();
        let tool = transcript
            .item(item)
            .and_then(call_of)
            .map(|call| call.tool.clone());
        let approval = Approval {
            id: id.get(),
            session_id: transcript.summary().id,
            turn: self.id.get(),
            item: item.get(),
            access: Some(look.access.clone()),
            tool: tool.unwrap_or_default(),
            title: look.title.clone(),
            reason: verdict.reason,
            rule: verdict.rule,
            files: look.preview.clone(),
            requested_ms: self.now.wall_ms,
            answer: None,
        };
        // The intent is written when the call really begins.
        let look = Look {
            intent: None,
            ..look
        };
        effects.extend(changed_call(transcript, item, |call| describe(call, look)));
        effects.push(Effect::Activity(
            ActivityKind::Approval,
            approval.title.clone(),
        ));
        let requested = ApprovalRequested {
            approval: Some(approval),
        };
        effects.push(Effect::append(Body::ApprovalRequested(requested)));
        self.set_phase(item, CallPhase::Asking(id));
    }

    pub(super) fn decided(
        &mut self,
        transcript: &Transcript,
        id: ApprovalId,
        answer: &ApprovalAnswer,
        effects: &mut Vec<Effect>,
    ) {
        let Some(approval) = transcript.approval(id) else {
            return;
        };
        let Some(item) = ItemId::new(approval.item) else {
            return;
        };
        if self.call_phase(item) != Some(&CallPhase::Asking(id)) {
            return;
        }
        effects.push(Effect::Activity(ActivityKind::Acting, String::new()));
        if answer.verdict() == ApprovalVerdict::Deny {
            return self.refused(transcript, item, answer, effects);
        }
        if answer.verdict() != ApprovalVerdict::Once
            && let Some(rule) = &approval.rule
        {
            effects.push(remember_rule(transcript, rule, answer));
            if answer.verdict() == ApprovalVerdict::Rule {
                effects.push(Effect::SaveRule(rule.clone()));
            }
        }
        let Some(call) = transcript.item(item).and_then(call_of) else {
            return;
        };
        self.set_phase(
            item,
            CallPhase::Preparing {
                approved: approval.access.clone(),
            },
        );
        effects.push(Effect::Prepare {
            item,
            call: as_written(call),
        });
    }

    fn refused(
        &mut self,
        transcript: &Transcript,
        item: ItemId,
        answer: &ApprovalAnswer,
        effects: &mut Vec<Effect>,
    ) {
        let who = match &answer.by {
            Some(client) => format!("the user ({})", client.name),
            None => "the user".to_owned(),
        };
        let word = if answer.message.is_empty() {
            String::new()
        } else {
            format!(": {}", answer.message)
        };
        let ending = denied(format!("not run: denied by {who}{word}"));
        if !answer.stop {
            return self.settle_call(transcript, item, ending, effects);
        }
        effects.extend(ended_call(transcript, self, item, &ending));
        self.set_phase(item, CallPhase::Ended);
        for id in self.open_calls() {
            let ending = denied("not run: the turn was stopped by a denial before this call");
            effects.extend(ended_call(transcript, self, id, &ending));
        }
        let error = format!("a call was denied{word}");
        self.end(StopReason::Denied, Some(("denied", error)), effects);
    }

    pub(super) fn finished(
        &mut self,
        transcript: &Transcript,
        item: ItemId,
        mut ending: Ending,
        effects: &mut Vec<Effect>,
    ) {
        let stopped = match self.call_phase(item) {
            // While it is prepared, only a bug of the tool ends a call.
            Some(CallPhase::Acting { .. } | CallPhase::Preparing { .. }) => false,
            Some(CallPhase::Stopping) => true,
            _ => return,
        };
        // An edit that was already being written is told as it is; a command that was killed is not
        // told as one that ended by itself.
        let killed = stopped && !ending.outcome.job_id.is_empty();
        if killed && ending.outcome.status() == OutcomeStatus::Succeeded {
            ending.outcome.status = OutcomeStatus::Interrupted.into();
        }
        if let Some(word) = word_with(transcript, item) {
            let text = &ending.outcome.text;
            ending.outcome.text = format!("[approved with the words: {word}]\n{text}");
        }
        self.settle_call(transcript, item, ending, effects);
    }

    /// Gives a call its one outcome.
    fn settle_call(
        &mut self,
        transcript: &Transcript,
        item: ItemId,
        ending: Ending,
        effects: &mut Vec<Effect>,
    ) {
        effects.extend(ended_call(transcript, self, item, &ending));
        self.call_ended(transcript, item, ending.items, effects);
    }

    /// Adds what a call made besides its outcome, and goes on when it was the last.
    fn call_ended(
        &mut self,
        transcript: &Transcript,
        item: ItemId,
        items: Vec<Kind>,
        effects: &mut Vec<Effect>,
    ) {
        for kind in items {
            let kind = match kind {
                Kind::FileChange(change) => Kind::FileChange(quire_proto::v1::FileChangeItem {
                    call: item.get(),
                    ..change
                }),
                other => other,
            };
            effects.push(self.complete_new(kind));
        }
        self.set_phase(item, CallPhase::Ended);
        self.after_call(transcript, effects);
    }

    pub(super) fn after_call(&mut self, transcript: &Transcript, effects: &mut Vec<Effect>) {
        if self.open_calls().next().is_some() {
            return self.schedule(transcript, &[], effects);
        }
        if self.interrupted {
            return self.end(StopReason::Interrupted, None, effects);
        }
        self.go_on(transcript, effects);
    }

    /// Ends every call that has not begun, and tells those that run to stop.
    pub(super) fn stop_calls(
        &mut self,
        transcript: &Transcript,
        mut calls: BTreeMap<ItemId, CallPhase>,
        effects: &mut Vec<Effect>,
    ) {
        for (id, phase) in &mut calls {
            match phase {
                CallPhase::Ended | CallPhase::Stopping => continue,
                CallPhase::Acting { .. } => {
                    effects.push(Effect::Stop { item: *id });
                    *phase = CallPhase::Stopping;
                    continue;
                }
                CallPhase::Asking(approval) => {
                    self.withdraw(*approval, "the turn was interrupted", effects);
                }
                CallPhase::Waiting | CallPhase::Preparing { .. } => {}
            }
            *phase = CallPhase::Ended;
            let ending = ending(
                OutcomeStatus::Interrupted,
                "not run: the turn was interrupted",
            );
            effects.extend(ended_call(transcript, self, *id, &ending));
        }
        let running = calls.values().any(|phase| *phase == CallPhase::Stopping);
        self.phase = Phase::Acting(calls);
        if !running {
            self.end(StopReason::Interrupted, None, effects);
        }
    }

    /// Answers an approval that nobody will be asked any more.
    pub(super) fn withdraw(&self, approval: ApprovalId, why: &str, effects: &mut Vec<Effect>) {
        let answer = ApprovalAnswer {
            verdict: ApprovalVerdict::Deny.into(),
            message: why.to_owned(),
            decided_ms: self.now.wall_ms,
            automatic: true,
            ..ApprovalAnswer::default()
        };
        self.append_decision(approval, &answer, String::new(), effects);
    }

    fn call_phase(&self, item: ItemId) -> Option<&CallPhase> {
        match &self.phase {
            Phase::Acting(calls) => calls.get(&item),
            _ => None,
        }
    }

    fn set_phase(&mut self, item: ItemId, phase: CallPhase) {
        if let Phase::Acting(calls) = &mut self.phase {
            calls.insert(item, phase);
        }
    }

    /// Whether a call before this one still runs.
    fn runs_before(&self, item: ItemId) -> bool {
        match &self.phase {
            Phase::Acting(calls) => calls
                .range(..item)
                .any(|(_, phase)| matches!(phase, CallPhase::Acting { .. })),
            _ => false,
        }
    }

    fn open_calls(&self) -> impl Iterator<Item = ItemId> + use<> {
        let open: Vec<_> = match &self.phase {
            Phase::Acting(calls) => calls
                .iter()
                .filter(|(_, phase)| **phase != CallPhase::Ended)
                .map(|(id, _)| *id)
                .collect(),
            _ => Vec::new(),
        };
        open.into_iter()
    }
}

/// An ending with a text and nothing else.
pub(super) fn ending(status: OutcomeStatus, text: impl Into<String>) -> Ending {
    let outcome = Outcome {
        status: status.into(),
        text: text.into(),
        ..Outcome::default()
    };
    Ending {
        outcome,
        items: Vec::new(),
    }
}

/// What the person who approved a call said to the model with that.
fn word_with(transcript: &Transcript, item: ItemId) -> Option<&str> {
    let answer = transcript.approval_of(item)?.answer.as_ref()?;
    let word = answer.message.trim();
    (answer.verdict() != ApprovalVerdict::Deny && !word.is_empty()).then_some(word)
}

fn denied(text: impl Into<String>) -> Ending {
    ending(OutcomeStatus::Denied, text)
}

pub(super) fn call_of(item: &Item) -> Option<&ToolCallItem> {
    match &item.kind {
        Some(Kind::ToolCall(call)) => Some(call),
        _ => None,
    }
}

pub(super) fn as_written(call: &ToolCallItem) -> Call {
    Call {
        call_id: call.call_id.clone(),
        tool: call.tool.clone(),
        arguments: call.arguments.clone(),
        kind: call.arguments_kind(),
        opaque: call.opaque.clone(),
    }
}

fn describe(call: &mut ToolCallItem, look: Look) {
    call.title = look.title;
    call.access = Some(look.access);
    call.intent = look.intent;
}

fn changed_call(
    transcript: &Transcript,
    item: ItemId,
    change: impl FnOnce(&mut ToolCallItem),
) -> Option<Effect> {
    let mut item = transcript.item(item)?.clone();
    if let Some(Kind::ToolCall(call)) = &mut item.kind {
        change(call);
    }
    Some(Effect::append(Body::ItemChanged(ItemChanged {
        item: Some(item),
    })))
}

fn ended_call(
    transcript: &Transcript,
    turn: &Turn,
    item: ItemId,
    ending: &Ending,
) -> Option<Effect> {
    Some(ended_item(turn, transcript.item(item)?.clone(), ending))
}

pub(super) fn ended_item(turn: &Turn, mut item: Item, ending: &Ending) -> Effect {
    if let Some(Kind::ToolCall(call)) = &mut item.kind {
        call.outcome = Some(ending.outcome.clone());
    }
    turn.settle(item, ItemStatus::Completed)
}

/// "Always" for the session: the rule joins the session's policy, by whoever said so.
fn remember_rule(transcript: &Transcript, rule: &Rule, answer: &ApprovalAnswer) -> Effect {
    let mut policy = transcript.policy();
    policy.rules.push(rule.clone());
    let changed = SessionChanged {
        policy: Some(policy),
        ..SessionChanged::default()
    };
    Effect::append(Entry {
        body: Body::SessionChanged(changed),
        by: answer.by.clone(),
        request_id: String::new(),
    })
}
