//! Starts a confined tree of processes and speaks with its warden: the outside half.

use std::{
    collections::BTreeMap,
    fs, io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    path::{Path, PathBuf},
};

use quire_sandbox::{
    report::{Missing, Report},
    spec::{JobSpec, Layer, Limits, Mode, Size},
};
use rustix::{
    io::Errno,
    net::{
        AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendFlags,
        SocketFlags, SocketType, recvmsg, send, socketpair,
    },
    process::{Pid, Signal, WaitOptions, kill_process, waitpid},
};
use serde::{Deserialize, Serialize};

use super::{
    cgroup::Cgroup,
    placeholder::Placeholder,
    plan::{Plan, plan},
    sys, warden,
};

/// Where a command's standard streams lead.
#[derive(Debug)]
pub(crate) enum Streams {
    /// Where ours do.
    Inherit,
    /// To these.
    Given {
        stdin: OwnedFd,
        stdout: OwnedFd,
        stderr: OwnedFd,
    },
    /// To a terminal made inside.
    Terminal(Size),
}

/// What is to be run.
#[derive(Debug)]
pub(crate) struct Launch {
    pub(crate) argv: Vec<String>,
    pub(crate) cwd: PathBuf,
    pub(crate) environment: BTreeMap<String, String>,
    pub(crate) umask: u32,
    pub(crate) limits: Limits,
    pub(crate) require: Vec<Layer>,
    pub(crate) streams: Streams,
    /// `None` for no confinement.
    pub(crate) plan: Option<Plan>,
    /// A control group that may be made for the tree, where nothing else holds it together.
    pub(crate) cgroup: Option<PathBuf>,
    /// Kept open as long as anything of the tree lives.
    pub(crate) note: Option<fs::File>,
}

impl Launch {
    /// Plans what a job's specification asks for.
    ///
    /// # Errors
    ///
    /// Why it cannot be run.
    pub(crate) fn new(spec: &JobSpec, streams: Streams) -> Result<Self, NotStarted> {
        let plan = match spec.profile.mode {
            Mode::FullAccess => None,
            Mode::ReadOnly | Mode::WorkspaceWrite => {
                let planned = plan(&spec.profile, &spec.environment);
                Some(planned.map_err(|error| NotStarted::new(Failure::Profile, describe(&error)))?)
            }
        };
        Ok(Self {
            argv: spec.argv.clone(),
            cwd: spec.cwd.clone(),
            environment: spec.environment.clone(),
            umask: spec.umask,
            limits: spec.limits.clone(),
            require: spec.profile.require.clone(),
            streams,
            plan,
            cgroup: None,
            note: None,
        })
    }
}

/// An error and its causes on one line.
pub(crate) fn describe(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

/// Why no command runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Failure {
    /// The profile makes no sense here.
    Profile,
    /// A layer that must hold does not.
    Required,
    /// There is no such program or directory.
    NotFound,
    /// It is there but can't be run.
    NotExecutable,
    /// The system refused a process.
    System,
}

impl Failure {
    /// The exit code that says so.
    pub(crate) fn code(self) -> i32 {
        match self {
            Self::Profile => 2,
            Self::Required => 7,
            Self::NotFound => 127,
            Self::NotExecutable | Self::System => 126,
        }
    }
}

/// A command that was not started.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub(crate) struct NotStarted {
    pub(crate) failure: Failure,
    pub(crate) message: String,
    /// What was found out about the layers.
    pub(crate) report: Report,
}

impl NotStarted {
    pub(crate) fn new(failure: Failure, message: impl Into<String>) -> Self {
        Self {
            failure,
            message: message.into(),
            report: Report::default(),
        }
    }
}

/// How the command itself ended. The rest of its tree is gone then, too.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum End {
    Code(i32),
    Signal(i32),
}

/// What the warden tells.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Word {
    /// Namespaces or the view could not be had; nothing ran, and the warden is gone.
    NoNamespaces(String),
    /// The command is about to run, confined like this.
    Ready(Report),
    /// The terminal's other end comes with this.
    Terminal,
    /// The command was not started.
    Failed(NotStarted),
    /// The command ended and nothing of its tree is left.
    Ended(End),
}

/// Tells the warden to let everybody end by SIGTERM. Until it is told to send SIGKILL it waits for
/// all of them, also when the command itself ends sooner.
pub(crate) const TERMINATE: u8 = 0xff;

/// What the warden is told: one byte, the number of a signal for the whole tree, or [`TERMINATE`].
pub(crate) fn order(control: BorrowedFd<'_>, signal: u8) -> io::Result<()> {
    send(control, &[signal], SendFlags::NOSIGNAL)?;
    Ok(())
}

/// How a tree came to its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Finish {
    /// The command ended like this.
    Ended(End),
    /// The program could not be run after all.
    NotStarted(NotStarted),
    /// The warden was killed, and the tree with it.
    Lost,
}

