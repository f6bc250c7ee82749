//! Where the daemon meets the rest of the world: its own life, its command line, its gRPC services.

mod compose;
pub mod lifecycle;
pub mod oneshot;
pub mod registry;
pub mod server;
pub mod settings;
pub mod status;

use std::{ffi::OsString, io, process::ExitCode};

use lifecycle::Mode;

const USAGE: &str = "\
usage: quired serve [--foreground]
       quired patch [--check] < PATCH
       quired config path|get|check
       quired doctor [--json]
       quired --version
";

/// Runs the daemon's binary with the arguments after its name.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let arguments: Vec<OsString> = arguments.into_iter().collect();
    let words: Vec<&str> = arguments.iter().filter_map(|word| word.to_str()).collect();
    match words[..] {
        ["serve"] => lifecycle::serve(Mode::Background, compose::open),
        ["config", ..] => oneshot::config::config(arguments.into_iter().skip(1)),
        ["doctor", ..] => oneshot::doctor::doctor(arguments.into_iter().skip(1)),
        ["patch", ..] => oneshot::patch::patch(arguments.into_iter().skip(1)),
        ["serve", "--foreground"] => lifecycle::serve(Mode::Foreground, compose::open),
        ["--version" | "-V"] => say(
            io::stdout(),
            concat!("quired ", env!("CARGO_PKG_VERSION"), "\n"),
            0,
        ),
        ["--help" | "-h"] => say(io::stdout(), USAGE, 0),
        _ => say(io::stderr(), USAGE, 2),
    }
}

fn say(mut to: impl io::Write, text: &str, code: u8) -> ExitCode {
    let _closed = to.write_all(text.as_bytes());
    ExitCode::from(code)
}
