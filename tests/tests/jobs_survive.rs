//! A background job outlives its daemon, however that one ends, and is told truly by the next.
//!
//! `QUIRE_JOB_SECONDS=N` says how long it runs.

use std::fs;

use quire_proto::v1::{
    DaemonServiceGetStatusRequest, JobEnded, JobServiceReadOutputRequest, event::Body,
};
use quire_tests::{
    dice::count,
    home::Home,
    model::{MockModel, Reply, Wire},
    process::{Finished, Invocation},
    rpc::Rpc,
    wait,
};
use serde_json::json;

/// Lines that the job prints in a second.
const RATE: usize = 50;

/// Exit status of the job.
const STATUS: i32 = 7;

fn seconds() -> usize {
    count("QUIRE_JOB_SECONDS", 3)
}

/// Everything that the job prints.
fn output() -> String {
    let lines = 0..seconds() * RATE;
    lines
        .map(|nth| format!("line {nth} of the job\n"))
        .collect()
}

/// A session whose command goes on in the background.
fn started() -> (MockModel, Home) {
    let lines = seconds() * RATE;
    let command = format!(
        "i=0; while [ $i -lt {lines} ]; do echo \"line $i of the job\"; i=$((i + 1)); \
         sleep 0.02; done; echo over >> over; exit {STATUS}"
    );
    let model = MockModel::playing([
        Reply::default().and_shell_with(&command, json!({ "yield_time_ms": 250 })),
        Reply::say("It runs."),
    ]);
    let home = Home::asking(&model, Wire::Responses);
    let run = home.quire(["exec", "start it"]).run();
    assert_eq!(
        (run.code, run.stdout.trim_end()),
        (0, "It runs."),
        "{}",
        run.stderr
    );
    assert!(!home.work().join("over").exists(), "it was to be longer");
    (model, home)
}

fn patient(invocation: Invocation) -> Finished {
    let limit = wait::PATIENCE + std::time::Duration::from_secs(2 * seconds() as u64);
    invocation.limit(limit).run()
}

/// The job ran on to its end, once, and whoever asks is told all of it.
fn check_ended(home: &Home) {
    let waited = patient(home.quire(["job", "wait", "@last"]));
    assert_eq!(waited.code, 1, "it did not end well: {}", waited.stderr);
    let logs = home.quire(["job", "logs", "@last"]).run();
    assert_eq!(logs.code, 0, "{}", logs.stderr);
    let want = output();
    assert!(logs.stdout == want, "other output: {}", logs.stdout);
    let over = fs::read_to_string(home.work().join("over")).expect("it came to its end");
    assert_eq!(over, "over\n", "it ran twice");

    let rpc = Rpc::connect(home);
    let session = rpc.session("@last").id;
    let ended = wait::until_some("the event of the job's end", || {
        let ended = ends(&rpc, &session);
        (!ended.is_empty()).then_some(ended)
    });
    let [ended] = ended.as_slice() else {
        panic!("not one end: {ended:#?}");
    };
    let told = (ended.exit_code, ended.output_bytes, ended.unknown.as_str());
    assert_eq!(told, (Some(STATUS), want.len() as u64, ""));
    for offset in [1, want.len() / 2, want.len() - 1, want.len()] {
        let rest = read(&rpc, &ended.job_id, offset as u64);
        assert!(rest == want.as_bytes()[offset..], "from byte {offset}");
    }
    wait::until("the keeper to be gone", || home.processes().len() <= 1);
}

fn ends(rpc: &Rpc, session: &str) -> Vec<JobEnded> {
    let events = rpc.events(session).into_iter();
    let ends = events.filter_map(|event| match event.body {
        Some(Body::JobEnded(ended)) => Some(ended),
        _ => None,
    });
    ends.collect()
}

/// The job's output from a byte on.
fn read(rpc: &Rpc, job: &str, offset: u64) -> Vec<u8> {
    let request = JobServiceReadOutputRequest {
        job: job.to_owned(),
        offset,
        follow: false,
    };
    rpc.wait(async {
        let mut pieces = rpc.jobs().read_output(request).await?.into_inner();
        let (mut all, mut due) = (Vec::new(), offset);
        while let Some(piece) = pieces.message().await? {
            assert_eq!(piece.offset, due, "a piece out of its place");
            assert_eq!(piece.dropped_bytes, 0);
            due += piece.data.len() as u64;
            all.extend(piece.data);
        }
        Ok::<_, tonic::Status>(all)
    })
    .unwrap_or_else(|status| panic!("read output: {status}"))
}

/// Version that the living daemon says it has.
fn version(home: &Home) -> String {
    let rpc = Rpc::connect(home);
    let request = DaemonServiceGetStatusRequest {};
    let status = rpc.wait(async { rpc.daemon().get_status(request).await });
    status
        .expect("a daemon tells its state")
        .into_inner()
        .version
}

#[test]
fn a_job_outlives_a_kill_of_the_daemon() {
    let (_model, home) = started();
    home.kill_daemon();
    check_ended(&home);
}

#[test]
fn a_job_outlives_a_restart_of_the_daemon() {
    let (_model, home) = started();
    let before = home.daemon();
    let restarted = home.quire(["daemon", "restart"]).run();
    assert_eq!(restarted.code, 0, "{}", restarted.stderr);
    assert_ne!(home.daemon(), before);
    check_ended(&home);
}

#[test]
fn a_job_outlives_a_daemon_of_another_build() {
    let (_model, home) = started();
    let before = version(&home);
    let restarted = home.quire(["daemon", "restart"]);
    let restarted = restarted.env("QUIRE_TEST_VERSION", "9.9.9").run();
    assert_eq!(restarted.code, 0, "{}", restarted.stderr);
    assert_eq!(version(&home), "9.9.9");
    assert_ne!(before, "9.9.9");
    check_ended(&home);
}
