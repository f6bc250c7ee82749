//! The write-ahead log stays small, whoever reads.

use super::{super::gate::LOG_MAX, corpus::rounds, *};

fn size(path: &Path) -> u64 {
    fs::metadata(path.with_file_name("quire.db-wal")).map_or(0, |log| log.len())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn readers_that_always_overlap_do_not_let_the_log_grow() {
    let scratch = Scratch::new();
    let id = scratch.session(v1::Session::default()).await;
    let mut large = append(&id, [2]);
    large.events[0].request_id = "x".repeat(64 << 10);
    let (over, ended) = tokio::sync::watch::channel(false);
    let readers = [(); 4].map(|()| {
        let (store, id, ended) = (scratch.store.clone(), id.clone(), ended.clone());
        tokio::spawn(async move {
            while !*ended.borrow() {
                store.events(&id, 0, 200).await.unwrap();
            }
        })
    });
    let mut most = 0;
    for seq in 2..2 + rounds(400) {
        large.events[0].seq = seq;
        scratch.store.append(large.clone()).await.unwrap();
        most = most.max(size(&scratch.path()));
    }
    over.send_replace(true);
    for reader in readers {
        reader.await.unwrap();
    }
    assert!(most < LOG_MAX + (1 << 20), "{most} bytes");
}

#[tokio::test]
async fn a_reader_of_another_process_stops_no_write_and_the_log_shrinks_when_it_ends() {
    let scratch = Scratch::new();
    let id = scratch.session(v1::Session::default()).await;
    let foreign = rusqlite::Connection::open(scratch.path()).unwrap();
    foreign
        .execute_batch("BEGIN; SELECT count(*) FROM events")
        .unwrap();
    let mut large = append(&id, [2]);
    large.events[0].request_id = "x".repeat(1 << 20);
    for seq in 2..14 {
        large.events[0].seq = seq;
        scratch.store.append(large.clone()).await.unwrap();
    }
    assert!(size(&scratch.path()) > LOG_MAX, "nothing hindered");
    foreign.execute_batch("COMMIT").unwrap();
    for seq in 14..24 {
        large.events[0].seq = seq;
        scratch.store.append(large.clone()).await.unwrap();
    }
    assert!(size(&scratch.path()) < 2 * LOG_MAX);
    scratch.store.close().await.unwrap();
    assert_eq!(size(&scratch.path()), 0);
}
