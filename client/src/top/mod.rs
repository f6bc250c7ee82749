//! All sessions and jobs at once: what `quire top` shows, live or once.
//!
//! ```text
//! key ----+                          +--> attach, interrupt, leave
//! sight --+-> App::step -> Effect ---+
//!                 |
//!             Overview (pure fold of the watch) --> rows --> draw(frame, &App)
//! ```
//!
//! `overview` folds the watch over all sessions and says which rows there are, `app` what the keys do,
//! `draw` puts it on the screen; `lines` prints it where there is no screen. All of that is pure. Only `run`
//! touches the world.

mod app;
mod draw;
mod lines;
mod overview;
mod run;
#[cfg(test)]
mod tests;

pub use lines::{json_line, table_of};
pub use overview::Overview;
pub use run::live;
