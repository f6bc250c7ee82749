//! The warden: first process of a tree. It makes the surroundings, starts the command, reaps what
//! is orphaned, passes signals on, and ends when the command does, with everything else.

use std::{
    fs, io,
    os::{
        fd::{AsFd, OwnedFd},
        unix::process::CommandExt,
    },
    path::PathBuf,
    process::{Command, exit},
};

use quire_sandbox::{
    report::{Missing, Report},
    spec::{Layer, Size},
};
use rustix::{
    event::{PollFd, PollFlags, poll},
    fs::{Mode, OFlags},
    io::Errno,
    net::{
        AddressFamily, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketType,
        recv, send, sendmsg, socket,
    },
    process::{
        DumpableBehavior, Pid, Resource, Rlimit, Signal, WaitOptions, WaitStatus, getgid, getuid,
        kill_process, kill_process_group, setrlimit, setsid, wait,
    },
    pty::{OpenptFlags, ioctl_tiocgptpeer, unlockpt},
    stdio::{dup2_stderr, dup2_stdin, dup2_stdout},
    termios::{Winsize, tcsetwinsize},
    thread::{CapabilitySet, CapabilitySets},
};

use super::{
    expendable::Expendable,
    fence::Fence,
    filter::{self, Around},
    mounts,
    plan::Plan,
    sys::{self, Descriptors},
    tree::{End, Failure, Launch, NotStarted, Start, Streams, TERMINATE, Word},
};

/// Who the user is outside of any namespace: inside a new one nobody has a name yet.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ids {
    user: u32,
    group: u32,
}

impl Ids {
    /// Those of this process.
    pub(crate) fn own() -> Self {
        Self {
            user: getuid().as_raw(),
            group: getgid().as_raw(),
        }
    }
}

/// Runs as the warden of `launch`; never returns.
pub(crate) fn main(launch: &Launch, start: Start, ids: Ids, control: OwnedFd) -> ! {
    match prepare(launch, start, ids, &control) {
        Ok((main, signals)) => {
            // Copies of what is the keeper's would hide its death from those connected to it.
            let kept: Vec<_> = [control.as_fd(), signals.as_fd()]
                .into_iter()
                .chain(launch.note.as_ref().map(AsFd::as_fd))
                .collect();
            let Ok(mut kept) = sys::keep_only(&kept).map(Vec::into_iter) else {
                exit(1)
            };
            let (Some(control), Some(signals)) = (kept.next(), kept.next()) else {
                exit(1)
            };
            let mut warden = Warden {
                main,
                own_namespace: start == Start::Namespaces,
                control,
                signals,
                _note: kept.next(),
                ended: None,
                terminating: false,
            };
            warden.watch()
        }
        Err(word) => {
            tell(&control, &word);
            exit(0)
        }
    }
}

fn failed(failure: Failure, message: impl Into<String>) -> Word {
    Word::Failed(NotStarted::new(failure, message))
}

fn tell(control: &OwnedFd, word: &Word) {
    let bytes = serde_json::to_vec(word).expect("these types have only JSON's own shapes");
    // When nobody listens any more, the end of the connection ends the tree.
    let _ = send(control, &bytes, SendFlags::NOSIGNAL);
}

/// Makes the surroundings and starts the command.
fn prepare(
    launch: &Launch,
    start: Start,
    ids: Ids,
    control: &OwnedFd,
) -> Result<(Pid, OwnedFd), Word> {
    let system =
        |error: io::Error| failed(Failure::System, format!("cannot set up a process: {error}"));
    // Before the view hides it, and as who we are.
    let expendable = Expendable::open();
    // Should the keeper be killed, the kernel tells us; by then nobody may be left to tell it.
    rustix::process::set_parent_process_death_signal(Some(Signal::TERM))
        .map_err(|error| system(error.into()))?;
    let mut report = Report::default();
    match (&launch.plan, start) {
        (Some(plan), Start::Namespaces) => {
            namespaces(plan, ids, &mut report).map_err(Word::NoNamespaces)?
        }
        (Some(plan), _) => report.missing.extend(plan.weaknesses.iter().cloned()),
        (None, _) => {}
    }
    if start != Start::Namespaces {
        rustix::process::set_child_subreaper(Some(rustix::process::getpid()))
            .map_err(|error| system(error.into()))?;
    }
    let terminal = match &launch.streams {
        Streams::Terminal(size) => Some(terminal(*size, control).map_err(|error| {
            failed(Failure::System, format!("cannot make a terminal: {error}"))
        })?),
        Streams::Inherit | Streams::Given { .. } => None,
    };
    let signals = sys::signals_as_descriptor(&[
        libc::SIGCHLD,
        libc::SIGTERM,
        libc::SIGHUP,
        libc::SIGINT,
        libc::SIGQUIT,
    ])
    .map_err(system)?;
    expendable.set();
    match sys::fork(0).map_err(system)? {
        Some(main) => {
            expendable.restore();
            // Nobody inside may look into this process.
            let _ = rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable);
            Ok((main, signals))
        }
        None => command(launch, start, control, terminal, report),
    }
}

