//! What readers are given, step by step.

use quire_proto::v1::{SessionServiceWatchResponse, session_service_watch_response::Update};

use super::*;

fn event(seq: u64) -> Event {
    Event {
        seq,
        ..Event::default()
    }
}

fn at(head_seq: u64) -> Feed {
    Feed::new(Session {
        head_seq,
        ..Session::default()
    })
}

fn told(next: Next) -> Vec<String> {
    let Next::Updates(updates) = next else {
        return vec![format!("{next:?}")];
    };
    let name = |update: SessionServiceWatchResponse| match update.update {
        Some(Update::Event(event)) => format!("event {}", event.seq),
        Some(Update::Delta(delta)) => {
            format!(
                "delta {}@{} {}",
                delta.item,
                delta.offset,
                String::from_utf8_lossy(&delta.data)
            )
        }
        Some(Update::Synced(synced)) => format!("synced {}", synced.seq),
        other => format!("{other:?}"),
    };
    updates.updates().map(name).collect()
}

#[test]
fn a_reader_gets_what_it_lacks_and_nothing_twice() {
    let feed = at(0);
    let mut reader = Reader::default();
    feed.publish(vec![event(1)], Session::default());
    feed.grow(ItemId::FIRST, "Hel");
    assert_eq!(
        told(feed.next(&mut reader)),
        ["event 1", "delta 1@0 Hel", "synced 1"]
    );
    assert_eq!(told(feed.next(&mut reader)), ["Nothing"]);
    feed.grow(ItemId::FIRST, "lo ");
    feed.grow(ItemId::FIRST, "you");
    assert_eq!(told(feed.next(&mut reader)), ["delta 1@3 lo you"]);
}

#[test]
fn a_reader_ahead_of_what_is_shown_waits_for_it() {
    let feed = at(1);
    feed.grow(ItemId::FIRST, "soon complete");
    let mut reader = Reader::at(1, BTreeMap::new());
    reader.took(&event(2));
    assert_eq!(told(feed.next(&mut reader)), ["Nothing"]);
    let completes = Event {
        body: Some(Body::ItemCompleted(quire_proto::v1::ItemCompleted {
            item: Some(quire_proto::v1::Item {
                id: 1,
                ..Default::default()
            }),
        })),
        ..event(2)
    };
    feed.publish(vec![completes], Session::default());
    assert_eq!(told(feed.next(&mut reader)), ["synced 2"]);
}

#[test]
fn a_late_reader_gets_a_growing_item_from_its_first_byte() {
    let feed = at(7);
    feed.grow(ItemId::FIRST, "from the start");
    let mut reader = Reader::at(7, BTreeMap::new());
    assert_eq!(
        told(feed.next(&mut reader)),
        ["delta 1@0 from the start", "synced 7"]
    );
    let mut reader = Reader::at(7, BTreeMap::from([(1, 9)]));
    assert_eq!(
        told(feed.next(&mut reader)),
        ["delta 1@9 start", "synced 7"]
    );
}

#[test]
fn what_has_left_the_tail_is_fetched_from_the_store() {
    let feed = at(0);
    for seq in 1..=TAIL_EVENTS as u64 + 10 {
        feed.publish(vec![event(seq)], Session::default());
    }
    assert!(matches!(feed.next(&mut Reader::default()), Next::Behind(0)));
    assert!(matches!(
        at(9).next(&mut Reader::at(4, BTreeMap::new())),
        Next::Behind(4)
    ));
    let mut reader = Reader::at(10, BTreeMap::new());
    assert_eq!(
        told(feed.next(&mut reader)).first().map(String::as_str),
        Some("event 11")
    );
}

#[test]
fn a_flood_of_output_keeps_its_newest_part_and_tells_the_gap() {
    let feed = at(0);
    let block = vec![b'x'; 10_000];
    for number in 0..100 {
        feed.output(ItemId::FIRST, number * 10_000, &block);
    }
    let mut reader = Reader::default();
    let mut end = None;
    while let Next::Updates(told) = feed.next(&mut reader) {
        for delta in deltas(told) {
            assert!(
                end.is_none_or(|end| end == delta.offset),
                "pieces follow each other"
            );
            assert!(
                end.is_some() || delta.offset > 800_000,
                "the beginning is gone"
            );
            end = Some(delta.offset + delta.data.len() as u64);
        }
    }
    assert_eq!(end, Some(1_000_000));
}

