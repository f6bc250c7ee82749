//! The queue: prompts accepted for later, until a turn takes them.
//!
//! Those that steer and those that begin turns stand in one row. A turn takes all that steer, in their
//! order and whatever stands between them; the first of all begins the next turn.

use quire_proto::v1::{PromptChanged, QueuedPrompt};

use super::Transcript;

impl Transcript {
    /// Prompts accepted for later, in order.
    #[must_use]
    pub fn queue(&self) -> &[QueuedPrompt] {
        &self.queue
    }

    /// The prompt that waits under this request id.
    #[must_use]
    pub fn queued(&self, request_id: &str) -> Option<&QueuedPrompt> {
        self.queue
            .iter()
            .find(|queued| queued.request_id == request_id)
    }

    /// Edits or moves a prompt; one that has been taken changes nothing. Whatever it should stand before
    /// has been taken: then it stands at the end.
    pub(super) fn change_queued(&mut self, changed: &PromptChanged) {
        let place =
            |queue: &[QueuedPrompt], id: &str| queue.iter().position(|one| one.request_id == id);
        let Some(from) = place(&self.queue, &changed.request_id) else {
            return;
        };
        let mut queued = self.queue.remove(from);
        if let Some(prompt) = &changed.prompt {
            queued.prompt = Some(prompt.clone());
        }
        let to = match &changed.before {
            Some(before) => place(&self.queue, before).unwrap_or(self.queue.len()),
            None => from,
        };
        self.queue.insert(to, queued);
    }

    pub(super) fn unqueue(&mut self, request_id: &str) {
        self.queue.retain(|queued| queued.request_id != request_id);
    }
}
