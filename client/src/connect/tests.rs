//! Finding, greeting and starting daemons, with one that can be killed.

use std::fs;

use futures_util::future::join_all;

use super::*;
use crate::fake::{Play, Stage};

const WHO: Introduction = Introduction {
    name: "test",
    observer: false,
};

const TAKE_OVER: &str = "
    echo started >> $D/starts
    mv $D/next.sock $D/sock
    mv $D/next.json $D/home/daemon/daemon.json
    echo ready";

fn play() -> Play {
    Play::new(vec![])
}

async fn refusal(stage: &Stage) -> String {
    let failure = Connection::open(&stage.host, WHO).await.unwrap_err();
    assert_eq!(failure.exit(), Exit::NoDaemon);
    failure.to_string()
}

#[tokio::test]
async fn fifty_clients_start_one_daemon() {
    let stage = Stage::new(TAKE_OVER);
    let _fake = stage.waiting(&play());
    let opened = join_all((0..50).map(|_| Connection::open(&stage.host, WHO))).await;
    for connection in opened {
        connection.unwrap();
    }
    let starts = fs::read_to_string(stage.path().join("starts")).unwrap();
    assert_eq!(starts, "started\n");
}

#[tokio::test]
async fn a_living_daemon_is_used_as_it_is() {
    let stage = Stage::new("echo started >> $D/starts");
    let _fake = stage.up(&play());
    let connection = Connection::open(&stage.host, WHO).await.unwrap();
    assert!(!connection.hello().client_id.is_empty());
    assert!(!stage.path().join("starts").exists());
}

#[tokio::test]
async fn a_daemon_that_cannot_start_says_why() {
    let table = [
        (
            "echo 'error: the disk is full'",
            "cannot start: the disk is full",
        ),
        ("exit 1", "ended before it was ready"),
        ("echo ready", "ended as soon as it was ready"),
    ];
    for (script, want) in table {
        let told = refusal(&Stage::new(script)).await;
        assert!(told.contains(want), "for `{script}`: {told}");
    }
}

#[tokio::test]
async fn a_missing_program_is_named() {
    let mut stage = Stage::new("");
    stage.host.daemon = Some("/does/not/exist".into());
    assert!(refusal(&stage).await.contains("`/does/not/exist`"));
}

#[tokio::test]
async fn an_unusable_state_directory_is_named() {
    let mut stage = Stage::new("echo ready");
    let file = stage.path().join("file");
    fs::write(&file, "").unwrap();
    stage.host.home = Home::under(file.join("home")).unwrap();
    let told = refusal(&stage).await;
    assert!(told.contains("file/home"), "{told}");
}

#[test]
fn other_protocols_say_who_must_change() {
    let record = |protocol_min, protocol_max| DaemonRecord {
        pid: 1,
        start_time: 0,
        boot_id: String::new(),
        instance_id: String::new(),
        version: "9.9.9".into(),
        protocol_min,
        protocol_max,
        socket: PathBuf::new(),
    };
    let refusal = |record| {
        let status = Status::failed_precondition("protocol");
        refused(&record, status).unwrap_err().to_string()
    };
    assert!(refusal(record(7, 9)).contains("newer than this client"));
    assert!(refusal(record(0, 0)).contains("older than this client"));
}
