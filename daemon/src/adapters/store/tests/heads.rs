//! What is known of a history outside the database, and what is made of it.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::{
    super::heads::{Contents, Known},
    corpus::history,
    *,
};

/// One change of a few sessions.
#[derive(Clone, Copy, Debug)]
enum Change {
    Append { session: usize, events: u64 },
    Delete { session: usize },
}

fn changes() -> impl Strategy<Value = Vec<Change>> {
    let append =
        (0..3usize, 1..4u64).prop_map(|(session, events)| Change::Append { session, events });
    let delete = (0..3usize).prop_map(|session| Change::Delete { session });
    prop::collection::vec(prop_oneof![6 => append, 1 => delete], 1..20)
}

/// Makes the changes one commit each, in a new store; what is known after each of them.
async fn replay(ids: &[SessionId], changes: &[Change]) -> Vec<BTreeMap<SessionId, Known>> {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("quire.db");
    let store = open(&path);
    let mut newest = vec![Some(0); ids.len()];
    let mut known = Vec::new();
    for change in changes {
        match *change {
            Change::Append { session, events } => {
                let Some(before) = newest[session] else {
                    continue;
                };
                let append = append(&ids[session], before + 1..=before + events);
                newest[session] = Some(before + events);
                if before == 0 {
                    let (request, summary) = (RequestId::random(), &append.summary);
                    let made =
                        store.create(append.session.clone(), &request, &append.events, summary);
                    made.await.unwrap();
                } else {
                    store.append(append).await.unwrap();
                }
            }
            Change::Delete { session } => {
                if newest[session].is_some_and(|seq| seq > 0) {
                    newest[session] = None;
                    let request = RequestId::random();
                    store.delete(&ids[session], &request).await.unwrap();
                }
            }
        }
        known.push(Contents::read(&path).unwrap().known);
    }
    assert_eq!(store.verify(Pace::Full).await.unwrap(), []);
    known
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn any_prefix_of_a_history_gives_the_same_heads(changes in changes(), cut in any::<prop::sample::Index>()) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let ids = [(); 3].map(|()| SessionId::random());
        let cut = cut.index(changes.len());
        let (all, prefix) = runtime.block_on(async {
            (replay(&ids, &changes).await, replay(&ids, &changes[..=cut]).await)
        });
        prop_assert_eq!(&all[..prefix.len()], &prefix[..]);
    }
}

/// A store with one session of five events, closed.
async fn five() -> (Scratch, SessionId) {
    let scratch = Scratch::new();
    let id = scratch.session(v1::Session::default()).await;
    scratch.store.append(append(&id, 2..=5)).await.unwrap();
    scratch.store.close().await.unwrap();
    (scratch, id)
}

fn edit(scratch: &Scratch, sql: &str) {
    let raw = rusqlite::Connection::open(scratch.path()).unwrap();
    assert!(raw.execute(sql, []).unwrap() > 0, "for `{sql}`");
}

#[tokio::test]
async fn a_damaged_row_is_made_again_from_the_events() {
    let edits = [
        "UPDATE sessions SET head_chain = zeroblob(16)",
        "UPDATE sessions SET head_seq = 6",
        "UPDATE sessions SET head_seq = 4",
        "UPDATE sessions SET summary = x'ff'",
        "UPDATE sessions SET title = 'forged'",
        "UPDATE sessions SET unfinished = 1 - unfinished",
        "UPDATE sessions SET archived = 1",
        "UPDATE sessions SET active_ms = 99",
        "UPDATE sessions SET create_request = NULL",
        "UPDATE sessions SET id = 'zzzzzzzzzz'",
        "UPDATE sessions SET sum = zeroblob(16)",
    ];
    for sql in edits {
        let (scratch, id) = five().await;
        edit(&scratch, sql);
        let Opened { store, notices } = Store::open(&scratch.path()).unwrap();
        assert!(notices[0].contains(id.as_str()), "for `{sql}`: {notices:?}");
        let found = store.session(&id).await.unwrap().unwrap();
        assert_eq!((found.head_seq, found.damaged_seq), (5, 0), "for `{sql}`");
        assert_eq!(seqs(&store, &id, 0, 9).await, [1, 2, 3, 4, 5]);
        assert_eq!(store.verify(Pace::Full).await.unwrap(), [], "for `{sql}`");
        store.append(append(&id, [6])).await.unwrap();
        store.close().await.unwrap();
        open(&scratch.path()).close().await.unwrap();
    }
}

