//! Carries effects out: writes events down before anything is shown or done.

use std::time::Duration;

use quire_proto::v1::{
    Activity, Item, ItemCompleted, ItemStatus, NoticeItem, NoticeLevel, Rule, event::Body,
    item::Kind,
};

use super::{
    actor::{Actor, Ended, now_ms},
    writing::NoRoom,
};
use crate::pure::turn::Effect;

impl Actor {
    /// Carries effects out in order. `no_room` is for the first commit; what follows from that has
    /// happened, and waits.
    pub(super) async fn carry_out(
        &mut self,
        effects: Vec<Effect>,
        mut no_room: NoRoom,
    ) -> Result<(), Ended> {
        for effect in effects {
            if let Effect::Append(entry) = effect {
                self.pending.push(*entry);
                continue;
            }
            if self.write(no_room).await? {
                no_room = NoRoom::Wait;
            }
            self.act_on(effect).await?;
        }
        self.write(no_room).await?;
        Ok(())
    }

    async fn act_on(&mut self, effect: Effect) -> Result<(), Ended> {
        match effect {
            Effect::Append(entry) => self.pending.push(*entry),
            Effect::Grow { item, text } => self.grow(item, &text).await?,
            Effect::Sample => {
                self.tell_news().await?;
                self.sample = Some(self.ask());
            }
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
}
