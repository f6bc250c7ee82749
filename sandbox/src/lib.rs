//! Profiles, job specifications and the files a keeper leaves behind: what the daemon and the
//! `quire-sandbox` program share.

pub mod spec;
