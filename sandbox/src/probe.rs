//! Asks which layers hold on this machine, by really confining a program that does nothing.

use std::{
    io,
    path::Path,
    process::{Command, Stdio},
};

use crate::report::Report;

/// Runs `program probe` (the `quire-sandbox` program) and reads what it found.
///
/// # Errors
///
/// When the program can't be run, or its answer can't be understood.
pub fn probe(program: &Path) -> io::Result<Report> {
    let output = Command::new(program)
        .arg("probe")
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output()?;
    serde_json::from_slice(&output.stdout)
        .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
}
