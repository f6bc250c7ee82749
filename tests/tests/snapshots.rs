//! Whoever comes late and takes a snapshot sees what those see who were told every event.

use std::collections::BTreeMap;

use quire_proto::v1::{Item, JobState, PromptMode, TurnServicePromptRequest, event::Body};
use quire_tests::{
    home::Home,
    model::{MockModel, Reply, Wire},
    rpc::{Rpc, View},
};

/// Items by id, in their final form.
fn finished(view: &View) -> BTreeMap<u64, Item> {
    let items = view.items().into_iter();
    items.map(|item| (item.id, item)).collect()
}

fn started_jobs(view: &View) -> usize {
    let started = |event: &&quire_proto::v1::Event| matches!(event.body, Some(Body::JobStarted(_)));
    view.events.iter().filter(started).count()
}

#[test]
fn a_snapshot_in_pieces_adds_up_to_the_events() {
    let long = "many words ".repeat(4_000);
    let replies = (0..6).map(|nth| Reply::say(&format!("{nth}: {long}")));
    let model = MockModel::playing(replies);
    let home = Home::asking(&model, Wire::Responses);
    let rpc = Rpc::starting(&home);
    let session = rpc.create(&home, &home.work()).id;
    for _ in 0..5 {
        rpc.prompt(&session, "go on");
        let _ = rpc.settled(&session);
    }
    let every = rpc.watch(&session, None);
    every.until("the past", |view| view.synced);
    let late = rpc.watch_beyond(&session, None, 3);
    late.until("the past", |view| view.synced);
    let seen = late.view();
    assert!(seen.events.is_empty() && seen.pieces.len() > 1);
    assert_eq!(seen.pieces[0].turns.last().map(|turn| turn.turn), Some(5));
    // Both go on from there alike.
    rpc.prompt(&session, "once more");
    late.until_turns_ended(1);
    every.until_turns_ended(6);
    assert_eq!(finished(&late.view()), finished(&every.view()));
    let near = rpc.watch_beyond(&session, Some(late.view().cursor()), 3);
    near.until("the past", |view| view.synced);
    assert!(near.view().pieces.is_empty(), "nothing lies between");
}

#[test]
fn a_late_comer_is_told_of_all_that_is_open() {
    let calls = [Reply::shell("exec sleep 1000"), Reply::say("never")];
    let model = MockModel::playing(calls);
    let home = Home::asking(&model, Wire::Responses);
    let rpc = Rpc::starting(&home);
    let session = rpc.create(&home, &home.work()).id;
    let early = rpc.watch_beyond(&session, None, 100);
    early.until("an empty past", |view| view.synced);
    assert_eq!(early.view().events.len(), 1, "before its first turn");
    rpc.prompt(&session, "sleep");
    early.until("the command", |view| started_jobs(view) == 1);
    let queued = TurnServicePromptRequest {
        request_id: "queued-one".to_owned(),
        session: session.clone(),
        prompt: Some(quire_proto::v1::PromptItem {
            text: "then this".to_owned(),
            ..Default::default()
        }),
        mode: PromptMode::Queue.into(),
        expected_turn: 0,
    };
    rpc.wait(async { rpc.turns().prompt(queued).await })
        .expect("a prompt can wait");
    let late = rpc.watch_beyond(&session, None, 1);
    late.until("the past", |view| view.synced);
    let seen = late.view();
    let first = &seen.pieces[0];
    assert_eq!(first.queue[0].request_id, "queued-one");
    assert_eq!(first.jobs.len(), 1);
    assert_eq!(first.jobs[0].state(), JobState::Running);
    assert_eq!(first.session.as_ref().map(|one| one.running_turn), Some(1));
    assert!(first.items.iter().any(|item| item.id == first.jobs[0].item));
    rpc.interrupt(&session);
}
