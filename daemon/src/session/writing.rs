//! How events come into the log: stamped, written in one commit, and only then shown.
//!
//! When the disk is full, what begins something is refused and leaves no trace; what happened already
//! is kept and written when there is room. Until then the session is paused: it reads no further of
//! the model's answer or of its tools, it answers what only looks, and refuses what changes something.

use std::{io, time::Duration};

use quire_proto::{
    id::{ItemId, SessionId},
    v1::{Activity, ActivityKind, Event, event::Body, item::Kind},
};

use super::{
    Request,
    actor::{Actor, Ended, now_ms, reply},
    jobs::told_job,
};
use crate::{
    adapters::store::{Append, Durability, Store, StoreError, is_want_of_room},
    pure::{
        transcript::{Transcript, add},
        turn::Entry,
    },
};

/// Events read from the store at a time.
const PAGE: u32 = 2_000;

/// How long a paused session waits before it tries again.
const AGAIN: Duration = Duration::from_secs(1);

/// What a write does when there is no room for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NoRoom {
    /// It is taken back, and the caller told.
    Refuse,
    /// It waits for room.
    Wait,
}

/// All events of a session, oldest first.
///
/// # Errors
///
/// What the store says.
pub async fn history(store: &Store, id: &SessionId) -> Result<Vec<Event>, StoreError> {
    let mut events: Vec<Event> = Vec::new();
    loop {
        let after = events.last().map_or(0, |event| event.seq);
        let page = store.events(id, after, PAGE).await?;
        if page.is_empty() {
            return Ok(events);
        }
        events.extend(page);
    }
}

impl Actor {
    /// Writes the pending events in one commit, then shows them. Returns whether there were any.
    ///
    /// # Errors
    ///
    /// [`StoreError::Full`] only with [`NoRoom::Refuse`]: then the events are forgotten and the
    /// transcript is as before. After any other error the actor must end.
    pub(super) async fn write(&mut self, no_room: NoRoom) -> Result<bool, Ended> {
        if self.pending.is_empty() {
            return Ok(false);
        }
        let append = self.fold_pending().await;
        let mut shown = None;
        while let Err(error) = self.commit(append.clone()).await {
            if !matches!(error, StoreError::Full) {
                return Err(error.into());
            }
            // Read once: nothing is added to it while this waits.
            let log = match shown.take() {
                Some(log) => log,
                None => logged(&self.world.store, &self.id).await?,
            };
            if no_room == NoRoom::Refuse {
                self.transcript = log;
                return Err(error.into());
            }
            self.pause(shown.insert(log)).await?;
        }
        self.unpause();
        self.wrote(append)?;
        Ok(true)
    }

    async fn commit(&mut self, append: Append) -> Result<(), StoreError> {
        #[cfg(test)]
        super::tests::faults::of_store(&self.id, &append)?;
        self.world.store.append(append).await
    }

    /// Takes the pending events into the transcript, with what follows from them.
    async fn fold_pending(&mut self) -> Append {
        let entries = std::mem::take(&mut self.pending);
        let mut events = Vec::with_capacity(entries.len());
        self.fold(entries, &mut events);
        for entry in self.wakes(&events).await {
            self.fold(vec![entry], &mut events);
        }
        let has = |wanted: fn(&Body) -> bool| {
            events
                .iter()
                .any(|event| event.body.as_ref().is_some_and(wanted))
        };
        let durability = if has(needs_barrier) {
            Durability::Barrier
        } else {
            Durability::Plain
        };
        Append {
            session: self.id.clone(),
            summary: self.transcript.summary(),
            durability,
            begins: has(begins) && !has(is_an_end),
            events,
        }
    }

    fn fold(&mut self, entries: Vec<Entry>, events: &mut Vec<Event>) {
        let stamped = self.stamp(entries);
        for event in &stamped {
            self.transcript.apply(event);
        }
        events.extend(stamped);
    }

