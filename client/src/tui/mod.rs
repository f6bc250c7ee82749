//! The terminal screen of one session.
//!
//! ```text
//! key ----+                                +--> Call --RPC--> daemon --> Answer --+
//! update -+-> App::step -> Vec<Effect> ----+--> Leave, Notify, Reconnect, ...     |
//! answer -+      ^                                                                |
//!    ^           +-- prepare(size) --> draw(frame, &App)                          |
//!    +----------------------------------------------------------------------------+
//! ```
//!
//! `app` is the state and what changes it, `keys` and `command` are tables of what can be pressed
//! and typed, `queue` what is done with prompts that wait, `who` names what others do, `alert` what someone
//! who looks elsewhere is told, `cell` turns what the session holds into rows, `draw` puts them on the
//! screen. All of that is pure. `run` leads from one session to another, by way of the `picker`; `stage`
//! is the loop around one. Only these, `console`, `ask`, `feed`, `notify` and `terminal` touch the world.

mod alert;
mod app;
mod ask;
mod calls;
mod card;
mod cell;
mod command;
mod composer;
mod console;
mod draw;
mod feed;
mod keys;
mod link;
mod notify;
mod pace;
mod page;
mod picker;
mod press;
mod queue;
mod run;
mod stage;
mod status;
pub(crate) mod terminal;
#[cfg(test)]
mod tests;
pub(crate) mod text;
pub(crate) mod theme;
mod transcript;
mod who;

pub use app::{App, Effect, Input, Leaving, Met, Role, Setup};
pub use calls::{Answer, Call, Requeue, Ticket};
pub use command::Setting;
pub use draw::draw;
pub use run::{Left, Surroundings, attach, choose, introduction, start, watch_until_done};
pub use terminal::require_terminal;
