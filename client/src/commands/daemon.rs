//! The daemon's life: status, start, stop, restart, logs.

use std::{fs, io, path::Path};

use quire_proto::{
    Standing,
    v1::{
        DaemonServiceGetStatusRequest, DaemonServiceGetStatusResponse,
        DaemonServiceShutdownRequest, DaemonServiceTailLogRequest, ShutdownMode,
    },
};
use tokio::time::timeout;

use super::{Done, later, request_id};
use crate::{
    connect::{PATIENCE, no_daemon},
    context::{self, Context},
    failure::{Failure, is_broken, is_lost},
    force,
    output::paint::printable,
    reach::Reached,
    start::{self, StartLock},
    versions,
};

/// Lines of the log that are shown.
const LOG_LINES: u32 = 200;

/// Look after the daemon; it starts by itself when a command needs it.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  quire daemon status
  quire daemon logs -f
  quire daemon stop --now")]
pub struct Arguments {
    /// What to do.
    #[command(subcommand)]
    act: Act,
}

#[derive(Debug, clap::Subcommand)]
enum Act {
    /// Say what it is doing; exit code 8 when none runs.
    Status {
        /// One line of JSON.
        #[arg(long)]
        json: bool,
    },
    /// Start it, if none runs.
    Start,
    /// End it. Turns go on with the next daemon, jobs run on meanwhile.
    Stop {
        /// Do not finish what is being written.
        #[arg(long)]
        now: bool,
    },
    /// End it and start it again. No turn ends, no job dies.
    Restart,
    /// Print its log.
    Logs {
        /// Go on as lines come.
        #[arg(long, short)]
        follow: bool,
    },
    /// Have the system start it.
    #[command(hide = true)]
    Install,
}

/// Carries it out.
///
/// # Errors
///
/// When none runs and one is needed, or it does not do as asked.
pub async fn run(arguments: Arguments, context: &Context) -> Done {
    match arguments.act {
        Act::Status { json } => status(context, json).await,
        Act::Start => running(context).await,
        Act::Stop { now } => {
            let mode = match now {
                true => ShutdownMode::Now,
                false => ShutdownMode::Drain,
            };
            match stop(context, mode).await? {
                Some(pid) => context::progress(format!("process {pid} has ended\n")),
                None => context::progress("no daemon runs\n"),
            }
        }
        Act::Restart => restart(context).await,
        Act::Logs { follow } => logs(context, follow).await,
        Act::Install => later::refuse("quire daemon install"),
    }
}

/// The running daemon, of whatever version; `None` when none runs.
///
/// # Errors
///
/// When one runs that cannot be talked to.
async fn existing(context: &Context) -> Result<Option<Reached>, Failure> {
    let home = &context.host.home;
    let found = Reached::find(home).await?;
    if found.is_some() || !home.lock_file().exists() {
        return Ok(found);
    }
    let start = StartLock::take(home).await?;
    // Whoever held the start lock before us may have started one.
    let found = Reached::find(home).await?;
    if found.is_some() || !start::is_held(home, &start)? {
        return Ok(found);
    }
    Err(no_daemon(format!(
        "a daemon runs (it holds `{}`), but cannot be reached; it makes its socket again within a few seconds: try again",
        home.lock_file().display()
    )))
}

/// Asks the running daemon, which may take [`PATIENCE`] to answer.
async fn ask_status(reached: &Reached) -> Result<DaemonServiceGetStatusResponse, Failure> {
    let mut daemon = reached.daemon();
    let asked = daemon.get_status(DaemonServiceGetStatusRequest {});
    match timeout(PATIENCE, asked).await {
        Ok(Err(status)) if is_lost(&status) => Err(no_daemon(
            "the daemon ended just now: another starts with the next command",
        )),
        Ok(answer) => Ok(answer?.into_inner()),
        Err(_elapsed) => Err(reached.silent()),
    }
}

async fn status(context: &Context, json: bool) -> Done {
    let Some(reached) = existing(context).await? else {
        return Err(no_daemon("no daemon runs: it starts with the next command"));
    };
    let mut status = ask_status(&reached).await?;
    let version = versions::notice(&status.version, &quire_proto::version());
    status.notices.extend(version);
    context::print(match json {
        true => json_line(&status),
        false => text(&status),
    })
}

/// Starts a daemon when none runs, and says which runs then.
async fn running(context: &Context) -> Done {
    let connection = context.connect("daemon").await?;
    context::print(format!(
        "running, process {}\n",
        connection.connection().pid()
    ))
}

/// Ends the running daemon and starts another. A newer one that this client can't talk to is left alone:
/// its successor would be older than what it wrote.
async fn restart(context: &Context) -> Done {
    if let Ok(Some(reached)) = existing(context).await
        && reached.standing() == Standing::Newer
    {
        return Err(versions::too_new(&reached));
    }
    if let Some((_pid, lock)) = end(context, ShutdownMode::Drain).await? {
        // Before the lock falls, or an attached client of another version might be first. What keeps it
        // from starting is told below.
        let _told = start::daemon(&context.host).await;
        drop(lock);
    }
    running(context).await
}

