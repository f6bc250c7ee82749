//! From text that others wrote to lines a terminal can show.
//!
//! Everything that models, tools, files and people say goes through [`safe`] first, so nothing in
//! it can act on the terminal; [`wrap`] then breaks it by display width. [`markdown`] and [`diff`]
//! are built on both. All of it is pure.

pub(crate) mod amount;
pub(crate) mod diff;
pub(crate) mod markdown;
pub(crate) mod wrap;

pub(crate) use crate::output::safe;
