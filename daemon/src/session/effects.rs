//! Carries effects out: writes events down before anything is shown or done.

use std::time::Duration;

use quire_proto::{
    id::{ItemId, JobId},
    v1::{
        Activity, Event, Item, ItemCompleted, ItemStatus, NoticeItem, NoticeLevel, Rule,
        event::Body, item::Kind,
    },
};

use super::actor::{Actor, Ended, now_ms};
use crate::{
    adapters::store::{Append, Durability},
    pure::{
        transcript::{Transcript, add},
        turn::{Effect, Entry},
    },
};

impl Actor {
    pub(super) async fn carry_out(&mut self, effects: Vec<Effect>) -> Result<(), Ended> {
        for effect in effects {
            if let Effect::Append(entry) = effect {
                self.pending.push(*entry);
                continue;
            }
            self.write().await?;
            self.act_on(effect)?;
        }
        self.write().await
    }

    fn act_on(&mut self, effect: Effect) -> Result<(), Ended> {
        match effect {
            Effect::Append(entry) => self.pending.push(*entry),
            Effect::Grow { item, text } => self.grow(item, &text)?,
            Effect::Sample => self.sample = Some(self.ask()),
            Effect::StopSample => self.sample = None,
            Effect::Later(wait) => self.sleep(wait),
            Effect::Prepare { item, call } => {
                self.acts
                    .prepare(item, call, &self.world.tools, self.place())
            }
            Effect::Act { item } => self.acts.act(item),
            Effect::Resume { item, call, intent } => {
                self.acts
                    .resume(item, (call, intent), &self.world.tools, self.place());
            }
            Effect::Stop { item } => self.acts.stop(item, &self.world.jobs),
            Effect::SaveRule(rule) => self.save_rule(&rule),
            Effect::Activity(kind, detail) => {
                let turn = self.transcript.running_turn().map_or(0, |turn| turn.get());
                let activity = Activity {
                    turn,
                    kind: kind.into(),
                    detail,
                    since_ms: now_ms(),
                    until_ms: 0,
                };
                self.feed.set_activity(activity);
            }
        }
        Ok(())
    }

    /// A rule that cannot be kept holds for the session all the same, and the people are told.
    fn save_rule(&mut self, rule: &Rule) {
        if let Err(error) = (self.world.save_rule)(rule) {
            let text = format!("The rule holds for this session only: {error}");
            let notice = NoticeItem {
                level: NoticeLevel::Warning.into(),
                text,
                for_model: false,
            };
            self.pending.push(self.notice(notice).into());
        }
    }

    /// An item of its own that tells people or the model something.
    pub(super) fn notice(&self, notice: NoticeItem) -> Body {
        let item = Item {
            id: self.transcript.next_item().get(),
            turn: self.transcript.running_turn().map_or(0, |turn| turn.get()),
            status: ItemStatus::Completed.into(),
            started_ms: now_ms(),
            ended_ms: now_ms(),
            kind: Some(Kind::Notice(notice)),
        };
        Body::ItemCompleted(ItemCompleted { item: Some(item) })
    }

    fn sleep(&mut self, wait: Duration) {
        self.timer = Some(Box::pin(tokio::time::sleep(wait)));
    }

    /// Writes text where a killed daemon's successor finds it, then shows it.
    fn grow(&mut self, item: ItemId, text: &str) -> Result<(), Ended> {
        let offset = self.offsets.entry(item).or_default();
        self.growing.append(item, *offset, text.as_bytes())?;
        *offset += text.len() as u64;
        self.feed.grow(item, text);
        Ok(())
    }

    /// Writes the pending events in one commit, then shows them.
    pub(super) async fn write(&mut self) -> Result<(), Ended> {
        if self.pending.is_empty() {
            return Ok(());
        }
        let entries = std::mem::take(&mut self.pending);
        let durability = if entries.iter().any(|entry| needs_barrier(&entry.body)) {
            Durability::Barrier
        } else {
            Durability::Plain
        };
        let begins = entries.iter().any(|entry| begins(&entry.body));
        let events = self.stamp(entries);
        for event in &events {
            self.transcript.apply(event);
        }
        let summary = self.transcript.summary();
        let append = Append {
            session: self.id.clone(),
            events: events.clone(),
            summary: summary.clone(),
            durability,
            begins,
        };
        self.world.store.append(append).await?;
        if self
            .offsets
            .keys()
            .any(|item| events.iter().any(|event| completes(event, *item)))
        {
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
        self.feed.publish(&events, summary);
        Ok(())
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
                Body::SampleEnded(ended) => {
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

/// Events that begin something, so that refusing them loses nothing.
fn begins(body: &Body) -> bool {
    matches!(body, Body::TurnStarted(_) | Body::PromptQueued(_))
}

/// Events that are acknowledged, or that promise a side effect, must survive a power cut.
fn needs_barrier(body: &Body) -> bool {
    match body {
        Body::SessionCreated(_)
        | Body::SessionChanged(_)
        | Body::PromptQueued(_)
        | Body::PromptRemoved(_)
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

/// The job that this event is the last word about: it has ended, and the outcome of its call holds all
/// that it printed. Then its files say nothing that the log does not.
fn told_job(transcript: &Transcript, event: &Event) -> Option<JobId> {
    let id = match event.body.as_ref()? {
        Body::JobEnded(ended) => &ended.job_id,
        Body::ItemCompleted(done) => match done.item.as_ref()?.kind.as_ref()? {
            Kind::ToolCall(call) => &call.outcome.as_ref()?.job_id,
            _ => return None,
        },
        _ => return None,
    };
    transcript.told_output(id).and_then(|_| id.parse().ok())
}

fn completes(event: &Event, item: ItemId) -> bool {
    matches!(&event.body, Some(Body::ItemCompleted(done))
        if done.item.as_ref().is_some_and(|done| done.id == item.get()))
}
