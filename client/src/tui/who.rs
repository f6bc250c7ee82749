//! Who did what: the names of clients, and the line that tells what someone else has done here.
//!
//! Pure. What this client did comes back as an event like anybody's, and is not told: the person knows.

use quire_proto::{
    id::ApprovalId,
    v1::{self, ApprovalVerdict, StopReason, event::Body},
};

use super::{
    app::{App, Note},
    command::{APPROVE_POLICIES, SANDBOX_MODES},
};

/// Longest part of a prompt or a title in a line, in characters.
const QUOTED: usize = 60;

/// A client as people know it: `exec (pid 123)`.
pub(super) fn name(client: &v1::ClientRef) -> String {
    format!("{} (pid {})", client.name, client.pid)
}

/// How an approval was answered: `approved by exec (pid 123): git push`. `None` while it waits.
pub(super) fn answered(approval: &v1::Approval) -> Option<String> {
    let answer = approval.answer.as_ref()?;
    let by = match &answer.by {
        Some(client) => format!(" by {}", name(client)),
        None if answer.message.is_empty() => " by the policy".to_owned(),
        // Nobody was asked any more, and this says why.
        None => return Some(format!("not asked: {}: {}", answer.message, approval.title)),
    };
    let verdict = match answer.verdict() {
        ApprovalVerdict::Deny => "denied",
        ApprovalVerdict::Session => "approved for this session",
        ApprovalVerdict::Rule => "approved for ever",
        ApprovalVerdict::Once | ApprovalVerdict::Unspecified => "approved",
    };
    Some(format!("{verdict}{by}: {}", quote(&approval.title)))
}

/// The first line of a text, cut short.
pub(super) fn quote(text: &str) -> String {
    let line = text.lines().find(|line| !line.trim().is_empty());
    let line = line.unwrap_or("").trim();
    match line.char_indices().nth(QUOTED) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line.to_owned(),
    }
}

impl App {
    /// True when this process is that client. Its id changes with each connection.
    pub(super) fn is_me(&self, client: &v1::ClientRef) -> bool {
        client.pid == self.setup.pid
    }

    /// What someone else has just done, if this event says so; told before it is applied.
    pub(super) fn overheard(&self, event: &v1::Event) -> Option<String> {
        let new = self.view.is_synced() && event.seq > self.view.session().head_seq;
        let by = event.by.as_ref().filter(|by| new && !self.is_me(by))?;
        let what = match event.body.as_ref()? {
            Body::SessionChanged(changed) => self.what_changed(changed)?,
            Body::PromptRemoved(removed) => {
                let text = quote(self.queued_text(&removed.request_id)?);
                format!("took a prompt out of the queue: {text}")
            }
            Body::PromptChanged(changed) if changed.prompt.is_some() => {
                let text = quote(self.queued_text(&changed.request_id)?);
                format!("changed a queued prompt: {text}")
            }
            Body::TurnEnded(ended) if ended.stop_reason() == StopReason::Interrupted => {
                "interrupted the turn".to_owned()
            }
            _ => return None,
        };
        Some(format!("{} {what}", name(by)))
    }

    fn what_changed(&self, changed: &v1::SessionChanged) -> Option<String> {
        let mut what = Vec::new();
        if let Some(model) = &changed.model {
            what.push(format!("set the model to {model}"));
        }
        if let Some(policy) = &changed.policy {
            what.extend(self.what_policy(policy));
        }
        if let Some(title) = &changed.title {
            what.push(format!("renamed the session: {}", quote(title)));
        }
        match changed.archived {
            Some(true) => what.push("archived the session".to_owned()),
            Some(false) => what.push("took the session out of the archive".to_owned()),
            None => {}
        }
        (!what.is_empty()).then(|| what.join(", "))
    }

    fn what_policy(&self, policy: &v1::Policy) -> Vec<String> {
        let known = self.view.session().policy.clone().unwrap_or_default();
        let mut what = Vec::new();
        if policy.sandbox() != known.sandbox() {
            let mode = SANDBOX_MODES.iter().find(|(_, m)| *m == policy.sandbox());
            what.extend(mode.map(|(name, _)| format!("set the sandbox to {name}")));
        }
        if policy.approve() != known.approve() {
            let approve = APPROVE_POLICIES.iter();
            let approve = approve.clone().find(|(_, a)| *a == policy.approve());
            what.extend(approve.map(|(name, _)| format!("set approvals to {name}")));
        }
        match what.is_empty() {
            true => vec!["changed the policy".to_owned()],
            false => what,
        }
    }

    /// Says how the approval that was on the card was answered, if it wasn't from here.
    pub(super) fn tell_who_decided(&mut self, id: ApprovalId) {
        let Some(approval) = self.view.approval(id).filter(|_| self.view.is_synced()) else {
            return;
        };
        let by = approval
            .answer
            .as_ref()
            .and_then(|answer| answer.by.as_ref());
        // Who interrupts knows that nobody is asked any more.
        let mine = by.map_or(self.calls.interrupts(), |by| self.is_me(by));
        if let Some(line) = answered(approval).filter(|_| !mine) {
            self.note = Some(Note::Said(line));
        }
    }
}
