//! `quire-sandbox`: runs one command under a profile (`run`), or owns one job (`keep`).
//!
//! One process, one thread, no runtime. It never speaks with a daemon it was not started by or
//! connected to.

#[cfg(target_os = "linux")]
mod confine;
#[cfg(target_os = "linux")]
mod keeper;

mod args;
#[cfg_attr(not(target_os = "linux"), path = "run_elsewhere.rs")]
mod run;

use std::{io::Write, process::ExitCode};

fn main() -> ExitCode {
    #[cfg(target_os = "linux")]
    if let Err(error) = confine::sys::release_descriptors(confine::sys::Descriptors::CloseNow) {
        complain(&format!("cannot close inherited descriptors: {error}"));
        return ExitCode::from(126);
    }
    let mut arguments = std::env::args_os()
        .skip(1)
        .map(|word| word.to_string_lossy().into_owned());
    let code = match arguments.next().as_deref() {
        Some("run") => run::run(arguments),
        Some("probe") => run::probe(),
        #[cfg(target_os = "linux")]
        Some("keep") => keeper::keep(),
        Some("-h" | "--help") => {
            let _ = std::io::stdout().write_all(args::USAGE.as_bytes());
            0
        }
        Some("-V" | "--version") => {
            let _ = writeln!(
                std::io::stdout(),
                "quire-sandbox {}",
                env!("CARGO_PKG_VERSION")
            );
            0
        }
        _ => {
            complain("say `run`, `keep` or `probe`");
            let _ = std::io::stderr().write_all(args::USAGE.as_bytes());
            2
        }
    };
    ExitCode::from(u8::try_from(code).unwrap_or(1))
}

/// One line for whoever ran the program.
pub(crate) fn complain(message: &str) {
    let _ = writeln!(std::io::stderr(), "quire sandbox: {message}");
}
