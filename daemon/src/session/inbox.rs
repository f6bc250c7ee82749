//! Requests of clients, one straight answer each.

use quire_proto::{
    id::ApprovalId,
    v1::{
        Approval, ApprovalAnswer, ApprovalVerdict, NoticeItem, NoticeLevel, Policy, PromptItem,
        PromptMode, PromptQueued, PromptRemoved, QueuedPrompt, SessionChanged, SessionState,
        StopReason, event::Body,
    },
};

use super::{
    Caller, Change, Looked, Refusal, Reply, Request, Resting,
    actor::{Actor, Ended, now_ms, reply},
    writing::NoRoom,
};
use crate::adapters::store::StoreError;
use crate::pure::{
    transcript::{Answer, Transcript},
    turn::{Beginning, Effect, Entry, Input, Turn},
};

impl Actor {
    /// Answers a request. The store's failure goes to the caller and ends the actor; want of room only
    /// goes to the caller, and leaves everything as it was.
    pub(super) async fn handle(&mut self, request: Request) -> Result<(), Ended> {
        match request {
            Request::Prompt {
                caller,
                prompt,
                mode,
                expected_turn,
                reply: to,
            } => {
                let answer = self.prompt(caller, prompt, mode, expected_turn).await;
                pass_on(to, answer)
            }
            Request::Unqueue {
                caller,
                prompt,
                reply: to,
            } => {
                let answer = self.unqueue(caller, prompt).await;
                pass_on(to, answer)
            }
            Request::Interrupt {
                caller,
                expected_turn,
                reply: to,
            } => self.interrupt(caller, expected_turn, to).await,
            Request::Decide {
                caller,
                approval,
                answer,
                reply: to,
            } => {
                let answer = self.decide(caller, approval, answer).await;
                pass_on(to, answer)
            }
            Request::Change {
                caller,
                change,
                reply: to,
            } => {
                let answer = self.change(caller, change).await;
                pass_on(to, answer.map(|()| self.transcript.summary()))
            }
            Request::Detach {
                caller,
                job,
                reply: to,
            } => {
                let answer = self.detach(caller, job).await;
                pass_on(to, answer)
            }
            Request::Wait { reply: to } => {
                self.waiting.push(to);
                self.answer_waiting();
                Ok(())
            }
            Request::Told { job, reply: to } => {
                reply(to, Ok(self.transcript.told_output(&job).map(str::to_owned)));
                Ok(())
            }
            Request::Look { reply: to } => {
                reply(to, Ok(Self::look(&self.transcript)));
                Ok(())
            }
            Request::Piece { further, reply: to } => {
                reply(to, Ok(self.transcript.piece(further)));
                Ok(())
            }
        }
    }

    async fn prompt(
        &mut self,
        caller: Caller,
        prompt: PromptItem,
        mode: PromptMode,
        expected_turn: u64,
    ) -> Result<Answer, Refusal> {
        if let Some(answer) = self.transcript.answer(&caller.request_id) {
            return Ok(answer);
        }
        let running = self.transcript.running_turn().map_or(0, |turn| turn.get());
        if expected_turn != 0 && expected_turn != running {
            return Err(Refusal::OtherTurn {
                expected: expected_turn,
            });
        }
        // A suspended turn waits for exactly this.
        if mode == PromptMode::Start && running != 0 && !self.transcript.is_suspended() {
            return Err(Refusal::Busy { turn: running });
        }
        let mode = if mode == PromptMode::Queue {
            mode
        } else {
            PromptMode::Steer
        };
        let request_id = caller.request_id.clone();
        let queued = QueuedPrompt {
            request_id,
            prompt: Some(prompt),
            mode: mode.into(),
            by: caller.by.clone(),
        };
        if running == 0 && self.transcript.queue().is_empty() {
            self.begin(queued, NoRoom::Refuse).await?;
        } else {
            for told in self.untold().await {
                let entry = self.as_prompt(told);
                self.pending.push(entry);
            }
            let queued = PromptQueued {
                prompt: Some(queued),
            };
            self.append(&caller, Body::PromptQueued(queued)).await?;
            self.advance(Input::Continue).await?;
        }
        Ok(self
            .transcript
            .answer(&caller.request_id)
            .unwrap_or_default())
    }