    /// What a commit allows: text of finished items is let go, files of told jobs are removed,
    /// watchers see the events.
    fn wrote(&mut self, append: Append) -> Result<(), Ended> {
        let Append {
            events,
            summary,
            durability,
            ..
        } = append;
        let done = |item: &ItemId| events.iter().any(|event| completes(event, *item));
        if self.offsets.keys().any(done) {
            self.growing.clear()?;
            self.offsets.clear();
        }
        if durability == Durability::Barrier {
            // Before this a power cut could take the outcome back, and with it the proof that the
            // command has run.
            self.told
                .drain(..)
                .for_each(|job| self.world.jobs.forget(job));
        }
        self.told.extend(
            events
                .iter()
                .filter_map(|event| told_job(&self.transcript, event)),
        );
        self.world.board.wrote(&self.id, &self.transcript, &events);
        self.notify(&events);
        self.share(&events);
        self.feed.publish(events, summary);
        self.show_want();
        Ok(())
    }

    /// Writes text where a killed daemon's successor finds it, then shows it.
    pub(super) async fn grow(&mut self, item: ItemId, text: &str) -> Result<(), Ended> {
        let offset = self.offsets.get(&item).copied().unwrap_or_default();
        let mut shown = None;
        while let Err(error) = self.keep(item, offset, text) {
            if !is_want_of_room(&error) {
                return Err(error.into());
            }
            let log = match shown.take() {
                Some(log) => log,
                None => logged(&self.world.store, &self.id).await?,
            };
            self.pause(shown.insert(log)).await?;
        }
        self.unpause();
        self.offsets.insert(item, offset + text.len() as u64);
        self.feed.grow(item, text);
        Ok(())
    }

    fn keep(&mut self, item: ItemId, offset: u64, text: &str) -> io::Result<()> {
        #[cfg(test)]
        super::tests::faults::of_growing(&self.id)?;
        self.growing.append(item, offset, text.as_bytes())
    }

    /// Waits before the next attempt, and meanwhile answers what `log` can answer.
    async fn pause(&mut self, log: &Transcript) -> Result<(), Ended> {
        if self.paused.is_none() {
            tracing::warn!(session = %self.id, "paused: the disk is full");
            self.paused = Some(self.feed.activity());
            self.feed.set_activity(Activity {
                turn: log.running_turn().map_or(0, |turn| turn.get()),
                kind: ActivityKind::Paused.into(),
                detail: "the disk is full".to_owned(),
                since_ms: now_ms(),
                until_ms: 0,
            });
        }
        let again = tokio::time::sleep(AGAIN);
        tokio::pin!(again);
        loop {
            tokio::select! {
                () = &mut again => return Ok(()),
                request = self.inbox.recv() => match request {
                    Some(request) => self.answer_paused(request, log),
                    None => return Err(Ended::Left),
                },
            }
        }
    }

    fn unpause(&mut self) {
        if let Some(before) = self.paused.take() {
            tracing::info!(session = %self.id, "goes on: there is room again");
            self.feed.set_activity(before);
        }
    }

    fn answer_paused(&mut self, request: Request, log: &Transcript) {
        match request {
            Request::Look { reply: to } => reply(to, Ok(Self::look(log))),
            Request::Piece { further, reply: to } => reply(to, Ok(log.piece(further))),
            Request::Told { job, reply: to } => {
                reply(to, Ok(log.told_output(&job).map(str::to_owned)));
            }
            Request::Wait { reply: to } => self.waiting.push(to),
            Request::Interrupt { .. } => self.deferred.push_back(request),
            Request::Prompt {
                caller, reply: to, ..
            } => {
                let known = log.answer(&caller.request_id);
                reply(to, known.ok_or_else(|| StoreError::Full.into()));
            }
            Request::ChangeQueued {
                caller, reply: to, ..
            } => {
                let known = log.answer(&caller.request_id).map(|_| log.queue().to_vec());
                reply(to, known.ok_or_else(|| StoreError::Full.into()));
            }
            Request::Unqueue {
                caller, reply: to, ..
            } => {
                let known = log.answer(&caller.request_id).map(drop);
                reply(to, known.ok_or_else(|| StoreError::Full.into()));
            }
            Request::Decide {
                caller, reply: to, ..
            } => {
                let known = log.decided_by(&caller.request_id).cloned();
                reply(to, known.ok_or_else(|| StoreError::Full.into()));
            }
            Request::Change { reply: to, .. } => reply(to, Err(StoreError::Full.into())),
            Request::Detach { reply: to, .. } => reply(to, Err(StoreError::Full.into())),
        }
    }

