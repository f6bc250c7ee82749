//! Full and failed disks, on a real small file system where one may be mounted.

use std::{fs, os::unix::fs::MetadataExt as _, path::PathBuf, sync::Arc};

use quire_proto::{
    id::{RequestId, SessionId},
    v1,
};
use rusqlite::{Connection, ffi};

use super::super::{
    Append, Damage, Health, Message, Opened, Store, StoreError, Teller, refound, schema,
    tests::{Scratch, append, event, seqs, whole},
};
use crate::adapters::small_disk::SmallDisk;

/// A store on a disk of two megabytes.
struct Small {
    disk: SmallDisk,
    store: Store,
}

impl Small {
    fn new() -> Option<Self> {
        let disk = SmallDisk::new(2 << 10)?;
        let store = Store::open(&disk.path().join("quire.db")).unwrap().store;
        Some(Self { disk, store })
    }

    fn path(&self) -> PathBuf {
        self.disk.path().join("quire.db")
    }

    async fn session(&self) -> SessionId {
        new_session(&self.store).await
    }

    async fn make_room(&self) {
        self.disk.empty();
        self.store.wait_for_room().await;
    }

    fn has_reserve(&self) -> bool {
        self.disk.path().join("reserve").exists()
    }
}

async fn new_session(store: &Store) -> SessionId {
    let id = SessionId::random();
    let summary = v1::Session {
        id: id.to_string(),
        ..v1::Session::default()
    };
    let (request, events) = (RequestId::random(), [event(1)]);
    let made = store.create(id, &request, &events, &summary).await;
    made.unwrap()
}

fn beginning(session: &SessionId, seq: u64) -> Append {
    Append {
        begins: true,
        ..append(session, [seq])
    }
}

/// One event of so many bytes.
fn large(session: &SessionId, seq: u64, bytes: usize) -> Append {
    let mut large = append(session, [seq]);
    large.events[0].request_id = "x".repeat(bytes);
    large
}

fn notices(store: &Store) -> Vec<String> {
    let health = store.health();
    health.borrow().notices().map(String::from).collect()
}

fn failed(code: i32) -> StoreError {
    let error = rusqlite::Error::SqliteFailure(ffi::Error::new(code), None);
    StoreError::from(error)
}

#[tokio::test]
async fn on_a_full_disk_outcomes_are_kept_and_nothing_is_begun_until_there_is_room() {
    let Some(small) = Small::new() else { return };
    let store = &small.store;
    let (one, two) = (small.session().await, small.session().await);
    small.disk.fill();
    // Fills what is left of pages that the log has already.
    let outcomes = (2..12).map(|seq| large(&one, seq, 1 << 10));
    for outcome in outcomes {
        store.append(outcome).await.unwrap();
    }
    assert!(!small.has_reserve(), "it was not given up");
    assert_eq!(notices(store).len(), 1);
    let refused = store.append(beginning(&two, 2)).await;
    assert!(matches!(refused, Err(StoreError::Full)), "{refused:?}");
    let id = SessionId::random();
    let request = RequestId::random();
    let refused = store
        .create(id.clone(), &request, &[event(1)], &v1::Session::default())
        .await;
    assert!(matches!(refused, Err(StoreError::Full)), "{refused:?}");
    let (refused, kept) = tokio::join!(
        store.append(beginning(&two, 2)),
        store.append(append(&one, [12]))
    );
    assert!(matches!(refused, Err(StoreError::Full)), "{refused:?}");
    kept.unwrap();

    small.make_room().await;
    assert!(small.has_reserve());
    assert_eq!(notices(store), [""; 0]);
    store.append(beginning(&two, 2)).await.unwrap();
    assert_eq!(seqs(store, &two, 0, 9).await, [1, 2]);
    assert_eq!(seqs(store, &one, 0, 99).await, Vec::from_iter(1..=12));
    assert!(store.session(&id).await.unwrap().is_none());
}

#[tokio::test]
async fn when_even_the_reserve_is_used_up_the_same_write_succeeds_later() {
    let Some(small) = Small::new() else { return };
    let store = &small.store;
    let id = small.session().await;
    small.disk.fill();
    let mut next = 2;
    let error = loop {
        match store.append(large(&id, next, 32 << 10)).await {
            Ok(()) => next += 1,
            Err(error) => break error,
        }
    };
    assert!(matches!(error, StoreError::Full), "{error:?}");
    assert_eq!(seqs(store, &id, 0, 99).await, Vec::from_iter(1..next));
    small.make_room().await;
    store.append(large(&id, next, 32 << 10)).await.unwrap();
    assert_eq!(seqs(store, &id, 0, 99).await, Vec::from_iter(1..=next));
}

