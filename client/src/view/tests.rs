//! Updates in, one picture of the session out.

use quire_proto::v1::{
    Cursor, Delta, Event, Item, ItemOffset, ItemStatus, SessionServiceWatchResponse as Response,
    Snapshot, item::Kind,
};

use super::*;

fn event(seq: u64, body: Body) -> Response {
    raw_event(seq, Some(body))
}

fn raw_event(seq: u64, body: Option<Body>) -> Response {
    let event = Event {
        seq,
        time_ms: 1_000 + i64::try_from(seq).unwrap(),
        body,
        ..Event::default()
    };
    Response {
        update: Some(Update::Event(event)),
    }
}

fn delta(item: u64, offset: u64, data: &str) -> Response {
    let delta = Delta {
        item,
        offset,
        data: data.into(),
    };
    Response {
        update: Some(Update::Delta(delta)),
    }
}

fn item(id: u64, status: ItemStatus, kind: Kind) -> Item {
    Item {
        id,
        turn: 1,
        status: status.into(),
        kind: Some(kind),
        ..Item::default()
    }
}

fn message(id: u64, status: ItemStatus, text: &str) -> Item {
    let message = v1::MessageItem {
        text: text.into(),
        ..v1::MessageItem::default()
    };
    item(id, status, Kind::Message(message))
}

fn started(seq: u64, item: Item) -> Response {
    event(seq, Body::ItemStarted(v1::ItemStarted { item: Some(item) }))
}

fn completed(seq: u64, item: Item) -> Response {
    let item = Some(item);
    event(seq, Body::ItemCompleted(v1::ItemCompleted { item }))
}

fn id(number: u64) -> ItemId {
    ItemId::new(number).unwrap()
}

fn turn_started(seq: u64) -> Response {
    let model = "script/x".into();
    event(seq, Body::TurnStarted(v1::TurnStarted { turn: 1, model }))
}

fn turn_ended(seq: u64) -> Response {
    let ended = v1::TurnEnded {
        turn: 1,
        stop_reason: v1::StopReason::Done.into(),
        ..v1::TurnEnded::default()
    };
    event(seq, Body::TurnEnded(ended))
}

/// A short session in which most things happen.
fn story() -> Vec<Response> {
    let created = v1::SessionCreated {
        workspace: "/w".into(),
        title: "fix it".into(),
        ..v1::SessionCreated::default()
    };
    let usage = v1::Usage {
        input_tokens: 7,
        output_tokens: 2,
        ..v1::Usage::default()
    };
    let approval = v1::Approval {
        id: 1,
        item: 3,
        ..v1::Approval::default()
    };
    let prompt = v1::PromptItem {
        text: "go\non".into(),
        ..v1::PromptItem::default()
    };
    let call = |outcome| {
        Kind::ToolCall(v1::ToolCallItem {
            tool: "exec_command".into(),
            outcome,
            ..v1::ToolCallItem::default()
        })
    };
    let outcome = v1::Outcome {
        text: "ok".into(),
        ..v1::Outcome::default()
    };
    vec![
        event(1, Body::SessionCreated(created)),
        turn_started(2),
        completed(3, item(1, ItemStatus::Completed, Kind::Prompt(prompt))),
        started(4, message(2, ItemStatus::Growing, "")),
        delta(2, 0, "I "),
        delta(2, 2, "look"),
        completed(5, message(2, ItemStatus::Completed, "I look")),
        event(
            6,
            Body::SampleEnded(v1::SampleEnded {
                turn: 1,
                usage: Some(usage),
                ..v1::SampleEnded::default()
            }),
        ),
        started(7, item(3, ItemStatus::Growing, call(None))),
        event(
            8,
            Body::ApprovalRequested(v1::ApprovalRequested {
                approval: Some(approval),
            }),
        ),
        event(
            9,
            Body::ApprovalDecided(v1::ApprovalDecided {
                id: 1,
                answer: Some(v1::ApprovalAnswer::default()),
            }),
        ),
        delta(3, 0, "out"),
        completed(10, item(3, ItemStatus::Completed, call(Some(outcome)))),
        turn_ended(11),
    ]
}

