//! The terminal screen of one session.
//!
//! ```text
//! key ----+                                +--> Call --RPC--> daemon --> Answer --+
//! update -+-> App::step -> Vec<Effect> ----+--> Leave, Suspend, Repaint           |
//! answer -+      ^                                                                |
//!    ^           +-- prepare(size) --> draw(frame, &App)                          |
//!    +----------------------------------------------------------------------------+
//! ```
//!
//! `app` is the state and what changes it, `keys` and `command` are tables of what can be pressed
//! and typed, `cell` turns what the session holds into rows, `draw` puts them on the screen. All
//! of that is pure. Only `run` and `terminal` touch the world.

mod app;
mod calls;
mod card;
mod cell;
mod command;
mod composer;
mod draw;
mod keys;
mod page;
mod press;
mod status;
mod text;
mod theme;
mod transcript;
