//! Changes to files, planned against the disk and then made all or not at all.
//!
//! [`plan()`] reads and decides; [`commit()`] writes. Between the two a plan can be shown, judged and
//! written down. Paths are resolved once, by [`resolve()`]; from then on no symbolic link is
//! followed, so the path that was judged is the path that is opened.

mod commit;
mod hashed;
mod hidden;
mod kept;
mod open;
mod plan;
mod preview;
mod recover;
mod resolve;
mod stage;
mod stamps;
mod swap;

#[cfg(test)]
mod tests;

pub use commit::{CommitError, commit};
pub use hashed::{Hashed, Shown};
pub use hidden::Hidden;
pub use kept::{KEPT_FILE, Kept};
pub use open::{Content, fingerprint, open_file, read_file};
pub use plan::{Bounds, Change, Plan, PlanError, Problem, plan};
pub use recover::{Expectation, Standing, finish, standing, sweep};
pub use resolve::{Resolved, follow, normal, resolve};
pub use stamps::Stamps;
