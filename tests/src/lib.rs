//! The harness of Quire's black-box tests: what they share, and nothing of Quire itself.
//!
//! A test makes a [`Home`](home::Home) (a private `QUIRE_HOME` whose processes die with it), often a
//! [`MockModel`](model::MockModel) (an HTTP server that plays a script and checks every request)
//! and a [`Repo`](repo::Repo), and then runs the real binaries. [`rpc`] speaks the protocol
//! directly, [`terminal`] gives the TUI a real terminal, [`tmux`] several, [`svg`] draws its screen, [`layers`] reads
//! sources.
//!
//! What may go wrong is brought about by [`wrapped`] (each daemon known from its first instant),
//! [`shim`] (faults of the disk and the clock) and [`small_disk`]; [`follower`] and [`stage`] note what
//! everyone was shown meanwhile, [`dashboard`] looks over all sessions.
//! [`python`] runs clients that aren't ours, [`frames`] and [`stranger`] are
//! clients that keep to no rules, [`guide`] reads what the protocol's guide promises them.
//!
//! Nothing here leaves the loopback interface, and nothing outlives its test: every process started
//! under a [`Home`](home::Home) carries that home's random path, by which it is found and ended.
//! Failures panic, with what was seen: this crate is only ever linked into tests and benches.

pub mod account;
pub mod binaries;
pub mod dashboard;
pub mod dice;
pub mod exchange;
pub mod follower;
pub mod frames;
pub mod guide;
pub mod home;
pub mod journal;
pub mod layers;
pub mod lies;
pub mod model;
pub mod process;
pub mod processes;
pub mod python;
pub mod repo;
pub mod rpc;
pub mod shim;
pub mod skip;
pub mod small_disk;
pub mod stage;
pub mod stranger;
pub mod svg;
pub mod terminal;
pub mod ticker;
pub mod tmux;
pub mod view;
pub mod wait;
pub mod wrapped;
