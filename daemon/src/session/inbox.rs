//! Requests of clients, one straight answer each.

use quire_proto::{
    id::{ApprovalId, JobId},
    v1::{
        Approval, ApprovalAnswer, ApprovalVerdict, Job, JobChanged, JobLifetime, NoticeItem,
        NoticeLevel, PromptItem, PromptMode, PromptQueued, PromptRemoved, QueuedPrompt,
        SessionChanged, SessionState, StopReason, event::Body,
    },
};

use super::{
    Caller, Change, Looked, Refusal, Reply, Request, Resting,
    actor::{Actor, Ended, now_ms, reply},
};
use crate::pure::{
    transcript::Answer,
    turn::{Beginning, Effect, Entry, Input, Turn},
};

impl Actor {
    /// Answers a request. The store's refusal goes to the caller and ends the actor.
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
                reply(to, Ok(self.look()));
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
        if mode == PromptMode::Start && running != 0 {
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
            self.begin(queued).await?;
        } else {
            let queued = PromptQueued {
                prompt: Some(queued),
            };
            self.append(&caller, Body::PromptQueued(queued)).await?;
            self.advance(Input::Continue).await?;
        }
        let answer = self
            .transcript
            .answer(&caller.request_id)
            .unwrap_or_default();
        // A steering prompt joins the running turn, though it was only queued so far.
        let joined = if mode == PromptMode::Steer {
            self.transcript.running_turn()
        } else {
            None
        };
        Ok(Answer {
            turn: answer.turn.or(joined),
            ..answer
        })
    }

    pub(super) async fn begin(&mut self, prompt: QueuedPrompt) -> Result<(), Ended> {
        let preamble = match self.transcript.next_turn().get() {
            1 => Some((self.world.briefing)(self.place()).await),
            _ => None,
        };
        let beginning = Beginning {
            prompt,
            preamble,
            max_samples: self.world.max_samples,
            now_ms: now_ms(),
        };
        let (turn, effects) = Turn::begin(&self.transcript, beginning);
        self.turn = Some(turn);
        self.carry_out(effects).await
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
        if self.transcript.answer(&caller.request_id).is_some() && running == 0 {
            reply(to, Ok(0));
        } else if expected != 0 && expected != running {
            reply(to, Err(Refusal::OtherTurn { expected }));
        } else if running == 0 {
            reply(to, Ok(0));
        } else {
            self.interrupted.push(to);
            let Caller { by, request_id } = caller;
            self.advance(Input::Interrupt { by, request_id }).await?;
        }
        Ok(())
    }

    async fn decide(
        &mut self,
        caller: Caller,
        approval: u64,
        answer: ApprovalAnswer,
    ) -> Result<Approval, Refusal> {
        let pending: Vec<&Approval> = self.transcript.pending_approvals().collect();
        let id = match (ApprovalId::new(approval), pending.as_slice()) {
            (Some(id), _) => id,
            (None, [one]) => ApprovalId::new(one.id).ok_or(Refusal::NoApproval)?,
            (None, []) => return Err(Refusal::NoApproval),
            (None, many) => return Err(Refusal::ManyApprovals(many.len())),
        };
        let known = self.transcript.approval(id).ok_or(Refusal::NoApproval)?;
        if let Some(answered) = &known.answer {
            if !caller.request_id.is_empty() && self.transcript.answer(&caller.request_id).is_some()
            {
                return Ok(known.clone());
            }
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
        self.advance(Input::Decided {
            approval: id,
            answer,
            request_id,
        })
        .await?;
        Ok(self.transcript.approval(id).cloned().unwrap_or_default())
    }

    async fn change(&mut self, caller: Caller, change: Change) -> Result<(), Refusal> {
        if let Some(surroundings) = change.surroundings {
            self.surroundings = surroundings;
        }
        let seen = self.transcript.answer(&caller.request_id).is_some();
        let changed = SessionChanged {
            title: change.title,
            model: change.model,
            policy: change.policy,
            archived: change.archived,
        };
        if !seen && changed != SessionChanged::default() {
            let told = changed
                .policy
                .as_ref()
                .map(crate::pure::prompt::policy_in_words);
            self.append(&caller, Body::SessionChanged(changed)).await?;
            self.tell_model(told).await?;
        }
        self.advance(Input::Continue).await?;
        Ok(())
    }

    /// A changed policy is told to the model, once it has been told the first one.
    async fn tell_model(&mut self, text: Option<String>) -> Result<(), Ended> {
        let Some(text) = text.filter(|_| self.transcript.next_turn().get() > 1) else {
            return Ok(());
        };
        let text = format!("The user changed what you may do. From now on: {text}");
        let notice = NoticeItem {
            level: NoticeLevel::Info.into(),
            text,
            for_model: true,
        };
        let body = self.notice(notice);
        self.append(&Caller::default(), body).await
    }

    async fn detach(&mut self, caller: Caller, id: JobId) -> Result<Job, Refusal> {
        let known = |actor: &Self| {
            actor
                .transcript
                .jobs()
                .find(|job| job.id == id.as_str())
                .cloned()
        };
        let job = known(self).ok_or_else(|| Refusal::NoJob(id.clone()))?;
        if job.lifetime() == JobLifetime::Detached {
            return Ok(job);
        }
        let detached = self.world.jobs.detach(id.clone()).await;
        detached.map_err(Refusal::NotDetached)?;
        let changed = JobChanged {
            job_id: id.to_string(),
            lifetime: JobLifetime::Detached.into(),
        };
        self.append(&caller, Body::JobChanged(changed)).await?;
        known(self).ok_or(Refusal::NoJob(id))
    }

    async fn append(&mut self, caller: &Caller, body: Body) -> Result<(), Ended> {
        let entry = Entry {
            body,
            by: caller.by.clone(),
            request_id: caller.request_id.clone(),
        };
        self.carry_out(vec![Effect::append(entry)]).await
    }

    fn look(&self) -> Looked {
        Looked {
            session: self.transcript.summary(),
            approvals: self.transcript.pending_approvals().cloned().collect(),
            queue: self.transcript.queue().to_vec(),
            jobs: self.transcript.jobs().cloned().collect(),
            changes: self.transcript.changes(),
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
        if !resting {
            return;
        }
        let (error, error_kind) = self.last_error.clone();
        let resting = Resting {
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

/// Gives the caller its answer. Only the store's refusal ends the actor.
fn pass_on<T>(to: Reply<T>, answer: Result<T, Refusal>) -> Result<(), Ended> {
    let broken = matches!(answer, Err(Refusal::Store(_)));
    reply(to, answer);
    if broken { Err(Ended::Told) } else { Ok(()) }
}
