//! One fault at every place: a short session is run again and again, and each time another of the calls
//! by which the daemon changes its files fails, or is its last.
//!
//! `QUIRE_SWEEP=N` says how many places each test tries, spread over the session; 0 means all of them.

use std::{
    fs,
    panic::{AssertUnwindSafe, catch_unwind},
    time::Duration,
};

use quire_proto::v1::{Event, ItemStatus, OutcomeStatus, StopReason, event::Body, item::Kind};
use quire_tests::{
    dice::{count, tell},
    home::Home,
    model::{MockModel, Reply, Wire},
    process::Finished,
    rpc::{Rpc, items},
    shim::{Armed, Fault, Shim},
    wait,
};
use serde_json::json;

const PATCH: &str = "*** Begin Patch\n*** Update File: first\n@@\n-old\n+new\n\
                     *** Add File: second\n+new\n*** End Patch\n";

/// Text, a command, a patch of two files, another command, and a last word.
fn session() -> MockModel {
    MockModel::playing([
        Reply::say("I begin. ").and_shell("echo one >> ran; echo of the first"),
        Reply::patch(PATCH),
        Reply::shell("echo two >> ran; echo of the second"),
        Reply::say("All is done."),
    ])
}

/// One run of the session under a fault.
struct Run {
    home: Home,
    model: MockModel,
    armed: Armed,
}

impl Run {
    fn new(shim: &Shim, fault: Fault, at: u64) -> Self {
        let model = session();
        let home = Home::asking(&model, Wire::Responses);
        fs::write(home.work().join("first"), "old\n").expect("the test's directory is writable");
        let armed = shim.arm(&home, fault, at);
        Self { home, model, armed }
    }

    fn exec(&self) -> Finished {
        self.armed.wrapped.quire(&self.home, ["exec", "go"]).run()
    }

    fn file(&self, name: &str) -> String {
        fs::read_to_string(self.home.work().join(name)).unwrap_or_default()
    }

    /// All was done, once, and `exec` said so.
    fn check_done(&self, exec: &Finished) {
        let said = (exec.code, exec.stdout.as_str());
        assert_eq!(said, (0, "All is done.\n"), "{}", exec.stderr);
        self.check_whole();
        let rpc = Rpc::starting(&self.home);
        let events = rpc.events(&rpc.session("@last").id);
        let ends = events.iter().filter_map(|event| match &event.body {
            Some(Body::TurnEnded(ended)) => Some(ended.stop_reason()),
            _ => None,
        });
        assert_eq!(ends.collect::<Vec<_>>(), [StopReason::Done]);
    }

    /// Both commands ran once, no file is torn, and the log tells it.
    fn check_whole(&self) {
        assert_eq!(self.file("ran"), "one\ntwo\n");
        let rpc = Rpc::starting(&self.home);
        let events = rpc.events(&rpc.session("@last").id);
        check_log(&events);
        let patched = outcomes(&events, "apply_patch");
        let (first, second) = (self.file("first"), self.file("second"));
        let files = (first.as_str(), second.as_str());
        match patched[..] {
            [OutcomeStatus::Succeeded] => assert_eq!(files, ("new\n", "new\n")),
            [OutcomeStatus::Failed] => assert_eq!(files, ("old\n", "")),
            // Each file is one or the other.
            [OutcomeStatus::Unknown] => {
                assert!(["old\n", "new\n"].contains(&files.0), "{first}");
                assert!(["", "new\n"].contains(&files.1), "{second}");
            }
            _ => panic!("not one outcome: {patched:?}"),
        }
    }

    /// Nothing was done at all.
    fn check_untouched(&self) {
        let files = ["ran", "second"].map(|name| self.file(name));
        assert_eq!(files, ["", ""]);
        assert_eq!(self.file("first"), "old\n");
    }

