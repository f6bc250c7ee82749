//! A session in full view: the client that began it, a follower of its log as text, and two watchers, all
//! of which must have seen the same when it is over, however often its daemon died.

use std::time::Duration;

use quire_proto::v1::{Event, ItemStatus, event::Body, item::Kind};

use crate::{
    follower::{Follower, transcript},
    home::Home,
    model::{MockModel, Wire},
    process::{Finished, Running},
    rpc::Rpc,
    view::View,
    wait,
    wrapped::Wrapped,
};

/// How long such a session may take in all.
const LONG: Duration = Duration::from_secs(600);

/// A session, and everyone who follows it.
pub struct Stage {
    /// Where it plays.
    pub home: Home,
    /// The daemon's stand-in.
    pub wrapped: Wrapped,
    /// Two readers of its log who never give up, and never start a daemon.
    pub watchers: [Follower; 2],
    session: String,
    exec: Running,
    logs: Running,
}

impl Stage {
    /// Begins a session in a home that was made ready.
    ///
    /// # Panics
    ///
    /// When no session comes of it.
    #[must_use]
    pub fn set(model: &MockModel, ready: impl FnOnce(&Home)) -> Self {
        let home = Home::asking(model, Wire::Responses);
        ready(&home);
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

    /// Bytes that each of the two clients has told so far.
    #[must_use]
    pub fn told(&self) -> [usize; 2] {
        [self.exec.written(), self.logs.written()]
    }

    /// The session is over for everyone. Says how `exec` ended.
    ///
    /// # Panics
    ///
    /// When not all of them saw the same, or something of the session still runs.
    #[must_use]
    pub fn ended(self) -> Finished {
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
        let (shown, read) = (transcript(view), transcript(&fresh));
        let mut lines = shown.lines().zip(read.lines());
        let other = lines.find(|(shown, read)| shown != read);
        assert_eq!(other, None, "a line as it was shown, and as it is read");
        let mut events = view.events.iter().zip(&fresh.events);
        let other = events.find(|(shown, read)| shown != read);
        assert_eq!(other, None, "an event as it was shown, and as it is read");
        assert_eq!(shown, read);
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
    wait::until_some("a session", || Some(rpc.newest()?.id))
}

/// Facts that bring a session on. What a daemon writes when it takes over from a dead one is none of
/// them: with nothing else it counts as one that can't live.
#[must_use]
pub fn progress(view: &View) -> usize {
    let counts = |event: &&Event| match &event.body {
        Some(Body::ItemCompleted(completed)) => {
            let item = completed.item.as_ref();
            item.is_some_and(|item| item.status() != ItemStatus::CutOff)
        }
        Some(Body::ItemStarted(started)) => {
            let item = started.item.as_ref();
            item.is_some_and(|item| matches!(item.kind, Some(Kind::ToolCall(_))))
        }
        Some(Body::SampleRetried(_) | Body::EventLost(_) | Body::TurnSuspended(_)) => false,
        _ => true,
    };
    view.events.iter().filter(counts).count()
}
