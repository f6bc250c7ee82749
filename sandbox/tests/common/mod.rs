//! A scratch workspace and the real program.

#![allow(
    dead_code,
    clippy::print_stderr,
    clippy::unwrap_used,
    reason = "each test file uses its part, and this is test code though Cargo cannot tell"
)]

use std::{
    fs,
    io::{Read, Write},
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

use quire_sandbox::{
    job::OutputReader,
    record::{self, EXIT_FILE, ExitRecord, SOCKET_FILE},
    spec::{JobSpec, Label, Layer, Lifetime, Limits, Mode, Profile, Stdin},
    wire::{self, Decoder, Event, Order, Request},
};

pub(crate) const PROGRAM: &str = env!("CARGO_BIN_EXE_quire-sandbox");

/// Whether the layer holds here; says loudly when a test must be left out for the lack of it.
pub(crate) fn has(layer: Layer) -> bool {
    let report = quire_sandbox::probe::probe(Path::new(PROGRAM)).unwrap();
    let lacks = report.lacks(&[layer]).cloned();
    if let Some(missing) = &lacks {
        skipped(&missing.to_string());
    }
    lacks.is_none()
}

/// Says loudly that a test was left out, and why.
pub(crate) fn skipped(why: &str) {
    eprintln!("SKIPPED, NOT TESTED: {why}");
}

/// A figure for people.
pub(crate) fn told(figure: &str) {
    eprintln!("{figure}");
}

/// A directory with a home, a workspace that is a git repository, and something outside both.
pub(crate) struct World {
    directory: tempfile::TempDir,
}

impl World {
    pub(crate) fn new() -> Self {
        let directory = tempfile::Builder::new()
            .prefix("quire-")
            .tempdir_in("/var/tmp")
            .unwrap();
        let world = Self { directory };
        for path in [
            "home/.ssh",
            "ws/.git/hooks",
            "ws/.git/objects",
            "ws/.git/refs",
            "ws/sub/.git",
            "outside",
            "jobs",
        ] {
            fs::create_dir_all(world.at(path)).unwrap();
        }
        for (path, text) in [
            ("home/.ssh/id", "SECRET"),
            ("ws/.env", "SECRET"),
            ("ws/.env.example", "template"),
            ("ws/.git/HEAD", "ref: refs/heads/main\n"),
            ("ws/.git/config", ""),
            ("outside/file", "outside"),
        ] {
            fs::write(world.at(path), text).unwrap();
        }
        world
    }

    pub(crate) fn at(&self, path: &str) -> PathBuf {
        self.directory.path().join(path)
    }

    /// `quire-sandbox run OPTIONS -- sh -c SCRIPT` in the workspace.
    pub(crate) fn run(&self, options: &[&str], script: &str) -> Output {
        let mut command = Command::new(PROGRAM);
        command
            .arg("run")
            .args(options)
            .args(["--", "sh", "-c", script]);
        command
            .current_dir(self.at("ws"))
            .env("HOME", self.at("home"))
            .env("OUT", self.at("outside"));
        command.stdin(Stdio::null()).output().unwrap()
    }

    pub(crate) fn spec(&self, name: &str, script: &str) -> JobSpec {
        JobSpec {
            directory: self.at("jobs").join(name),
            label: Label {
                session: "2345bcdfgh".to_owned(),
                command: script.to_owned(),
                lifetime: Lifetime::Session,
            },
            argv: ["sh", "-c", script].map(str::to_owned).into(),
            cwd: self.at("ws"),
            environment: [
                ("PATH", "/usr/bin:/bin".to_owned()),
                ("HOME", self.at("home").display().to_string()),
            ]
            .map(|(name, value)| (name.to_owned(), value))
            .into(),
            umask: 0o022,
            pty: None,
            stdin: Stdin::Null,
            profile: Profile {
                mode: Mode::WorkspaceWrite,
                workspace: self.at("ws"),
                writable: vec![],
                hidden: vec![self.at("jobs")],
                network: vec![],
                require: vec![],
                scratch: None,
            },
            limits: Limits::default(),
        }
    }
}

/// What a failed test left running ends with it.
impl Drop for World {
    fn drop(&mut self) {
        for entry in fs::read_dir(self.at("jobs"))
            .into_iter()
            .flatten()
            .flatten()
        {
            if let Ok(stream) = UnixStream::connect(entry.path().join(SOCKET_FILE)) {
                let mut client = Client {
                    stream,
                    decoder: Decoder::default(),
                };
                client.order(Order::Signal(9));
                while client.event().is_some() {}
            }
        }
    }
}

/// A connection to a keeper.
pub(crate) struct Client {
    stream: UnixStream,
    decoder: Decoder,
}

impl Client {
    /// Starts a keeper, which is left to itself, and hands it a job.
    pub(crate) fn start(spec: &JobSpec) -> Self {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let theirs = std::os::fd::OwnedFd::from(theirs);
        let mut keeper = Command::new(PROGRAM)
            .arg("keep")
            .env_clear()
            .stdin(theirs)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        std::thread::spawn(move || keeper.wait());
        let mut client = Self {
            stream: ours,
            decoder: Decoder::default(),
        };
        client.stream.write_all(&wire::encode_spec(spec)).unwrap();
        client
    }

    /// Connects to the keeper of a job.
    pub(crate) fn connect(directory: &Path) -> Self {
        let stream = UnixStream::connect(directory.join(SOCKET_FILE)).unwrap();
        Self {
            stream,
            decoder: Decoder::default(),
        }
    }

    pub(crate) fn ask(&mut self, request: &Request) {
        self.stream.write_all(&request.encode()).unwrap();
    }

    pub(crate) fn order(&mut self, order: Order) {
        self.ask(&Request::Order(order));
    }

    /// The next word; `None` when the keeper has closed the connection.
    pub(crate) fn event(&mut self) -> Option<Event> {
        let mut bytes = [0; 4096];
        loop {
            if let Some(frame) = self.decoder.next_frame().unwrap() {
                return Some(Event::decode(&frame).unwrap());
            }
            match self.stream.read(&mut bytes) {
                Ok(count @ 1..) => self.decoder.feed(&bytes[..count]),
                // A keeper that was killed leaves what it was sent unread.
                Ok(0) | Err(_) => return None,
            }
        }
    }

    /// The first word that `wanted` accepts.
    pub(crate) fn until<T>(&mut self, wanted: impl Fn(Event) -> Option<T>) -> T {
        // A test that would wait for ever fails instead.
        self.stream
            .set_read_timeout(Some(std::time::Duration::from_secs(20)))
            .unwrap();
        loop {
            if let Some(found) = wanted(self.event().expect("the keeper went away")) {
                return found;
            }
        }
    }

    pub(crate) fn ended(&mut self) -> ExitRecord {
        self.until(|event| match event {
            Event::Ended(record) => Some(*record),
            _ => None,
        })
    }

    /// Waits until there is so much output.
    pub(crate) fn grown_to(&mut self, bytes: u64) {
        self.until(|event| matches!(event, Event::Grew(total) if total >= bytes).then_some(()));
    }
}

/// All output of a job that is still there, and how much is not.
pub(crate) fn output(directory: &Path) -> (Vec<u8>, u64) {
    let mut reader = OutputReader::new(directory.to_path_buf(), 0);
    let (mut bytes, mut dropped) = (Vec::new(), 0);
    while let Some(chunk) = reader.read(1 << 16).unwrap() {
        dropped += chunk.dropped;
        bytes.extend(chunk.bytes);
    }
    (bytes, dropped)
}

pub(crate) fn text(directory: &Path) -> String {
    String::from_utf8(output(directory).0).unwrap()
}

/// The record on disk.
pub(crate) fn recorded(directory: &Path) -> ExitRecord {
    record::read(directory, EXIT_FILE).unwrap()
}
