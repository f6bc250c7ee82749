//! The store as its callers see it, on real files.

use std::{fs, path::PathBuf};

use quire_proto::v1::{SessionState, event::Body};

use super::*;

mod corpus;
mod heads;
mod log;
mod migration;
mod rot;

pub(super) struct Scratch {
    pub(super) directory: tempfile::TempDir,
    pub(super) store: Store,
}

impl Scratch {
    pub(super) fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let store = open(&directory.path().join("quire.db"));
        Self { directory, store }
    }

    pub(super) fn path(&self) -> PathBuf {
        self.directory.path().join("quire.db")
    }

    /// Makes a session with one event.
    pub(super) async fn session(&self, summary: v1::Session) -> SessionId {
        let id = SessionId::random();
        let summary = v1::Session {
            id: id.to_string(),
            ..summary
        };
        let made = self
            .store
            .create(id.clone(), &RequestId::random(), &[event(1)], &summary)
            .await;
        assert_eq!(made.unwrap(), id);
        id
    }
}

pub(super) fn event(seq: u64) -> v1::Event {
    let body = Body::TurnSuspended(v1::TurnSuspended {
        turn: seq,
        reason: format!("event {seq}"),
        wants_world: false,
    });
    v1::Event {
        seq,
        time_ms: 7,
        body: Some(body),
        ..v1::Event::default()
    }
}

pub(super) fn append(session: &SessionId, seqs: impl IntoIterator<Item = u64>) -> Append {
    Append {
        session: session.clone(),
        events: seqs.into_iter().map(event).collect(),
        summary: v1::Session {
            id: session.to_string(),
            ..v1::Session::default()
        },
        durability: Durability::Plain,
        begins: false,
    }
}

/// Opens a store in which nothing is wrong.
fn open(path: &Path) -> Store {
    let Opened { store, notices } = Store::open(path).unwrap();
    assert_eq!(notices, [""; 0]);
    store
}

/// What a store is made of that has just been opened.
pub(super) fn whole(path: &Path, mut connection: Connection) -> Whole {
    let found = opening::examine(&mut connection, path).unwrap();
    let moved = None;
    Whole {
        connection,
        found,
        moved,
    }
}

pub(super) async fn seqs(store: &Store, session: &SessionId, after: u64, limit: u32) -> Vec<u64> {
    let events = store.events(session, after, limit).await.unwrap();
    events.iter().map(|event| event.seq).collect()
}

#[tokio::test]
async fn pages_follow_each_other_without_gap_or_repeat() {
    let scratch = Scratch::new();
    let store = &scratch.store;
    let id = scratch.session(v1::Session::default()).await;
    store.append(append(&id, 2..=5)).await.unwrap();
    assert_eq!(seqs(store, &id, 0, 2).await, [1, 2]);
    assert_eq!(seqs(store, &id, 2, 2).await, [3, 4]);
    assert_eq!(seqs(store, &id, 4, 2).await, [5]);
    assert_eq!(seqs(store, &id, 5, 2).await, [0; 0]);
    assert_eq!(seqs(store, &id, 99, 2).await, [0; 0]);
    assert_eq!(store.events(&id, 1, 1).await.unwrap(), [event(2)]);
}

#[tokio::test]
async fn a_gap_or_a_repeat_is_refused_and_harms_nothing() {
    let scratch = Scratch::new();
    let id = scratch.session(v1::Session::default()).await;
    for wrong in [vec![], vec![1], vec![3], vec![2, 4], vec![2, 2]] {
        let error = scratch.store.append(append(&id, wrong.clone())).await;
        assert!(
            matches!(error, Err(StoreError::OutOfOrder { .. })),
            "for {wrong:?}"
        );
    }
    let gone = SessionId::random();
    let error = scratch.store.append(append(&gone, [1])).await;
    assert!(matches!(error, Err(StoreError::Missing(id)) if id == gone));
    scratch.store.append(append(&id, [2])).await.unwrap();
    assert_eq!(seqs(&scratch.store, &id, 0, 10).await, [1, 2]);
}

