//! Commands of the versions to come: they parse, and say that they are not there yet.

use std::ffi::OsString;

use super::Done;
use crate::failure::Failure;

/// Not in this version yet.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Whatever it will take.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, hide = true)]
    _arguments: Vec<OsString>,
}

/// Says so.
///
/// # Errors
///
/// Always.
pub fn refuse(command: &str) -> Done {
    Err(Failure::not_yet(command))
}
