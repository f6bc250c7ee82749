//! Databases of other versions.

use rusqlite::{Connection, params};
use sha2::{Digest as _, Sha256};

use super::{super::chain::Chain, corpus::history, *};

/// The tables as version 1 made them.
const VERSION_1: &str = "
    PRAGMA journal_mode=WAL;
    CREATE TABLE sessions(
        number INTEGER PRIMARY KEY,
        id TEXT NOT NULL UNIQUE,
        create_request TEXT UNIQUE,
        title TEXT NOT NULL,
        workspace TEXT NOT NULL,
        active_ms INTEGER NOT NULL,
        archived INTEGER NOT NULL,
        unfinished INTEGER NOT NULL,
        summary BLOB NOT NULL,
        head_seq INTEGER NOT NULL,
        head_chain BLOB NOT NULL
    ) STRICT;
    CREATE TABLE events(
        session INTEGER NOT NULL,
        seq INTEGER NOT NULL,
        body BLOB NOT NULL,
        chain BLOB NOT NULL,
        PRIMARY KEY(session, seq)
    ) STRICT;
    PRAGMA user_version=1;
";

fn version_1(path: &Path, sessions: &[(SessionId, u64)]) {
    let old = Connection::open(path).unwrap();
    old.execute_batch(VERSION_1).unwrap();
    for (number, (id, events)) in (1..).zip(sessions) {
        let mut chain = Chain::START;
        for seq in 1..=*events {
            let body = event(seq).encode_to_vec();
            chain = chain.next(id, seq, &body);
            let insert = "INSERT INTO events VALUES (?1, ?2, ?3, ?4)";
            let row = params![number, seq.cast_signed(), body, chain];
            old.execute(insert, row).unwrap();
        }
        let summary = v1::Session {
            id: id.to_string(),
            title: format!("old {number}"),
            active_ms: number,
            head_seq: *events,
            ..v1::Session::default()
        };
        old.execute(
            "INSERT INTO sessions VALUES (?1, ?2, ?3, ?4, '', ?1, 0, 0, ?5, ?6, ?7)",
            params![
                number,
                id.as_str(),
                RequestId::random().as_str(),
                summary.title,
                summary.encode_to_vec(),
                events.cast_signed(),
                chain
            ],
        )
        .unwrap();
    }
}

#[tokio::test]
async fn a_database_of_version_1_is_brought_forward_with_all_events_and_kept_as_it_was() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("quire.db");
    let sessions = [(SessionId::random(), 1), (SessionId::random(), 700)];
    version_1(&path, &sessions);
    for start in ["first", "second"] {
        let store = open(&path);
        for (id, events) in &sessions {
            let found = history(&store, id).await.unwrap();
            assert!(
                found.into_iter().eq((1..=*events).map(event)),
                "{start} start"
            );
            let session = store.session(id).await.unwrap().unwrap();
            assert!(session.title.starts_with("old "), "{session:?}");
        }
        assert_eq!(store.verify(Pace::Full).await.unwrap(), [], "{start} start");
        store.close().await.unwrap();
    }
    let kept = Connection::open(directory.path().join("quire.db.schema-1")).unwrap();
    let version: u32 = kept
        .query_row("PRAGMA user_version", [], |row| row.get(0))
        .unwrap();
    let count = "SELECT count(*) FROM events";
    let events: u32 = kept.query_row(count, [], |row| row.get(0)).unwrap();
    assert_eq!((version, events), (1, 701));
}

#[tokio::test]
async fn what_was_damaged_in_version_1_is_not_taken_for_true() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("quire.db");
    let id = SessionId::random();
    version_1(&path, &[(id.clone(), 3)]);
    let old = Connection::open(&path).unwrap();
    old.execute("UPDATE sessions SET summary = x'ff'", [])
        .unwrap();
    drop(old);
    let Opened { store, notices } = Store::open(&path).unwrap();
    assert!(
        matches!(&notices[..], [one] if one.contains(id.as_str())),
        "{notices:?}"
    );
    assert_eq!(store.session(&id).await.unwrap().unwrap().head_seq, 3);
}

/// Names, sizes and sums of all files of a directory.
fn files(directory: &Path) -> Vec<(String, Vec<u8>)> {
    let entries = fs::read_dir(directory).unwrap().map(|entry| {
        let entry = entry.unwrap();
        let sum = Sha256::digest(fs::read(entry.path()).unwrap()).to_vec();
        (entry.file_name().into_string().unwrap(), sum)
    });
    let mut files: Vec<_> = entries.collect();
    files.sort();
    files
}

#[tokio::test]
async fn a_newer_database_is_refused_and_no_byte_beside_it_changes() {
    for left_by_a_kill in [false, true] {
        let scratch = Scratch::new();
        let raw = Connection::open(scratch.path()).unwrap();
        raw.pragma_update(None, "user_version", 99).unwrap();
        drop(raw);
        let copy = tempfile::tempdir().unwrap();
        if left_by_a_kill {
            scratch.session(v1::Session::default()).await;
        } else {
            scratch.store.close().await.unwrap();
        }
        for (name, _) in files(scratch.directory.path()) {
            if !name.ends_with("-shm") {
                fs::copy(
                    scratch.directory.path().join(&name),
                    copy.path().join(&name),
                )
                .unwrap();
            }
        }
        let before = files(copy.path());
        assert_eq!(
            before.iter().any(|(name, _)| name.ends_with("-wal")),
            left_by_a_kill
        );
        let refused = Store::open(&copy.path().join("quire.db"));
        assert!(matches!(refused, Err(StoreError::Newer { found: 99, .. })));
        assert_eq!(files(copy.path()), before);
        assert!(matches!(
            verify_file(&copy.path().join("quire.db")),
            Err(StoreError::Newer { .. })
        ));
    }
}