#[tokio::test]
async fn the_same_create_request_names_the_same_session() {
    let scratch = Scratch::new();
    let request = RequestId::random();
    let (first, second) = (SessionId::random(), SessionId::random());
    let summary = v1::Session::default();
    for id in [&first, &second] {
        let made = scratch
            .store
            .create(id.clone(), &request, &[event(1)], &summary)
            .await;
        assert_eq!(made.unwrap(), first);
    }
    assert!(scratch.store.session(&second).await.unwrap().is_none());
    let store = &scratch.store;
    store.delete(&first, &RequestId::random()).await.unwrap();
    let made = store
        .create(second.clone(), &request, &[event(1)], &summary)
        .await;
    assert_eq!(made.unwrap(), first, "also when it is gone");
    assert!(store.session(&second).await.unwrap().is_none());
}

#[tokio::test]
async fn a_deleted_session_is_gone_and_others_stay() {
    let scratch = Scratch::new();
    let store = &scratch.store;
    let gone = scratch.session(v1::Session::default()).await;
    let kept = scratch.session(v1::Session::default()).await;
    let request = RequestId::random();
    for _ in 0..2 {
        assert_eq!(store.delete(&gone, &request).await.unwrap(), gone);
    }
    assert_eq!(store.deletion(&request).await.unwrap(), Some(gone.clone()));
    assert!(store.session(&gone).await.unwrap().is_none());
    assert!(matches!(
        store.events(&gone, 0, 1).await,
        Err(StoreError::Missing(_))
    ));
    assert!(matches!(
        store.delete(&gone, &RequestId::random()).await,
        Err(StoreError::Missing(_))
    ));
    assert_eq!(store.delete(&kept, &request).await.unwrap(), gone);
    let later = scratch.session(v1::Session::default()).await;
    assert_eq!(seqs(store, &kept, 0, 9).await, [1]);
    assert_eq!(seqs(store, &later, 0, 9).await, [1]);
}

#[tokio::test]
async fn a_session_is_found_by_id_prefix_title_and_last() {
    let scratch = Scratch::new();
    let named = |title: &str, active_ms| v1::Session {
        title: title.into(),
        active_ms,
        ..v1::Session::default()
    };
    let old = scratch.session(named("fix the parser", 10)).await;
    let new = scratch.session(named("100% of _names", 20)).await;
    let archived = v1::Session {
        archived: true,
        ..named("put away", 30)
    };
    let put_away = scratch.session(archived).await;
    let table = [
        (old.to_string(), vec![&old]),
        (old.as_str()[..9].to_owned(), vec![&old]),
        ("fix the parser".into(), vec![&old]),
        ("100% of _names".into(), vec![&new]),
        ("put away".into(), vec![&put_away]),
        ("fix%".into(), vec![]),
        ("@last".into(), vec![&new]),
        (String::new(), vec![&put_away, &new, &old]),
    ];
    for (name, want) in table {
        let found = scratch.store.find(&name).await.unwrap();
        let ids: Vec<_> = found.iter().map(|session| session.id.as_str()).collect();
        let want: Vec<_> = want.iter().map(|id| id.as_str()).collect();
        assert_eq!(ids, want, "for `{name}`");
    }
}

