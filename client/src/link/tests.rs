//! Watches that go on over the deaths of daemons.

use quire_proto::v1::{MessageItem, TurnStarted, event::Body, item::Kind as ItemKind};

use super::*;
use crate::{
    connect::Introduction,
    fake::{Play, Stage},
};

const WHO: Introduction = Introduction {
    name: "test",
    observer: true,
};

const TAKE_OVER: &str = "
    mv $D/next.sock $D/sock
    mv $D/next.json $D/home/daemon/daemon.json
    echo ready";

fn message(id: u64) -> Body {
    let item = v1::Item {
        id,
        turn: 1,
        status: v1::ItemStatus::Completed.into(),
        kind: Some(ItemKind::Message(MessageItem::default())),
        ..v1::Item::default()
    };
    Body::ItemCompleted(v1::ItemCompleted { item: Some(item) })
}

async fn until_items(watch: &mut Watch, count: usize) -> Result<(), Failure> {
    while watch.view().items().count() < count {
        for update in watch.next().await? {
            watch.apply(&update);
        }
    }
    Ok(())
}

#[tokio::test]
async fn a_watch_goes_on_where_the_dead_daemon_left_it() {
    let stage = Stage::new(TAKE_OVER);
    let play = Play::new(vec![]);
    let first = stage.up(&play);
    play.happen(Body::TurnStarted(TurnStarted::default()));
    play.happen(message(1));
    let link = Link::open(&stage.host, WHO).await.unwrap();
    let mut watch = Watch::from_start(link, "s".into());
    until_items(&mut watch, 1).await.unwrap();
    let _second = stage.waiting(&play);
    drop(first);
    play.happen(message(2));
    until_items(&mut watch, 2).await.unwrap();
    assert_eq!(play.heard(|heard| heard.watched_from.clone()), [0, 2]);
}

#[tokio::test]
async fn daemons_that_die_without_getting_further_are_given_up() {
    let stage = Stage::new(TAKE_OVER);
    let play = Play::new(vec![]);
    let mut living = stage.up(&play);
    let link = Link::open(&stage.host, WHO).await.unwrap();
    let mut watch = Watch::from_start(link, "s".into());
    for _ in 0..BARREN_MAX {
        // Only who is there, which is no event.
        watch.next().await.unwrap();
        let next = stage.waiting(&play);
        drop(std::mem::replace(&mut living, next));
    }
    let failure = watch.next().await.unwrap_err();
    assert_eq!(failure.exit(), crate::failure::Exit::NoDaemon);
    assert!(
        failure.to_string().contains("3 times in a row"),
        "{failure}"
    );
}
