//! The real binary's life, seen from outside: what it says, what it serves, what it leaves behind.

#![allow(clippy::unwrap_used, reason = "a test that can't go on has failed")]

use std::{
    fs,
    io::{BufRead as _, BufReader, Read as _},
    os::unix::{fs::PermissionsExt as _, net::UnixListener},
    path::Path,
    process::{Child, ChildStdout, Command, ExitStatus, Stdio},
};

use quire_proto::{
    TOKEN_KEY,
    home::Home,
    v1::{DaemonServiceGetStatusRequest, daemon_service_client::DaemonServiceClient},
};
use rustix::process::{Pid, Signal, kill_process};
use tonic::{
    Code, Request, Status,
    transport::{Channel, Endpoint},
};
use tonic_health::{
    ServingStatus,
    pb::{HealthCheckRequest, health_client::HealthClient},
};
use tonic_types::StatusExt as _;

/// A daemon of this test's, dead when the test is over.
struct Daemon {
    child: Child,
    output: BufReader<ChildStdout>,
    /// The first line it said.
    said: String,
}

impl Daemon {
    fn start(home: &Home) -> Self {
        Self::start_with(home, &["serve"])
    }

    fn start_with(home: &Home, arguments: &[&str]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_quired"))
            .args(arguments)
            .env("QUIRE_HOME", home.state())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut output = BufReader::new(child.stdout.take().unwrap());
        let mut said = String::new();
        output.read_line(&mut said).unwrap();
        Self {
            child,
            output,
            said,
        }
    }