#[tokio::test]
async fn a_row_over_damaged_events_is_told_as_damaged_and_can_be_deleted() {
    let (scratch, id) = five().await;
    edit(&scratch, "UPDATE sessions SET title = 'forged'");
    edit(&scratch, "UPDATE events SET body = x'00' WHERE seq = 3");
    let whole = open_with(&scratch, "damaged at event 3");
    let listed = whole.sessions(Listing::newest(9)).await.unwrap();
    assert_eq!(
        (listed[0].id.as_str(), listed[0].damaged_seq),
        (id.as_str(), 3)
    );
    assert_eq!(listed[0].title, "", "what is not known is not shown");
    assert_eq!(
        seqs(&whole, &id, 0, 2).await,
        [1, 2],
        "what is whole can be read"
    );
    let end = whole.events(&id, 2, 9).await;
    assert!(
        matches!(end, Err(StoreError::Damaged { seq: 3, .. })),
        "{end:?}"
    );
    let refused = whole.append(append(&id, [6])).await;
    assert!(
        matches!(refused, Err(StoreError::Damaged { seq: 3, .. })),
        "{refused:?}"
    );
    whole.delete(&id, &RequestId::random()).await.unwrap();
    assert!(whole.sessions(Listing::newest(9)).await.unwrap().is_empty());
}

fn open_with(scratch: &Scratch, notice: &str) -> Store {
    let Opened { store, notices } = Store::open(&scratch.path()).unwrap();
    assert!(
        matches!(&notices[..], [one] if one.contains(notice)),
        "{notices:?}"
    );
    store
}

#[tokio::test]
async fn another_history_up_to_the_same_seq_is_damage() {
    let (scratch, id) = five().await;
    let other = Scratch::new();
    // The same session with other events, whole in itself.
    let request = RequestId::random();
    let summary = append(&id, []).summary;
    let events: Vec<_> = (1..=6)
        .map(event)
        .map(|event| v1::Event {
            time_ms: 8,
            ..event
        })
        .collect();
    other
        .store
        .create(id.clone(), &request, &events, &summary)
        .await
        .unwrap();
    other.store.close().await.unwrap();
    fs::copy(other.path(), scratch.path()).unwrap();
    for _ in 0..2 {
        let store = open_with(&scratch, "is damaged at event 5");
        let listed = store.session(&id).await.unwrap().unwrap();
        assert_eq!(listed.damaged_seq, 5);
        store.close().await.unwrap();
    }
}

#[tokio::test]
async fn a_lost_session_is_told_once_and_none_is_invented() {
    let (scratch, id) = five().await;
    edit(&scratch, "DELETE FROM sessions");
    let store = open_with(
        &scratch,
        &format!("the disk lost session `{id}`, which had 5 events"),
    );
    assert!(store.session(&id).await.unwrap().is_none());
    store.close().await.unwrap();
    open(&scratch.path()).close().await.unwrap();
}

#[tokio::test]
async fn without_the_file_the_database_is_believed() {
    let (scratch, id) = five().await;
    let file = scratch.directory.path().join("heads");
    let whole = fs::read(&file).unwrap();
    fs::remove_file(&file).unwrap();
    open(&scratch.path()).close().await.unwrap();
    assert_eq!(fs::read(&file).unwrap(), whole, "for `{id}`");
}

#[tokio::test]
async fn a_database_ahead_of_the_file_is_fine() {
    let (scratch, id) = five().await;
    let file = scratch.directory.path().join("heads");
    let old = fs::read(&file).unwrap();
    let store = open(&scratch.path());
    store.append(append(&id, 6..=7)).await.unwrap();
    store.close().await.unwrap();
    // Killed between the commit and the file.
    fs::write(&file, old).unwrap();
    let store = open(&scratch.path());
    assert_eq!(history(&store, &id).await.unwrap().len(), 7);
}

#[tokio::test]
async fn a_deletion_that_the_disk_lost_is_made_again() {
    let (scratch, id) = five().await;
    let before = fs::read(scratch.path()).unwrap();
    let store = open(&scratch.path());
    store.delete(&id, &RequestId::random()).await.unwrap();
    store.close().await.unwrap();
    fs::write(scratch.path(), before).unwrap();
    let store = open_with(&scratch, &format!("session `{id}` had been deleted"));
    assert!(store.session(&id).await.unwrap().is_none());
    store.close().await.unwrap();
    open(&scratch.path()).close().await.unwrap();
}
