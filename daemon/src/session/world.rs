//! The world of a session's client: what commands see of it, what is kept on disk, and what of it is
//! wanted from the next client.
//!
//! The whole of it is in memory only. The disk keeps it without secrets, so after a daemon's end commands
//! see the same `PATH`, and keys come with the next client that may act.

use std::{
    collections::BTreeSet,
    fmt,
    sync::{Arc, LazyLock},
};

use super::{
    Handle,
    actor::{Actor, Ended},
};
use crate::{
    adapters::worlds::Kept,
    pure::{
        secrets::{self, Environment, Parted},
        turn::Input,
    },
};

/// The file mode creation mask where no client has told its own: what most systems give a new user.
const USUAL_UMASK: u32 = 0o022;

/// How much of a client's world is here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Held {
    /// Nothing: no client has given one to this daemon, and the disk has none.
    Nothing,
    /// What the disk kept, without secrets.
    Kept,
    /// All that a client gave.
    Whole,
}

/// The world of the client that made a session or came to it.
#[derive(Clone)]
pub struct Surroundings {
    /// Variables by name. Never logged, and stored only without secrets.
    pub environment: Arc<Environment>,
    /// File mode creation mask.
    pub umask: u32,
    /// How much of it is here.
    pub held: Held,
}

impl Default for Surroundings {
    fn default() -> Self {
        static EMPTY: LazyLock<Arc<Environment>> = LazyLock::new(Arc::default);
        Self {
            environment: EMPTY.clone(),
            umask: USUAL_UMASK,
            held: Held::Nothing,
        }
    }
}

impl fmt::Debug for Surroundings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Surroundings")
            .field("variables", &self.environment.len())
            .field("umask", &self.umask)
            .field("held", &self.held)
            .finish()
    }
}

impl From<Kept> for Surroundings {
    fn from(kept: Kept) -> Self {
        Self {
            environment: Arc::new(kept.environment),
            umask: kept.umask,
            held: Held::Kept,
        }
    }
}

/// A client's world, given to a session.
#[derive(Clone, Debug)]
pub struct Lent {
    /// Whole.
    pub world: Surroundings,
    /// What becomes of the session's own.
    pub how: Lending,
}

/// What a session takes of a world it is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lending {
    /// Secrets that it lacks; everything if it has none.
    Completes,
    /// Everything.
    Replaces,
}

impl Handle {
    /// The world of the session's client, as far as it is here; also when the actor has ended.
    #[must_use]
    pub fn surroundings(&self) -> Surroundings {
        self.surroundings.borrow().clone()
    }

    /// Whether the next client that may act is asked for its world.
    #[must_use]
    pub fn wants_world(&self) -> bool {
        self.feed.wants_world()
    }
}

impl Lent {
    /// What a session makes of it whose world is `own`; `keys` are the names of providers' keys.
    #[must_use]
    pub fn to(&self, own: &Surroundings, keys: &BTreeSet<String>) -> Surroundings {
        if self.how == Lending::Replaces || own.held == Held::Nothing {
            return self.world.clone();
        }
        let environment = secrets::completed(&own.environment, &self.world.environment, keys);
        Surroundings {
            environment: Arc::new(environment),
            umask: own.umask,
            held: Held::Whole,
        }
    }
}

/// What the disk keeps of a world.
#[must_use]
pub fn kept(world: &Surroundings, keys: &BTreeSet<String>) -> Kept {
    let Parted { open, .. } = secrets::part(&world.environment, keys);
    Kept {
        umask: world.umask,
        environment: open,
    }
}

impl Actor {
    /// Takes what a client gives. A turn that waits for what is in it goes on; one that a person is to
    /// send on does not.
    pub(super) async fn take_world(&mut self, lent: &Lent) -> Result<(), Ended> {
        let keys = self.world.models.keys();
        let taken = lent.to(&self.surroundings, &keys);
        let (before, after) = (kept(&self.surroundings, &keys), kept(&taken, &keys));
        if before != after || self.surroundings.held == Held::Nothing {
            self.world.worlds.keep(&self.id, after).await;
        }
        self.surroundings = taken.clone();
        self.lent.send_replace(taken);
        if self.transcript.wants_world() {
            self.advance(Input::Continue).await?;
        }
        self.show_want();
        Ok(())
    }

    /// Tells watchers whether the session wants a client's world.
    pub(super) fn show_want(&self) {
        let wants = self.surroundings.held != Held::Whole || self.transcript.wants_world();
        self.feed.want_world(wants);
    }
}