#[tokio::test]
async fn lists_are_newest_first_and_go_on_where_they_stopped() {
    let scratch = Scratch::new();
    let at = |active_ms, workspace: &str, archived| v1::Session {
        active_ms,
        workspace: workspace.into(),
        archived,
        ..v1::Session::default()
    };
    let mut ids = Vec::new();
    for summary in [
        at(1, "/a", false),
        at(2, "/b", false),
        at(2, "/a", true),
        at(3, "/a", false),
    ] {
        ids.push(scratch.session(summary).await);
    }
    let list = async |listing| {
        let found = scratch.store.sessions(listing).await.unwrap();
        found.into_iter().map(|s| s.id).collect::<Vec<_>>()
    };
    assert_eq!(
        list(Listing::newest(9)).await,
        [&ids[3], &ids[1], &ids[0]].map(ToString::to_string)
    );
    let of_a = Listing {
        workspace: Some("/a".into()),
        include_archived: true,
        ..Listing::newest(9)
    };
    assert_eq!(
        list(of_a).await,
        [&ids[3], &ids[2], &ids[0]].map(ToString::to_string)
    );
    let mut walked = Vec::new();
    let mut page = Listing {
        include_archived: true,
        ..Listing::newest(1)
    };
    while let [session] = &scratch.store.sessions(page.clone()).await.unwrap()[..] {
        walked.push(session.id.clone());
        page.before = Some((session.active_ms, session.id.parse().unwrap()));
    }
    assert_eq!(walked.len(), 4);
    walked.sort();
    walked.dedup();
    assert_eq!(walked.len(), 4, "one session came twice");
}

