//! How the store is: what people should know, and whether there is room to begin something.

use std::{collections::BTreeMap, sync::Arc};

use tokio::sync::watch;

/// How the store is at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Health {
    told: BTreeMap<Trouble, String>,
    crowded: bool,
    condemned: bool,
    salvaging: bool,
}

impl Health {
    /// One sentence for each trouble there is.
    pub fn notices(&self) -> impl Iterator<Item = &str> {
        self.told.values().map(String::as_str)
    }

    /// False while writes that begin something are refused because the disk is nearly full.
    #[must_use]
    pub fn has_room(&self) -> bool {
        !self.crowded
    }

    /// True when this start found a damaged database: sessions may be missing that are still salvaged.
    #[must_use]
    pub fn may_lack_sessions(&self) -> bool {
        self.salvaging
    }

    /// True when nothing more can be written and only a new start helps, which moves the database aside.
    #[must_use]
    pub fn is_condemned(&self) -> bool {
        self.condemned
    }
}

/// What there can be to tell, each at most once at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Trouble {
    /// No room.
    Room,
    /// A write or an fsync failed.
    Disk,
    /// The database is not whole.
    Damage,
    /// What becomes of a database that was moved aside.
    Salvage,
}

/// Where the store's threads tell how it is. Clones tell the same listeners.
#[derive(Clone, Debug)]
pub(super) struct Teller(Arc<watch::Sender<Health>>);

impl Teller {
    pub(super) fn new() -> Self {
        Self(Arc::new(watch::Sender::new(Health::default())))
    }

    pub(super) fn listen(&self) -> watch::Receiver<Health> {
        self.0.subscribe()
    }

    /// Tells of a trouble, in place of what was told of it before.
    pub(super) fn tell(&self, trouble: Trouble, sentence: String) {
        tracing::warn!(?trouble, "{sentence}");
        self.change(|health| {
            health.told.insert(trouble, sentence);
        });
    }

    /// A trouble is over.
    pub(super) fn take_back(&self, trouble: Trouble) {
        self.change(|health| {
            health.told.remove(&trouble);
        });
    }

    pub(super) fn set_room(&self, room: bool) {
        self.change(|health| health.crowded = !room);
    }

    pub(super) fn salvages(&self) {
        self.change(|health| health.salvaging = true);
    }

    pub(super) fn condemn(&self) {
        self.change(|health| health.condemned = true);
    }

    fn change(&self, change: impl FnOnce(&mut Health)) {
        self.0.send_if_modified(|health| {
            let before = health.clone();
            change(health);
            *health != before
        });
    }
}