    /// Begins a turn. Refused for want of room, it never was.
    pub(super) async fn begin(
        &mut self,
        prompt: QueuedPrompt,
        no_room: NoRoom,
    ) -> Result<(), Ended> {
        let preamble = match self.transcript.next_turn().get() {
            1 => Some((self.world.briefing)(self.place()).await),
            _ => None,
        };
        let beginning = Beginning {
            prompt,
            preamble,
            ends: self.untold().await,
            max_samples: self.world.max_samples,
            now: self.now(),
        };
        let (turn, effects) = Turn::begin(&self.transcript, beginning);
        self.turn = Some(turn);
        let done = self.carry_out(effects, no_room).await;
        if done.as_ref().is_err_and(Ended::is_refusal) {
            self.turn = None;
        }
        done
    }

    async fn unqueue(&mut self, caller: Caller, prompt: String) -> Result<(), Refusal> {
        if self.transcript.answer(&caller.request_id).is_some() {
            return Ok(());
        }
        if !self
            .transcript
            .queue()
            .iter()
            .any(|queued| queued.request_id == prompt)
        {
            return Err(Refusal::NotQueued);
        }
        self.append(
            &caller,
            Body::PromptRemoved(PromptRemoved { request_id: prompt }),
        )
        .await?;
        Ok(())
    }

    /// Answers when the turn has ended, which is when its tools are dead.
    async fn interrupt(
        &mut self,
        caller: Caller,
        expected: u64,
        to: Reply<u64>,
    ) -> Result<(), Ended> {
        let running = self.transcript.running_turn().map_or(0, |turn| turn.get());
        let seen = self.transcript.answer(&caller.request_id);
        let interrupted = seen
            .and_then(|answer| answer.turn)
            .map_or(running, |turn| turn.get());
        if seen.is_none() && expected != 0 && expected != running {
            reply(to, Err(Refusal::OtherTurn { expected }));
        } else if interrupted == running && running != 0 {
            self.interrupted.push((running, to));
            let Caller { by, request_id } = caller;
            self.advance(Input::Interrupt { by, request_id }).await?;
        } else if interrupted == 0 || self.dying.is_empty() {
            reply(to, Ok(interrupted));
        } else {
            self.interrupted.push((interrupted, to));
        }
        Ok(())
    }

    async fn decide(
        &mut self,
        caller: Caller,
        approval: u64,
        answer: ApprovalAnswer,
    ) -> Result<Approval, Refusal> {
        if let Some(decided) = self.transcript.decided_by(&caller.request_id) {
            return Ok(decided.clone());
        }
        let pending: Vec<&Approval> = self.transcript.pending_approvals().collect();
        let id = match (ApprovalId::new(approval), pending.as_slice()) {
            (Some(id), _) => id,
            (None, [one]) => ApprovalId::new(one.id).ok_or(Refusal::NoApproval)?,
            (None, []) => return Err(Refusal::NoApproval),
            (None, many) => return Err(Refusal::ManyApprovals(many.len())),
        };
        let known = self.transcript.approval(id).ok_or(Refusal::NoApproval)?;
        if let Some(answered) = &known.answer {
            return Err(Refusal::Answered(Box::new(answered.clone())));
        }
        let always = matches!(
            answer.verdict(),
            ApprovalVerdict::Session | ApprovalVerdict::Rule
        );
        if always && known.rule.is_none() {
            return Err(Refusal::NoRule);
        }
        let answer = ApprovalAnswer {
            by: caller.by,
            decided_ms: now_ms(),
            ..answer
        };
        let request_id = caller.request_id;
        let decided = Input::Decided {
            approval: id,
            answer,
            request_id,
        };
        self.advance_or(NoRoom::Refuse, decided).await?;
        Ok(self.transcript.approval(id).cloned().unwrap_or_default())
    }

