//! One item as a watcher sees it: what the log says of it, and what has grown since.

use quire_proto::v1::{self, item::Kind};

/// Live output kept of one call, in bytes. Older output is let go; the job's file has it.
pub const LIVE_OUTPUT_MAX: usize = 1 << 20;

/// One item of the transcript.
#[derive(Clone, Debug, PartialEq)]
pub struct ViewItem {
    item: v1::Item,
    /// Who said it, of a prompt; a snapshot does not tell.
    by: Option<v1::ClientRef>,
    growth: Growth,
    /// The command that outlived the call's outcome has ended too.
    job_ended: bool,
}

impl ViewItem {
    pub(super) fn new(item: v1::Item) -> Self {
        let mut view = Self {
            item: v1::Item::default(),
            by: None,
            growth: Growth::default(),
            job_ended: false,
        };
        view.replace(item);
        view
    }

    /// Takes the log's newer word on this item; what has grown stays while the item grows.
    pub(super) fn replace(&mut self, item: v1::Item) {
        self.item = item;
        if !self.is_growing() {
            // All watchers end with the same bytes, whenever they came: those of the log.
            self.growth.let_go();
        } else if self.growth.end == 0 {
            let text = self.logged_text().as_bytes().to_vec();
            self.growth.append(0, &text);
        }
    }

    /// The same, said by this client.
    pub(super) fn by(mut self, by: Option<v1::ClientRef>) -> Self {
        self.by = by;
        self
    }

    /// True when the delta told something new.
    pub(super) fn grow(&mut self, delta: &v1::Delta) -> bool {
        if !self.is_growing() {
            return false;
        }
        let grew = self.growth.append(delta.offset, &delta.data);
        if matches!(self.item.kind, Some(Kind::ToolCall(_))) {
            self.growth.keep_last(LIVE_OUTPUT_MAX);
        }
        grew
    }

    /// The job of this call has ended.
    pub(super) fn end_job(&mut self) {
        self.job_ended = true;
        self.growth.let_go();
    }

    /// The item as the log has it; its text is empty or short while it grows.
    #[must_use]
    pub fn item(&self) -> &v1::Item {
        &self.item
    }

    /// The client that said it, of a prompt; `None` where that is not known.
    #[must_use]
    pub fn speaker(&self) -> Option<&v1::ClientRef> {
        self.by.as_ref()
    }

    /// What kind of item this is; `None` for one that only a newer client knows.
    #[must_use]
    pub fn kind(&self) -> Option<&Kind> {
        self.item.kind.as_ref()
    }

    /// True while text may be added or an outcome is awaited, and while a command that the call
    /// started runs on past its outcome.
    #[must_use]
    pub fn is_growing(&self) -> bool {
        self.item.status() == v1::ItemStatus::Growing || self.runs_on()
    }

    /// True when the call has its outcome while the command goes on in the background.
    #[must_use]
    pub fn runs_on(&self) -> bool {
        self.runs_on_in().is_some()
    }

    /// The job that the command goes on in, past the call's outcome.
    pub(super) fn runs_on_in(&self) -> Option<&str> {
        let Some(Kind::ToolCall(call)) = self.kind().filter(|_| !self.job_ended) else {
            return None;
        };
        let outcome = call.outcome.as_ref();
        let outcome = outcome.filter(|outcome| outcome.still_running)?;
        Some(&outcome.job_id)
    }

    /// True when the stream or the daemon ended before the item did.
    #[must_use]
    pub fn is_cut_off(&self) -> bool {
        self.item.status() == v1::ItemStatus::CutOff
    }

    /// The text of a prompt, message, reasoning, notice or summary so far; else empty. What is not
    /// UTF-8 yet is held back.
    #[must_use]
    pub fn text(&self) -> &str {
        let grows = matches!(
            self.item.kind,
            Some(Kind::Message(_) | Kind::Reasoning(_) | Kind::Compaction(_))
        );
        if !(grows && self.is_growing()) {
            return self.logged_text();
        }
        match std::str::from_utf8(&self.growth.data) {
            Ok(text) => text,
            Err(error) => std::str::from_utf8(&self.growth.data[..error.valid_up_to()])
                .expect("the prefix was just found valid"),
        }
    }

    /// What has grown since the item started: a message's text or a running command's output.
    /// Empty once the item has settled.
    #[must_use]
    pub fn growth(&self) -> &Growth {
        &self.growth
    }

    fn logged_text(&self) -> &str {
        match &self.item.kind {
            Some(Kind::Prompt(prompt)) => &prompt.text,
            Some(Kind::Message(message)) => &message.text,
            Some(Kind::Reasoning(reasoning)) => &reasoning.text,
            Some(Kind::Notice(notice)) => &notice.text,
            Some(Kind::Compaction(compaction)) => &compaction.summary,
            Some(Kind::ToolCall(_) | Kind::FileChange(_) | Kind::Plan(_)) | None => "",
        }
    }
}

/// Bytes that came by deltas, each at most once, with the places where some are missing.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Growth {
    data: Vec<u8>,
    /// Offset in the item of the byte after the last one seen.
    end: u64,
    gaps: Vec<Gap>,
}

/// Bytes that were left out of the live view.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gap {
    /// Position in [`Growth::data`] where they are missing.
    pub at: usize,
    /// How many are missing.
    pub missing: u64,
}

impl Growth {
    /// The bytes seen and kept, in order.
    #[must_use]
    pub fn data(&self) -> &[u8] {
        &self.data
    }

    /// Where the next delta is expected.
    #[must_use]
    pub fn end(&self) -> u64 {
        self.end
    }

    /// Where bytes are missing, in order.
    #[must_use]
    pub fn gaps(&self) -> &[Gap] {
        &self.gaps
    }

    fn append(&mut self, offset: u64, data: &[u8]) -> bool {
        let known = self.end.saturating_sub(offset);
        let Some(new) = usize::try_from(known).ok().and_then(|n| data.get(n..)) else {
            return false;
        };
        if new.is_empty() {
            return false;
        }
        if offset > self.end {
            self.note_gap(self.data.len(), offset - self.end);
            self.end = offset;
        }
        self.data.extend_from_slice(new);
        self.end += new.len() as u64;
        true
    }

    /// Lets go of the oldest bytes once twice as many as wanted are held, so that it costs little.
    fn keep_last(&mut self, wanted: usize) {
        if self.data.len() < 2 * wanted {
            return;
        }
        let dropped = self.data.len() - wanted;
        self.data.drain(..dropped);
        let (old, kept): (Vec<Gap>, Vec<Gap>) =
            self.gaps.drain(..).partition(|gap| gap.at <= dropped);
        let missing = old.iter().map(|gap| gap.missing).sum::<u64>() + dropped as u64;
        self.gaps = vec![Gap { at: 0, missing }];
        self.gaps.extend(kept.into_iter().map(|gap| Gap {
            at: gap.at - dropped,
            missing: gap.missing,
        }));
    }

    fn note_gap(&mut self, at: usize, missing: u64) {
        match self.gaps.last_mut() {
            Some(last) if last.at == at => last.missing += missing,
            _ => self.gaps.push(Gap { at, missing }),
        }
    }

    fn let_go(&mut self) {
        *self = Self::default();
    }
}
