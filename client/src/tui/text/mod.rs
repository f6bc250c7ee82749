//! From text that others wrote to lines a terminal can show.
//!
//! Everything that models, tools, files and people say goes through [`safe`] first, so nothing in
//! it can act on the terminal; [`wrap`] then breaks it by display width. [`markdown`] and [`diff`]
//! are built on both. All of it is pure.

pub(super) mod amount;
pub(super) mod diff;
pub(super) mod markdown;
pub(super) mod wrap;

pub(super) use crate::output::safe;