#[tokio::test]
async fn what_waits_for_a_daemon_is_unfinished() {
    let scratch = Scratch::new();
    let state = |state: SessionState| v1::Session {
        state: state.into(),
        ..v1::Session::default()
    };
    let queued = v1::Session {
        queued_prompts: 1,
        ..state(SessionState::Idle)
    };
    let table = [
        (state(SessionState::Idle), false),
        (state(SessionState::Running), true),
        (state(SessionState::NeedsApproval), true),
        (state(SessionState::Suspended), true),
        (queued, true),
    ];
    for (summary, want) in table {
        let id = scratch.session(summary.clone()).await;
        let found = scratch.store.unfinished().await.unwrap().contains(&id);
        assert_eq!(found, want, "for {summary:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_writers_share_commits_and_lose_nothing() {
    let scratch = Scratch::new();
    let mut writers = tokio::task::JoinSet::new();
    for number in 0..40 {
        let id = scratch.session(v1::Session::default()).await;
        let store = scratch.store.clone();
        writers.spawn(async move {
            for seq in 2..=20 {
                let durability = if (number + seq) % 10 == 0 {
                    Durability::Barrier
                } else {
                    Durability::Plain
                };
                let append = Append {
                    durability,
                    ..append(&id, [seq])
                };
                store.append(append).await.unwrap();
            }
            id
        });
    }
    let want: Vec<u64> = (1..=20).collect();
    while let Some(id) = writers.join_next().await {
        assert_eq!(seqs(&scratch.store, &id.unwrap(), 0, 100).await, want);
    }
}

#[tokio::test]
async fn acknowledged_writes_outlive_a_kill() {
    let scratch = Scratch::new();
    let id = scratch.session(v1::Session::default()).await;
    scratch.store.append(append(&id, 2..=9)).await.unwrap();
    // The files as `kill -9` would leave them: nothing was closed, the log was not emptied.
    let copy = tempfile::tempdir().unwrap();
    for entry in fs::read_dir(scratch.directory.path()).unwrap() {
        let entry = entry.unwrap();
        if !entry.path().to_string_lossy().ends_with("-shm") {
            fs::copy(entry.path(), copy.path().join(entry.file_name())).unwrap();
        }
    }
    let wal = fs::metadata(copy.path().join("quire.db-wal"))
        .unwrap()
        .len();
    assert!(wal > 0, "the copy has no write-ahead log");
    let store = open(&copy.path().join("quire.db"));
    assert_eq!(seqs(&store, &id, 0, 99).await, Vec::from_iter(1..=9));
    store.append(append(&id, [10])).await.unwrap();
}

#[tokio::test]
async fn a_closed_store_is_one_small_file_and_says_so() {
    let scratch = Scratch::new();
    let id = scratch.session(v1::Session::default()).await;
    for seq in 2..300 {
        scratch.store.append(append(&id, [seq])).await.unwrap();
    }
    scratch.store.close().await.unwrap();
    scratch.store.close().await.unwrap();
    let mut names: Vec<_> = fs::read_dir(scratch.directory.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    names.sort();
    assert_eq!(names, ["heads", "quire.db", "reserve"]);
    let size = fs::metadata(scratch.path()).unwrap().len();
    assert!(size < 64 << 10, "{size} bytes for 300 small events");
    assert!(matches!(
        scratch.store.append(append(&id, [300])).await,
        Err(StoreError::Closed)
    ));
    assert!(matches!(
        scratch.store.events(&id, 0, 1).await,
        Err(StoreError::Closed)
    ));
}

#[tokio::test]
async fn a_flipped_byte_is_told_with_its_event_and_harms_no_other_session() {
    let scratch = Scratch::new();
    let hurt = scratch.session(v1::Session::default()).await;
    let whole = scratch.session(v1::Session::default()).await;
    scratch.store.append(append(&hurt, 2..=6)).await.unwrap();
    scratch.store.append(append(&whole, 2..=3)).await.unwrap();
    scratch.store.close().await.unwrap();
    let mut bytes = fs::read(scratch.path()).unwrap();
    let needle = b"event 4";
    let at = bytes.windows(needle.len()).position(|w| w == needle);
    bytes[at.unwrap()] ^= 0x20;
    fs::write(scratch.path(), bytes).unwrap();

    let store = open(&scratch.path());
    let error = store.events(&hurt, 0, 100).await.unwrap_err();
    let StoreError::Damaged { session, seq } = &error else {
        panic!("{error:?}")
    };
    assert_eq!((session, *seq), (&hurt, 4));
    assert_eq!(seqs(&store, &hurt, 0, 3).await, [1, 2, 3]);
    assert_eq!(seqs(&store, &whole, 0, 100).await, [1, 2, 3]);
}

#[tokio::test]
async fn a_history_made_shorter_or_swapped_is_damage() {
    let edits = [
        ("DELETE FROM events WHERE seq = 5", 5),
        ("DELETE FROM events WHERE seq = 2", 2),
        ("UPDATE events SET seq = seq + 1 WHERE seq = 5", 5),
        ("UPDATE events SET chain = zeroblob(16) WHERE seq = 5", 5),
        ("UPDATE events SET chain = zeroblob(3) WHERE seq = 3", 3),
    ];
    for (edit, want) in edits {
        let scratch = Scratch::new();
        let id = scratch.session(v1::Session::default()).await;
        scratch.store.append(append(&id, 2..=5)).await.unwrap();
        scratch.store.close().await.unwrap();
        let raw = rusqlite::Connection::open(scratch.path()).unwrap();
        assert_eq!(raw.execute(edit, []).unwrap(), 1, "for `{edit}`");
        drop(raw);
        let store = open(&scratch.path());
        let error = store.events(&id, 0, 100).await.unwrap_err();
        assert!(
            matches!(error, StoreError::Damaged { seq, .. } if seq == want),
            "for `{edit}`: {error:?}"
        );
    }
}

#[tokio::test]
async fn a_full_disk_refuses_the_write_and_goes_on_when_there_is_room() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("quire.db");
    let connection = schema::open_writer(&path).unwrap();
    // SQLite answers as it does for a full disk.
    connection
        .execute_batch("PRAGMA max_page_count=20")
        .unwrap();
    let whole = whole(&path, connection);
    let store = Store::on(&path, whole, Teller::new()).unwrap();
    let scratch = Scratch { directory, store };
    let id = scratch.session(v1::Session::default()).await;
    let mut large = append(&id, [2]);
    large.events[0].request_id = "x".repeat(1 << 20);
    for _ in 0..2 {
        let error = scratch.store.append(large.clone()).await;
        assert!(matches!(error, Err(StoreError::Full)), "{error:?}");
    }
    assert_eq!(seqs(&scratch.store, &id, 0, 9).await, [1]);
    scratch.store.append(append(&id, [2])).await.unwrap();
    assert_eq!(seqs(&scratch.store, &id, 0, 9).await, [1, 2]);
    scratch.store.close().await.unwrap();
}