/// Enters what the new namespaces need: maps, loopback, view.
fn namespaces(plan: &Plan, Ids { user, group }: Ids, report: &mut Report) -> Result<(), String> {
    let text = |what: &'static str| move |error: io::Error| format!("cannot {what}: {error}");
    // The user keeps the same number inside.
    fs::write("/proc/self/setgroups", "deny").map_err(text("map groups"))?;
    fs::write("/proc/self/uid_map", format!("{user} {user} 1")).map_err(text("map the user"))?;
    fs::write("/proc/self/gid_map", format!("{group} {group} 1")).map_err(text("map the group"))?;
    if plan.offline {
        let up = socket(AddressFamily::INET, SocketType::DGRAM, None)
            .map_err(io::Error::from)
            .and_then(|socket| sys::raise_loopback(socket.as_fd()));
        up.map_err(text("bring up the loopback interface"))?;
    }
    let weaknesses = mounts::enter(plan).map_err(|error| error.to_string())?;
    report.held.push("namespaces".to_owned());
    report.missing.extend(plan.weaknesses.iter().cloned());
    report
        .missing
        .extend(weaknesses.into_iter().map(|meaning| Missing {
            layer: Layer::Namespaces,
            whole: false,
            meaning,
            remedy: "run outside the container, or let it uncover `/proc`".to_owned(),
        }));
    Ok(())
}

/// Makes a terminal, sends the outer end out, and returns the inner one.
fn terminal(size: Size, control: &OwnedFd) -> io::Result<OwnedFd> {
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    let outer = rustix::fs::open(
        "/dev/ptmx",
        OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC,
        Mode::empty(),
    )?;
    unlockpt(&outer)?;
    let inner = ioctl_tiocgptpeer(&outer, flags)?;
    tcsetwinsize(
        &inner,
        Winsize {
            ws_row: size.rows,
            ws_col: size.columns,
            ws_xpixel: 0,
            ws_ypixel: 0,
        },
    )?;
    let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    let descriptors = [outer.as_fd()];
    ancillary.push(SendAncillaryMessage::ScmRights(&descriptors));
    let bytes = serde_json::to_vec(&Word::Terminal)?;
    sendmsg(
        control,
        &[io::IoSlice::new(&bytes)],
        &mut ancillary,
        SendFlags::NOSIGNAL,
    )?;
    Ok(inner)
}

/// Turns into the command; never returns.
fn command(
    launch: &Launch,
    start: Start,
    control: &OwnedFd,
    terminal: Option<OwnedFd>,
    mut report: Report,
) -> ! {
    let error = match confine(launch, start, terminal, &mut report) {
        Ok(()) => match report.lacks(&launch.require) {
            None => {
                tell(control, &Word::Ready(report));
                execute(launch)
            }
            Some(missing) => {
                let message = format!(
                    "the layer `{}` is required but can't be had: {}",
                    missing.layer, missing.meaning
                );
                NotStarted {
                    report,
                    ..NotStarted::new(Failure::Required, message)
                }
            }
        },
        Err(error) => error,
    };
    let code = error.failure.code();
    tell(control, &Word::Failed(error));
    exit(code)
}

