//! Many watchers of one session, each a process of its own: joining whenever they like, stopped, killed,
//! slow. All of them are shown the same, and none costs the others anything (FAULTS 49 to 51).

#![allow(clippy::unwrap_used, reason = "a test that can't go on has failed")]

use std::time::Duration;

use quire_proto::v1::Event;
use quire_tests::{
    dice::{Dice, count, tell},
    follower::transcript,
    home::Home,
    journal::Journal,
    model::{Gate, MockModel, Reply, Wire},
    process::Running,
    processes::proportional,
    rpc::{Rpc, View, Watcher},
    wait,
};
use rustix::process::Signal;

/// What runs [`quire_tests::journal::main`].
const WATCHER: &str = env!("CARGO_BIN_EXE_quire-watcher");

/// A session whose turn streams so many tokens and then holds.
struct Streaming {
    // Before the model, so that the daemon ends first.
    home: Home,
    _model: MockModel,
    rpc: Rpc,
    session: String,
    gate: Gate,
    /// Bytes of text before it holds.
    text: usize,
}

impl Streaming {
    fn of(tokens: usize) -> Self {
        let gate = Gate::closed();
        let reply = Reply::tokens(tokens).paced(Duration::from_millis(1));
        let text = reply.text().len();
        let reply = reply.and_hold(&gate).and_say("and that is all.");
        let model = MockModel::playing([Reply::say("I look. ").and_shell("echo seen"), reply]);
        let home = Home::asking(&model, Wire::Responses);
        let rpc = Rpc::starting(&home);
        let session = rpc.create(&home, &home.work()).id;
        Self {
            home,
            _model: model,
            rpc,
            session,
            gate,
            text,
        }
    }

    fn journal(&self, name: &str) -> Journal {
        Journal::new(&self.home, WATCHER, &self.session, name)
    }

    /// Waits until so many bytes of the stream have been shown, at least one.
    fn come_to(&self, leader: &Watcher, bytes: usize) {
        leader.until("the stream to come that far", |view| {
            view.growing_text().len() >= bytes.clamp(1, self.text)
        });
    }
}

/// The whole log, and the texts that anyone who saw it all has.
fn check_same(what: &str, view: &View, events: &[Event]) {
    assert_eq!(view.faults, Vec::<String>::new(), "{what}");
    let other = view.events.iter().zip(events).find(|(seen, is)| seen != is);
    assert_eq!(other, None, "{what}");
    assert_eq!(view.events.len(), events.len(), "{what}");
    let whole = View::of(events);
    assert_eq!(view.bytes(), whole.bytes(), "{what}");
    assert_eq!(transcript(view), transcript(&whole), "{what}");
}

/// What happens to a watcher, in the order of these.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Act {
    Join,
    Stop,
    Kill,
}

/// Each of twenty: when it joins, and what befalls it then; in bytes of the stream.
fn fates(dice: &mut Dice, text: usize) -> Vec<(usize, usize, Act)> {
    let mut acts = Vec::new();
    for nth in 0..20 {
        let join = dice.below(text / 2);
        acts.push((join, nth, Act::Join));
        let later = |dice: &mut Dice, after: usize| after + 1 + dice.below(text / 4);
        match nth {
            0..5 => acts.push((later(dice, join), nth, Act::Stop)),
            5..10 => {
                let kill = later(dice, join);
                acts.push((kill, nth, Act::Kill));
                acts.push((later(dice, kill), nth, Act::Join));
            }
            _ => {}
        }
    }
    acts.sort_by_key(|(at, ..)| *at);
    acts
}

/// Show 1 of the many terminals.
#[test]
fn twenty_watchers_end_with_the_same_bytes_stopped_killed_or_let_be() {
    let mut dice = Dice::rolled();
    let seed = format!("QUIRE_SEED={}", dice.seed());
    let stage = Streaming::of(count("QUIRE_TOKENS", 2_000));
    let leader = stage.rpc.watch(&stage.session, None);
    let journals: Vec<_> = (0..20).map(|nth| stage.journal(&nth.to_string())).collect();
    let mut running: Vec<Option<Running>> = journals.iter().map(|_| None).collect();
    stage.rpc.prompt(&stage.session, "tell me");
    let logs = stage.home.quire(["logs", "-f", &stage.session]).spawn();
    for (at, nth, act) in fates(&mut dice, stage.text) {
        stage.come_to(&leader, at);
        match act {
            Act::Join => running[nth] = Some(journals[nth].watch(&stage.home)),
            Act::Stop => running[nth].as_ref().unwrap().signal(Signal::STOP),
            Act::Kill => running[nth].take().unwrap().kill(),
        }
    }
    stage.gate.wait_reached();
    stage.gate.open();
    let mut running: Vec<_> = running.into_iter().flatten().collect();

    // Fifteen see the end while five stand still.
    for watcher in running.split_off(5) {
        let end = watcher.finish();
        assert_eq!(end.code, 0, "{seed}: {}", end.stderr);
    }
    for (watcher, journal) in running.iter().zip(&journals) {
        let ended = watcher.has_ended() || journal.view().turns_ended() > 0;
        assert!(!ended, "{seed}: one that was stopped saw the end");
        watcher.signal(Signal::CONT);
    }
    for watcher in running {
        let end = watcher.finish();
        assert_eq!(end.code, 0, "{seed}: {}", end.stderr);
    }
    let events = stage.rpc.events(&stage.session);
    for (nth, journal) in journals.iter().enumerate() {
        check_same(
            &format!("watcher {nth} of {seed}"),
            &journal.view(),
            &events,
        );
    }
    check_same("the first of all", &leader.view(), &events);
    let told = stage.home.quire(["logs", &stage.session]).run().stdout;
    logs.shows("and that is all.");
    wait::until("`logs -f` to tell what `logs` tells", || {
        logs.stdout() == told
    });
    let bytes = leader.view().bytes().len();
    tell(&format!(
        "{} events, {bytes} bytes, 20 times the same",
        events.len()
    ));
}

