//! Databases damaged in every way that was thought of, opened as a daemon opens them.

use std::{
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
};

use quire_proto::{id::RequestId, v1::SessionState};
use rusqlite::Connection;

use super::{
    super::{
        Append, Listing, Opened, Store,
        tests::{Scratch, append, event, seqs},
    },
    *,
};

/// Sessions of [`filled`], and events of each.
const SESSIONS: u64 = 12;
const EVENTS: u64 = 30;

/// A closed store of interleaved sessions, some events of which need pages of their own.
async fn filled() -> (Scratch, Vec<SessionId>) {
    let scratch = Scratch::new();
    let mut ids = Vec::new();
    for _ in 0..SESSIONS {
        ids.push(scratch.session(v1::Session::default()).await);
    }
    for seq in 2..=EVENTS {
        for id in &ids {
            scratch.store.append(sized(id, seq)).await.unwrap();
        }
    }
    scratch.store.close().await.unwrap();
    (scratch, ids)
}

fn sized(id: &SessionId, seq: u64) -> Append {
    let mut append = append(id, [seq]);
    append.events[0].request_id = "x".repeat(seq as usize % 7 * 900);
    append
}

fn overwrite(path: &Path, at: u64, bytes: &[u8]) {
    let file = fs::OpenOptions::new().write(true).open(path).unwrap();
    file.write_all_at(bytes, at).unwrap();
}

/// The only file beside the database whose name tells that it is damaged.
fn damaged(path: &Path) -> PathBuf {
    let names = fs::read_dir(path.parent().unwrap()).unwrap();
    let mut names = names.map(|entry| entry.unwrap().path()).filter(|path| {
        let name = path.file_name().unwrap().to_str().unwrap();
        name.starts_with("quire.db.damaged-") && name.ends_with('Z')
    });
    let found = names.next().unwrap();
    assert_eq!(names.next(), None);
    found
}

/// Opens, waits for the end of the salvage, returns what was told of it.
async fn open(path: &Path) -> (Store, String) {
    let Opened { store, notices } = Store::open(path).unwrap();
    assert_eq!(notices.len(), 1, "{notices:?}");
    let mut health = store.health();
    let over = |health: &super::super::Health| health.notices().all(|told| !told.contains("being"));
    let told = health.wait_for(over).await.unwrap().notices().collect();
    (store, told)
}

/// How many events of a session came back. They are the first ones, unaltered; what follows tells of the loss.
async fn kept(store: &Store, id: &SessionId) -> u64 {
    let Ok(found) = store.events(id, 0, 999).await else {
        return 0;
    };
    let mut kept = 0;
    for (seq, found) in (1..).zip(found) {
        assert_eq!(found.seq, seq);
        if matches!(found.body, Some(Body::EventLost(_))) {
            continue;
        }
        assert_eq!(kept + 1, seq, "an event after a loss");
        let want = if seq == 1 {
            event(1)
        } else {
            sized(id, seq).events.remove(0)
        };
        assert_eq!(found, want);
        kept = seq;
    }
    kept
}

#[tokio::test]
async fn a_file_without_its_beginning_comes_back_whole() {
    for bytes in [16, 100, 1_000, 4_096] {
        let (scratch, ids) = filled().await;
        let path = scratch.path();
        overwrite(&path, 0, &vec![0xa5; bytes]);
        let (store, told) = open(&path).await;
        assert!(told.contains("12 sessions salvaged"), "{told}");
        assert!(!told.contains("cut") && !told.contains("lost"), "{told}");
        let moved = damaged(&path);
        assert!(told.contains(moved.to_str().unwrap()), "{told}");
        let listed = store.sessions(Listing::newest(99)).await.unwrap();
        assert_eq!(listed.len() as u64, SESSIONS);
        for id in &ids {
            assert_eq!(kept(&store, id).await, EVENTS);
        }
        // The work goes on, and the next start has nothing to tell.
        store.append(sized(&ids[0], EVENTS + 1)).await.unwrap();
        store.close().await.unwrap();
        let again = Store::open(&path).unwrap();
        assert_eq!(again.notices, [""; 0]);
        assert_eq!(kept(&again.store, &ids[0]).await, EVENTS + 1);
        assert!(moved.exists(), "the damaged file was removed");
    }
}