fn fold<'a>(updates: impl IntoIterator<Item = &'a Response>) -> View {
    let mut view = View::default();
    for update in updates {
        view.apply(update);
    }
    view
}

#[test]
fn every_update_may_come_twice_or_again_from_the_start() {
    let story = story();
    let once = fold(&story);
    let each_twice = fold(story.iter().flat_map(|update| [update, update]));
    assert_eq!(each_twice, once);
    for cut in 0..story.len() {
        let again = fold(story[..cut].iter().chain(&story));
        assert_eq!(again, once, "when taken up again after {cut} updates");
    }
}

#[test]
fn updates_tell_what_they_changed() {
    use Change::*;
    let mut view = View::default();
    let told: Vec<_> = story().iter().map(|update| view.apply(update)).collect();
    let turn = TurnId::FIRST;
    let want = [
        vec![SessionChanged],
        vec![TurnStarted(turn)],
        vec![ItemAppeared(id(1)), ItemSettled(id(1))],
        vec![ItemAppeared(id(2))],
        vec![ItemGrew(id(2))],
        vec![ItemGrew(id(2))],
        vec![ItemSettled(id(2))],
        vec![SessionChanged],
        vec![ItemAppeared(id(3))],
        vec![ApprovalAsked(ApprovalId::FIRST)],
        vec![ApprovalDecided(ApprovalId::FIRST)],
        vec![ItemGrew(id(3))],
        vec![ItemSettled(id(3))],
        vec![TurnEnded(turn)],
    ];
    assert_eq!(told, want);
}

#[test]
fn facts_follow_the_events() {
    let story = story();
    let view = fold(&story[..10]);
    assert_eq!(view.session().state(), SessionState::NeedsApproval);
    assert_eq!(view.session().pending_approvals, 1);
    assert_eq!(view.session().usage.unwrap().input_tokens, 7);
    let view = fold(&story);
    assert_eq!(view.session().state(), SessionState::Idle);
    assert_eq!(view.session().last_stop(), v1::StopReason::Done);
    assert_eq!(view.session().last_prompt, "go");
    assert_eq!(view.approvals().count(), 0);
    assert_eq!(view.running_turn(), None);
}

#[test]
fn the_cursor_tells_what_a_reader_has_of_growing_items() {
    let story = story();
    let at = |seq, growing: &[(u64, u64)]| Cursor {
        seq,
        growing: growing
            .iter()
            .map(|&(item, offset)| ItemOffset { item, offset })
            .collect(),
    };
    assert_eq!(fold(&story[..4]).cursor(), at(4, &[]));
    assert_eq!(fold(&story[..5]).cursor(), at(4, &[(2, 2)]));
    assert_eq!(fold(&story[..7]).cursor(), at(5, &[]));
    assert_eq!(fold(&story[..12]).cursor(), at(9, &[(3, 3)]));
}

#[test]
fn deltas_overlap_or_leave_gaps() {
    let mut view = View::default();
    view.apply(&started(1, message(1, ItemStatus::Growing, "")));
    let table = [
        (0, "abc", true, "abc", vec![]),
        (1, "bcd", true, "abcd", vec![]),
        (0, "abcd", false, "abcd", vec![]),
        (6, "g", true, "abcdg", vec![Gap { at: 4, missing: 2 }]),
        (4, "ef", false, "abcdg", vec![Gap { at: 4, missing: 2 }]),
    ];
    for (offset, data, grew, text, gaps) in table {
        let told = view.apply(&delta(1, offset, data));
        assert_eq!(!told.is_empty(), grew, "for `{data}` at {offset}");
        let item = view.item(id(1)).unwrap();
        assert_eq!(item.text(), text);
        assert_eq!(item.growth().gaps(), gaps);
    }
}

