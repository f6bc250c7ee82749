//! What is worth telling a person who looks elsewhere: a turn's end or its halt, a question, the end of
//! a command in the background. Pure; the words are made safe where they are written.

use super::app::App;
use crate::{
    failure::Failure,
    view::{Change, Marked, View, how_it_ended},
};

impl App {
    /// What to tell, of what an update changed; nothing to one who is here, or of the past.
    pub(super) fn alert(&self, changes: &[Change]) -> Option<String> {
        if self.focused || !self.view.is_synced() {
            return None;
        }
        let mut newest_first = changes.iter().rev();
        newest_first.find_map(|change| of(&self.view, *change))
    }
}

fn of(view: &View, change: Change) -> Option<String> {
    match change {
        Change::TurnEnded(turn) => {
            let ended = view.turn(turn)?.ended.as_ref()?;
            let how = Failure::of_turn(ended).map_or("done".to_owned(), |why| why.to_string());
            Some(format!("{}: {how}", title(view)))
        }
        Change::ApprovalAsked(id) => {
            let asked = view.approval(id)?;
            Some(format!("{} asks: {}", title(view), asked.title))
        }
        Change::TurnSuspended(turn) => {
            let why = view.turn(turn)?.suspended.as_deref().unwrap_or("");
            Some(format!("{} waits: {why}", title(view)))
        }
        Change::JobEnded(seq) => match &view.mark_at(seq)?.what {
            Marked::JobEnded { job } => {
                let job = view.jobs().get(job)?;
                Some(format!("{} {}", job.command, how_it_ended(job)))
            }
            Marked::Newer | Marked::Lost { .. } => None,
        },
        _ => None,
    }
}

fn title(view: &View) -> &str {
    let session = view.session();
    let names = [&session.title, &session.last_prompt];
    let named = names.into_iter().find(|name| !name.is_empty());
    named.map_or("the session", |name| name)
}