fn deltas(told: Told) -> Vec<quire_proto::v1::Delta> {
    let delta = |update: SessionServiceWatchResponse| match update.update {
        Some(Update::Delta(delta)) => Some(delta),
        _ => None,
    };
    told.updates().filter_map(delta).collect()
}

/// Bytes of what a reader is given at once.
fn bytes(next: Next) -> Option<usize> {
    let Next::Updates(told) = next else {
        return None;
    };
    Some(told.updates().map(|update| update.encoded_len()).sum())
}

fn with_text(seq: u64, bytes: usize) -> Event {
    Event {
        request_id: "x".repeat(bytes),
        ..event(seq)
    }
}

#[test]
fn a_step_is_bounded_whatever_happened_meanwhile() {
    let feed = at(0);
    let mut reader = Reader::default();
    for seq in 1..=60 {
        feed.publish(vec![with_text(seq, 4_000)], Session::default());
    }
    for item in 1..=20 {
        let item = ItemId::new(item).unwrap();
        feed.grow(item, &"text ".repeat(30_000));
        feed.output(item, 0, &[b'x'; 200_000]);
    }
    let steps: Vec<usize> = std::iter::from_fn(|| bytes(feed.next(&mut reader))).collect();
    assert!(steps.len() > 20, "{steps:?}");
    assert!(steps.iter().all(|step| *step < 80_000), "{steps:?}");
    assert!(matches!(feed.next(&mut reader), Next::Nothing));
}

#[test]
fn the_tail_is_bounded_by_bytes_too() {
    let feed = at(0);
    for seq in 1..=10 {
        feed.publish(vec![with_text(seq, 100_000)], Session::default());
    }
    let behind = feed.next(&mut Reader::at(7, BTreeMap::new()));
    assert!(matches!(behind, Next::Behind(7)), "{behind:?}");
    let mut reader = Reader::at(8, BTreeMap::new());
    assert_eq!(told(feed.next(&mut reader)), ["event 9"]);
    assert_eq!(told(feed.next(&mut reader)), ["event 10", "synced 10"]);
    feed.publish(vec![with_text(11, 1 << 20)], Session::default());
    let behind = feed.next(&mut reader);
    assert!(matches!(behind, Next::Behind(10)), "{behind:?}");
}

#[test]
fn the_past_is_over_when_all_that_had_grown_is_told_and_not_before() {
    let feed = at(1);
    let text = "t".repeat(150_000);
    feed.grow(ItemId::FIRST, &text);
    let mut reader = Reader::at(1, BTreeMap::new());
    let mut steps = Vec::new();
    while !steps.iter().any(|told: &String| told == "synced 1") {
        steps.extend(told(feed.next(&mut reader)));
        // What comes meanwhile does not put it off.
        feed.grow(ItemId::FIRST, &text);
    }
    assert_eq!(
        steps.len(),
        4,
        "three pieces and the word that this was all"
    );
}

#[test]
fn an_item_that_grows_without_end_keeps_nobody_from_the_others() {
    let feed = at(0);
    let second = ItemId::FIRST.next();
    let mut reader = Reader::default();
    feed.grow(second, "quiet");
    for block in 0..3 {
        feed.output(ItemId::FIRST, block * 90_000, &[b'x'; 90_000]);
        let Next::Updates(told) = feed.next(&mut reader) else {
            panic!("nothing to read")
        };
        if deltas(told).iter().any(|delta| delta.item == second.get()) {
            return;
        }
    }
    panic!("the quiet one was never read");
}

#[test]
fn after_a_snapshot_what_grows_is_read_from_its_first_byte() {
    let feed = at(7);
    feed.grow(ItemId::FIRST, "from the start");
    let mut reader = Reader::at(3, BTreeMap::from([(1, 5)]));
    reader.jumped(7);
    assert_eq!(
        told(feed.next(&mut reader)),
        ["delta 1@0 from the start", "synced 7"]
    );
}
