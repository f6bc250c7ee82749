//! The `keep` form: owns one job from its start to its exit record, whatever becomes of the daemon.
//!
//! Making the job's directory is the start of the job. From then on the keeper answers on a socket
//! in it, keeps the output there, and at the end leaves the exit record: only when nothing of the
//! command's tree is left.

mod asked;
mod client;
mod conclude;
mod input;
mod output;
mod reserve;
mod settle;

use std::{
    fs::File,
    io,
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::net::{UnixListener, UnixStream},
    },
    path::Path,
    time::{Duration, Instant},
};

use quire_sandbox::{
    job::Stream,
    record::JobRecord,
    remnant::Remnants,
    report::Report,
    spec::{JobSpec, Stdin},
    wire::{Decoder, Event, Started, WIRE},
};
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::Errno,
    pipe::{PipeFlags, pipe_with},
};

use self::{
    asked::Asked,
    client::Client,
    input::Input,
    output::Output,
    reserve::Reserve,
    settle::{Began, Home, receive_spec, settle},
};
use crate::{
    complain,
    confine::{
        cgroup, sys,
        tree::{Failure, Finish, Launch, NotStarted, Streams, TERMINATE, Tree},
    },
};

/// Between SIGTERM and SIGKILL.
const GRACE: Duration = Duration::from_secs(5);
/// Most connections at once; more wait to be accepted.
const MOST_CLIENTS: usize = 64;

/// Runs the form: the specification comes over descriptor 0, which stays the first connection.
pub(crate) fn keep() -> i32 {
    let first = match rustix::io::dup(rustix::stdio::stdin()) {
        Ok(first) => UnixStream::from(first),
        Err(error) => {
            complain(&format!("descriptor 0 must be a connection: {error}"));
            return 2;
        }
    };
    let (spec, decoder) = match receive_spec(&first) {
        Ok(received) => received,
        Err(error) => {
            complain(&format!("cannot read the specification of a job: {error}"));
            return 2;
        }
    };
    let began = Began::now();
    let equipped = Equipment::get(&spec, &first, decoder)
        .map_err(|error| Event::Refused(format!("cannot keep a job: {error}")));
    // Whatever can fail without having run anything is done before the job's directory is there.
    let ready = equipped.and_then(|equipment| {
        settle(&spec, began).map(|home| Keeper::start(&spec, home, began, equipment))
    });
    match ready {
        Ok(mut keeper) => keeper.run(),
        Err(refusal) => {
            let _ = io::Write::write_all(&mut &first, &refusal.encode());
            1
        }
    }
}

/// Where output comes from.
struct Source {
    descriptor: OwnedFd,
    stream: Stream,
}

/// What a keeper needs besides its home.
struct Equipment {
    streams: Streams,
    sources: Vec<Source>,
    input: Option<OwnedFd>,
    client: Client,
    signals: OwnedFd,
}

impl Equipment {
    fn get(spec: &JobSpec, first: &UnixStream, decoder: Decoder) -> io::Result<Self> {
        let (streams, sources, input) = plumbing(spec)?;
        Ok(Self {
            streams,
            sources,
            input,
            client: Client::new(first.try_clone()?, decoder)?,
            // Before the tree, so that no signal can part us from it.
            signals: sys::signals_as_descriptor(&[libc::SIGTERM, libc::SIGINT, libc::SIGHUP])?,
        })
    }
}

struct Keeper {
    listener: UnixListener,
    began: Began,
    job: JobRecord,
    tree: Option<Tree>,
    finish: Option<Finish>,
    report: Report,
    output: Output,
    reserve: Reserve,
    sources: Vec<Source>,
    input: Input,
    clients: Vec<Client>,
    asked: Asked,
    signals: OwnedFd,
    stop: Stop,
}

/// What ends the job before its command does.
#[derive(Default)]
struct Stop {
    /// When its time is up.
    wall: Option<Instant>,
    /// When SIGKILL follows SIGTERM.
    kill: Option<Instant>,
    timed_out: bool,
    asked: bool,
}

impl Keeper {
    fn start(spec: &JobSpec, home: Home, began: Began, equipment: Equipment) -> Self {
        let started = Launch::new(spec, equipment.streams)
            .and_then(|launch| note(launch, spec, &home.directory))
            .and_then(Tree::start);
        let mut keeper = Self {
            listener: home.listener,
            began,
            job: home.job,
            tree: None,
            finish: None,
            report: Report::default(),
            output: home.output,
            reserve: home.reserve,
            sources: equipment.sources,
            input: Input::new(equipment.input),
            clients: vec![equipment.client],
            asked: Asked::default(),
            signals: equipment.signals,
            stop: Stop {
                wall: spec.limits.wall.map(|wall| began.instant + wall),
                ..Stop::default()
            },
        };
        match started {
            Ok(tree) => {
                if keeper.take(tree).is_err() {
                    // A tree that is not taken is gone, and nobody knows how far it came.
                    keeper.finish = Some(Finish::Lost);
                }
            }
            Err(error) => {
                keeper.report.clone_from(&error.report);
                keeper.finish = Some(Finish::NotStarted(error));
            }
        }
        keeper
    }