#[tokio::test]
async fn a_start_on_a_full_disk_opens_what_is_there_and_tells() {
    let Some(small) = Small::new() else { return };
    let id = small.session().await;
    small.store.close().await.unwrap();
    // Not even the shared memory of a database that was closed would fit, but for the reserve.
    small.disk.fill();
    let Opened { store, notices } = Store::open(&small.path()).unwrap();
    assert_eq!(notices.len(), 1, "{notices:?}");
    assert!(!small.has_reserve());
    assert_eq!(seqs(&store, &id, 0, 9).await, [1]);
    let refused = store.append(beginning(&id, 2)).await;
    assert!(matches!(refused, Err(StoreError::Full)), "{refused:?}");
    store.append(append(&id, [2])).await.unwrap();
    small.disk.empty();
    store.wait_for_room().await;
    store.append(beginning(&id, 3)).await.unwrap();
}

#[tokio::test]
async fn a_new_store_on_a_full_disk_is_refused_as_that() {
    let Some(disk) = SmallDisk::new(64) else {
        return;
    };
    disk.fill();
    let error = Store::open(&disk.path().join("quire.db")).err();
    assert!(matches!(error, Some(StoreError::Full)), "{error:?}");
}

#[tokio::test]
async fn one_write_that_does_not_fit_fails_no_other_of_its_group() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("quire.db");
    let connection = schema::open_writer(&path).unwrap();
    connection
        .execute_batch("PRAGMA max_page_count=40")
        .unwrap();
    let store = Store::on(&path, whole(&path, connection), Teller::new()).unwrap();
    let scratch = Scratch { directory, store };
    let (one, two) = (
        scratch.session(v1::Session::default()).await,
        scratch.session(v1::Session::default()).await,
    );
    let store = &scratch.store;
    let (too_large, small) = tokio::join!(
        store.append(large(&one, 2, 1 << 20)),
        store.append(append(&two, [2]))
    );
    assert!(matches!(too_large, Err(StoreError::Full)), "{too_large:?}");
    small.unwrap();
    assert_eq!(seqs(store, &one, 0, 9).await, [1]);
    assert_eq!(seqs(store, &two, 0, 9).await, [1, 2]);
}

#[tokio::test]
async fn after_a_failure_of_the_disk_the_work_goes_on_in_a_new_file() {
    let scratch = Scratch::new();
    let id = scratch.session(v1::Session::default()).await;
    let gone = scratch.session(v1::Session::default()).await;
    scratch.store.append(append(&id, 2..=50)).await.unwrap();
    let request = RequestId::random();
    scratch.store.delete(&gone, &request).await.unwrap();
    assert_eq!(seqs(&scratch.store, &id, 48, 9).await, [49, 50]);
    let before = fs::metadata(scratch.path()).unwrap().ino();
    let failure = failed(ffi::SQLITE_IOERR_FSYNC);
    fail(&scratch.store, [failure]);
    scratch.store.append(append(&id, [51])).await.unwrap();
    assert_ne!(fs::metadata(scratch.path()).unwrap().ino(), before);
    assert_eq!(notices(&scratch.store).len(), 1);
    scratch.store.append(append(&id, [52])).await.unwrap();
    let want = Vec::from_iter(1..=52);
    assert_eq!(seqs(&scratch.store, &id, 0, 99).await, want);
    scratch.store.close().await.unwrap();
    let store = Store::open(&scratch.path()).unwrap().store;
    assert_eq!(seqs(&store, &id, 0, 99).await, want);
    assert!(store.session(&gone).await.unwrap().is_none());
}

#[tokio::test]
async fn a_disk_that_fails_twice_takes_the_same_write_later() {
    let scratch = Scratch::new();
    let id = scratch.session(v1::Session::default()).await;
    let failure = failed(ffi::SQLITE_IOERR_WRITE);
    fail(&scratch.store, [failure.clone(), failure]);
    let error = scratch.store.append(append(&id, [2])).await;
    assert!(matches!(error, Err(StoreError::Io(_))), "{error:?}");
    assert_eq!(seqs(&scratch.store, &id, 0, 9).await, [1]);
    while scratch.store.append(append(&id, [2])).await.is_err() {
        tokio::task::yield_now().await;
    }
    assert_eq!(seqs(&scratch.store, &id, 0, 9).await, [1, 2]);
}

#[tokio::test]
async fn no_room_for_a_new_file_is_told_and_tried_again() {
    let Some(small) = Small::new() else { return };
    let store = &small.store;
    let id = small.session().await;
    small.disk.fill();
    let failure = failed(ffi::SQLITE_IOERR_FSYNC);
    fail(&small.store, [failure]);
    let error = store.append(append(&id, [2])).await;
    assert!(matches!(error, Err(StoreError::Io(_))), "{error:?}");
    let told = notices(store).join("");
    assert!(told.contains("no room for a copy"), "{told}");
    assert_eq!(seqs(store, &id, 0, 9).await, [1]);
    small.disk.empty();
    while store.append(append(&id, [2])).await.is_err() {
        tokio::task::yield_now().await;
    }
    assert_eq!(seqs(store, &id, 0, 9).await, [1, 2]);
}

