//! Prompts: said, waiting in the queue, changed there, and taken from it.

use quire_proto::v1::{
    PromptChanged, PromptItem, PromptMode, PromptQueued, PromptRemoved, QueuedPrompt, event::Body,
};

use super::{
    Caller, Refusal, Running, Saying,
    actor::{Actor, Ended},
    writing::NoRoom,
};
use crate::pure::{
    transcript::{Answer, Transcript},
    turn::{Beginning, Effect, Entry, Input, Turn},
};

/// What is to become of a prompt that waits; what is `None` stays.
#[derive(Clone, Debug, Default)]
pub struct QueueChange {
    /// The request id it was sent with.
    pub prompt: String,
    /// Takes the place of what was said.
    pub said: Option<PromptItem>,
    /// The request id of the prompt to stand before; empty for the end.
    pub before: Option<String>,
}

impl Actor {
    pub(super) async fn prompt(
        &mut self,
        caller: Caller,
        saying: Saying,
    ) -> Result<Answer, Refusal> {
        if let Some(answer) = self.transcript.answer(&caller.request_id) {
            return Ok(answer);
        }
        may_say(&self.transcript, &saying)?;
        let Saying { prompt, mode, .. } = saying;
        let mode = match mode {
            PromptMode::Queue => PromptMode::Queue,
            _ => PromptMode::Steer,
        };
        let queued = QueuedPrompt {
            request_id: caller.request_id.clone(),
            prompt: Some(prompt),
            mode: mode.into(),
            by: caller.by.clone(),
        };
        let idle = self.transcript.running_turn().is_none();
        if idle && self.transcript.queue().is_empty() {
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
        let told = self.news().await;
        let beginning = Beginning {
            prompt,
            preamble,
            news: told.notices.clone(),
            ends: self.untold().await,
            max_samples: self.world.max_samples,
            now: self.now(),
        };
        let (turn, effects) = Turn::begin(&self.transcript, beginning);
        self.turn = Some(turn);
        let done = self.carry_out(effects, no_room).await;
        if done.as_ref().is_err_and(Ended::is_refusal) {
            self.turn = None;
            self.untell(told.letters());
        }
        self.ask_for_title();
        done
    }

    /// Edits or moves a prompt that waits; answers the queue as it is then.
    pub(super) async fn change_queued(
        &mut self,
        caller: Caller,
        change: QueueChange,
    ) -> Result<Vec<QueuedPrompt>, Refusal> {
        if self.transcript.answer(&caller.request_id).is_none() {
            may_change(&self.transcript, &change)?;
            let changed = PromptChanged {
                request_id: change.prompt,
                prompt: change.said,
                before: change.before,
            };
            self.append(&caller, Body::PromptChanged(changed)).await?;
        }
        Ok(self.transcript.queue().to_vec())
    }

    pub(super) async fn unqueue(&mut self, caller: Caller, prompt: String) -> Result<(), Refusal> {
        if self.transcript.answer(&caller.request_id).is_some() {
            return Ok(());
        }
        if self.transcript.queued(&prompt).is_none() {
            return Err(Refusal::NotQueued);
        }
        let removed = PromptRemoved { request_id: prompt };
        self.append(&caller, Body::PromptRemoved(removed)).await?;
        Ok(())
    }

    /// Writes what a caller asked for, or refuses it.
    pub(super) async fn append(&mut self, caller: &Caller, body: Body) -> Result<(), Ended> {
        let effects = vec![Effect::append(entry(caller, body))];
        self.carry_out(effects, NoRoom::Refuse).await
    }
}

pub(super) fn entry(caller: &Caller, body: Body) -> Entry {
    Entry {
        body,
        by: caller.by.clone(),
        request_id: caller.request_id.clone(),
    }
}

/// Whether the turn that the caller has in mind is the one that runs.
fn may_say(transcript: &Transcript, saying: &Saying) -> Result<(), Refusal> {
    let running = Running::of(transcript);
    let expected = saying.expected_turn;
    // A turn that is being interrupted takes nothing up any more.
    let missed = running.interrupted && saying.mode != PromptMode::Queue;
    if expected != 0 && (expected != running.turn || missed) {
        return Err(Refusal::OtherTurn { expected, running });
    }
    // A suspended turn waits for exactly this.
    let busy = running.turn != 0 && !transcript.is_suspended();
    let others_first = running.turn == 0 && !transcript.queue().is_empty();
    if saying.mode == PromptMode::Start && (busy || others_first) {
        return Err(Refusal::Busy(running));
    }
    Ok(())
}

/// Whether the prompt still waits, and the one it is to stand before.
fn may_change(transcript: &Transcript, change: &QueueChange) -> Result<(), Refusal> {
    let queued = transcript
        .queued(&change.prompt)
        .ok_or(Refusal::NotQueued)?;
    let of_job = queued
        .prompt
        .as_ref()
        .is_some_and(|prompt| !prompt.job_id.is_empty());
    if of_job && change.said.is_some() {
        return Err(Refusal::NotSaid);
    }
    match &change.before {
        Some(before) if *before == change.prompt => Err(Refusal::BeforeItself),
        Some(before) if !before.is_empty() && transcript.queued(before).is_none() => {
            Err(Refusal::NotQueued)
        }
        _ => Ok(()),
    }
}