    fn take(&mut self, mut tree: Tree) -> io::Result<()> {
        if let Some(terminal) = tree.terminal.take() {
            set_nonblocking(&terminal)?;
            self.input = Input::new(Some(terminal.try_clone()?));
            self.sources.push(Source {
                descriptor: terminal,
                stream: Stream::Stdout,
            });
        }
        self.report.clone_from(&tree.report);
        self.tree = Some(tree);
        let started = self.started();
        self.tell(&started);
        Ok(())
    }

    fn run(&mut self) -> i32 {
        // What came together with the specification wakes nobody.
        self.answer(0);
        while self.finish.is_none() {
            self.turn();
        }
        self.drain();
        self.conclude()
    }

    /// Waits until something can be done, and does it.
    fn turn(&mut self) {
        let ready = self.wait();
        if ready.tree
            && let Some(tree) = &mut self.tree
        {
            self.finish = Some(tree.end());
        }
        if ready.signalled {
            for _ in sys::read_signals(&self.signals) {
                self.stop();
            }
        }
        for index in ready.sources.into_iter().rev() {
            if !self.read(index) {
                self.sources.remove(index);
            }
        }
        self.input.feed();
        if ready.listener
            && let Ok((stream, _)) = self.listener.accept()
        {
            self.welcome(stream);
        }
        for index in ready.clients {
            self.serve(index);
        }
        self.clients.retain(|client| !client.is_gone());
        let total = self.output.total();
        for client in &mut self.clients {
            client.tell_output(total);
        }
        self.mind_the_time();
    }