/// A running command with all its processes. Dropping it kills them.
#[derive(Debug)]
pub(crate) struct Tree {
    warden: Pid,
    control: OwnedFd,
    /// What confines it.
    pub(crate) report: Report,
    /// Our end of its terminal.
    pub(crate) terminal: Option<OwnedFd>,
    cgroup: Option<Cgroup>,
    /// Removed when the tree is gone.
    _placeholders: Vec<Placeholder>,
    _temporary: Option<Temporary>,
}

impl Tree {
    /// Starts the command, with as many layers as can be had.
    ///
    /// # Errors
    ///
    /// Why nothing runs.
    pub(crate) fn start(mut launch: Launch) -> Result<Self, NotStarted> {
        let held: Vec<_> = launch
            .plan
            .iter()
            .flat_map(|plan| &plan.placeholders)
            .filter_map(|(path, shape)| Placeholder::hold(path, *shape))
            .collect();
        let Some(plan) = &launch.plan else {
            return Self::attempt(&launch, Start::Unconfined, held, None)
                .map_err(Stopped::into_failure);
        };
        make_scratch(plan).map_err(|error| {
            NotStarted::new(
                Failure::System,
                format!("cannot make a scratch directory: {error}"),
            )
        })?;
        let why = match Self::attempt(&launch, Start::Namespaces, held, None) {
            Ok(tree) => return Ok(tree),
            Err(Stopped::Failed(failure)) => return Err(failure),
            Err(Stopped::NoNamespaces(why)) => why,
        };
        let missing = no_namespaces(&why);
        if launch.require.contains(&Layer::Namespaces) {
            let report = Report {
                held: Vec::new(),
                missing: vec![missing],
            };
            let message = format!("the layer `namespaces` is required but can't be had: {why}");
            return Err(NotStarted {
                report,
                ..NotStarted::new(Failure::Required, message)
            });
        }
        let temporary = Temporary::beside(&mut launch).map_err(|error| {
            NotStarted::new(
                Failure::System,
                format!("cannot make a scratch directory: {error}"),
            )
        })?;
        let mut tree = Self::attempt(&launch, Start::Fenced, Vec::new(), temporary)
            .map_err(Stopped::into_failure)?;
        tree.report.missing.insert(0, missing);
        Ok(tree)
    }

    fn attempt(
        launch: &Launch,
        start: Start,
        placeholders: Vec<Placeholder>,
        temporary: Option<Temporary>,
    ) -> Result<Self, Stopped> {
        let system = |error: Errno| {
            Stopped::Failed(NotStarted::new(
                Failure::System,
                format!("cannot start a process: {error}"),
            ))
        };
        let (control, inside) = socketpair(
            AddressFamily::UNIX,
            SocketType::SEQPACKET,
            SocketFlags::CLOEXEC,
            None,
        )
        .map_err(system)?;
        let flags = match start {
            Start::Unconfined | Start::Fenced => 0,
            Start::Namespaces if launch.plan.as_ref().is_some_and(|plan| plan.offline) => {
                sys::NAMESPACES | sys::NETWORK
            }
            Start::Namespaces => sys::NAMESPACES,
        };
        let ids = warden::Ids::own();
        // A process namespace holds its own together.
        let cgroup = launch.cgroup.as_deref().filter(|_| flags == 0);
        let cgroup = cgroup.and_then(|path| Cgroup::make(path).ok());
        let into = cgroup.as_ref().map(|cgroup| cgroup.fork());
        let (cgroup, forked) = match into {
            Some(Ok(forked)) => (cgroup, Ok(forked)),
            // Where processes may not be put into it, it is of no use.
            Some(Err(_)) | None => (None, sys::fork(flags)),
        };
        let warden = match forked {
            Ok(Some(warden)) => warden,
            Ok(None) => {
                drop(control);
                warden::main(launch, start, ids, inside)
            }
            Err(error) if flags != 0 => return Err(Stopped::NoNamespaces(error.to_string())),
            Err(error) => return Err(system(Errno::from_io_error(&error).unwrap_or(Errno::AGAIN))),
        };
        drop(inside);
        let mut tree = Self {
            warden,
            control,
            report: Report::default(),
            terminal: None,
            cgroup,
            _placeholders: placeholders,
            _temporary: temporary,
        };
        loop {
            match tree.hear() {
                Ok(Word::Ready(report)) => {
                    tree.report = report;
                    return Ok(tree);
                }
                Ok(Word::Terminal) => {}
                Ok(Word::NoNamespaces(why)) => return Err(Stopped::NoNamespaces(why)),
                Ok(Word::Failed(failure)) => return Err(Stopped::Failed(failure)),
                Ok(Word::Ended(_)) => return Err(system(Errno::CHILD)),
                Err(error) => {
                    return Err(Stopped::Failed(NotStarted::new(
                        Failure::System,
                        format!("the sandbox ended early: {error}"),
                    )));
                }
            }
        }
    }

