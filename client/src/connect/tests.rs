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

#[tokio::test]
async fn a_daemon_that_is_killed_while_it_starts_is_started_again() {
    let stage = Stage::new(&format!(
        "echo died >> $D/deaths
        [ $(wc -l < $D/deaths) -gt 2 ] || exit 137
        {TAKE_OVER}"
    ));
    let _fake = stage.waiting(&play());
    Connection::open(&stage.host, WHO).await.unwrap();
    let starts = fs::read_to_string(stage.path().join("deaths")).unwrap();
    assert_eq!(starts.lines().count(), 3);
}

#[tokio::test]
async fn a_sentence_of_the_daemon_is_final() {
    let stage = Stage::new("echo x >> $D/starts; echo 'error: the disk is full'");
    refusal(&stage).await;
    let starts = fs::read_to_string(stage.path().join("starts")).unwrap();
    assert_eq!(starts, "x\n");
}

#[tokio::test]
async fn an_older_daemon_that_nobody_needs_is_replaced() {
    let mut stage = Stage::new(TAKE_OVER);
    let play = play();
    stage.speaks = ("0.0.9", 0, 0);
    let _old = stage.up(&play);
    stage.speaks = ("0.1.0", 1, 1);
    let _new = stage.waiting(&play);
    let connection = Connection::open(&stage.host, WHO).await.unwrap();
    assert!(!connection.hello().client_id.is_empty());
    assert_eq!(play.heard(|heard| heard.retired), 1);
}

#[tokio::test]
async fn many_clients_replace_an_older_daemon_once() {
    let mut stage = Stage::new(TAKE_OVER);
    let play = play();
    stage.speaks = ("0.0.9", 0, 0);
    let _old = stage.up(&play);
    stage.speaks = ("0.1.0", 1, 1);
    let _new = stage.waiting(&play);
    let opened = join_all((0..20).map(|_| Connection::open(&stage.host, WHO))).await;
    for connection in opened {
        connection.unwrap();
    }
    assert_eq!(play.heard(|heard| heard.retired), 1);
}

#[tokio::test]
async fn other_daemons_are_left_alone_with_a_sentence() {
    let table = [
        (("9.9.9", 7, 9), "newer than this client"),
        (("0.0.9", 0, 0), "is left to its work (1 turns)"),
    ];
    for (speaks, want) in table {
        let mut stage = Stage::new("echo x >> $D/starts");
        stage.speaks = speaks;
        let play = play().busy("1 turns");
        let _fake = stage.up(&play);
        let told = refusal(&stage).await;
        assert!(told.contains(want), "for {speaks:?}: {told}");
        assert!(!stage.path().join("starts").exists());
    }
}