    /// It failed, and said so in words that help.
    fn check_told(&self, exec: &Finished) {
        assert!((1..=8).contains(&exec.code), "{exec:#?}");
        assert_eq!(exec.stdout, "");
        let complaint = exec.stderr.lines().last().unwrap_or_default();
        assert!(
            complaint.starts_with("quire: ") && complaint.len() > 20,
            "no clear line: {}",
            exec.stderr
        );
        assert!(!exec.stderr.contains("panicked"), "{}", exec.stderr);
    }

    /// What a person does next, and once more when the daemon has not yet seen that there is space.
    fn again(&self) -> Finished {
        wait::until_some("a word that is taken", || {
            let again = self.once_more();
            let full = again.code != 0 && again.stderr.contains("the disk is full");
            (!full).then_some(again)
        })
    }

    /// Says something in the session, or asks again if there is none.
    fn once_more(&self) -> Finished {
        let ps = self.armed.wrapped.quire(&self.home, ["ps", "--json"]).run();
        assert_eq!(ps.code, 0, "{}", ps.stderr);
        let again = if ps.stdout.trim().is_empty() {
            self.armed.wrapped.quire(&self.home, ["exec", "go"])
        } else {
            let goes_on = ["exec", "go on", "--session", "@last"];
            self.armed.wrapped.quire(&self.home, goes_on)
        };
        again.run()
    }
}

/// Dense, and each item and each call has exactly one end.
fn check_log(events: &[Event]) {
    let seqs: Vec<_> = events.iter().map(|event| event.seq).collect();
    assert_eq!(seqs, (1..=events.len() as u64).collect::<Vec<_>>());
    let mut ends: Vec<_> = items(events).iter().map(|item| item.id).collect();
    let all = ends.len();
    ends.sort_unstable();
    ends.dedup();
    assert_eq!(ends.len(), all, "an item has two ends");
    for event in events {
        if let Some(Body::ItemStarted(started)) = &event.body
            && let Some(item) = &started.item
        {
            assert!(ends.contains(&item.id), "no end: {item:#?}");
        }
    }
    assert_eq!(
        outcomes(events, "exec_command"),
        [OutcomeStatus::Succeeded; 2]
    );
}

/// How the calls of a tool ended that were made whole.
fn outcomes(events: &[Event], tool: &str) -> Vec<OutcomeStatus> {
    let items = items(events).into_iter();
    let calls = items.filter_map(|item| match (item.status(), item.kind) {
        (ItemStatus::Completed, Some(Kind::ToolCall(call))) if call.tool == tool => Some(call),
        _ => None,
    });
    let outcome = |call: quire_proto::v1::ToolCallItem| {
        let outcome = call.outcome.expect("each call has an outcome");
        outcome.status()
    };
    calls.map(outcome).collect()
}

/// Runs `check` at places spread over the whole session, and fails with all places that failed.
fn sweep(fault: Fault, usual: usize, check: impl Fn(&Run)) {
    let Some(shim) = Shim::build() else { return };
    let counted = Run::new(&shim, Fault::None, 0);
    counted.check_done(&counted.exec());
    let calls = usize::try_from(counted.armed.calls()).unwrap_or_default();
    drop(counted);
    assert!(calls > 20, "only {calls} calls: is the library loaded?");
    let places = match count("QUIRE_SWEEP", usual) {
        0 => calls,
        places => places.min(calls),
    };
    let mut met = 0;
    let mut failed = Vec::new();
    for nth in 0..places {
        // In the middle of each part, so that fewer places are not always the first ones.
        let at = (nth * calls + calls / 2) / places + 1;
        let run = Run::new(&shim, fault, at as u64);
        let checked = catch_unwind(AssertUnwindSafe(|| check(&run)));
        met += usize::from(run.armed.faults() > 0);
        if checked.is_err() {
            failed.push(at);
        }
    }
    tell(&format!(
        "{calls} calls; {places} tried, {met} met {fault:?}"
    ));
    assert!(met * 10 >= places * 8, "too few places met the fault");
    assert!(failed.is_empty(), "failed at call {failed:?} of {calls}");
}

/// The fault is a death: whoever waits brings the daemon back, and all goes on.
fn check_death(run: &Run) {
    run.check_done(&run.exec());
}