fn confine(
    launch: &Launch,
    start: Start,
    terminal: Option<OwnedFd>,
    report: &mut Report,
) -> Result<(), NotStarted> {
    let system = |error: io::Error| {
        NotStarted::new(Failure::System, format!("cannot set up a process: {error}"))
    };
    setsid().map_err(|error| system(error.into()))?;
    streams(launch, terminal).map_err(system)?;
    rustix::process::umask(Mode::from_raw_mode(launch.umask));
    limit(launch, start);
    if launch.plan.is_some() {
        let _ = sys::leave_keyring();
    }
    let (cwd, program) = (&launch.cwd, launch.argv.first().map_or("", String::as_str));
    rustix::process::chdir(cwd).map_err(|error| {
        NotStarted::new(
            Failure::NotFound,
            format!("cannot enter `{}`: {error}", cwd.display()),
        )
    })?;
    if program.is_empty() {
        return Err(NotStarted::new(Failure::NotFound, "no command was given"));
    }
    if let Some(plan) = &launch.plan {
        drop_privileges().map_err(|error| system(error.into()))?;
        let fence = match start {
            Start::Namespaces => Fence::with_view(plan),
            Start::Fenced | Start::Unconfined => Fence::without_view(plan, plan.scratch.as_deref()),
        };
        fence.close(report);
        filter::install(
            Around {
                namespaces: start == Start::Namespaces,
                offline: plan.offline,
            },
            report,
        );
    }
    Ok(())
}

fn streams(launch: &Launch, terminal: Option<OwnedFd>) -> io::Result<()> {
    if let Some(terminal) = terminal {
        rustix::process::ioctl_tiocsctty(&terminal)?;
        dup2_stdin(&terminal)?;
        dup2_stdout(&terminal)?;
        dup2_stderr(&terminal)?;
    } else if let Streams::Given {
        stdin,
        stdout,
        stderr,
    } = &launch.streams
    {
        dup2_stdin(stdin)?;
        dup2_stdout(stdout)?;
        dup2_stderr(stderr)?;
    }
    Ok(())
}

fn limit(launch: &Launch, start: Start) {
    let most = |value: u64| Rlimit {
        current: Some(value),
        maximum: Some(value),
    };
    // A lower limit that is already in force stays: raising it is refused, which is what we want.
    let _ = setrlimit(Resource::Core, most(0));
    if launch.plan.is_some() {
        let _ = setrlimit(Resource::Fsize, most(launch.limits.file_bytes));
    }
    // Counted for a user within a user namespace. Outside it would count the user's whole desktop.
    if start == Start::Namespaces {
        let _ = setrlimit(Resource::Nproc, most(launch.limits.processes));
    }
}

/// Gives up every capability, also those that user 0 would get back at exec.
fn drop_privileges() -> rustix::io::Result<()> {
    for capability in CapabilitySet::all().iter() {
        match rustix::thread::remove_capability_from_bounding_set(capability) {
            // Unknown to this kernel, or not ours to drop: then exec gives none either.
            Ok(()) | Err(Errno::INVAL | Errno::PERM) => {}
            Err(error) => return Err(error),
        }
    }
    let _ = rustix::thread::clear_ambient_capability_set();
    let none = CapabilitySets {
        effective: CapabilitySet::empty(),
        permitted: CapabilitySet::empty(),
        inheritable: CapabilitySet::empty(),
    };
    rustix::thread::set_capabilities(None, none)?;
    rustix::thread::set_no_new_privs(true)
}