#[test]
fn a_half_character_is_held_back() {
    let mut view = View::default();
    view.apply(&started(1, message(1, ItemStatus::Growing, "")));
    for (offset, byte) in (0..).zip("ä".bytes()) {
        let delta = Delta {
            item: 1,
            offset,
            data: vec![byte],
        };
        assert_eq!(view.item(id(1)).unwrap().text(), "");
        view.apply(&Response {
            update: Some(Update::Delta(delta)),
        });
    }
    assert_eq!(view.item(id(1)).unwrap().text(), "ä");
}

#[test]
fn old_live_output_is_let_go_and_counted() {
    let mut view = View::default();
    let call = Kind::ToolCall(v1::ToolCallItem::default());
    view.apply(&started(1, item(1, ItemStatus::Growing, call)));
    let piece = "x".repeat(LIVE_OUTPUT_MAX);
    for n in 0..5 {
        view.apply(&delta(1, n * LIVE_OUTPUT_MAX as u64, &piece));
    }
    let growth = view.item(id(1)).unwrap().growth();
    let kept = growth.data().len() as u64;
    let missing: u64 = growth.gaps().iter().map(|gap| gap.missing).sum();
    assert!(kept < 2 * LIVE_OUTPUT_MAX as u64);
    assert_eq!(kept + missing, growth.end());
    assert_eq!(growth.end(), 5 * LIVE_OUTPUT_MAX as u64);
}

#[test]
fn a_call_grows_until_its_job_has_ended() {
    let outcome = v1::Outcome {
        still_running: true,
        job_id: "j".into(),
        ..v1::Outcome::default()
    };
    let call = v1::ToolCallItem {
        outcome: Some(outcome),
        ..v1::ToolCallItem::default()
    };
    let job = v1::JobStarted {
        job_id: "j".into(),
        item: 1,
        ..v1::JobStarted::default()
    };
    let mut view = View::default();
    view.apply(&event(1, Body::JobStarted(job)));
    view.apply(&completed(
        2,
        item(1, ItemStatus::Completed, Kind::ToolCall(call)),
    ));
    assert_eq!(view.apply(&delta(1, 0, "on")), [Change::ItemGrew(id(1))]);
    let ended = v1::JobEnded {
        job_id: "j".into(),
        exit_code: Some(0),
        ..v1::JobEnded::default()
    };
    let told = view.apply(&event(3, Body::JobEnded(ended)));
    assert_eq!(told, [Change::JobsChanged, Change::JobEnded(3)]);
    let job = String::from("j");
    let what = Marked::JobEnded { job };
    let after = Some(id(1));
    let seq = 3;
    assert_eq!(view.marks(), [Mark { seq, after, what }]);
    assert_eq!(view.apply(&delta(1, 2, "more")), []);
    assert_eq!(view.cursor().growing, []);
}

#[test]
fn unknown_events_keep_their_place() {
    let mut view = fold(&story());
    assert_eq!(view.apply(&raw_event(12, None)), [Change::NewerEvent(12)]);
    let after = Some(id(3));
    let what = Marked::Newer;
    assert_eq!(
        view.marks(),
        [Mark {
            seq: 12,
            after,
            what
        }]
    );
    assert_eq!(view.cursor().seq, 12);
    let told = view.apply(&raw_event(14, None));
    assert_eq!(told, [Change::EventsMissing, Change::NewerEvent(14)]);
}

#[test]
fn a_queued_prompt_leaves_with_the_item_that_carries_its_request() {
    let queued = v1::QueuedPrompt {
        request_id: "r1".into(),
        ..v1::QueuedPrompt::default()
    };
    let mut view = View::default();
    let prompt = Some(queued.clone());
    view.apply(&event(1, Body::PromptQueued(v1::PromptQueued { prompt })));
    assert_eq!(view.queue(), [queued]);
    let prompt = item(
        1,
        ItemStatus::Completed,
        Kind::Prompt(v1::PromptItem::default()),
    );
    let mut taken = completed(2, prompt);
    if let Some(Update::Event(event)) = &mut taken.update {
        event.request_id = "r1".into();
    }
    assert_eq!(view.apply(&taken)[0], Change::QueueChanged);
    assert_eq!(view.queue(), []);
}

