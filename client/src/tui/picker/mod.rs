//! Choosing a session: all there are, those that need someone first, narrowed down by what is typed.
//!
//! `state` is what is known, typed and chosen, and decides; `matching` says what fits; `draw` makes the
//! picture of it. These are pure. `run` is the edge: keys, the daemon's lists and what it tells meanwhile.

mod draw;
mod matching;
mod run;
mod state;
#[cfg(test)]
mod tests;

pub(super) use run::choose;
pub(super) use state::Wishes;
