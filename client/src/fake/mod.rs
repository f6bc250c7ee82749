//! A daemon for tests: it plays one session from a list of updates, keeps what it was told, and can
//! be killed like a real one.

use std::{
    fs,
    os::unix::{fs::PermissionsExt as _, net::UnixListener as StdListener},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering},
    },
    thread,
};

use quire_proto::{
    home::{DaemonRecord, Home},
    v1::{
        self, ApprovalServiceDecideRequest, SessionServiceWatchResponse as Update,
        TurnServiceInterruptRequest, session_service_watch_response::Update as Kind,
    },
};
use tokio::{
    net::UnixListener,
    sync::{oneshot, watch},
};
use tokio_stream::wrappers::UnixListenerStream;
use tonic::transport::Server;

use crate::connect::Host;

mod services;

use services::Dispatch;

/// The token of every fake.
const TOKEN: &str = "token";

/// What the client told the daemon.
#[derive(Debug, Default)]
pub(crate) struct Heard {
    pub(crate) decided: Vec<ApprovalServiceDecideRequest>,
    pub(crate) interrupted: Vec<TurnServiceInterruptRequest>,
    pub(crate) watched_from: Vec<u64>,
    /// Asked to end when nobody needs it.
    pub(crate) retired: u32,
    /// Request ids of prompts, in the order in which they came.
    pub(crate) prompted: Vec<String>,
    /// Worlds that were lent.
    pub(crate) lent: u32,
}

/// The session that a fake plays; fakes that follow each other may share one, as a log on disk.
#[derive(Clone, Debug)]
pub(crate) struct Play {
    updates: watch::Sender<Vec<Update>>,
    heard: Arc<Mutex<Heard>>,
    /// Whose watch is not the client's own.
    others: Vec<v1::ClientRef>,
    /// Why it refuses to end, and to begin anything.
    busy: Option<&'static str>,
    /// It dies when it is prompted, before it answers.
    dies_when_prompted: Arc<AtomicU32>,
}

impl Play {
    pub(crate) fn new(others: Vec<v1::ClientRef>) -> Self {
        Self {
            updates: watch::Sender::new(Vec::new()),
            heard: Arc::default(),
            others,
            busy: None,
            dies_when_prompted: Arc::default(),
        }
    }

    /// The same, needed for this reason.
    pub(crate) fn busy(self, why: &'static str) -> Self {
        Self {
            busy: Some(why),
            ..self
        }
    }

    /// Loses the connection under so many prompts.
    pub(crate) fn die_when_prompted(&self, times: u32) {
        self.dies_when_prompted.store(times, Ordering::SeqCst);
    }

    /// Adds to the log; all watchers see it.
    pub(crate) fn add(&self, kind: Kind) {
        let update = Some(kind);
        self.updates
            .send_modify(|updates| updates.push(Update { update }));
    }

    /// Adds an event with the next seq.
    pub(crate) fn happen(&self, body: v1::event::Body) {
        self.happen_as(v1::Event {
            body: Some(body),
            ..v1::Event::default()
        });
    }

    /// Adds an event, whose seq becomes the next.
    pub(crate) fn happen_as(&self, event: v1::Event) {
        let events = |updates: &Vec<Update>| {
            let events = updates
                .iter()
                .filter(|u| matches!(u.update, Some(Kind::Event(_))));
            events.count() as u64
        };
        let seq = events(&self.updates.borrow()) + 1;
        self.add(Kind::Event(v1::Event { seq, ..event }));
    }

    /// What the client told so far.
    pub(crate) fn heard<T>(&self, look: impl FnOnce(&mut Heard) -> T) -> T {
        look(&mut self.heard.lock().unwrap())
    }
}

/// A directory of its own, and who plays the daemon there.
pub(crate) struct Stage {
    directory: tempfile::TempDir,
    pub(crate) host: Host,
    /// Version and protocols of the daemons.
    pub(crate) speaks: (&'static str, u32, u32),
}

impl Stage {
    /// Whatever starts as the daemon there runs `script`, in which `$D` is [`Stage::path`].
    pub(crate) fn new(script: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let home = Home::under(directory.path().join("home")).unwrap();
        fs::create_dir_all(home.daemon()).unwrap();
        fs::write(home.token_file(), TOKEN).unwrap();
        let program = directory.path().join("daemon.sh");
        let text = format!("#!/bin/sh\nD='{}'\n{script}\n", directory.path().display());
        write_executable(&program, &text);
        Self {
            host: Host {
                home,
                daemon: Some(program),
            },
            directory,
            speaks: ("0.1.0", 1, 1),
        }
    }

    pub(crate) fn path(&self) -> &Path {
        self.directory.path()
    }

    /// A daemon that answers at once.
    pub(crate) fn up(&self, play: &Play) -> Fake {
        self.listen(play, self.socket(), self.host.home.record_file())
    }

    /// A daemon that answers once `mv $D/next.sock $D/sock; mv $D/next.json $D/home/daemon/daemon.json`
    /// has been run.
    pub(crate) fn waiting(&self, play: &Play) -> Fake {
        let next = self.path().join("next.json");
        self.listen(play, self.path().join("next.sock"), next)
    }

    fn socket(&self) -> PathBuf {
        self.path().join("sock")
    }

    fn listen(&self, play: &Play, at: PathBuf, record: PathBuf) -> Fake {
        let listener = StdListener::bind(&at).unwrap();
        listener.set_nonblocking(true).unwrap();
        let (version, protocol_min, protocol_max) = self.speaks;
        let about = DaemonRecord {
            pid: std::process::id(),
            start_time: 0,
            boot_id: String::new(),
            instance_id: String::new(),
            version: version.into(),
            protocol_min,
            protocol_max,
            socket: self.socket(),
        };
        fs::write(record, serde_json::to_vec(&about).unwrap()).unwrap();
        let (stop, stopped) = oneshot::channel();
        let service = Dispatch::new(play);
        let thread = thread::spawn(move || live(listener, service, stopped));
        Fake {
            stop: Some(stop),
            thread: Some(thread),
        }
    }
}

/// Serves until `stopped` resolves; then every connection breaks at once.
fn live(listener: StdListener, service: Dispatch, stopped: oneshot::Receiver<()>) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let listener = UnixListenerStream::new(UnixListener::from_std(listener).unwrap());
        tokio::select! {
            served = Server::builder().serve_with_incoming(service, listener) => served.unwrap(),
            _ = stopped => {}
        }
    });
}

/// Another process writes it: a fork of this one at the wrong instant would hold the file open, and
/// the kernel runs no program that someone may still write.
fn write_executable(path: &Path, text: &str) {
    let mut cat = Command::new("sh")
        .args(["-c", "cat > \"$0\"", &path.display().to_string()])
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    std::io::Write::write_all(&mut cat.stdin.take().unwrap(), text.as_bytes()).unwrap();
    assert!(cat.wait().unwrap().success());
    fs::set_permissions(path, fs::Permissions::from_mode(0o700)).unwrap();
}

/// A daemon; dropped, it is as dead as after `kill -9`.
pub(crate) struct Fake {
    stop: Option<oneshot::Sender<()>>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Drop for Fake {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
    }
}