fn text(status: &DaemonServiceGetStatusResponse) -> String {
    let sandbox = status.sandbox.clone().unwrap_or_default();
    let layers = match sandbox.layers.as_slice() {
        [] => String::from("none"),
        layers => layers.join(", "),
    };
    let mut lines = vec![
        format!("process   {}", status.pid),
        format!("version   {}", status.version),
        format!("state     {}", status.state_dir),
        format!("socket    {}", status.socket),
        format!("sessions  {}", status.sessions),
        format!(
            "running   {} turns, {} jobs",
            status.running_turns, status.running_jobs
        ),
        format!("clients   {}", status.clients),
        format!("memory    {} MB", status.resident_bytes / 1_000_000),
        format!("sandbox   {layers}"),
    ];
    for missing in &sandbox.missing {
        lines.push(format!(
            "          no {}: {}",
            missing.name, missing.meaning
        ));
    }
    for notice in &status.notices {
        lines.push(format!("notice    {}", printable(notice)));
    }
    if status.draining {
        lines.push("it is about to end".into());
    }
    lines.join("\n") + "\n"
}

fn json_line(status: &DaemonServiceGetStatusResponse) -> String {
    let sandbox = status.sandbox.clone().unwrap_or_default();
    let missing: Vec<_> = sandbox.missing.iter().map(|layer| &layer.name).collect();
    let value = serde_json::json!({
        "pid": status.pid,
        "version": status.version,
        "instance_id": status.instance_id,
        "started_ms": status.started_ms,
        "state_dir": status.state_dir,
        "socket": status.socket,
        "sessions": status.sessions,
        "running_turns": status.running_turns,
        "running_jobs": status.running_jobs,
        "clients": status.clients,
        "draining": status.draining,
        "resident_bytes": status.resident_bytes,
        "sandbox_layers": sandbox.layers,
        "sandbox_missing": missing,
        "notices": status.notices,
    });
    format!("{value}\n")
}

/// Ends the daemon and waits until its process has gone; `None` when none ran.
///
/// # Errors
///
/// When it refuses, or takes too long.
pub(super) async fn stop(context: &Context, mode: ShutdownMode) -> Result<Option<u32>, Failure> {
    let ended = end(context, mode).await?;
    Ok(ended.map(|(pid, _lock)| pid))
}

/// Ends the daemon, and keeps others from starting one until the lock is dropped.
async fn end(context: &Context, mode: ShutdownMode) -> Result<Option<(u32, StartLock)>, Failure> {
    let home = &context.host.home;
    let Some(found) = existing(context).await.transpose() else {
        return Ok(None);
    };
    // Held so that no client starts a new one while the old one ends.
    let lock = StartLock::take(home).await?;
    let asked = match found {
        Ok(reached) => shut_down(&reached, mode).await,
        Err(failure) => Err(failure),
    };
    let pid = match asked {
        Err(failure) if mode == ShutdownMode::Now => end_by_force(context, failure)?,
        asked => asked?,
    };
    start::wait_for_end(home, &lock).await?;
    Ok(Some((pid, lock)))
}

/// Asks the daemon to end, and names its process.
async fn shut_down(reached: &Reached, mode: ShutdownMode) -> Result<u32, Failure> {
    let request = DaemonServiceShutdownRequest {
        request_id: request_id(),
        mode: mode.into(),
    };
    let mut daemon = reached.daemon();
    match timeout(PATIENCE, daemon.shutdown(request)).await {
        Ok(Ok(answer)) => Ok(answer.into_inner().pid),
        // It has ended meanwhile, or is about to.
        Ok(Err(status)) if is_broken(&status) => Ok(reached.record().pid),
        Ok(Err(status)) => Err(status.into()),
        Err(_elapsed) => Err(reached.silent()),
    }
}

/// Ends a daemon that cannot be asked to; `failure` says why.
fn end_by_force(context: &Context, failure: Failure) -> Result<u32, Failure> {
    let Ok(record) = context.host.home.record() else {
        return Err(failure);
    };
    match force::end(&record) {
        Ok(true) => Ok(record.pid),
        Ok(false) => Err(failure),
        Err(error) => {
            let pid = record.pid;
            Err(no_daemon(format!("cannot end process {pid}: {error}")))
        }
    }
}

async fn logs(context: &Context, follow: bool) -> Done {
    let Some(reached) = existing(context).await? else {
        return context::print(last_lines(&context.host.home.logs())?);
    };
    let request = DaemonServiceTailLogRequest {
        lines: LOG_LINES,
        follow,
    };
    let mut log = reached.daemon().tail_log(request).await?.into_inner();
    while let Some(response) = log.message().await? {
        context::print(format!("{}\n", response.line))?;
    }
    Ok(())
}

/// What the last daemon wrote before it ended.
fn last_lines(directory: &Path) -> Result<String, Failure> {
    let unreadable = |error: io::Error| {
        let path = directory.display();
        no_daemon(format!(
            "no daemon runs, and `{path}` cannot be read: {error}"
        ))
    };
    let entries = fs::read_dir(directory).map_err(unreadable)?;
    let files = entries.filter_map(|entry| {
        let entry = entry.ok()?;
        let metadata = entry.metadata().ok().filter(fs::Metadata::is_file)?;
        Some((metadata.modified().ok()?, entry.path()))
    });
    let Some((_, newest)) = files.max() else {
        return Ok(String::new());
    };
    let text = fs::read(&newest).map_err(unreadable)?;
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<_> = text.lines().collect();
    let shown = lines.len().saturating_sub(LOG_LINES as usize);
    Ok(lines[shown..]
        .iter()
        .map(|line| format!("{line}\n"))
        .collect())
}