#[test]
fn a_snapshot_replaces_events_but_not_what_has_grown() {
    let story = story();
    let mut view = fold(&story[..5]);
    let snapshot = Snapshot {
        seq: 8,
        session: Some(v1::Session {
            running_turn: 1,
            ..v1::Session::default()
        }),
        items: vec![message(2, ItemStatus::Growing, "")],
        ..Snapshot::default()
    };
    let snapshot = piece(snapshot);
    assert_eq!(view.apply(&snapshot), [Change::Replaced]);
    assert_eq!(view.item(id(2)).unwrap().text(), "I ");
    assert_eq!(view.items().count(), 1);
    assert_eq!(view.session().state(), SessionState::Running);
    assert_eq!(view.apply(&snapshot), []);
    assert_eq!(view.apply(&story[2]), [], "an event before the snapshot");
}

#[test]
fn rewinding_takes_the_newest_items_away() {
    let mut view = fold(&story());
    let rewound = v1::HistoryRewound {
        through_item: 1,
        files: false,
    };
    assert_eq!(
        view.apply(&event(12, Body::HistoryRewound(rewound))),
        [Change::Rewound]
    );
    assert_eq!(
        view.items().map(|(id, _)| id.get()).collect::<Vec<_>>(),
        [1]
    );
}

fn piece(snapshot: Snapshot) -> Response {
    Response {
        update: Some(Update::Snapshot(snapshot)),
    }
}

/// The first piece of a snapshot at event 50, and its only further one.
fn pieces() -> [Response; 2] {
    let turn = |turn| v1::Turn {
        turn,
        model: "script/x".into(),
        ..v1::Turn::default()
    };
    let first = Snapshot {
        seq: 50,
        session: Some(v1::Session::default()),
        items: vec![
            message(3, ItemStatus::Growing, ""),
            message(8, ItemStatus::Completed, "new"),
        ],
        turns: vec![turn(2)],
        more: true,
        ..Snapshot::default()
    };
    let older = Snapshot {
        seq: 50,
        items: vec![
            message(1, ItemStatus::Completed, "old"),
            message(3, ItemStatus::Completed, "ended since"),
        ],
        turns: vec![turn(1)],
        marks: vec![v1::Mark {
            seq: 9,
            after: 1,
            what: Some(v1::mark::What::LostEvents(2)),
        }],
        continued: true,
        ..Snapshot::default()
    };
    [piece(first), piece(older)]
}

#[test]
fn older_items_come_before_those_known_and_change_none() {
    let [first, older] = pieces();
    let mut view = View::default();
    assert_eq!(view.apply(&first), [Change::Replaced]);
    assert!(view.awaits_older());
    view.apply(&delta(3, 0, "grows"));
    assert_eq!(view.apply(&older), [Change::OlderItems]);
    assert!(!view.awaits_older());
    let ids: Vec<u64> = view.items().map(|(id, _)| id.get()).collect();
    assert_eq!(ids, [1, 3, 8]);
    assert_eq!(view.item(id(3)).unwrap().text(), "grows");
    assert_eq!(view.turns().count(), 2);
    assert_eq!(view.marks()[0].what, Marked::Lost { events: 2 });
    assert_eq!(view.apply(&older), [], "a piece that came already");
}

#[test]
fn a_view_that_lacks_older_items_begins_again() {
    let [first, older] = pieces();
    let mut view = View::default();
    view.apply(&first);
    assert_eq!(view.cursor(), Cursor::default());
    assert_eq!(view.apply(&first), [Change::Replaced], "the stream broke");
    view.apply(&older);
    assert_eq!(view.cursor().seq, 50);
    assert_eq!(view.apply(&first), [], "nothing is lacking any more");

    let mut view = View::default();
    view.apply(&first);
    let begun = view.apply(&turn_started(1));
    assert_eq!(begun[0], Change::Replaced, "a shorter log from its start");
    assert_eq!((view.cursor().seq, view.items().count()), (1, 0));
}