    fn ready(home: &Home) -> Self {
        let daemon = Self::start(home);
        assert_eq!(daemon.said, "ready\n");
        daemon
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    fn wait(&mut self) -> ExitStatus {
        self.child.wait().unwrap()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ended_already = self.child.kill();
        let _ended_already = self.child.wait();
    }
}

fn scratch() -> (tempfile::TempDir, Home) {
    let root = tempfile::tempdir().unwrap();
    let home = Home::under(root.path().join("home")).unwrap();
    (root, home)
}

async fn connect(home: &Home) -> Channel {
    let socket = home.record().unwrap().socket;
    let address = format!("unix://{}", socket.display());
    let endpoint = Endpoint::try_from(address).unwrap();
    endpoint.connect().await.unwrap()
}

async fn health(home: &Home) -> ServingStatus {
    let mut client = HealthClient::new(connect(home).await);
    let answer = client.check(HealthCheckRequest::default()).await.unwrap();
    match answer.into_inner().status {
        1 => ServingStatus::Serving,
        2 => ServingStatus::NotServing,
        _ => ServingStatus::Unknown,
    }
}

async fn status_with(home: &Home, token: Option<&str>) -> Result<(), Status> {
    let mut request = Request::new(DaemonServiceGetStatusRequest {});
    if let Some(token) = token {
        let token = token.parse().unwrap();
        request.metadata_mut().insert(TOKEN_KEY, token);
    }
    let mut client = DaemonServiceClient::new(connect(home).await);
    client.get_status(request).await.map(|_| ())
}

fn names_in(directory: &Path) -> Vec<String> {
    let mut names: Vec<_> = fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[tokio::test]
async fn a_daemon_that_says_ready_serves_and_has_left_its_terminal() {
    let (_root, home) = scratch();
    let mut daemon = Daemon::ready(&home);
    assert_eq!(health(&home).await, ServingStatus::Serving);
    let record = home.record().unwrap();
    assert_eq!(record.pid, daemon.child.id());
    for path in [&record.socket, &home.token_file(), &home.database()] {
        let mode = fs::metadata(path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "for {}", path.display());
    }
    // The pipe ends although the daemon lives.
    let mut rest = String::new();
    daemon.output.read_to_string(&mut rest).unwrap();
    assert_eq!(rest, "");
    assert_eq!(health(&home).await, ServingStatus::Serving);
}

#[tokio::test]
async fn the_second_daemon_is_refused_and_harms_nothing() {
    let (_root, home) = scratch();
    let first = Daemon::ready(&home);
    let (record, token) = (home.record().unwrap(), home.token().unwrap());
    let mut second = Daemon::start(&home);
    let want = format!("error: already running (pid {})\n", first.child.id());
    assert_eq!(second.said, want);
    assert_eq!(second.wait().code(), Some(1));
    assert_eq!(home.record().unwrap(), record);
    assert_eq!(home.token().unwrap(), token);
    assert_eq!(health(&home).await, ServingStatus::Serving);
}

#[test]
fn of_many_that_start_at_once_one_serves() {
    let (_root, home) = scratch();
    let starts: Vec<_> = (0..8)
        .map(|_| {
            let home = home.clone();
            std::thread::spawn(move || Daemon::start(&home))
        })
        .collect();
    let daemons: Vec<_> = starts
        .into_iter()
        .map(|start| start.join().unwrap())
        .collect();
    let ready = daemons
        .iter()
        .filter(|daemon| daemon.said == "ready\n")
        .count();
    let said: Vec<_> = daemons.iter().map(|daemon| &daemon.said).collect();
    assert_eq!(ready, 1, "{said:?}");
    let refused = |line: &&&String| line.starts_with("error: already running (pid ");
    assert_eq!(said.iter().filter(refused).count(), 7, "{said:?}");
}

#[tokio::test]
async fn what_a_killed_daemon_leaves_does_not_hinder_the_next() {
    let (_root, home) = scratch();
    let mut killed = Daemon::ready(&home);
    let (record, token) = (home.record().unwrap(), home.token().unwrap());
    killed.signal(Signal::KILL);
    killed.wait();
    assert!(record.socket.exists(), "the test needs a stale socket");
    let _next = Daemon::ready(&home);
    assert_eq!(health(&home).await, ServingStatus::Serving);
    assert_ne!(home.record().unwrap().instance_id, record.instance_id);
    assert_ne!(home.token().unwrap(), token);
}

#[test]
fn signals_end_the_daemon_and_leave_nothing() {
    for signal in [Signal::TERM, Signal::INT, Signal::HUP] {
        let (_root, home) = scratch();
        let mut daemon = Daemon::ready(&home);
        daemon.signal(signal);
        assert_eq!(daemon.wait().code(), Some(0), "for {signal:?}");
        assert_eq!(names_in(&home.daemon()), ["lock"], "for {signal:?}");
        let left = names_in(home.state());
        assert_eq!(
            left,
            [
                "daemon", "growing", "heads", "jobs", "log", "quire.db", "reserve"
            ]
        );
        let log = fs::read_to_string(home.logs().join("quired.log")).unwrap();
        assert!(log.contains("SIG"), "the cause is not in the log: {log}");
    }
}

#[tokio::test]
async fn an_open_stream_does_not_hold_up_the_end() {
    let (_root, home) = scratch();
    let mut daemon = Daemon::ready(&home);
    let mut client = HealthClient::new(connect(&home).await);
    let watch = client.watch(HealthCheckRequest::default()).await.unwrap();
    let mut watch = watch.into_inner();
    assert_eq!(watch.message().await.unwrap().unwrap().status, 1);
    daemon.signal(Signal::TERM);
    // The watchdog would have said 1.
    assert_eq!(daemon.wait().code(), Some(0));
    assert_eq!(watch.message().await.unwrap().unwrap().status, 2);
}

#[tokio::test]
async fn a_restart_waits_for_the_one_that_ends() {
    let (_root, home) = scratch();
    let mut ending = Daemon::ready(&home);
    let client = connect(&home).await;
    ending.signal(Signal::TERM);
    while home.record().is_ok() {
        tokio::task::yield_now().await;
    }
    let _next = Daemon::ready(&home);
    assert_eq!(ending.wait().code(), Some(0));
    assert_eq!(health(&home).await, ServingStatus::Serving);
    drop(client);
}

#[tokio::test]
async fn calls_need_the_token() {
    let (_root, home) = scratch();
    let _daemon = Daemon::ready(&home);
    let right = home.token().unwrap();
    for wrong in [None, Some("wrong"), Some(&right[1..])] {
        let status = status_with(&home, wrong).await.unwrap_err();
        assert_eq!(status.code(), Code::Unauthenticated, "for {wrong:?}");
        let reason = status
            .get_error_details()
            .error_info()
            .unwrap()
            .reason
            .clone();
        assert_eq!(reason, "TOKEN_MISSING_OR_WRONG");
    }
    let code = status_with(&home, Some(&right)).await.map_err(|s| s.code());
    assert_ne!(code, Err(Code::Unauthenticated));
}

#[tokio::test]
async fn both_reflections_tell_the_schema_without_a_token() {
    let (_root, home) = scratch();
    let _daemon = Daemon::ready(&home);
    macro_rules! listed {
        ($version:ident) => {{
            use tonic_reflection::pb::$version::{
                ServerReflectionRequest, server_reflection_client::ServerReflectionClient,
                server_reflection_request::MessageRequest,
                server_reflection_response::MessageResponse,
            };
            let list = ServerReflectionRequest {
                host: String::new(),
                message_request: Some(MessageRequest::ListServices(String::new())),
            };
            let mut client = ServerReflectionClient::new(connect(&home).await);
            let asked = tokio_stream::once(list);
            let answers = client.server_reflection_info(asked).await.unwrap();
            let answer = answers.into_inner().message().await.unwrap().unwrap();
            let Some(MessageResponse::ListServicesResponse(list)) = answer.message_response else {
                panic!("{answer:?}")
            };
            list.service
                .into_iter()
                .map(|service| service.name)
                .collect::<Vec<_>>()
        }};
    }
    for names in [listed!(v1), listed!(v1alpha)] {
        for want in ["quire.v1.SessionService", "grpc.health.v1.Health"] {
            assert!(names.iter().any(|name| name == want), "{names:?}");
        }
    }
}

/// Starts where it can't work; returns what it said after `error: `.
fn refusal(home: &Home) -> String {
    let mut daemon = Daemon::start(home);
    assert_eq!(daemon.wait().code(), Some(1), "said {}", daemon.said);
    let sentence = daemon.said.strip_prefix("error: ").unwrap_or_else(|| {
        panic!("said {:?}", daemon.said);
    });
    sentence.trim_end().to_owned()
}

#[test]
fn an_unusable_state_directory_is_told_and_nothing_is_made() {
    let (root, home) = scratch();
    fs::write(home.state(), "a file").unwrap();
    let said = refusal(&home);
    assert!(said.contains("home") && said.contains("irectory"), "{said}");
    assert_eq!(fs::read(home.state()).unwrap(), b"a file");

    let below = Home::under(home.state().join("below")).unwrap();
    let said = refusal(&below);
    assert!(said.starts_with("cannot use `"), "{said}");
    assert_eq!(names_in(root.path()), ["home"]);
}

#[test]
fn a_state_directory_that_cannot_be_written_is_told() {
    if rustix::process::geteuid().is_root() {
        // Root may write everywhere but into the kernel's own file systems.
        let said = refusal(&Home::under("/proc/quire".into()).unwrap());
        assert!(said.starts_with("cannot use `/proc/quire`: "), "{said}");
        return;
    }
    let (_root, home) = scratch();
    fs::create_dir(home.state()).unwrap();
    fs::set_permissions(home.state(), fs::Permissions::from_mode(0o500)).unwrap();
    let said = refusal(&home);
    assert!(said.contains("ermission denied"), "{said}");
    assert_eq!(names_in(home.state()), [""; 0]);
}

#[tokio::test]
async fn a_home_too_deep_for_a_socket_is_served_from_a_short_place() {
    let (root, _) = scratch();
    let home = Home::under(root.path().join("x".repeat(100))).unwrap();
    let place = home.short_socket_dir().unwrap();
    let mut daemon = Daemon::ready(&home);
    assert_eq!(health(&home).await, ServingStatus::Serving);
    let mode = fs::symlink_metadata(&place).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o700);
    daemon.signal(Signal::TERM);
    assert_eq!(daemon.wait().code(), Some(0));
    assert!(!place.exists(), "`{}` is left", place.display());
}

#[test]
fn a_short_place_of_somebody_else_is_refused() {
    let (root, _) = scratch();
    let home = Home::under(root.path().join("x".repeat(100))).unwrap();
    let place = home.short_socket_dir().unwrap();
    // What is no directory of ours cannot be made one; root may write in anybody's.
    fs::write(&place, "").unwrap();
    let said = refusal(&home);
    fs::remove_file(&place).unwrap();
    assert!(said.contains("cannot use `/tmp/quire-"), "{said}");
}

#[test]
fn a_foreign_socket_in_the_way_is_left_alone() {
    let (_root, home) = scratch();
    fs::create_dir_all(home.daemon()).unwrap();
    let path = home.daemon().join("quire.sock");
    let _foreign = UnixListener::bind(&path).unwrap();
    let said = refusal(&home);
    assert!(
        said.ends_with("is in the way of the socket: remove it"),
        "{said}"
    );
    assert_eq!(names_in(&home.daemon()), ["lock", "quire.sock"]);
}

#[test]
fn a_newer_database_is_told_and_left_as_it_is() {
    let (_root, home) = scratch();
    fs::create_dir(home.state()).unwrap();
    let newer = rusqlite::Connection::open(home.database()).unwrap();
    newer.pragma_update(None, "user_version", 99).unwrap();
    drop(newer);
    let before = fs::read(home.database()).unwrap();
    let said = refusal(&home);
    assert!(said.contains("schema 99"), "{said}");
    assert_eq!(fs::read(home.database()).unwrap(), before);
    assert_eq!(names_in(&home.daemon()), ["lock"]);
}

#[test]
fn a_removed_state_directory_ends_the_daemon() {
    let (_root, home) = scratch();
    let mut daemon = Daemon::ready(&home);
    fs::remove_dir_all(home.state()).unwrap();
    assert_eq!(daemon.wait().code(), Some(0));
    assert!(!home.state().exists(), "it was made again");
}
