//! Several clients on one session: late joiners, leavers, and what each of them sees.

use quire_proto::v1::{Cursor, ItemOffset, item};
use quire_tests::{
    home::Home,
    model::{Gate, MockModel, Reply, Wire},
    rpc::{Rpc, items},
    skip::skip,
    terminal::Terminal,
};

/// A turn that says something, runs a command, and holds in the middle of its last message.
fn held(gate: &Gate) -> MockModel {
    MockModel::playing([
        Reply::say("First I look. ").and_shell("echo looked around"),
        Reply::say("Then I tell ")
            .and_hold(gate)
            .and_say("the whole story."),
    ])
}

/// The id of the home's newest session.
fn newest(home: &Home) -> String {
    Rpc::connect(home).session("@last").id
}

#[test]
fn a_second_client_sees_the_past_and_the_present() {
    let gate = Gate::closed();
    let model = held(&gate);
    let home = Home::asking(&model, Wire::Responses);
    let first = home.quire(["exec", "tell me"]).spawn();
    gate.wait_reached();

    let follower = home.quire(["logs", "-f", "@last"]).spawn();
    for part in ["tell me", "First I look.", "looked around"] {
        follower.shows(part);
    }
    let rpc = Rpc::connect(&home);
    let watcher = rpc.watch(&newest(&home), None);
    watcher.until("the text streamed so far", |view| {
        view.synced && view.growing_text().contains("Then I tell ")
    });
    assert_eq!(watcher.view().events[0].seq, 1);

    gate.open();
    follower.shows("Then I tell the whole story.");
    watcher.until_turns_ended(1);
    let first = first.finish();
    assert_eq!(
        (first.code, first.stdout.trim_end()),
        (0, "Then I tell the whole story.")
    );
}

#[test]
fn attach_shows_the_transcript_so_far_and_streams_on() {
    if !Terminal::available() {
        return skip("no setsid from util-linux");
    }
    let gate = Gate::closed();
    let model = held(&gate);
    let home = Home::asking(&model, Wire::Responses);
    let first = home.quire(["exec", "tell me"]).spawn();
    gate.wait_reached();
    let terminal = home.terminal(["attach", "@last"]);
    for part in ["tell me", "First I look.", "looked around", "Then I tell"] {
        terminal.shows(part);
    }
    gate.open();
    terminal.shows("Then I tell the whole story.");
    assert_eq!(first.finish().code, 0);
}

#[test]
fn the_turn_ends_though_every_client_has_left() {
    let gate = Gate::closed();
    let model = held(&gate);
    let home = Home::asking(&model, Wire::Chat);
    let first = home.quire(["exec", "tell me"]).spawn();
    gate.wait_reached();
    let second = home.quire(["logs", "-f", "@last"]).spawn();
    second.shows("looked around");
    first.kill();
    second.kill();
    gate.open();

    let waited = home.quire(["wait", "@last"]).run();
    assert_eq!(waited.code, 0, "{}", waited.stderr);
    let logs = home.quire(["logs", "@last"]).run();
    for part in [
        "tell me",
        "First I look.",
        "looked around",
        "Then I tell the whole story.",
    ] {
        assert!(
            logs.stdout.contains(part),
            "`{part}` is not in the log: {}",
            logs.stdout
        );
    }
    let ps = home.quire(["ps"]).run();
    assert_eq!(ps.code, 0, "{}", ps.stderr);
    assert!(ps.stdout.contains(&newest(&home)), "{}", ps.stdout);
    let ps = home.quire(["ps", "--json"]).run();
    let session: serde_json::Value =
        serde_json::from_str(ps.stdout.lines().next().unwrap()).unwrap();
    assert!(session.to_string().contains(&newest(&home)), "{session}");
}

