//! Writes that fail when a test says so.

use std::{
    collections::{HashMap, VecDeque},
    io,
    sync::{LazyLock, MutexGuard, PoisonError},
};

use super::*;
use crate::adapters::store::{Append, StoreError};

/// What is to fail in one session.
#[derive(Default)]
pub(in crate::session) struct Faults {
    /// For each commit to come, whether it finds room.
    commits: VecDeque<bool>,
    /// How many writes of growing text find no room.
    growing: usize,
    /// Commits asked for, in words.
    pub(in crate::session) asked: Vec<String>,
    /// Commits that fail for good.
    broken: usize,
}

static FAULTS: LazyLock<Mutex<HashMap<SessionId, Faults>>> = LazyLock::new(Mutex::default);

fn faults() -> MutexGuard<'static, HashMap<SessionId, Faults>> {
    FAULTS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Lets the `nth` commit from now on, from 1, find no room `times` times.
pub(super) fn no_room_at(session: &SessionId, nth: usize, times: usize) {
    let mut all = faults();
    let commits = &mut all.entry(session.clone()).or_default().commits;
    commits.clear();
    commits.extend(std::iter::repeat_n(true, nth - 1));
    commits.extend(std::iter::repeat_n(false, times));
}

/// Lets the next writes of growing text find no room.
pub(super) fn no_room_to_grow(session: &SessionId, times: usize) {
    faults().entry(session.clone()).or_default().growing = times;
}

/// Lets the next commits fail for good.
pub(crate) fn broken(session: &SessionId, times: usize) {
    faults().entry(session.clone()).or_default().broken = times;
}

/// Whether all faults have happened.
pub(super) fn are_over(session: &SessionId) -> bool {
    faults()
        .get(session)
        .is_none_or(|faults| faults.commits.iter().all(|room| *room) && faults.growing == 0)
}

/// Which commits were `begins`, by the bodies they held.
pub(super) fn beginnings(session: &SessionId) -> Vec<String> {
    let all = faults();
    all.get(session)
        .map(|faults| faults.asked.clone())
        .unwrap_or_default()
}

pub(in crate::session) fn of_store(session: &SessionId, append: &Append) -> Result<(), StoreError> {
    let mut all = faults();
    let faults = all.entry(session.clone()).or_default();
    if append.begins {
        let bodies: Vec<String> = append.events.iter().filter_map(name).collect();
        faults.asked.push(bodies.join(" "));
    }
    if faults.broken > 0 {
        faults.broken -= 1;
        return Err(StoreError::Closed);
    }
    match faults.commits.pop_front() {
        Some(false) => Err(StoreError::Full),
        Some(true) | None => Ok(()),
    }
}

/// The name of an event's kind.
fn name(event: &Event) -> Option<String> {
    let body = format!("{:?}", event.body.as_ref()?);
    body.split(['(', ' ']).next().map(str::to_owned)
}

pub(in crate::session) fn of_growing(session: &SessionId) -> io::Result<()> {
    let mut all = faults();
    let faults = all.entry(session.clone()).or_default();
    if faults.growing == 0 {
        return Ok(());
    }
    faults.growing -= 1;
    Err(io::ErrorKind::StorageFull.into())
}