    fn wait(&self) -> Ready {
        let mut interests: Vec<(What, BorrowedFd<'_>, PollFlags)> = Vec::new();
        interests.extend(
            self.tree
                .as_ref()
                .map(|tree| (What::Tree, tree.descriptor(), PollFlags::IN)),
        );
        interests.push((What::Signals, self.signals.as_fd(), PollFlags::IN));
        if self.clients.len() < MOST_CLIENTS {
            interests.push((What::Listener, self.listener.as_fd(), PollFlags::IN));
        }
        let sources = self.sources.iter().enumerate();
        interests.extend(sources.map(|(index, source)| {
            (
                What::Source(index),
                source.descriptor.as_fd(),
                PollFlags::IN,
            )
        }));
        if let Some(descriptor) = self.input.wants_room() {
            interests.push((What::Input, descriptor, PollFlags::OUT));
        }
        let may_ask = !self.input.is_full();
        let clients = self.clients.iter().enumerate();
        interests.extend(clients.map(|(index, client)| {
            (
                What::Client(index),
                client.descriptor(),
                client.interest(may_ask),
            )
        }));
        let mut descriptors: Vec<PollFd<'_>> = interests
            .iter()
            .map(|(_, descriptor, flags)| PollFd::from_borrowed_fd(*descriptor, *flags))
            .collect();
        let timeout = self.patience();
        let mut ready = Ready::default();
        if poll(&mut descriptors, timeout.as_ref()).is_ok() {
            let active = interests
                .iter()
                .zip(&descriptors)
                .filter(|(_, descriptor)| !descriptor.revents().is_empty());
            active.for_each(|((what, ..), _)| ready.add(*what));
        }
        ready
    }

    /// How long until a deadline.
    fn patience(&self) -> Option<Timespec> {
        let next = [self.stop.wall, self.stop.kill]
            .into_iter()
            .flatten()
            .min()?;
        // A little more, or the last moments would be spent in a busy loop.
        let left = next.saturating_duration_since(Instant::now()) + Duration::from_millis(1);
        Timespec::try_from(left).ok()
    }

    fn mind_the_time(&mut self) {
        let now = Instant::now();
        if self.stop.wall.is_some_and(|wall| wall <= now) {
            self.stop.wall = None;
            self.stop.timed_out = true;
            self.terminate();
        }
        if self.stop.kill.is_some_and(|kill| kill <= now) {
            self.stop.kill = None;
            self.signal(libc::SIGKILL as u8);
        }
    }

    fn stop(&mut self) {
        self.stop.asked = true;
        self.terminate();
    }

    fn terminate(&mut self) {
        if self.stop.kill.is_none() {
            self.stop.kill = Some(Instant::now() + GRACE);
            self.signal(TERMINATE);
        }
    }

    fn signal(&self, signal: u8) {
        if let Some(tree) = &self.tree {
            tree.signal(signal);
        }
    }

    /// Takes one piece from a source; false when there will be no more.
    fn read(&mut self, index: usize) -> bool {
        let mut bytes = [0; 64 << 10];
        let Some(source) = self.sources.get(index) else {
            return false;
        };
        match rustix::io::read(&source.descriptor, &mut bytes) {
            Ok(0) => false,
            Ok(count) => {
                self.output.append(source.stream, &bytes[..count]);
                true
            }
            Err(Errno::AGAIN | Errno::INTR) => true,
            // A terminal says so when nobody holds its other end.
            Err(_) => false,
        }
    }

    /// Takes what is still in the pipes. Whoever holds one open now is not of this job.
    fn drain(&mut self) {
        while let Some(source) = self.sources.pop() {
            let mut bytes = [0; 64 << 10];
            loop {
                match rustix::io::read(&source.descriptor, &mut bytes) {
                    Ok(count @ 1..) => self.output.append(source.stream, &bytes[..count]),
                    Err(Errno::INTR) => {}
                    Ok(_) | Err(_) => break,
                }
            }
        }
    }

    fn welcome(&mut self, stream: UnixStream) {
        if let Ok(mut client) = Client::new(stream, Decoder::default()) {
            client.tell(&self.started());
            self.clients.push(client);
        }
    }

    fn started(&self) -> Event {
        Event::Started(Started {
            report: self.report.clone(),
            wire: WIRE,
        })
    }

    fn serve(&mut self, index: usize) {
        let Some(client) = self.clients.get_mut(index) else {
            return;
        };
        client.flush();
        client.receive();
        self.answer(index);
    }

    fn tell(&mut self, event: &Event) {
        for client in &mut self.clients {
            client.tell(event);
        }
    }
}

/// What a descriptor belongs to.
#[derive(Clone, Copy)]
enum What {
    Tree,
    Signals,
    Listener,
    Source(usize),
    Input,
    Client(usize),
}

/// What can be done without waiting.
#[derive(Default)]
struct Ready {
    tree: bool,
    signalled: bool,
    listener: bool,
    sources: Vec<usize>,
    clients: Vec<usize>,
}

impl Ready {
    fn add(&mut self, what: What) {
        match what {
            What::Tree => self.tree = true,
            What::Signals => self.signalled = true,
            What::Listener => self.listener = true,
            What::Source(index) => self.sources.push(index),
            What::Client(index) => self.clients.push(index),
            // Looked at in every turn.
            What::Input => {}
        }
    }
}

/// Notes what the launch will leave on the host should we be killed.
fn note(mut launch: Launch, spec: &JobSpec, home: &Path) -> Result<Launch, NotStarted> {
    let job = spec.directory.file_name().unwrap_or_default();
    let name = format!("{}-{}", job.to_string_lossy(), std::process::id());
    launch.cgroup = cgroup::place(&name);
    let placeholders = launch.plan.iter().flat_map(|plan| &plan.placeholders);
    let remnants = Remnants {
        placeholders: placeholders.map(|(path, _)| path.clone()).collect(),
        cgroup: launch.cgroup.clone(),
    };
    if !remnants.is_empty() {
        let noted = remnants.note(home).map_err(|error| {
            NotStarted::new(
                Failure::System,
                format!("cannot note what it makes: {error}"),
            )
        });
        launch.note = Some(noted?);
    }
    Ok(launch)
}

/// The command's ends of its streams, our ends of its output, and our end of its input.
fn plumbing(spec: &JobSpec) -> io::Result<(Streams, Vec<Source>, Option<OwnedFd>)> {
    if let Some(size) = spec.pty {
        return Ok((Streams::Terminal(size), Vec::new(), None));
    }
    let (out, stdout) = pipe_with(PipeFlags::CLOEXEC)?;
    let (err, stderr) = pipe_with(PipeFlags::CLOEXEC)?;
    set_nonblocking(&out)?;
    set_nonblocking(&err)?;
    let (stdin, input) = match spec.stdin {
        Stdin::Null => (File::open("/dev/null")?.into(), None),
        Stdin::Pipe => {
            let (stdin, input) = pipe_with(PipeFlags::CLOEXEC)?;
            set_nonblocking(&input)?;
            (stdin, Some(input))
        }
    };
    let sources = vec![
        Source {
            descriptor: out,
            stream: Stream::Stdout,
        },
        Source {
            descriptor: err,
            stream: Stream::Stderr,
        },
    ];
    Ok((
        Streams::Given {
            stdin,
            stdout,
            stderr,
        },
        sources,
        input,
    ))
}

fn set_nonblocking(descriptor: &OwnedFd) -> io::Result<()> {
    Ok(rustix::io::ioctl_fionbio(descriptor, true)?)
}
