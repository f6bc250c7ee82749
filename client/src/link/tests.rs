//! Watches that go on over the deaths of daemons.

use quire_proto::v1::{
    self, MessageItem, TurnStarted, event::Body, item::Kind as ItemKind,
    session_service_watch_response::Update as Kind,
};

use super::*;
use crate::{
    connect::Introduction,
    fake::{Play, Stage},
    view::View,
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

async fn until(watch: &mut Watch, reached: impl Fn(&View) -> bool) {
    while !reached(watch.view()) {
        for update in watch.next().await.unwrap() {
            watch.apply(&update);
        }
    }
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
    for _ in 0..MOST {
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

#[tokio::test]
async fn a_daemon_that_gets_on_always_comes_back() {
    let stage = Stage::new(TAKE_OVER);
    let play = Play::new(vec![]);
    let mut living = stage.up(&play);
    let link = Link::open(&stage.host, WHO).await.unwrap();
    let mut watch = Watch::from_start(link, "s".into());
    for count in 1..=2 * u64::from(MOST) {
        play.happen(message(count));
        until_items(&mut watch, usize::try_from(count).unwrap())
            .await
            .unwrap();
        let next = stage.waiting(&play);
        drop(std::mem::replace(&mut living, next));
    }
}

#[tokio::test]
async fn what_a_take_over_writes_does_not_hide_a_crash_loop() {
    let stage = Stage::new(TAKE_OVER);
    let play = Play::new(vec![]);
    let mut living = stage.up(&play);
    let link = Link::open(&stage.host, WHO).await.unwrap();
    let mut watch = Watch::from_start(link, "s".into());
    let mut lives = 0;
    let failure = loop {
        lives += 1;
        play.happen(Body::SampleRetried(v1::SampleRetried {
            daemon_ended: true,
            ..v1::SampleRetried::default()
        }));
        let seq = watch.view().cursor().seq;
        let told = loop {
            match watch.next().await {
                Ok(updates) => drop(updates.iter().map(|update| watch.apply(update)).last()),
                Err(failure) => break Some(failure),
            }
            if watch.view().cursor().seq > seq {
                break None;
            }
        };
        if let Some(failure) = told {
            break failure;
        }
        let next = stage.waiting(&play);
        drop(std::mem::replace(&mut living, next));
    };
    assert_eq!(lives, MOST + 1, "{failure}");
    assert_eq!(failure.exit(), crate::failure::Exit::NoDaemon);
}

#[tokio::test]
async fn a_call_is_made_again_as_the_same_request() {
    let stage = Stage::new(TAKE_OVER);
    let play = Play::new(vec![]);
    let _living = stage.up(&play);
    let mut link = Link::open(&stage.host, WHO).await.unwrap();
    play.die_when_prompted(2);
    let request = v1::TurnServicePromptRequest {
        request_id: "r1".into(),
        ..v1::TurnServicePromptRequest::default()
    };
    let sent = link
        .call(async |connection| connection.turns().prompt(request.clone()).await)
        .await
        .unwrap();
    assert_eq!(sent.into_inner().turn, 1);
    assert_eq!(
        play.heard(|heard| heard.prompted.clone()),
        ["r1", "r1", "r1"]
    );
}

#[tokio::test]
async fn this_world_is_lent_to_each_daemon_that_asks_and_once() {
    for (asked, lent) in [(2, 1), (0, 0)] {
        let stage = Stage::new(TAKE_OVER);
        let play = Play::new(vec![]);
        let first = stage.up(&play);
        play.happen(Body::TurnStarted(TurnStarted {
            turn: 1,
            ..TurnStarted::default()
        }));
        let link = Link::open(&stage.host, WHO).await.unwrap();
        let mut watch = Watch::from_start(link, "s".into()).lending(v1::ClientWorld::default());
        watch.next().await.unwrap();
        let _second = stage.waiting(&play);
        drop(first);
        for seq in 2..4 {
            if seq < 2 + asked {
                play.add(Kind::WorldWanted(v1::WorldWanted {}));
            }
            play.happen(Body::SessionChanged(v1::SessionChanged::default()));
            until(&mut watch, |view| view.cursor().seq == seq).await;
        }
        play.happen(Body::SessionChanged(v1::SessionChanged::default()));
        until(&mut watch, |view| view.cursor().seq == 4).await;
        assert_eq!(play.heard(|heard| heard.lent), lent, "asked {asked} times");
    }
}
