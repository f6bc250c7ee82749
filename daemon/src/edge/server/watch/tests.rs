//! What a watcher is told first, whenever it comes and however it asks, and how much is held for it.

use std::path::Path;

use futures_util::StreamExt as _;
use prost::Message as _;
use quire_proto::{
    id::RequestId,
    v1::{
        ApprovePolicy, Decision, Policy, PromptItem, PromptMode, Rule, SandboxMode, SessionCreated,
        Snapshot, event::Body,
    },
};
use tempfile::TempDir;

use super::*;
use crate::{
    edge::registry::{New, Registry},
    pure::sample::Delta,
    session::tests::{Counted, call, caller, say, world},
};

/// A session over a store of its own.
struct Stage {
    _directory: TempDir,
    registry: Arc<Registry>,
    handle: Handle,
}

impl Stage {
    async fn playing(script: Vec<Option<Vec<Delta>>>) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let registry = Registry::new(world(directory.path(), script, &Counted::default()));
        let handle = made(&registry, Path::new("/w")).await;
        Self {
            _directory: directory,
            registry,
            handle,
        }
    }

    async fn prompt(&self, text: &str, mode: PromptMode) {
        let prompt = PromptItem {
            text: text.to_owned(),
            ..PromptItem::default()
        };
        let said = self.handle.prompt(caller(text), prompt, mode, 0);
        said.await.unwrap();
    }

    fn watcher(&self, seq: u64, snapshot_beyond: u64) -> Watcher {
        let wish = Wish {
            cursor: Cursor {
                seq,
                ..Cursor::default()
            },
            snapshot_beyond,
            heartbeat: Duration::from_secs(60),
        };
        let client = ClientRef {
            id: "me".to_owned(),
            ..ClientRef::default()
        };
        let store = self.registry.store().clone();
        Watcher::new(self.handle.clone(), store, wish, Some(client))
    }

    /// What a new watcher is told up to and with the first presence.
    async fn told(&self, seq: u64, snapshot_beyond: u64) -> Vec<Update> {
        let mut watcher = self.watcher(seq, snapshot_beyond);
        let mut told = Vec::new();
        loop {
            let update = watcher.next().await.unwrap().unwrap().update.unwrap();
            let last = matches!(update, Update::Presence(_));
            told.push(update);
            if last {
                return told;
            }
        }
    }
}

async fn made(registry: &Registry, directory: &Path) -> Handle {
    let ask = Rule {
        prefix: vec!["ask".to_owned()],
        decision: Decision::Ask.into(),
        ..Rule::default()
    };
    let created = SessionCreated {
        workspace: directory.display().to_string(),
        cwd: directory.display().to_string(),
        model: "p/m".to_owned(),
        policy: Some(Policy {
            sandbox: SandboxMode::WorkspaceWrite.into(),
            approve: ApprovePolicy::OnRequest.into(),
            rules: vec![ask],
            ..Policy::default()
        }),
        ..SessionCreated::default()
    };
    let new = New {
        created,
        ..New::default()
    };
    let request = RequestId::random();
    let session = registry.create(&request, None, new).await.unwrap();
    registry.find(&session.id).await.unwrap()
}

fn pieces(told: &[Update]) -> Vec<&Snapshot> {
    let pieces = told.iter().filter_map(|update| match update {
        Update::Snapshot(snapshot) => Some(snapshot),
        _ => None,
    });
    pieces.collect()
}

#[tokio::test]
async fn a_session_can_be_watched_before_its_first_turn() {
    let stage = Stage::playing(vec![say("done")]).await;
    for beyond in [0, 1, 100] {
        let told = stage.told(0, beyond).await;
        let [
            Update::Event(event),
            Update::Synced(synced),
            Update::Presence(who),
        ] = &told[..]
        else {
            panic!("{told:?}")
        };
        assert!(matches!(event.body, Some(Body::SessionCreated(_))));
        assert_eq!(synced.seq, 1);
        assert_eq!(who.clients.len(), 1, "the watcher itself");
    }
    let told = stage.told(1, 1).await;
    assert!(matches!(told[0], Update::Synced(_)), "nothing is new");
}

