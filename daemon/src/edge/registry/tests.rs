//! Sessions that come back by themselves, and those that are gone for good.

use std::path::Path;

use quire_proto::v1::{PromptItem, PromptMode, StopReason};

use super::*;
use crate::session::tests::{Counted, call, caller, faults, say, world};

async fn made(registry: &Registry) -> Handle {
    let created = SessionCreated {
        workspace: "/w".to_owned(),
        cwd: "/w".to_owned(),
        model: "p/m".to_owned(),
        policy: Some(quire_proto::v1::Policy {
            sandbox: quire_proto::v1::SandboxMode::WorkspaceWrite.into(),
            approve: quire_proto::v1::ApprovePolicy::OnRequest.into(),
            ..Default::default()
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

async fn prompt(handle: &Handle, text: &str) {
    let prompt = PromptItem {
        text: text.to_owned(),
        ..PromptItem::default()
    };
    let said = handle.prompt(caller(text), prompt, PromptMode::Steer, 0);
    said.await.unwrap();
}

fn registry(directory: &Path, tool: &Counted) -> Arc<Registry> {
    Registry::new(world(directory, vec![call("hang"), say("done")], tool))
}

#[tokio::test]
async fn a_turn_whose_store_failed_goes_on_by_itself() {
    let directory = tempfile::tempdir().unwrap();
    let tool = Counted::default();
    let registry = registry(directory.path(), &tool);
    let handle = made(&registry).await;
    prompt(&handle, "go").await;
    // The outcome cannot be written, nor what the next actor writes first.
    faults::broken(handle.id(), 2);
    tool.stopped.notify_one();
    assert_eq!(handle.feed().ended().await, Closed::Failed);
    let id = handle.id().clone();
    drop(handle);
    let back = async {
        loop {
            // Nobody asks for the session; only what is written is looked at. The command may have
            // to end once for each actor.
            tool.stopped.notify_one();
            let summary = registry.store().session(&id).await.unwrap().unwrap();
            if summary.last_stop() == StopReason::Done {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), back)
        .await
        .expect("the turn ends");
}

#[test]
fn a_session_that_fails_again_and_again_is_left_alone_for_longer() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let directory = tempfile::tempdir().unwrap();
        let registry = registry(directory.path(), &Counted::default());
        let id = made(&registry).await.id().clone();
        let short = |seconds| {
            let lived = Duration::from_secs(seconds);
            registry
                .pause_after(&id, lived)
                .map(|pause| pause.as_secs())
        };
        let pauses: Vec<_> = (0..7).map(|_| short(1).unwrap()).collect();
        assert_eq!(pauses, [1, 2, 4, 8, 16, 30, 30]);
        assert_eq!(short(31), Some(1), "it lived well for a while");
        registry.close();
        assert_eq!(short(1), None, "the daemon ends");
    });
}

#[tokio::test]
async fn jobs_are_dead_before_their_session_is_gone() {
    let directory = tempfile::tempdir().unwrap();
    let tool = Counted::default();
    let registry = registry(directory.path(), &tool);
    let job = |lifetime: JobLifetime, state: JobState| Job {
        id: quire_proto::id::JobId::random().to_string(),
        lifetime: lifetime.into(),
        state: state.into(),
        ..Job::default()
    };
    let table = [
        (JobLifetime::Session, JobState::Running, true),
        (JobLifetime::Turn, JobState::Running, true),
        (JobLifetime::Detached, JobState::Running, false),
        (JobLifetime::Session, JobState::Exited, false),
    ];
    for (lifetime, state, stopped) in table {
        registry.stop_jobs(&[job(lifetime, state)]).await;
        let told = tokio::time::timeout(Duration::ZERO, tool.stopped.notified());
        assert_eq!(told.await.is_ok(), stopped, "{lifetime:?} {state:?}");
    }
    let handle = made(&registry).await;
    let request = RequestId::random();
    registry.delete(&handle, &request).await.unwrap();
    let gone = registry.find(handle.id().as_str()).await;
    assert!(matches!(gone, Err(Missing::NotFound(_))));
}
