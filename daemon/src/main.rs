//! The daemon's binary.

use std::{env, process::ExitCode};

fn main() -> ExitCode {
    quired::run(env::args_os().skip(1))
}