/// Row 49: the client that began the turn dies, a watcher dies again and again; the turn goes on, and the
/// watcher is shown everything once.
#[test]
fn a_watcher_killed_again_and_again_misses_nothing_and_the_turn_goes_on() {
    let mut dice = Dice::rolled();
    let seed = format!("QUIRE_SEED={}", dice.seed());
    let stage = Streaming::of(count("QUIRE_TOKENS", 2_000));
    let leader = stage.rpc.watch(&stage.session, None);
    let exec = ["exec", "--session", &stage.session, "tell me"];
    let exec = stage.home.quire(exec).spawn();
    let kills = count("QUIRE_KILLS", 10);
    let mut at: Vec<_> = (0..kills).map(|_| dice.below(stage.text)).collect();
    at.sort_unstable();
    stage.come_to(&leader, at[0]);
    exec.kill();
    let journal = stage.journal("journal");
    for moment in at {
        let watcher = journal.watch(&stage.home);
        stage.come_to(&leader, moment);
        watcher.kill();
    }
    stage.gate.open();
    let last = journal.watch(&stage.home).finish();
    assert_eq!(last.code, 0, "{seed}: {}", last.stderr);
    let events = stage.rpc.events(&stage.session);
    check_same(&seed, &journal.view(), &events);
    assert_eq!(stage.rpc.session(&stage.session).turns, 1);
}

/// A turn whose commands print so many megabytes, with text of the model between them.
fn loud(megabytes: usize) -> MockModel {
    let rounds = megabytes.div_ceil(10);
    let print = "yes 'all work and no play' | head -c 10000000";
    let text = "all play and no work makes a dull log. ".repeat(2_000);
    let replies = (0..rounds).map(|_| Reply::say(&text).in_batches(100).and_shell(print));
    MockModel::playing(replies.chain([Reply::say("Quiet now.")]))
}

/// Row 50: a reader that stands still during a large stream costs next to nothing and delays nobody; when
/// it goes on it is shown everything.
#[test]
fn a_reader_that_stands_still_costs_little_and_catches_up() {
    let megabytes = count("QUIRE_STREAM_MB", 30);
    let model = loud(megabytes);
    let home = Home::asking(&model, Wire::Responses);
    let rpc = Rpc::starting(&home);
    // What the first turn of all takes is not the reader's doing.
    let other = rpc.create(&home, &home.work()).id;
    rpc.prompt(&other, "be loud");
    wait::until("a command to have been loud", || {
        !rpc.outcomes(&other).is_empty()
    });
    rpc.interrupt(&other);

    let session = rpc.create(&home, &home.work()).id;
    let journals = ["slow", "one", "two"].map(|name| Journal::new(&home, WATCHER, &session, name));
    let [slow, one, two] = journals.each_ref().map(|journal| journal.watch(&home));
    for journal in &journals {
        wait::until("the watcher to have the past", || journal.view().synced);
    }
    slow.signal(Signal::STOP);
    let daemon = home.daemon().unwrap();
    let before = proportional(daemon);
    rpc.prompt(&session, "be loud");
    for watcher in [one, two] {
        let end = watcher.finish();
        assert_eq!(end.code, 0, "{}", end.stderr);
    }
    let grown = proportional(daemon).saturating_sub(before) >> 10;
    tell(&format!(
        "{megabytes} MB past a reader that stands still: {grown} KiB more"
    ));
    assert!(grown < 24 << 10, "{grown} KiB more");
    assert!(!slow.has_ended());
    slow.signal(Signal::CONT);
    let end = slow.finish();
    assert_eq!(end.code, 0, "{}", end.stderr);
    let events = rpc.events(&session);
    for journal in &journals {
        check_same("a reader of a loud session", &journal.view(), &events);
    }
}

/// Row 51: a hundred clients on one session.
#[test]
fn a_hundred_clients_see_the_same_and_take_little_memory() {
    let stage = Streaming::of(500);
    let leader = stage.rpc.watch(&stage.session, None);
    leader.until("the past", |view| view.synced);
    let daemon = stage.home.daemon().unwrap();
    let before = proportional(daemon);
    let clients: Vec<_> = (0..100).map(|_| Rpc::connect(&stage.home)).collect();
    let (early, late) = clients.split_at(50);
    let watch = |clients: &[Rpc]| -> Vec<_> {
        let watchers = clients
            .iter()
            .map(|client| client.watch(&stage.session, None));
        watchers.collect()
    };
    let mut watchers = watch(early);
    stage.rpc.prompt(&stage.session, "tell me");
    stage.gate.wait_reached();
    watchers.extend(watch(late));
    for watcher in &watchers {
        watcher.until("the text so far", |view| {
            view.growing_text().len() == stage.text
        });
    }
    let grown = proportional(daemon).saturating_sub(before) >> 10;
    tell(&format!("100 clients: {grown} KiB more"));
    assert!(grown < 50 << 10, "{grown} KiB more");
    stage.gate.open();
    let events = {
        leader.until_turns_ended(1);
        stage.rpc.events(&stage.session)
    };
    for watcher in &watchers {
        watcher.until_turns_ended(1);
        check_same("one of a hundred", &watcher.view(), &events);
    }
}