/// Every state of the files that a kill can leave while they are replaced.
#[tokio::test]
async fn a_move_killed_at_any_step_opens_whole() {
    let scratch = Scratch::new();
    let id = scratch.session(v1::Session::default()).await;
    // A reader that stays where it is, so that the log cannot be emptied before it is copied.
    let reader = Connection::open(scratch.path()).unwrap();
    reader
        .execute_batch("BEGIN; SELECT * FROM sessions")
        .unwrap();
    scratch.store.append(append(&id, 2..=9)).await.unwrap();
    let files = ["", "-wal", "-shm"];
    let copy_to = |directory: &std::path::Path| {
        for suffix in files {
            let name = format!("quire.db{suffix}");
            let _no_shm = fs::copy(scratch.directory.path().join(&name), directory.join(&name));
        }
    };
    for step in 0..=5_usize {
        let killed = tempfile::tempdir().unwrap();
        let path = killed.path().join("quire.db");
        copy_to(killed.path());
        assert!(fs::metadata(refound::beside(&path, "-wal")).unwrap().len() > 0);
        match step {
            0 => fs::write(path.with_added_extension("moving"), "half a copy").unwrap(),
            _ => {
                let connection = Connection::open(&path).unwrap();
                let setting = rusqlite::config::DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE;
                connection.set_db_config(setting, true).unwrap();
                refound::copy(&path, [].into_iter()).unwrap();
            }
        }
        for suffix in files.iter().skip(1).take(step.saturating_sub(1)) {
            let _no_shm = fs::remove_file(refound::beside(&path, suffix));
        }
        if step >= 4 {
            fs::rename(path.with_added_extension("moved"), &path).unwrap();
        }
        if step == 5 {
            drop(schema::open_writer(&path).unwrap());
        }
        let store = Store::open(&path).unwrap().store;
        let found = seqs(&store, &id, 0, 99).await;
        assert_eq!(found, Vec::from_iter(1..=9), "after step {step}");
        store.append(append(&id, [10])).await.unwrap();
        store.close().await.unwrap();
        let mut left: Vec<_> = fs::read_dir(killed.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .collect();
        left.sort();
        assert_eq!(left, ["heads", "quire.db", "reserve"], "after step {step}");
    }
}

#[tokio::test]
async fn a_copy_that_lacks_what_was_acknowledged_is_not_taken() {
    let scratch = Scratch::new();
    let id = scratch.session(v1::Session::default()).await;
    scratch.store.append(append(&id, 2..=9)).await.unwrap();
    let raw = Connection::open(scratch.path()).unwrap();
    raw.execute("DELETE FROM events WHERE seq = 9", []).unwrap();
    drop(raw);
    let failure = failed(ffi::SQLITE_IOERR_FSYNC);
    fail(&scratch.store, [failure]);
    let error = scratch.store.append(append(&id, [10])).await;
    assert!(matches!(error, Err(StoreError::Io(_))), "{error:?}");
    assert!(scratch.store.health().borrow().is_condemned());
}

#[tokio::test]
async fn a_damaged_database_takes_no_more_writes_and_asks_for_a_new_start() {
    let scratch = Scratch::new();
    let id = scratch.session(v1::Session::default()).await;
    assert!(!scratch.store.health().borrow().is_condemned());
    let failure = failed(ffi::SQLITE_CORRUPT);
    fail(&scratch.store, [failure]);
    for _ in 0..2 {
        let error = scratch.store.append(append(&id, [2])).await;
        assert!(matches!(error, Err(StoreError::Corrupt(_))), "{error:?}");
    }
    let mut health = scratch.store.health();
    health.wait_for(Health::is_condemned).await.unwrap();
}

/// The next commits fail like so.
fn fail(store: &Store, failures: impl IntoIterator<Item = StoreError>) {
    let failures = failures.into_iter().collect();
    store.writer.send(Message::Fail(failures)).unwrap();
}

#[test]
fn only_what_room_would_cure_is_called_full() {
    let table = [
        (ffi::SQLITE_FULL, true),
        (ffi::SQLITE_IOERR_WRITE, false),
        (ffi::SQLITE_IOERR_FSYNC, false),
        (ffi::SQLITE_IOERR_SHMSIZE, false),
    ];
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("quire.db");
    let readers = super::Readers::new(&path, Arc::default(), Damage::default());
    let mut ground = super::Ground::new(path, Arc::clone(&readers), Teller::new());
    for (code, want) in table {
        let full = matches!(ground.judge(failed(code)), StoreError::Full);
        assert_eq!(full, want, "for {code}");
    }
    // Now the reserve cannot be made: the directory is gone, which room would not cure.
    drop(directory);
    let judged = ground.judge(failed(ffi::SQLITE_IOERR_WRITE));
    assert!(matches!(judged, StoreError::Io(_)), "{judged:?}");
}