#[tokio::test]
async fn what_was_never_a_database_is_kept_and_a_new_one_begun() {
    for text in ["some text", &"dear diary, ".repeat(9_000)] {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("quire.db");
        fs::write(&path, text).unwrap();
        let (store, told) = open(&path).await;
        assert!(told.contains("0 sessions salvaged"), "{told}");
        assert_eq!(fs::read_to_string(damaged(&path)).unwrap(), text);
        assert_eq!(store.sessions(Listing::newest(9)).await.unwrap(), []);
    }
}

#[tokio::test]
async fn a_cut_file_gives_a_proven_prefix_of_each_session() {
    let (scratch, ids) = filled().await;
    let whole = fs::read(scratch.path()).unwrap();
    let mut all = 0;
    for parts in 1..8 {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("quire.db");
        let length = whole.len() * parts / 8 + 77;
        fs::write(&path, &whole[..length]).unwrap();
        let (store, told) = open(&path).await;
        assert!(told.contains("cut") || told.contains("lost"), "{told}");
        let mut sum = 0;
        for id in &ids {
            sum += kept(&store, id).await;
        }
        assert!(sum >= all, "a longer file gave less");
        all = sum;
    }
    assert!(all > SESSIONS * EVENTS / 2, "only {all} events came back");
}

#[tokio::test]
async fn pages_overwritten_at_random_cost_no_more_than_what_was_on_them() {
    let (scratch, ids) = filled().await;
    let whole = fs::read(scratch.path()).unwrap();
    let pages = whole.len() / 4096;
    let (mut seed, mut all, mut rounds) = (3_u64, 0, 0);
    for _ in 0..20 {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("quire.db");
        let mut bytes = whole.clone();
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let page = (seed >> 33) as usize % pages;
        bytes[page * 4096..][..4096].fill(0xee);
        fs::write(&path, &bytes).unwrap();
        aside::condemn(&path).unwrap();
        let (store, _told) = open(&path).await;
        for id in &ids {
            all += kept(&store, id).await;
        }
        rounds += 1;
        assert!(!aside::is_condemned(&path));
    }
    let possible = rounds * SESSIONS * EVENTS;
    assert!(
        all * 10 > possible * 7,
        "{all} of {possible} events came back"
    );
}

/// Copies the files of a store that was killed before its log was emptied.
async fn killed(scratch: &Scratch, events: &[Append]) -> (tempfile::TempDir, PathBuf) {
    let reader = Connection::open(scratch.path()).unwrap();
    let stays = "BEGIN; SELECT * FROM sessions";
    reader.execute_batch(stays).unwrap();
    for append in events {
        scratch.store.append(append.clone()).await.unwrap();
    }
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("quire.db");
    for suffix in ["", "-wal"] {
        fs::copy(beside(&scratch.path(), suffix), beside(&path, suffix)).unwrap();
    }
    (directory, path)
}

#[tokio::test]
async fn what_only_the_log_holds_comes_back_too() {
    let scratch = Scratch::new();
    let id = scratch.session(v1::Session::default()).await;
    let events: Vec<_> = (2..=EVENTS).map(|seq| sized(&id, seq)).collect();
    let (_directory, path) = killed(&scratch, &events).await;
    overwrite(&path, 0, &[0xa5; 100]);
    // SQLite could go on, for the log holds the file's beginning too.
    aside::condemn(&path).unwrap();
    let (store, told) = open(&path).await;
    assert!(told.contains("1 session salvaged"), "{told}");
    assert_eq!(kept(&store, &id).await, EVENTS);
}