    /// Gives entries their seq, their time, and what only the actor knows: money and sums.
    fn stamp(&mut self, entries: Vec<Entry>) -> Vec<Event> {
        let time_ms = now_ms();
        let mut usage = self.transcript.turn_usage();
        let mut events = Vec::with_capacity(entries.len());
        for (seq, entry) in (self.transcript.head() + 1..).zip(entries) {
            let Entry {
                mut body,
                by,
                request_id,
            } = entry;
            match &mut body {
                Body::SampleEnded(ended) if ended.turn != 0 => {
                    let spent = ended.usage.get_or_insert_default();
                    usage = add(usage, *spent);
                }
                Body::TurnEnded(ended) => {
                    ended.usage = Some(usage);
                    self.last_error = (ended.error.clone(), ended.error_kind.clone());
                }
                _ => {}
            }
            events.push(Event {
                seq,
                time_ms,
                by,
                request_id,
                body: Some(body),
            });
        }
        events
    }
}

/// The session as its log tells it, without what is not written yet. Holds one page of it at a time.
///
/// # Errors
///
/// What the store says.
pub async fn logged(store: &Store, id: &SessionId) -> Result<Transcript, StoreError> {
    let mut transcript = Transcript::of(id.as_str());
    loop {
        let page = store.events(id, transcript.head(), PAGE).await?;
        if page.is_empty() {
            return Ok(transcript);
        }
        page.iter().for_each(|event| transcript.apply(event));
    }
}

/// Events that begin something, so that refusing them loses nothing: also a call that promises to do
/// something, which is better not done when its outcome may find no room.
fn begins(body: &Body) -> bool {
    match body {
        Body::TurnStarted(_) | Body::PromptQueued(_) | Body::PromptChanged(_) => true,
        Body::ItemChanged(changed) => {
            let kind = changed.item.as_ref().and_then(|item| item.kind.as_ref());
            matches!(kind, Some(Kind::ToolCall(call)) if call.intent.is_some())
        }
        _ => false,
    }
}

/// Events that tell an end, which must find room as long as there is any.
fn is_an_end(body: &Body) -> bool {
    match body {
        Body::JobEnded(_) | Body::TurnEnded(_) => true,
        Body::ItemCompleted(done) => {
            let kind = done.item.as_ref().and_then(|item| item.kind.as_ref());
            matches!(kind, Some(Kind::ToolCall(_)))
        }
        _ => false,
    }
}

/// Events that are acknowledged, or that promise a side effect, must survive a power cut.
fn needs_barrier(body: &Body) -> bool {
    match body {
        Body::SessionCreated(_)
        | Body::SessionChanged(_)
        | Body::PromptQueued(_)
        | Body::PromptRemoved(_)
        | Body::PromptChanged(_)
        | Body::TurnStarted(_)
        | Body::TurnEnded(_)
        | Body::ItemChanged(_)
        | Body::ApprovalRequested(_)
        | Body::ApprovalDecided(_)
        | Body::JobChanged(_)
        | Body::EventLost(_)
        | Body::HistoryRewound(_) => true,
        Body::TurnSuspended(_)
        | Body::SampleRetried(_)
        | Body::SampleEnded(_)
        | Body::ItemStarted(_)
        | Body::ItemCompleted(_)
        | Body::JobStarted(_)
        | Body::JobEnded(_) => false,
    }
}

fn completes(event: &Event, item: ItemId) -> bool {
    matches!(&event.body, Some(Body::ItemCompleted(done))
        if done.item.as_ref().is_some_and(|done| done.id == item.get()))
}
