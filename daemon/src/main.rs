//! The daemon's program. With `patch` it applies one patch and ends.

use std::{env, io::Write, process::ExitCode};

fn main() -> ExitCode {
    let mut arguments = env::args_os().skip(1);
    match arguments.next() {
        Some(command) if command == "patch" => quired::edge::oneshot::patch::patch(arguments),
        _ => {
            let _ = writeln!(std::io::stderr(), "usage: quired patch [--check] < PATCH");
            ExitCode::from(2)
        }
    }
}
