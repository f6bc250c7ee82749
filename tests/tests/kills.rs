//! The daemon is killed again and again, at random instants, while a session runs: nothing is lost,
//! nothing is done or shown twice, and the clients bring it back by themselves.
//!
//! `QUIRE_KILLS=N` says how often it is killed in each test, `QUIRE_SEED=N` rolls the same dice again.

use std::{
    fs,
    time::{Duration, SystemTime},
};

use quire_proto::v1::{
    DaemonServiceGetStatusRequest, Event, ItemStatus, SessionServiceListRequest, StopReason,
    event::Body, item,
};
use quire_tests::{
    dice::{Dice, count, tell},
    follower::{Follower, transcript},
    home::Home,
    model::{Gate, MockModel, Reply, Wire},
    process::{Finished, Running},
    rpc::{Rpc, View, items},
    wait,
    wrapped::Wrapped,
};

/// Commands of the long session.
const COMMANDS: usize = 50;

/// How long such a session may take in all.
const LONG: Duration = Duration::from_secs(600);

/// What a daemon may take from its start to its first answer. The figure to reach is 500 ms on a quiet
/// machine; a test must also pass on a busy one.
const READY: Duration = Duration::from_secs(2);

/// A session that is being told by everyone who can: the client that began it, a follower of its log
/// as text, and two watchers.
struct Stage {
    home: Home,
    wrapped: Wrapped,
    session: String,
    exec: Running,
    logs: Running,
    watchers: [Follower; 2],
}

impl Stage {
    fn set(model: &MockModel) -> Self {
        let home = Home::asking(model, Wire::Responses);
        let wrapped = Wrapped::new(&home);
        let exec = wrapped.quire(&home, ["exec", "go"]).limit(LONG).spawn();
        let session = newest(&home);
        let logs = ["logs", "-f", &session];
        let logs = wrapped.quire(&home, logs).limit(LONG).spawn();
        let watchers = [Follower::of(&home, &session), Follower::of(&home, &session)];
        Self {
            home,
            wrapped,
            session,
            exec,
            logs,
            watchers,
        }
    }

    /// The session is over for everyone; what all of them saw must be the same. Says how `exec` ended.
    fn ended(self) -> Finished {
        let Self {
            home,
            wrapped,
            session,
            exec,
            logs,
            watchers,
        } = self;
        let exec = exec.finish();
        for watcher in &watchers {
            watcher.until("the turn's end", |view| view.turns_ended() == 1);
        }
        let views = watchers.map(|watcher| watcher.view());
        let told = wrapped.quire(&home, ["logs", &session]).run();
        assert_eq!(told.code, 0, "{}", told.stderr);
        logs.shows(told.stdout.lines().last().unwrap_or_default());
        assert_eq!(logs.stdout(), told.stdout, "`logs -f` against `logs`");
        logs.kill();
        check_same(&home, &session, &views);
        wait::until("everything but the daemon to be gone", || {
            home.processes().len() <= 1
        });
        assert_eq!(home.processes().len(), 1, "the daemon is gone too");
        exec
    }
}

/// Both watchers, a fresh reader, and a daemon that reads it all from the disk again.
fn check_same(home: &Home, session: &str, views: &[View; 2]) {
    let fresh = Follower::of(home, session);
    fresh.until("the whole session", |view| view.synced);
    let fresh = fresh.view();
    for view in views {
        assert_eq!(view.faults, Vec::<String>::new());
        assert_eq!(transcript(view), transcript(&fresh));
        assert_eq!(view.bytes(), fresh.bytes());
    }
    check_dense(&fresh.events);
    home.kill_daemon();
    let rpc = Rpc::starting(home);
    assert_eq!(
        rpc.events(session),
        fresh.events,
        "read from the disk again"
    );
    assert_eq!(rpc.session(session).damaged_seq, 0);
}

fn check_dense(events: &[Event]) {
    let seqs: Vec<_> = events.iter().map(|event| event.seq).collect();
    assert_eq!(seqs, (1..=events.len() as u64).collect::<Vec<_>>());
}

/// The id of the home's first session, as soon as there is one.
fn newest(home: &Home) -> String {
    wait::until("a daemon", || home.daemon().is_some());
    let rpc = Rpc::connect(home);
    wait::until_some("a session", || {
        let list = SessionServiceListRequest::default();
        let list = rpc.wait(async { rpc.sessions().list(list).await });
        Some(list.ok()?.into_inner().sessions.first()?.id.clone())
    })
}

