//! The daemon is killed again and again, at random instants, while a session runs: nothing is lost,
//! nothing is done or shown twice, and the clients bring it back by themselves.
//!
//! `QUIRE_KILLS=N` says how often it is killed in each test, `QUIRE_SEED=N` rolls the same dice again.

use std::{
    fs,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, SystemTime},
};

use quire_proto::v1::{
    DaemonServiceGetStatusRequest, Event, ItemStatus, OutcomeStatus, StopReason, event::Body, item,
};
use quire_tests::{
    dice::{Dice, count, tell},
    model::{MockModel, Reply},
    rpc::Rpc,
    stage::{Stage, progress},
    view::{View, items},
    wait,
};

/// Commands of the long session.
const COMMANDS: usize = 50;

/// What a daemon may take from its start to its first answer. The figure to reach is 500 ms on a quiet
/// machine; a test must also pass on a busy one.
const READY: Duration = Duration::from_secs(2);

/// One command of the long session. Some leave something running that must not outlive them.
fn command(number: usize) -> String {
    let line = format!("echo {number} >> lines");
    match number % 5 {
        0 => format!("(setsid sleep 1000 >/dev/null 2>&1 &); {line}"),
        1 => format!("echo begun {number}; sleep 0.05; {line}; echo ended"),
        2 => format!("( (sleep 1000 & ) & ) >/dev/null 2>&1; {line}; sleep 0.02"),
        3 => format!("trap '' HUP TERM; (setsid sh -c 'sleep 1000 & sleep 1000' &); {line}"),
        _ => line,
    }
}

/// Singly and by threes, each answer with a word before its commands.
fn fifty() -> Vec<Reply> {
    let mut replies = Vec::new();
    let mut next = 1;
    while next <= COMMANDS {
        let together = if replies.len() % 4 == 3 { 3 } else { 1 };
        let numbers = next..=COMMANDS.min(next + together - 1);
        next += together;
        let word = Reply::say(&format!("Now number {} is due. ", numbers.start()));
        replies.push(numbers.fold(word, |reply, number| reply.and_shell(&command(number))));
    }
    replies.push(Reply::say("All fifty are done."));
    replies
}

/// Daemons in a row that may die before their clients have told anything new: at the third they give up.
const BARREN: usize = 2;

/// Most kills that one session has room for, as clients find back between them.
const ROOM: usize = 25;

/// Kills the daemon up to `kills` times while the session goes on, and says how often: after something
/// new, while it starts, or at any time.
fn kill_all_along(stage: &Stage, kills: usize, dice: &mut Dice) -> usize {
    // Facts of the whole session, a little too few, so that the last kill comes before its end.
    let facts = COMMANDS * 4;
    let over = || stage.watchers[0].view().turns_ended() > 0;
    // Asked later than at the kill: what a client was sent before, it tells a moment after.
    let tells = |told: [usize; 2]| stage.told().iter().zip(told).all(|(now, then)| *now > then);
    let (mut starts, mut seen, mut told, mut barren) = (0, 0, [0; 2], 0);
    for nth in 0..kills {
        if tells(told) {
            (told, barren) = (stage.told(), 0);
        }
        let kind = match barren {
            BARREN => 0,
            _ => dice.below(4),
        };
        if kind < 2 {
            let left = facts.saturating_sub(seen) / (kills - nth);
            let due = seen + 1 + dice.below(2 * left);
            let news = |view: &View| progress(view) >= due || view.turns_ended() > 0;
            stage.watchers[0].until("something new", news);
        }
        if barren == BARREN {
            wait::until("news at the clients", || tells(told) || over());
            (told, barren) = (stage.told(), 0);
        }
        if over() {
            return nth;
        }
        let longest = Duration::from_millis([30, 30, 80, 150][kind]);
        starts = stage.wrapped.kill(starts, dice.time(longest));
        barren += 1;
        seen = progress(&stage.watchers[0].view());
    }
    kills
}

