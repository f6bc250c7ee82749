//! Requests of clients, one straight answer each.

use quire_proto::{
    id::ApprovalId,
    v1::{
        Approval, ApprovalAnswer, ApprovalVerdict, NoticeItem, NoticeLevel, Policy, SessionChanged,
        SessionState, StopReason, event::Body,
    },
};

use super::{
    Caller, Change, Looked, Refusal, Reply, Request, Resting, Running,
    actor::{Actor, Ended, now_ms, reply},
    queue::entry,
    writing::NoRoom,
};
use crate::adapters::store::StoreError;
use crate::pure::{
    transcript::Transcript,
    turn::{Effect, Entry, Input},
};

impl Actor {
    /// Answers a request. The store's failure goes to the caller and ends the actor; want of room only
    /// goes to the caller, and leaves everything as it was.
    pub(super) async fn handle(&mut self, request: Request) -> Result<(), Ended> {
        match request {
            Request::Prompt {
                caller,
                saying,
                reply: to,
            } => {
                let answer = self.prompt(caller, saying).await;
                pass_on(to, answer)
            }
            Request::ChangeQueued {
                caller,
                change,
                reply: to,
            } => {
                let answer = self.change_queued(caller, change).await;
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

    /// Answers when the turn has ended, which is when its tools are dead.
    async fn interrupt(
        &mut self,
        caller: Caller,
        expected: u64,
        to: Reply<u64>,
    ) -> Result<(), Ended> {
        let running = Running::of(&self.transcript);
        let seen = self.interrupts.answer(&self.transcript, &caller.request_id);
        if seen.is_none() && expected != 0 && expected != running.turn {
            reply(to, Err(Refusal::OtherTurn { expected, running }));
            return Ok(());
        }
        let interrupted = seen.unwrap_or(running.turn);
        if interrupted != 0 && interrupted == running.turn {
            self.interrupted.push((interrupted, to));
            if running.interrupted {
                self.interrupts.remember(caller.request_id, interrupted);
                return Ok(());
            }
            let Caller { by, request_id } = caller;
            return self.advance(Input::Interrupt { by, request_id }).await;
        }
        self.interrupts.remember(caller.request_id, interrupted);
        if interrupted == 0 || self.dying.is_empty() {
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
        let known = self.pending(approval)?;
        let id = ApprovalId::new(known.id).ok_or(Refusal::Closed)?;
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

    /// The approval of that number, 0 being the only one that waits, if it does wait.
    fn pending(&self, number: u64) -> Result<&Approval, Refusal> {
        let pending: Vec<&Approval> = self.transcript.pending_approvals().collect();
        let all = || pending.iter().copied().cloned().collect::<Vec<_>>();
        let known = match (ApprovalId::new(number), pending.as_slice()) {
            (Some(id), _) => self.transcript.approval(id),
            (None, [one]) => Some(*one),
            (None, []) => self.transcript.newest_approval(),
            (None, _) => return Err(Refusal::ManyApprovals(all())),
        };
        match known {
            None => Err(Refusal::NoApproval {
                number,
                pending: all(),
            }),
            Some(known) if known.answer.is_some() => Err(Refusal::Answered {
                approval: Box::new(known.clone()),
                newest: number == 0,
            }),
            Some(known) => Ok(known),
        }
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
        if let Some(lent) = &change.world {
            self.take_world(lent).await?;
        }
        if change.sends_on {
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

/// Gives the caller its answer. Only a failure of the store ends the actor.
fn pass_on<T>(to: Reply<T>, answer: Result<T, Refusal>) -> Result<(), Ended> {
    let broken =
        matches!(&answer, Err(Refusal::Store(error)) if !matches!(error, StoreError::Full));
    reply(to, answer);
    if broken { Err(Ended::Told) } else { Ok(()) }
}