#[tokio::test]
async fn a_late_joiner_gets_what_is_open_by_events_and_by_snapshot() {
    let stage = Stage::playing(vec![call("ask me"), say("done")]).await;
    stage.prompt("go", PromptMode::Steer).await;
    assert!(stage.handle.wait().await.unwrap().needs_approval);
    stage.prompt("later", PromptMode::Queue).await;
    let _other = stage.watcher(0, 0);

    let told = stage.told(0, 1).await;
    let [first] = pieces(&told)[..] else {
        panic!("{told:?}")
    };
    assert_eq!(first.approvals.len(), 1);
    assert_eq!(first.queue[0].request_id, "later");
    let session = first.session.as_ref().unwrap();
    assert_eq!((session.running_turn, session.pending_approvals), (1, 1));
    assert_eq!(session.clients.len(), 2, "the other and itself");
    assert!(!first.items.is_empty() && !first.turns.is_empty());
    let Update::Synced(synced) = &told[1] else {
        panic!("{told:?}")
    };
    assert_eq!(synced.seq, first.seq);

    let told = stage.told(0, 0).await;
    let has = |wanted: fn(&Body) -> bool| {
        told.iter().any(|update| match update {
            Update::Event(event) => event.body.as_ref().is_some_and(wanted),
            _ => false,
        })
    };
    assert!(has(|body| matches!(body, Body::ApprovalRequested(_))));
    assert!(has(|body| matches!(body, Body::PromptQueued(_))));
}

#[tokio::test]
async fn a_long_session_comes_in_pieces_and_then_its_events() {
    let text = "many words ".repeat(10_000);
    let stage = Stage::playing(vec![say(&text)]).await;
    for turn in ["one", "two", "three"] {
        stage.prompt(turn, PromptMode::Steer).await;
        stage.handle.wait().await.unwrap();
    }
    let mut watcher = stage.watcher(0, 5);
    let mut told = Vec::new();
    let head = stage.handle.feed().head();
    loop {
        let update = watcher.next().await.unwrap().unwrap().update.unwrap();
        if told.is_empty() {
            // What happens while pieces are read comes after them.
            stage.prompt("four", PromptMode::Steer).await;
            stage.handle.wait().await.unwrap();
        }
        let last = matches!(update, Update::Synced(_));
        told.push(update);
        if last {
            break;
        }
    }
    let pieces = pieces(&told);
    assert!(pieces.len() > 1 && pieces.iter().all(|piece| piece.seq == head));
    let more: Vec<bool> = pieces.iter().map(|piece| piece.more).collect();
    assert_eq!(more.iter().filter(|more| !**more).count(), 1);
    assert_eq!(more.last(), Some(&false));
    let Update::Event(next) = &told[pieces.len()] else {
        panic!("events follow the pieces")
    };
    assert_eq!(next.seq, head + 1);
}

#[tokio::test]
async fn no_more_is_held_for_a_reader_than_a_page() {
    let text = "x".repeat(64 << 10);
    let stage = Stage::playing(vec![say(&text)]).await;
    for turn in 0..12 {
        stage
            .prompt(&format!("turn {turn}"), PromptMode::Steer)
            .await;
        stage.handle.wait().await.unwrap();
    }
    for beyond in [0, 10] {
        let mut watcher = stage.watcher(0, beyond);
        while watcher.reader.seq() < stage.handle.feed().head() {
            watcher.refill().await.unwrap();
            let held = watcher.ready.iter();
            let held: usize = held.map(|update| update.encoded_len()).sum();
            assert!(held < 256 << 10, "{held} bytes");
            watcher.ready.clear();
        }
    }
}

#[tokio::test]
async fn who_leaves_is_gone_at_once() {
    let stage = Stage::playing(vec![say("done")]).await;
    let wish = Wish::of(
        SessionServiceWatchRequest::default(),
        Duration::from_secs(60),
    );
    let client = Some(ClientRef::default());
    let store = stage.registry.store().clone();
    let mut updates = Box::pin(watch(stage.handle.clone(), store, wish, client));
    updates.next().await.unwrap().unwrap();
    assert_eq!(stage.handle.feed().clients().len(), 1);
    drop(updates);
    assert!(stage.handle.feed().clients().is_empty());
}