#[test]
fn a_daemon_that_dies_before_any_write_goes_on() {
    sweep(Fault::Kill, 10, check_death);
}

#[test]
fn a_daemon_that_dies_after_any_write_goes_on() {
    sweep(Fault::KillAfter, 6, check_death);
}

/// A full disk is waited out, or refuses the prompt before anything is done.
#[test]
fn a_disk_that_is_full_at_any_write_is_waited_out() {
    sweep(Fault::NoSpace, 10, |run| {
        let exec = run.armed.wrapped.quire(&run.home, ["exec", "go"]).spawn();
        run.armed.until_met_or(|| exec.has_ended());
        // The daemon is to meet it more than once, whatever it does about it.
        wait::within(Duration::from_millis(300), || {
            exec.has_ended().then_some(())
        });
        run.armed.heal();
        let exec = exec.finish();
        if exec.code != 0 && run.model.requests().is_empty() {
            run.check_told(&exec);
            run.check_untouched();
            run.check_done(&run.again());
        } else {
            run.check_done(&exec);
        }
    });
}

/// No space for one write alone: as an error of the disk, but nothing is lost by it.
#[test]
fn a_disk_that_is_full_once_loses_nothing() {
    sweep(Fault::NoSpaceOnce, 5, check_error);
}

#[test]
fn an_error_of_any_write_ends_well_or_is_told() {
    sweep(Fault::Io, 8, check_error);
}

#[test]
fn an_error_of_any_sync_ends_well_or_is_told() {
    sweep(Fault::Sync, 4, check_error);
}

/// Either nobody notices, or one line says what happened and the next word goes on.
fn check_error(run: &Run) {
    let exec = run.exec();
    if exec.code == 0 {
        return run.check_done(&exec);
    }
    run.check_told(&exec);
    let again = run.again();
    assert_eq!(again.code, 0, "{}; then {}", exec.stderr, again.stderr);
    run.check_whole();
}

/// What the daemon was started with reaches neither its keepers nor their commands.
#[test]
fn commands_do_not_inherit_the_daemons_environment() {
    let Some(shim) = Shim::build() else { return };
    let wait_for_go = "until [ -e go ]; do sleep 0.02; done; env";
    let model = MockModel::playing([
        Reply::default().and_shell_with(wait_for_go, json!({ "yield_time_ms": 30_000 })),
        Reply::say("done"),
    ]);
    let home = Home::asking(&model, Wire::Responses);
    let armed = shim.arm(&home, Fault::None, 0);
    let exec = armed.wrapped.quire(&home, ["exec", "go"]).spawn();
    wait::until("a daemon", || home.daemon().is_some());
    let others = || {
        let all = home.processes().into_iter();
        let not_ours = |pid| Some(pid) != home.daemon() && pid != exec.pid();
        all.map(|one| one.pid)
            .filter(|pid| not_ours(*pid))
            .collect::<Vec<_>>()
    };
    wait::until("a keeper and its command", || others().len() >= 2);
    let shows = |pid: rustix::process::Pid, file: &str| {
        let path = format!("/proc/{}/{file}", pid.as_raw_nonzero());
        String::from_utf8_lossy(&fs::read(path).unwrap_or_default()).into_owned()
    };
    let daemon = home.daemon().expect("it runs");
    let seen = shows(daemon, "maps");
    for pid in others() {
        assert!(!shows(pid, "environ").contains("LD_PRELOAD"));
        assert!(!shows(pid, "maps").contains("fault.so"));
    }
    fs::write(home.work().join("go"), "").expect("the test's directory is writable");
    assert_eq!(exec.finish().code, 0);
    let told = model.requests()[1].outcome(0, 0).expect("an outcome");
    assert!(
        !told.contains("LD_PRELOAD") && !told.contains("FAULT"),
        "{told}"
    );
    // An ordinary user can't look into the daemon, which hides its memory.
    assert!(seen.is_empty() || seen.contains("fault.so"), "not loaded");
}