/// As many sessions as it takes, each of them whole in the end.
#[test]
fn a_session_of_fifty_commands_survives_every_kill() {
    let kills = count("QUIRE_KILLS", 20);
    let mut dice = Dice::rolled();
    tell(&format!("QUIRE_KILLS={kills} QUIRE_SEED={}", dice.seed()));
    let (mut killed, mut sessions, mut answers) = (0, 0, Vec::new());
    while killed < kills {
        let (times, more) = survive(ROOM.min(kills - killed), &mut dice);
        assert!(more > 0, "a session was over before the first kill");
        answers.extend(times);
        killed += more;
        sessions += 1;
    }
    answers.sort();
    let (median, longest) = (answers.get(answers.len() / 2), answers.last());
    tell(&format!(
        "{killed} kills in {sessions} sessions; of {} daemons that came to answer: median {median:?}, \
         longest {longest:?}",
        answers.len()
    ));
    assert!(longest.is_none_or(|longest| *longest < READY));
}

/// One session under up to so many kills: how long its daemons took to answer, and how many were killed.
fn survive(kills: usize, dice: &mut Dice) -> (Vec<Duration>, usize) {
    let model = MockModel::playing(fifty());
    let stage = Stage::set(&model, |_| ());
    let over = AtomicBool::new(false);
    let (answers, killed) = std::thread::scope(|scope| {
        let measuring = scope.spawn(|| answers(&stage, &over));
        // Told even if this panics: the scope waits for the other.
        let killed = catch_unwind(AssertUnwindSafe(|| kill_all_along(&stage, kills, dice)));
        over.store(true, Ordering::Relaxed);
        let answers = measuring.join().expect("measuring does not panic");
        (answers, killed.unwrap_or_else(|panic| resume_unwind(panic)))
    });
    let ended = |view: &View| view.turns_ended() == 1;
    stage.watchers[0].until("the turn's end", ended);
    let lines = fs::read_to_string(stage.home.work().join("lines")).expect("commands ran");
    let want: String = (1..=COMMANDS).map(|nth| format!("{nth}\n")).collect();
    assert_eq!(lines, want);
    check_outcomes(&stage.watchers[0].view().events);
    let exec = stage.ended();
    let said = (exec.code, exec.stdout.as_str());
    assert_eq!(said, (0, "All fifty are done.\n"), "{}", exec.stderr);
    (answers, killed)
}

/// From start to first answer, of each daemon that came to that before it was over.
fn answers(stage: &Stage, over: &AtomicBool) -> Vec<Duration> {
    let mut times = Vec::new();
    for known in 0.. {
        wait::until("a start, or the end", || {
            stage.wrapped.starts().len() > known || over.load(Ordering::Relaxed)
        });
        if stage.wrapped.starts().len() <= known {
            break;
        }
        let Some(living) = stage.wrapped.next(known) else {
            continue;
        };
        let answered = wait::until_some("an answer, or the end of the daemon", || {
            if !living.lives() {
                return Some(None);
            }
            let rpc = Rpc::at(&stage.home)?;
            let request = DaemonServiceGetStatusRequest {};
            let status = rpc.wait(async { rpc.daemon().get_status(request).await });
            let pid = status.ok()?.into_inner().pid;
            let this = i32::try_from(pid).ok() == Some(living.start.pid.as_raw_nonzero().get());
            this.then(|| Some(SystemTime::now()))
        });
        let took = answered.map(|at| at.duration_since(living.start.at).unwrap_or_default());
        times.extend(took);
    }
    times
}

/// Every call has exactly one outcome, and each command ran exactly once; a call that was cut off before
/// it was whole stands in the log as not run.
fn check_outcomes(events: &[Event]) {
    let items = items(events);
    let mut ids: Vec<_> = items.iter().map(|item| item.id).collect();
    let all = ids.len();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), all, "an item has two ends");
    let mut ran = Vec::new();
    for item in &items {
        let Some(item::Kind::ToolCall(call)) = &item.kind else {
            continue;
        };
        let outcome = call.outcome.as_ref().expect("each call has an outcome");
        if item.status() == ItemStatus::Completed {
            assert_eq!(outcome.exit_code, Some(0), "{call:#?}");
            ran.push(call.title.clone());
        }
    }
    let want: Vec<_> = (1..=COMMANDS).map(command).collect();
    assert_eq!(ran, want);
    let started = events.iter().filter_map(|event| match &event.body {
        Some(Body::JobStarted(started)) => Some(started.job_id.clone()),
        _ => None,
    });
    let mut jobs: Vec<_> = started.collect();
    let all = jobs.len();
    jobs.sort_unstable();
    jobs.dedup();
    assert_eq!(jobs.len(), all, "a job was started twice");
    let ends = events.iter().filter_map(|event| match &event.body {
        Some(Body::TurnEnded(ended)) => Some(ended.stop_reason()),
        _ => None,
    });
    assert_eq!(ends.collect::<Vec<_>>(), [StopReason::Done]);
}