#[test]
fn all_watchers_end_with_the_same_bytes() {
    let gate = Gate::closed();
    let model = held(&gate);
    let home = Home::asking(&model, Wire::Responses);
    let rpc = Rpc::starting(&home);
    let session = rpc.create(&home, &home.work()).id;
    let early = rpc.watch(&session, None);
    early.until("the empty session", |view| view.synced);
    rpc.prompt(&session, "tell me");
    gate.wait_reached();
    early.until("text in mid-stream", |view| {
        view.growing_text().contains("tell ")
    });
    let late = rpc.watch(&session, None);
    late.until("text in mid-stream", |view| {
        view.growing_text().contains("tell ")
    });

    // One more goes on from where the first stands, in the middle of the growing message.
    let seen = early.view();
    let growing = seen.growing.iter();
    let growing = growing.map(|(item, bytes)| ItemOffset {
        item: *item,
        offset: bytes.len() as u64,
    });
    let head = seen.events.last().unwrap().seq;
    let cursor = Cursor {
        seq: head,
        growing: growing.collect(),
    };
    let resumed = rpc.watch(&session, Some(cursor));

    gate.open();
    for watcher in [&early, &late, &resumed] {
        watcher.until_turns_ended(1);
    }
    let events = rpc.events(&session);
    assert_eq!(early.view().events, events);
    assert_eq!(early.view().bytes(), late.view().bytes());
    let rest = resumed.view().events;
    let first = rest.first().unwrap().seq;
    assert_eq!(first, head + 1, "the cursor was not honoured");
    assert_eq!(rest[..], events[usize::try_from(head).unwrap()..]);
    let message = items(&events)
        .into_iter()
        .rev()
        .find_map(|item| match item.kind {
            Some(item::Kind::Message(message)) => Some(message.text),
            _ => None,
        });
    assert_eq!(message.as_deref(), Some("Then I tell the whole story."));
}

#[test]
fn a_session_can_be_watched_before_its_first_turn() {
    let model = MockModel::playing([Reply::say("hello")]);
    let home = Home::asking(&model, Wire::Responses);
    let rpc = Rpc::starting(&home);
    let session = rpc.create(&home, &home.work()).id;
    let watcher = rpc.watch(&session, None);
    watcher.until("nothing but its beginning", |view| {
        view.synced && view.events.len() == 1
    });
    let sent = home.quire(["send", &session, "hi there"]).run();
    assert_eq!(sent.code, 0, "{}", sent.stderr);
    watcher.until_turns_ended(1);
}

#[test]
fn the_same_request_is_one_turn() {
    let model = MockModel::playing([Reply::say("once"), Reply::say("twice")]);
    let home = Home::asking(&model, Wire::Responses);
    let rpc = Rpc::starting(&home);
    let session = rpc.create(&home, &home.work()).id;
    let id = quire_proto::id::RequestId::random();
    let first = rpc.prompt_as(&id, &session, "hello").unwrap();
    let again = rpc.prompt_as(&id, &session, "hello").unwrap();
    assert_eq!(first, again);
    assert_eq!(rpc.settled(&session).turn, 1);
    let later = rpc.prompt_as(&id, &session, "hello").unwrap();
    assert_eq!(first, later, "after the turn too");
    assert_eq!(rpc.settled(&session).turn, 1);
    assert_eq!(model.requests().len(), 1);
}

#[test]
fn a_prompt_from_elsewhere_joins_the_running_turn() {
    let gate = Gate::closed();
    let model = MockModel::playing([
        Reply::say("working ").and_hold(&gate).and_shell("true"),
        Reply::say("both done"),
    ]);
    let home = Home::asking(&model, Wire::Responses);
    let first = home.quire(["exec", "do this"]).spawn();
    gate.wait_reached();
    let sent = home.quire(["send", "@last", "and that"]).run();
    assert_eq!(sent.code, 0, "{}", sent.stderr);
    gate.open();
    assert_eq!(first.finish().code, 0);
    let last = model.requests().pop().unwrap().body.to_string();
    assert!(last.contains("and that"), "the model never heard it");
    assert_eq!(Rpc::connect(&home).session("@last").turns, 1);
}