#[tokio::test]
async fn a_kill_in_the_middle_costs_nothing_and_repeats_nothing() {
    let (scratch, ids) = filled().await;
    let path = scratch.path();
    overwrite(&path, 0, &[0; 100]);
    let (store, _told) = open(&path).await;
    store.append(sized(&ids[7], EVENTS + 1)).await.unwrap();
    store.delete(&ids[6], &RequestId::random()).await.unwrap();
    store.close().await.unwrap();
    // As if the daemon had been killed after some of them.
    let raw = Connection::open(&path).unwrap();
    for id in &ids[..5] {
        let row = "DELETE FROM sessions WHERE id = ?1 RETURNING number";
        let number: i64 = raw.query_row(row, [id.as_str()], |row| row.get(0)).unwrap();
        raw.execute("DELETE FROM events WHERE session = ?1", [number])
            .unwrap();
    }
    drop(raw);
    fs::remove_file(scratch.directory.path().join("heads")).unwrap();
    fs::write(beside(&damaged(&path), "-todo"), "").unwrap();
    let (store, told) = open(&path).await;
    assert!(told.contains("11 sessions salvaged"), "{told}");
    for (index, id) in ids.iter().enumerate() {
        let want = match index {
            6 => 0,
            7 => EVENTS + 1,
            _ => EVENTS,
        };
        assert_eq!(kept(&store, id).await, want, "session {index}");
    }
}

#[tokio::test]
async fn what_was_deleted_stays_so() {
    let (scratch, ids) = filled().await;
    let store = Store::open(&scratch.path()).unwrap().store;
    for id in &ids[2..] {
        store.delete(id, &RequestId::random()).await.unwrap();
    }
    store.close().await.unwrap();
    // Either tells what was deleted: the list of free pages, in the beginning, and the heads.
    for (damage, heads) in [(0, false), (4_096, true)] {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("quire.db");
        fs::copy(scratch.path(), &path).unwrap();
        if heads {
            let heads = scratch.directory.path().join("heads");
            fs::copy(heads, directory.path().join("heads")).unwrap();
        }
        overwrite(&path, 0, &vec![0; damage]);
        aside::condemn(&path).unwrap();
        let (store, told) = open(&path).await;
        assert!(told.contains("2 sessions salvaged"), "{told}");
        let left = store.sessions(Listing::newest(99)).await.unwrap();
        assert_eq!(left.len(), 2, "heads: {heads}");
    }
}

#[tokio::test]
async fn a_turn_that_lost_its_end_waits_for_someone() {
    let scratch = Scratch::new();
    let id = SessionId::random();
    let started = |seq, turn| v1::Event {
        seq,
        time_ms: 5,
        body: Some(Body::TurnStarted(v1::TurnStarted {
            turn,
            ..v1::TurnStarted::default()
        })),
        ..v1::Event::default()
    };
    let events: Vec<_> = (1..=9).map(|seq| started(seq, 1)).collect();
    let summary = v1::Session {
        id: id.to_string(),
        ..v1::Session::default()
    };
    let request = RequestId::random();
    let made = scratch
        .store
        .create(id.clone(), &request, &events, &summary);
    made.await.unwrap();
    scratch.store.close().await.unwrap();
    let raw = Connection::open(scratch.path()).unwrap();
    raw.execute("UPDATE events SET body = x'00' WHERE seq = 6", [])
        .unwrap();
    drop(raw);
    aside::condemn(&scratch.path()).unwrap();
    let (store, told) = open(&scratch.path()).await;
    assert!(
        told.contains(&format!("1 of them cut (`{id}` after event 5)")),
        "{told}"
    );
    assert_eq!(seqs(&store, &id, 0, 99).await, Vec::from_iter(1..=10));
    let session = store.session(&id).await.unwrap().unwrap();
    assert_eq!(session.state(), SessionState::Suspended);
    assert_eq!((session.head_seq, session.running_turn), (10, 1));
    let events = store.events(&id, 5, 99).await.unwrap();
    let lost = |event: &&v1::Event| matches!(event.body, Some(Body::EventLost(_)));
    assert_eq!(events.iter().filter(lost).count(), 4);
}

#[tokio::test]
async fn a_session_without_its_row_is_known_by_what_stands_outside() {
    let (scratch, ids) = filled().await;
    let raw = Connection::open(scratch.path()).unwrap();
    raw.execute("DELETE FROM sessions WHERE id = ?1", [ids[4].as_str()])
        .unwrap();
    drop(raw);
    aside::condemn(&scratch.path()).unwrap();
    let (store, told) = open(&scratch.path()).await;
    assert!(told.contains("12 sessions salvaged"), "{told}");
    assert_eq!(kept(&store, &ids[4]).await, EVENTS);
}
