//! The Quire client: what a person sees of sessions, and what they say to them.
//!
//! It holds no truth. Everything shown, even the person's own prompt, came back from the daemon as
//! an event and was folded into a [`view::View`].

pub mod connect;
pub mod context;
pub mod failure;
pub mod link;
pub mod output;
pub mod start;
pub mod view;
pub mod world;
