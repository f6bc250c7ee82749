//! The daemon is killed again and again while the model streams: what was shown stays, nothing is shown
//! twice, and all views end the same.
//!
//! `QUIRE_KILLS=N` says how often it is killed, `QUIRE_SEED=N` rolls the same dice again.

use std::time::Duration;

use quire_proto::v1::{ItemStatus, item};
use quire_tests::{
    dice::{Dice, count, tell},
    model::{Gate, MockModel, Reply},
    stage::Stage,
    view::{View, items},
};

/// Kills in one streamed answer.
const IN_ONE_ANSWER: usize = 2;

/// Words of one streamed answer.
const WORDS: usize = 60;

fn words(answer: usize) -> String {
    (0..WORDS).map(|nth| format!("a{answer}w{nth} ")).collect()
}

/// Long answers that come slowly, and can't come to their end before their gate is open. A command after
/// each brings the session on.
fn slow(gates: &[Gate]) -> Vec<Reply> {
    let answer = |(nth, gate): (usize, &Gate)| {
        let reply = Reply::say(&words(nth)).and_hold(gate).and_say("end. ");
        reply.and_shell("true").paced(Duration::from_millis(3))
    };
    let answers = gates.iter().enumerate().map(answer);
    answers.chain([Reply::say("All is said.")]).collect()
}

#[test]
fn no_byte_of_a_stream_is_lost_or_shown_twice() {
    let kills = count("QUIRE_KILLS", 20);
    let mut dice = Dice::rolled();
    tell(&format!("QUIRE_KILLS={kills} QUIRE_SEED={}", dice.seed()));
    let gates: Vec<_> = (0..kills.div_ceil(IN_ONE_ANSWER))
        .map(|_| Gate::closed())
        .collect();
    let model = MockModel::playing(slow(&gates));
    let stage = Stage::set(&model, |_| ());
    let mut starts = 0;
    let mut shown = Vec::new();
    for nth in 0..kills {
        let answer = nth / IN_ONE_ANSWER;
        let word = format!("a{answer}w{} ", dice.below(WORDS));
        let watcher = &stage.watchers[dice.below(2)];
        let known = newest_item(&shown);
        watcher.until(&format!("`{word}`"), |view| {
            // Of the next attempt: what was shown of the one before is never added to.
            let mut growing = view.growing.range(known + 1..);
            growing.any(|(_, text)| String::from_utf8_lossy(text).contains(&word))
        });
        starts = stage
            .wrapped
            .kill(starts, dice.time(Duration::from_millis(10)));
        shown.push(stage.watchers.each_ref().map(|one| one.view().growing));
        let last_kill_of_answer = nth % IN_ONE_ANSWER == IN_ONE_ANSWER - 1 || nth == kills - 1;
        if last_kill_of_answer && let Some(gate) = gates.get(answer) {
            gate.open();
        }
    }
    stage.watchers[0].until("the turn's end", |view| view.turns_ended() == 1);
    check_kept(&stage.watchers[0].view(), &shown, kills);
    let exec = stage.ended();
    assert_eq!(
        (exec.code, exec.stdout.as_str()),
        (0, "All is said.\n"),
        "{}",
        exec.stderr
    );
}

type Growing = std::collections::BTreeMap<u64, Vec<u8>>;

/// The newest item that grew when a daemon died.
fn newest_item(shown: &[[Growing; 2]]) -> u64 {
    let items = shown.iter().flatten().flat_map(|growing| growing.keys());
    items.copied().max().unwrap_or_default()
}

/// What anybody was shown when the daemon died is the beginning of a cut-off item, and every answer
/// stands there whole once.
fn check_kept(view: &View, shown: &[[Growing; 2]], kills: usize) {
    let messages = items(&view.events).into_iter();
    let messages: Vec<_> = messages
        .filter_map(|one| match (one.id, one.status(), one.kind) {
            (id, status, Some(item::Kind::Message(message))) => Some((id, status, message.text)),
            _ => None,
        })
        .collect();
    for growing in shown.iter().flatten().flatten() {
        let kept = messages.iter().find(|(id, _, _)| id == growing.0);
        let (_, status, text) = kept.expect("what was shown is in the log");
        assert_eq!(*status, ItemStatus::CutOff);
        assert!(
            text.as_bytes().starts_with(growing.1),
            "less than was shown"
        );
    }
    let of = |wanted| {
        let of = messages
            .iter()
            .filter(move |(_, status, _)| *status == wanted);
        of.map(|(_, _, text)| text.as_str())
    };
    let whole = |nth| format!("{}end. ", words(nth));
    let mut want: Vec<_> = (0..kills.div_ceil(IN_ONE_ANSWER)).map(whole).collect();
    want.push("All is said.".to_owned());
    assert_eq!(of(ItemStatus::Completed).collect::<Vec<_>>(), want);
    assert_eq!(of(ItemStatus::CutOff).count(), kills);
    let cut = of(ItemStatus::CutOff).enumerate();
    for (nth, text) in cut {
        assert!(words(nth / IN_ONE_ANSWER).starts_with(text), "`{text}`");
    }
}
