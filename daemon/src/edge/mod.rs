//! Where the daemon meets the rest of the world: its own life, its command line, its gRPC services.

pub mod lifecycle;
pub mod oneshot;
pub mod registry;
pub mod server;
pub mod settings;
pub mod status;

use std::{ffi::OsString, io, process::ExitCode, sync::Arc, time::Duration};

use futures_util::future::BoxFuture;
use lifecycle::{Engine, Mode, Routes, Served, Start};

const USAGE: &str = "\
usage: quired serve [--foreground]
       quired patch [--check] < PATCH
       quired --version
";

/// Runs the daemon's binary with the arguments after its name.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let arguments: Vec<OsString> = arguments.into_iter().collect();
    let words: Vec<&str> = arguments.iter().filter_map(|word| word.to_str()).collect();
    match words[..] {
        ["serve"] => lifecycle::serve(Mode::Background, open),
        ["patch", ..] => oneshot::patch::patch(arguments.into_iter().skip(1)),
        ["serve", "--foreground"] => lifecycle::serve(Mode::Foreground, open),
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

/// Serves nothing but health and reflection.
async fn open(_: Start) -> Result<Served, String> {
    Ok(Served {
        routes: Routes::new(),
        engine: Arc::new(Unused),
        idle_exit: Duration::from_secs(30 * 60),
    })
}

/// Never has anything to do.
struct Unused;

impl Engine for Unused {
    fn busy(&self) -> bool {
        false
    }

    fn retire(&self) -> bool {
        true
    }

    fn drain(&self) -> BoxFuture<'static, ()> {
        Box::pin(std::future::ready(()))
    }
}
pub mod oneshot;
