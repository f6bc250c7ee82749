//! Worlds that clients give, and what becomes of them.

use std::collections::{BTreeMap, BTreeSet};

use super::*;
use crate::pure::sample::SampleErrorKind;

/// A model that wants `THE_KEY`, and says `done` to whoever has it.
struct Locked;

impl Models for Locked {
    fn open(&self, name: String, asker: Asker) -> BoxFuture<'static, Result<Opened, SampleError>> {
        let has_key = asker.environment.contains_key("THE_KEY");
        let opened = async move {
            if !has_key {
                let why = "no key: set THE_KEY";
                return Err(SampleError::new(SampleErrorKind::Credentials, why));
            }
            let done = Played(Arc::new(vec![say("done")]));
            done.open(name, asker).await
        };
        opened.boxed()
    }

    fn keys(&self) -> Arc<BTreeSet<String>> {
        Arc::new(BTreeSet::from(["THE_KEY".to_owned()]))
    }
}

fn surroundings(pairs: &[(&str, &str)]) -> Surroundings {
    let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    let environment: BTreeMap<_, _> = pairs.iter().map(owned).collect();
    Surroundings {
        environment: Arc::new(environment),
        umask: 0o027,
        held: Held::Whole,
    }
}

async fn lend(bench: &Bench, request: &str, pairs: &[(&str, &str)], how: Lending) {
    let lent = Lent {
        world: surroundings(pairs),
        how,
    };
    let change = Change {
        world: Some(lent),
        ..Change::default()
    };
    let changed = bench.handle.change(caller(request), change).await;
    changed.unwrap();
}

fn variables(bench: &Bench) -> Vec<String> {
    let world = bench.handle.surroundings();
    let pairs = world.environment.iter();
    pairs
        .map(|(name, value)| format!("{name}={value}"))
        .collect()
}

/// What the disk keeps; the daemon that reads it is another one.
async fn on_disk(bench: &Bench) -> Option<Surroundings> {
    let kept = bench.world.worlds.find(bench.handle.id()).await;
    kept.map(Surroundings::from)
}

#[tokio::test]
async fn a_session_without_a_world_takes_the_first_one_whole_and_then_what_it_lacks() {
    let bench = Bench::new(vec![]).await;
    assert!(bench.handle.wants_world());
    lend(&bench, "w1", &[("FOO", "bar")], Lending::Completes).await;
    assert!(!bench.handle.wants_world());
    let second = [("FOO", "other"), ("NEW", "x"), ("A_TOKEN", "t")];
    lend(&bench, "w2", &second, Lending::Completes).await;
    assert_eq!(variables(&bench), ["A_TOKEN=t", "FOO=bar"]);
    lend(&bench, "w3", &second[..2], Lending::Replaces).await;
    assert_eq!(variables(&bench), ["FOO=other", "NEW=x"]);
    let kept = on_disk(&bench).await.unwrap();
    assert_eq!((kept.umask, kept.held), (0o027, Held::Kept));
    assert_eq!(*kept.environment, *bench.handle.surroundings().environment);
}

#[tokio::test]
async fn the_disk_keeps_no_secret_and_no_key() {
    let bench = Bench::new(vec![]).await;
    let bench = bench.reborn_in(locked).await;
    let all = [("FOO", "bar"), ("A_TOKEN", "t"), ("THE_KEY", "plain words")];
    lend(&bench, "w1", &all, Lending::Completes).await;
    let kept = on_disk(&bench).await.unwrap();
    assert_eq!(kept.environment.keys().collect::<Vec<_>>(), ["FOO"]);
}

fn locked(directory: &Path, tool: &Counted) -> World {
    World {
        models: Arc::new(Locked),
        ..world(directory, vec![], tool)
    }
}

#[tokio::test]
async fn a_turn_that_waits_for_a_key_asks_until_someone_has_it() {
    let bench = Bench::new(vec![None]).await;
    bench.prompt("go", "r1").await;
    let bench = bench.reborn_in(locked).await;
    assert!(bench.handle.wait().await.unwrap().suspended);
    let mut changes = bench.handle.feed().changes();
    lend(&bench, "w1", &[("FOO", "bar")], Lending::Completes).await;
    // It has a world now, but not what the turn waits for.
    while !(bench.handle.wants_world() && suspensions(&bench).await == 2) {
        changes.changed().await.unwrap();
    }
    let key = [("THE_KEY", "k"), ("FOO", "other")];
    lend(&bench, "w2", &key, Lending::Completes).await;
    let resting = bench.handle.wait().await.unwrap();
    assert_eq!((resting.turn, resting.stop_reason), (1, StopReason::Done));
    assert_eq!(variables(&bench), ["FOO=bar", "THE_KEY=k"]);
    assert!(!bench.handle.wants_world());
}

async fn suspensions(bench: &Bench) -> usize {
    let events = bench.events().await;
    let suspended = |event: &&Event| matches!(event.body, Some(Body::TurnSuspended(_)));
    events.iter().filter(suspended).count()
}