    /// Readable when the warden has something to tell, or is gone.
    pub(crate) fn descriptor(&self) -> BorrowedFd<'_> {
        self.control.as_fd()
    }

    /// Sends a signal to every process of the tree.
    pub(crate) fn signal(&self, signal: u8) {
        // A warden that is gone has nothing left to signal.
        let _ = order(self.control.as_fd(), signal);
    }

    /// The next word of the warden; blocks.
    ///
    /// # Errors
    ///
    /// `UnexpectedEof` when the warden is gone.
    pub(crate) fn hear(&mut self) -> io::Result<Word> {
        let mut bytes = vec![0; 64 << 10];
        let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut ancillary = RecvAncillaryBuffer::new(&mut space);
        let mut buffers = [io::IoSliceMut::new(&mut bytes)];
        let received = loop {
            match recvmsg(
                &self.control,
                &mut buffers,
                &mut ancillary,
                RecvFlags::CMSG_CLOEXEC,
            ) {
                // A warden that ends before it has read every order resets the connection, and that
                // is told, once, before its last word.
                Err(Errno::INTR | Errno::CONNRESET) => {}
                result => break result?,
            }
        };
        for message in ancillary.drain() {
            if let RecvAncillaryMessage::ScmRights(descriptors) = message {
                self.terminal = descriptors.last().or(self.terminal.take());
            }
        }
        if received.bytes == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(serde_json::from_slice(&bytes[..received.bytes])?)
    }

    /// How the command ended, once [`descriptor`](Self::descriptor) is readable; waits until
    /// nothing of the tree is left.
    pub(crate) fn end(&mut self) -> Finish {
        let finish = match self.hear() {
            Ok(Word::Ended(end)) => Finish::Ended(end),
            Ok(Word::Failed(failure)) => Finish::NotStarted(failure),
            _ => Finish::Lost,
        };
        self.clear();
        finish
    }

    fn clear(&mut self) {
        if let Some(cgroup) = &self.cgroup {
            cgroup.kill();
        }
        let _ = kill_process(self.warden, Signal::KILL);
        // The kernel lets the first process of a namespace end only after all others.
        while matches!(
            waitpid(Some(self.warden), WaitOptions::empty()),
            Err(Errno::INTR)
        ) {}
        // Without a namespace, what the warden left behind has come to us.
        warden::kill_descendants();
    }
}

impl Drop for Tree {
    fn drop(&mut self) {
        self.clear();
    }
}

/// How much a warden tries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Start {
    /// No confinement at all.
    Unconfined,
    /// Every layer.
    Namespaces,
    /// Every layer but namespaces.
    Fenced,
}

enum Stopped {
    NoNamespaces(String),
    Failed(NotStarted),
}

impl Stopped {
    fn into_failure(self) -> NotStarted {
        match self {
            Self::NoNamespaces(why) => NotStarted::new(Failure::System, why),
            Self::Failed(failure) => failure,
        }
    }
}

fn no_namespaces(why: &str) -> Missing {
    Missing {
        layer: Layer::Namespaces,
        whole: true,
        meaning: format!(
            "no view of files and processes of its own ({why}): secrets in the workspace can be read, other processes and file attributes seen, nothing new made beside protected entries, and no sockets used"
        ),
        remedy: "allow unprivileged user namespaces (sysctl `user.max_user_namespaces`, `kernel.unprivileged_userns_clone=1`, `kernel.apparmor_restrict_unprivileged_userns=0`), or run outside a container that forbids them".to_owned(),
    }
}

fn make_scratch(plan: &Plan) -> io::Result<()> {
    let Some(scratch) = &plan.scratch else {
        return Ok(());
    };
    for name in ["home", "tmp", "var-tmp"] {
        make_private(&scratch.join(name))?;
    }
    Ok(())
}

fn make_private(path: &Path) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
}

/// A scratch directory of one command, where there is no view to make one in.
#[derive(Debug)]
struct Temporary(PathBuf);

impl Temporary {
    /// Gives a launch without scratch one, and points the command's variables to it.
    fn beside(launch: &mut Launch) -> io::Result<Option<Self>> {
        let Some(plan) = &mut launch.plan else {
            return Ok(None);
        };
        let made = match &plan.scratch {
            Some(_) => None,
            None => {
                let path = PathBuf::from(format!("/tmp/quire-sandbox-{}", std::process::id()));
                // Only if it is new: whoever made it before us could look into it.
                rustix::fs::mkdir(&path, rustix::fs::Mode::RWXU)?;
                plan.scratch = Some(path.clone());
                Some(Self(path))
            }
        };
        make_scratch(plan)?;
        let scratch = plan.scratch.clone().unwrap_or_default();
        for (name, part) in [("HOME", "home"), ("TMPDIR", "tmp")] {
            plan.environment
                .insert(name, Some(scratch.join(part).display().to_string()));
        }
        Ok(made)
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}