fn execute(launch: &Launch) -> NotStarted {
    sys::default_signals();
    if let Err(error) = sys::release_descriptors(Descriptors::CloseOnExec) {
        return NotStarted::new(
            Failure::System,
            format!("cannot close descriptors: {error}"),
        );
    }
    let mut command = Command::new(&launch.argv[0]);
    command
        .args(&launch.argv[1..])
        .env_clear()
        .envs(&launch.environment);
    for (name, value) in launch.plan.iter().flat_map(|plan| &plan.environment) {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    let error = command.exec();
    let failure = if error.kind() == io::ErrorKind::NotFound {
        Failure::NotFound
    } else {
        Failure::NotExecutable
    };
    NotStarted::new(failure, format!("cannot run `{}`: {error}", launch.argv[0]))
}

struct Warden {
    main: Pid,
    /// True when it is the first process of its own process namespace.
    own_namespace: bool,
    control: OwnedFd,
    signals: OwnedFd,
    /// Locked as long as this process lives.
    _note: Option<OwnedFd>,
    ended: Option<End>,
    /// Everybody was asked to end and has time for it, also when the command ends first.
    terminating: bool,
}

impl Warden {
    fn watch(&mut self) -> ! {
        loop {
            let alone = self.reap();
            if let Some(end) = self.ended
                && (alone || !self.terminating)
            {
                self.finish(Some(end));
            }
            let mut descriptors = [
                PollFd::new(&self.control, PollFlags::IN),
                PollFd::new(&self.signals, PollFlags::IN),
            ];
            if poll(&mut descriptors, None).is_err() {
                continue;
            }
            let (asked, signalled) = (
                !descriptors[0].revents().is_empty(),
                !descriptors[1].revents().is_empty(),
            );
            if signalled {
                self.read_signals();
            }
            if asked {
                self.obey();
            }
        }
    }

    /// Takes note of those who have ended; true when nobody is left.
    fn reap(&mut self) -> bool {
        loop {
            match wait(WaitOptions::NOHANG) {
                Ok(Some((pid, status))) if pid == self.main => self.ended = end(status),
                Ok(Some(_)) | Err(Errno::INTR) => {}
                Ok(None) => return false,
                Err(_) => return true,
            }
        }
    }

    fn obey(&mut self) {
        let mut byte = [0];
        match recv(&self.control, &mut byte[..], RecvFlags::DONTWAIT) {
            Ok((1.., _)) if byte[0] == TERMINATE => {
                self.terminating = true;
                self.signal(libc::SIGTERM as u8);
                // A stopped process would not hear the other one.
                self.signal(libc::SIGCONT as u8);
            }
            Ok((1.., _)) => {
                self.terminating &= i32::from(byte[0]) != libc::SIGKILL;
                self.signal(byte[0]);
            }
            Err(Errno::AGAIN | Errno::INTR) => {}
            // Whoever started us is gone.
            Ok((0, _)) | Err(_) => self.finish(None),
        }
    }

    fn read_signals(&mut self) {
        // SIGCHLD only wakes; the rest come from outside, or from the kernel when the parent died:
        // both mean the end.
        if sys::read_signals(&self.signals)
            .iter()
            .any(|signal| i32::from(*signal) != libc::SIGCHLD)
        {
            self.finish(None);
        }
    }

    fn signal(&self, number: u8) {
        let Some(signal) = Signal::from_named_raw(i32::from(number)) else {
            return;
        };
        if self.own_namespace {
            let _ = kill_process_group(everybody(), signal);
        } else {
            for pid in descendants() {
                let _ = kill_process(pid, signal);
            }
        }
    }

    /// Kills what is left, waits until it is gone, tells, and ends.
    fn finish(&mut self, end: Option<End>) -> ! {
        if self.own_namespace {
            let _ = kill_process_group(everybody(), Signal::KILL);
            while !matches!(wait(WaitOptions::empty()), Err(Errno::CHILD)) {}
        } else {
            kill_descendants();
        }
        if let Some(end) = end {
            tell(&self.control, &Word::Ended(end));
        }
        exit(0)
    }
}

/// As a "process group" this makes `kill(-1)`: everybody in the namespace but its first process.
fn everybody() -> Pid {
    Pid::INIT
}

fn end(status: WaitStatus) -> Option<End> {
    status
        .exit_status()
        .map(End::Code)
        .or(status.terminating_signal().map(End::Signal))
}

/// Kills every process below this one, also those made meanwhile, and waits until none is left.
/// This process must be a subreaper, or have no grandchildren.
pub(crate) fn kill_descendants() {
    loop {
        match wait(WaitOptions::NOHANG) {
            Ok(Some(_)) | Err(Errno::INTR) => {}
            Err(_) => return,
            Ok(None) => {
                for pid in descendants() {
                    let _ = kill_process(pid, Signal::KILL);
                }
                // An error here is told again by the next look.
                let _ = wait(WaitOptions::empty());
            }
        }
    }
}

/// Every process below this one, as `/proc` tells it at this moment.
fn descendants() -> Vec<Pid> {
    let mut parents: Vec<(i32, i32)> = Vec::new();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Some(pid) = entry
            .file_name()
            .to_str()
            .and_then(|name| name.parse::<i32>().ok())
        else {
            continue;
        };
        let stat = fs::read_to_string(PathBuf::from("/proc").join(pid.to_string()).join("stat"))
            .unwrap_or_default();
        let parent = stat
            .rsplit_once(") ")
            .and_then(|(_, rest)| rest.split(' ').nth(1)?.parse().ok());
        parents.extend(parent.map(|parent| (pid, parent)));
    }
    let mut found = vec![rustix::process::getpid().as_raw_nonzero().get()];
    let mut next = 0;
    while let Some(parent) = found.get(next).copied() {
        found.extend(
            parents
                .iter()
                .filter(|(_, above)| *above == parent)
                .map(|(pid, _)| *pid),
        );
        next += 1;
    }
    found
        .into_iter()
        .skip(1)
        .filter_map(Pid::from_raw)
        .collect()
}