/// Facts that bring a session on; that it was begun again is none.
fn progress(view: &View) -> usize {
    let counts = |event: &&Event| !matches!(event.body, Some(Body::SampleRetried(_)));
    view.events.iter().filter(counts).count()
}

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

/// Kills the daemon `kills` times while the session goes on: mostly some time after something new
/// has happened, sometimes while a daemon is starting, though never so often that it would look like
/// one that can't live.
fn kill_all_along(stage: &Stage, kills: usize, dice: &mut Dice) {
    // Facts of the whole session, a little too few, so that the last kill comes before its end.
    let facts = COMMANDS * 5;
    let mut starts = 0;
    let mut seen = 0;
    let mut at_start = 0;
    for nth in 0..kills {
        let starting = nth > 0 && at_start < 2 && dice.below(4) == 0;
        if starting {
            at_start += 1;
        } else {
            at_start = 0;
            let left = facts.saturating_sub(seen) / (kills - nth);
            let due = seen + 1 + dice.below(2 * left);
            stage.watchers[0].until("something new", |view| {
                progress(view) >= due || view.turns_ended() > 0
            });
        }
        let living = stage.wrapped.living(starts);
        starts = stage.wrapped.starts().len();
        wait::pass(dice.time(Duration::from_millis(if starting { 80 } else { 30 })));
        let kind = if starting { "at its start" } else { "at work" };
        assert!(
            living.kill(),
            "kill {nth} ({kind}) met a daemon that was dead"
        );
        seen = progress(&stage.watchers[0].view());
    }
    assert_eq!(
        stage.watchers[0].view().turns_ended(),
        0,
        "the session was over before the last kill"
    );
}

#[test]
fn a_session_of_fifty_commands_survives_every_kill() {
    let kills = count("QUIRE_KILLS", 20);
    let mut dice = Dice::rolled();
    tell(&format!("QUIRE_KILLS={kills} QUIRE_SEED={}", dice.seed()));
    let model = MockModel::playing(fifty());
    let stage = Stage::set(&model);
    let answers = std::thread::scope(|scope| {
        let measuring = scope.spawn(|| answers(&stage.home, &stage.wrapped, kills));
        kill_all_along(&stage, kills, &mut dice);
        measuring.join()
    });
    stage.watchers[0].until("the turn's end", |view| view.turns_ended() == 1);
    let lines = fs::read_to_string(stage.home.work().join("lines")).expect("commands ran");
    let want: String = (1..=COMMANDS).map(|nth| format!("{nth}\n")).collect();
    assert_eq!(lines, want);
    check_outcomes(&stage.watchers[0].view().events);
    let exec = stage.ended();
    assert_eq!(
        (exec.code, exec.stdout.as_str()),
        (0, "All fifty are done.\n"),
        "{}",
        exec.stderr
    );
    let mut answers = answers.expect("the measuring thread does not panic");
    answers.sort();
    let (median, longest) = (answers.get(answers.len() / 2), answers.last());
    tell(&format!(
        "{} daemons answered; median {median:?}, longest {longest:?}",
        answers.len()
    ));
    assert!(longest.is_none_or(|longest| *longest < READY));
}

/// From start to first answer, of each daemon that came to that, up to and with the one after so many
/// kills.
fn answers(home: &Home, wrapped: &Wrapped, kills: usize) -> Vec<Duration> {
    let mut times = Vec::new();
    for known in 0..=kills {
        let Some(living) = wrapped.next(known) else {
            continue;
        };
        let answered = wait::until_some("an answer, or the end of the daemon", || {
            if !living.lives() {
                return Some(None);
            }
            let rpc = Rpc::at(home)?;
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
    let stage = Stage::set(&model);
    let mut starts = 0;
    let mut shown = Vec::new();
    for nth in 0..kills {
        let answer = nth / IN_ONE_ANSWER;
        let living = stage.wrapped.living(starts);
        starts = stage.wrapped.starts().len();
        let word = format!("a{answer}w{} ", dice.below(WORDS));
        let watcher = &stage.watchers[dice.below(2)];
        let known = newest_item(&shown);
        watcher.until(&format!("`{word}`"), |view| {
            // Of the next attempt: what was shown of the one before is never added to.
            let mut growing = view.growing.range(known + 1..);
            growing.any(|(_, text)| String::from_utf8_lossy(text).contains(&word))
        });
        wait::pass(dice.time(Duration::from_millis(10)));
        assert!(living.kill(), "kill {nth} met a daemon that was dead");
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
