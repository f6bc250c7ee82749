//! The watch and the calls, over a daemon that dies.

use quire_proto::v1::{
    self, ItemStatus, MessageItem, PromptMode, TurnStarted, event::Body, item::Kind,
};
use tokio::sync::watch;

use crate::{
    connect::{Connection, Introduction},
    fake::{Play, Stage},
    tui::{
        ask::{Subject, ask},
        calls::{Answer, Call},
        feed::{Feed, News, Source},
    },
    view::View,
};

const WHO: Introduction = Introduction {
    name: "test",
    observer: false,
};

const TAKE_OVER: &str = "
    mv $D/next.sock $D/sock
    mv $D/next.json $D/home/daemon/daemon.json
    echo ready";

fn message(id: u64) -> Body {
    let item = v1::Item {
        id,
        turn: 1,
        status: ItemStatus::Completed.into(),
        kind: Some(Kind::Message(MessageItem::default())),
        ..v1::Item::default()
    };
    Body::ItemCompleted(v1::ItemCompleted { item: Some(item) })
}

/// Takes news until the view has so many items; tells how often the daemon was lost and found.
async fn until_items(feed: &mut Feed, view: &mut View, count: usize) -> (usize, usize) {
    let (mut lost, mut found) = (0, 0);
    while view.items().count() < count {
        match feed.next(|| view.cursor()).await {
            News::Update(update) => drop(view.apply(&update)),
            News::Lost => lost += 1,
            News::Found(_) => found += 1,
            News::Silent(so_long) => panic!("silent for {so_long:?}"),
            News::GivenUp(why) => panic!("{why}"),
            News::Over(failure) => panic!("{failure}"),
        }
    }
    (lost, found)
}

#[tokio::test]
async fn a_watch_that_breaks_is_told_and_goes_on_at_the_cursor() {
    let stage = Stage::new(TAKE_OVER);
    let play = Play::new(vec![]);
    let first = stage.up(&play);
    play.happen(Body::TurnStarted(TurnStarted::default()));
    play.happen(message(1));
    let connection = Connection::open(&stage.host, WHO).await.unwrap();
    let source = Source {
        host: stage.host.clone(),
        who: WHO,
        session: "s".into(),
    };
    let mut feed = Feed::open(source, &connection).await.unwrap();
    let mut view = View::default();
    assert_eq!(until_items(&mut feed, &mut view, 1).await, (0, 0));
    let _second = stage.waiting(&play);
    drop(first);
    play.happen(message(2));
    assert_eq!(until_items(&mut feed, &mut view, 2).await, (1, 1));
    assert_eq!(play.heard(|heard| heard.watched_from.clone()), [0, 2]);
}

/// Waits for news that is no update.
async fn next(feed: &mut Feed, view: &mut View) -> News {
    loop {
        match feed.next(|| view.cursor()).await {
            News::Update(update) => drop(view.apply(&update)),
            other => return other,
        }
    }
}

#[tokio::test]
async fn a_crash_loop_is_told_and_left_until_someone_tries_again() {
    let stage = Stage::new(TAKE_OVER);
    let play = Play::new(vec![]);
    let mut living = stage.up(&play);
    let connection = Connection::open(&stage.host, WHO).await.unwrap();
    let source = Source {
        host: stage.host.clone(),
        who: WHO,
        session: "s".into(),
    };
    let mut feed = Feed::open(source, &connection).await.unwrap();
    let mut view = View::default();
    let why = loop {
        let waiting = stage.waiting(&play);
        drop(std::mem::replace(&mut living, waiting));
        match next(&mut feed, &mut view).await {
            News::Lost => {}
            News::GivenUp(why) => break why,
            _ => panic!("neither lost nor given up"),
        }
        assert!(matches!(next(&mut feed, &mut view).await, News::Found(_)));
    };
    assert!(why.contains("3 times in a row"), "{why}");
    feed.again(view.cursor());
    assert!(matches!(next(&mut feed, &mut view).await, News::Found(_)));
}

#[tokio::test]
async fn a_call_that_the_daemon_died_under_is_made_again_on_the_next() {
    let stage = Stage::new(TAKE_OVER);
    let play = Play::new(vec![]);
    let first = stage.up(&play);
    let connection = Connection::open(&stage.host, WHO).await.unwrap();
    let _second = stage.waiting(&play);
    drop(first);
    let (line, calls) = watch::channel(connection);
    let subject = Subject {
        session: "s".into(),
        world: None,
    };
    let asked = tokio::spawn(ask(calls, subject, Call::Interrupt { turn: 7 }));
    line.send_replace(Connection::open(&stage.host, WHO).await.unwrap());
    assert_eq!(asked.await.unwrap(), Answer::Done { seq: 0 });
    let turns = play.heard(|heard| {
        let made = heard.interrupted.iter();
        made.map(|made| made.expected_turn).collect::<Vec<_>>()
    });
    assert_eq!(turns, [7]);
}

#[tokio::test]
async fn what_the_daemon_refuses_is_told_in_its_words() {
    let stage = Stage::new(TAKE_OVER);
    let play = Play::new(vec![]).busy("not in this play");
    let _daemon = stage.up(&play);
    let connection = Connection::open(&stage.host, WHO).await.unwrap();
    let (_line, calls) = watch::channel(connection);
    let subject = Subject {
        session: "s".into(),
        world: None,
    };
    let prompt = Call::Prompt {
        text: "hello".into(),
        mode: PromptMode::Queue,
    };
    let answer = ask(calls, subject, prompt).await;
    assert_eq!(answer, Answer::Refused("not in this play".into()));
}