/// Patches of the session that edits.
const EDITS: usize = 24;

/// The two files of one edit, long enough to take a while.
fn files(edit: usize) -> [String; 2] {
    ["left", "right"].map(|side| format!("{side}-{edit}"))
}

fn content(word: &str) -> String {
    let lines: String = (0..4000).map(|nth| format!("line {nth}\n")).collect();
    format!("{lines}{word}\n{lines}")
}

fn edits() -> Vec<Reply> {
    let edit = |nth| {
        let files = files(nth).map(|name| format!("*** Update File: {name}\n@@\n-old\n+new\n"));
        let patch = files.concat();
        Reply::patch(&format!("*** Begin Patch\n{patch}*** End Patch\n"))
    };
    let edits = (0..EDITS).map(edit);
    edits.chain([Reply::say("All is edited.")]).collect()
}

/// The daemon dies while it changes files: each is as it was or as it was to be, and the log tells
/// which, or that it is not known.
#[test]
fn no_file_is_torn_by_a_kill_in_the_middle_of_an_edit() {
    let kills = (count("QUIRE_KILLS", 20) / 2).min(EDITS / 2);
    let mut dice = Dice::rolled();
    tell(&format!("{kills} kills, QUIRE_SEED={}", dice.seed()));
    let model = MockModel::playing(edits());
    let stage = Stage::set(&model, |home| {
        for name in (0..EDITS).flat_map(files) {
            fs::write(home.work().join(name), content("old")).expect("it is writable");
        }
    });
    let mut starts = 0;
    for nth in 0..kills {
        let begun = EDITS * nth / kills;
        let file = &files(begun)[0];
        stage.watchers[0].until("the next edits to begin", |view| {
            begins_to_edit(view, file) || view.turns_ended() > 0
        });
        starts = stage
            .wrapped
            .kill(starts, dice.time(Duration::from_millis(10)));
    }
    stage.watchers[0].until("the turn's end", |view| view.turns_ended() == 1);
    let told = edited(&stage.watchers[0].view().events);
    assert_eq!(told.len(), EDITS, "{told:?}");
    let work = stage.home.work();
    for (nth, status) in told.iter().enumerate() {
        let words = files(nth).map(|name| {
            let found = fs::read_to_string(work.join(&name)).expect("it is there");
            let word = ["old", "new"]
                .into_iter()
                .find(|word| found == content(word));
            word.unwrap_or_else(|| panic!("`{name}` is torn"))
        });
        match status {
            OutcomeStatus::Succeeded => assert_eq!(words, ["new"; 2], "edit {nth}"),
            OutcomeStatus::Unknown => {}
            other => panic!("edit {nth} ended as {other:?}, the files are {words:?}"),
        }
    }
    let entries = fs::read_dir(&work).expect("it is there").count();
    assert_eq!(entries, 2 * EDITS, "something is left beside the files");
    let unknown = told.iter().filter(|one| **one == OutcomeStatus::Unknown);
    tell(&format!("{} of {EDITS} edits not known", unknown.count()));
    let exec = stage.ended();
    let said = (exec.code, exec.stdout.as_str());
    assert_eq!(said, (0, "All is edited.\n"), "{}", exec.stderr);
}

/// Whether the edit of this file was promised, or is over.
fn begins_to_edit(view: &View, file: &str) -> bool {
    view.events.iter().rev().any(|event| match &event.body {
        Some(Body::ItemChanged(changed)) => changed.item.as_ref().is_some_and(|item| {
            matches!(&item.kind, Some(item::Kind::ToolCall(call))
                if call.intent.is_some() && call.arguments.contains(file))
        }),
        _ => false,
    })
}

/// How the edits ended that were made whole, in order.
fn edited(events: &[Event]) -> Vec<OutcomeStatus> {
    let items = items(events).into_iter();
    let edits = items.filter_map(|item| match (item.status(), item.kind) {
        (ItemStatus::Completed, Some(item::Kind::ToolCall(call))) => Some(call),
        _ => None,
    });
    edits
        .map(|call| call.outcome.expect("each call has an outcome").status())
        .collect()
}
