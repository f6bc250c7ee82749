//! A clock on the wall that is a day off, forth and back, in the middle of things: the order of events
//! is that of their numbers, and no wait ends early or late.

#![allow(clippy::unwrap_used, reason = "a test that can't go on has failed")]

use std::{
    fs,
    path::PathBuf,
    time::{Duration, Instant},
};

use quire_proto::v1::OutcomeStatus;
use quire_tests::{
    home::Home,
    lies::Lie,
    model::{Fault, MockModel, Reply, Wire},
    rpc::Rpc,
    skip::skip,
    wait,
};
use serde_json::json;

const DAY: i64 = 86_400;

/// How long a wait may take beyond what was asked, on a busy machine; a day is far more.
const LATE: Duration = Duration::from_secs(20);

/// A clock that can be set for whoever is lied to about it.
struct Clock {
    file: PathBuf,
    lie: Lie,
}

impl Clock {
    fn new(home: &Home) -> Option<Self> {
        let file = home.root().join("shift");
        fs::write(&file, 0_i64.to_ne_bytes()).unwrap();
        let lie = Lie::clock(home, &file)?;
        Some(Self { file, lie })
    }

    fn set(&self, shift: i64) {
        // In place: the programs have mapped this very file.
        fs::write(&self.file, shift.to_ne_bytes()).unwrap();
    }
}

/// Seqs are dense, and the second half of the log was written under the other clock.
fn check_order(home: &Home, shift: i64) {
    let rpc = Rpc::connect(home);
    let session = rpc.session("@last");
    let events = rpc.events(&session.id);
    let seqs: Vec<_> = events.iter().map(|event| event.seq).collect();
    assert_eq!(seqs, (1..=session.head_seq).collect::<Vec<_>>());
    let times = [events.first(), events.last()].map(|event| event.unwrap().time_ms);
    let moved = (times[1] - times[0]) / 1000;
    assert!(
        (moved - shift).abs() < DAY / 2,
        "the clock did not move by {shift} s but by {moved}"
    );
}

/// Row 17.
#[test]
fn a_retry_waits_as_long_as_it_was_told_whatever_the_clock_does() {
    for shift in [DAY, -DAY] {
        let told = Duration::from_secs(2);
        let busy = Fault::Status(429, Some(told.as_secs()));
        let model = MockModel::playing([Reply::say("at last").failing(busy, 1)]);
        let home = Home::asking(&model, Wire::Responses);
        let Some(clock) = Clock::new(&home) else {
            return skip("there is no C compiler to change the clock with");
        };
        let client = clock.lie.to(home.quire(["exec", "go"])).spawn();
        let _ = model.wait_for_requests(1);
        clock.set(shift);
        let client = client.finish();
        assert_eq!(
            (client.code, client.stdout.as_str()),
            (0, "at last\n"),
            "{shift}: {}",
            client.stderr
        );
        let requests = model.requests();
        let waited = requests[1].at - requests[0].at;
        // The provider's second may be a little shorter than ours.
        let early = waited + Duration::from_millis(50) < told;
        assert!(!early && waited < told + LATE, "{shift}: {waited:?}");
        check_order(&home, shift);
    }
}

/// Row 17.
#[test]
fn a_command_has_its_time_whatever_the_clock_does() {
    for shift in [DAY, -DAY] {
        let limit = Duration::from_secs(2);
        let command = Reply::default().and_shell_with(
            "touch begun; exec sleep 1000",
            json!({ "timeout_ms": limit.as_millis() as u64, "yield_time_ms": 30_000 }),
        );
        let model = MockModel::playing([command, Reply::say("timed out")]);
        let home = Home::asking(&model, Wire::Responses);
        let Some(clock) = Clock::new(&home) else {
            return skip("there is no C compiler to change the clock with");
        };
        let asked = Instant::now();
        let client = clock.lie.to(home.quire(["exec", "go"])).spawn();
        wait::until("the command", || home.work().join("begun").exists());
        let begun = Instant::now();
        clock.set(shift);
        let requests = model.wait_for_requests(2);
        let ended = requests[1].at;
        assert!(
            ended - asked >= limit,
            "{shift}: early, {:?}",
            ended - asked
        );
        assert!(ended - begun < limit + LATE, "{shift}: late");
        assert_eq!(client.finish().code, 0);
        check_order(&home, shift);
        let rpc = Rpc::connect(&home);
        let outcome = rpc.outcomes("@last").pop().expect("an outcome");
        assert_eq!(outcome.status(), OutcomeStatus::Succeeded, "{outcome:?}");
        let failed = outcome.exit_code.is_some_and(|code| code != 0);
        assert!(
            failed && outcome.text.contains("time was up"),
            "{outcome:?}"
        );
    }
}