    async fn change(&mut self, caller: Caller, change: Change) -> Result<(), Refusal> {
        let seen = self.transcript.answer(&caller.request_id).is_some();
        let changed = SessionChanged {
            title: change.title,
            model: change.model,
            policy: change.policy,
            archived: change.archived,
        };
        if !seen && changed != SessionChanged::default() {
            let told = self.told_of_policy(changed.policy.as_ref());
            let changed = entry(&caller, Body::SessionChanged(changed));
            let entries = [Some(changed), told].into_iter().flatten();
            self.carry_out(entries.map(Effect::append).collect(), NoRoom::Refuse)
                .await?;
        }
        self.stop_outlived();
        // Whoever lends a world wants the turn to go on; who only renames it does not.
        if let Some(surroundings) = change.surroundings {
            self.surroundings = surroundings;
            self.advance(Input::Continue).await?;
        }
        Ok(())
    }

    /// A changed policy is told to the model, once it has been told the first one.
    fn told_of_policy(&self, policy: Option<&Policy>) -> Option<Entry> {
        let policy = policy.filter(|_| self.transcript.next_turn().get() > 1)?;
        let policy = crate::pure::prompt::policy_in_words(policy);
        let notice = NoticeItem {
            level: NoticeLevel::Info.into(),
            text: format!("The user changed what you may do. From now on: {policy}"),
            for_model: true,
        };
        Some(self.notice(notice).into())
    }

    /// Writes what a caller asked for, or refuses it.
    pub(super) async fn append(&mut self, caller: &Caller, body: Body) -> Result<(), Ended> {
        let effects = vec![Effect::append(entry(caller, body))];
        self.carry_out(effects, NoRoom::Refuse).await
    }

    pub(super) fn look(transcript: &Transcript) -> Looked {
        Looked {
            session: transcript.summary(),
            approvals: transcript.pending_approvals().cloned().collect(),
            queue: transcript.queue().to_vec(),
            jobs: transcript.jobs().cloned().collect(),
            changes: transcript.changes(),
        }
    }

    /// Answers those who wait, if the session rests.
    pub(super) fn answer_waiting(&mut self) {
        let session = self.transcript.summary();
        let resting = match session.state() {
            SessionState::Idle => session.queued_prompts == 0,
            SessionState::NeedsApproval | SessionState::Suspended => true,
            SessionState::Running | SessionState::Unspecified => false,
        };
        // What is left of a turn that ended still dies.
        if !resting || !self.dying.is_empty() {
            return;
        }
        let suspended = self.transcript.suspension();
        let (error, error_kind) = match suspended {
            Some(reason) => (reason.to_owned(), String::new()),
            None => self.last_error.clone(),
        };
        let resting = Resting {
            suspended: suspended.is_some(),
            turn: session.turns,
            stop_reason: StopReason::try_from(session.last_stop).unwrap_or_default(),
            needs_approval: session.pending_approvals > 0,
            error,
            error_kind,
        };
        for to in self.waiting.drain(..) {
            reply(to, Ok(resting.clone()));
        }
    }
}

fn entry(caller: &Caller, body: Body) -> Entry {
    Entry {
        body,
        by: caller.by.clone(),
        request_id: caller.request_id.clone(),
    }
}

/// Gives the caller its answer. Only a failure of the store ends the actor.
fn pass_on<T>(to: Reply<T>, answer: Result<T, Refusal>) -> Result<(), Ended> {
    let broken =
        matches!(&answer, Err(Refusal::Store(error)) if !matches!(error, StoreError::Full));
    reply(to, answer);
    if broken { Err(Ended::Told) } else { Ok(()) }
}
