//! Where nothing can be written down: a full disk, one that fills up in the middle of a turn, a limit on the
//! size of files, a home that is read-only.

use std::{fs, path::Path, time::Instant};

use quire_proto::v1::ActivityKind;
use quire_tests::{
    dice::tell,
    home::{Home, provider},
    model::{MockModel, Reply, Wire},
    process::{Finished, Invocation},
    rpc::Rpc,
    small_disk::SmallDisk,
    wait,
    wrapped::Wrapped,
};
use serde_json::json;

/// KiB of the disk, as the show has it.
const SIZE: u32 = 2048;

fn disk(home: &Home, model: &MockModel) -> Option<SmallDisk> {
    SmallDisk::mounted(home, SIZE, &provider(&model.base_url(), Wire::Responses))
}

/// It failed, and its last line says why in words; before it the daemon may have told of its own state.
#[track_caller]
fn check_told(run: &Finished, parts: &[&str]) {
    assert!((1..=8).contains(&run.code), "{run:#?}");
    assert_eq!(run.stdout, "", "{run:#?}");
    let lines: Vec<_> = run.stderr.lines().collect();
    let [.., line] = lines.as_slice() else {
        panic!("not a word: {run:#?}");
    };
    assert!(
        lines.len() <= 2,
        "more than a notice and an error: {run:#?}"
    );
    assert!(
        lines.iter().all(|line| line.starts_with("quire: ")),
        "{run:#?}"
    );
    assert!(
        parts.iter().any(|part| line.contains(part)),
        "none of {parts:?} is in: {line}"
    );
    assert!(!line.contains("panicked"), "{line}");
}

/// Runs it again while it is refused: the daemon looks for space only now and then.
fn taken(invocation: impl Fn() -> Invocation) -> Finished {
    wait::until_some("that it is taken", || {
        let run = invocation().run();
        let refused = run.code != 0 && FULL.iter().any(|part| run.stderr.contains(part));
        (!refused).then_some(run)
    })
}

const FULL: [&str; 3] = ["disk is full", "no space", "No space"];

#[test]
fn a_full_disk_refuses_a_prompt_before_anything_is_done() {
    let model = MockModel::playing([
        Reply::say("while there was space"),
        Reply::shell("touch made"),
        Reply::say("made it"),
    ]);
    let home = Home::new();
    let Some(disk) = disk(&home, &model) else {
        return;
    };
    let before = disk.quire(&home, ["exec", "go"]).run();
    assert_eq!(before.code, 0, "{}", before.stderr);
    let asked = model.requests().len();

    disk.fill();
    let daemon = disk.daemon();
    for prompt in [
        ["exec", "touch it", "--session", "@last"].as_slice(),
        ["exec", "touch it"].as_slice(),
    ] {
        let refused = disk.quire(&home, []).args(prompt.iter().copied()).run();
        check_told(&refused, &FULL);
        assert_eq!(model.requests().len(), asked, "the model was asked");
        assert!(!home.work().join("made").exists());
    }
    let ps = disk.quire(&home, ["ps"]).run();
    assert_eq!(ps.code, 0, "{}", ps.stderr);
    let logs = disk.quire(&home, ["logs", "@last"]).run();
    assert_eq!(logs.code, 0, "{}", logs.stderr);
    assert!(logs.stdout.contains("while there was space"), "{logs:#?}");
    assert!(
        daemon.is_some() && disk.daemon() == daemon,
        "it is another daemon"
    );

    disk.free();
    let after = taken(|| disk.quire(&home, ["exec", "touch it", "--session", "@last"]));
    let said = (after.code, after.stdout.as_str());
    assert_eq!(said, (0, "made it\n"), "{}", after.stderr);
    assert!(home.work().join("made").exists());
}

#[test]
fn a_daemon_that_finds_its_disk_full_says_so() {
    let model = MockModel::playing([Reply::say("never, and then once")]);
    let home = Home::new();
    let Some(disk) = disk(&home, &model) else {
        return;
    };
    disk.fill();
    let refused = disk.quire(&home, ["exec", "go"]).run();
    check_told(&refused, &FULL);
    assert!(model.requests().is_empty());
    disk.free();
    let after = taken(|| disk.quire(&home, ["exec", "go"]));
    assert_eq!(after.code, 0, "{}", after.stderr);
}

#[test]
fn a_turn_that_fills_the_disk_waits_and_goes_on_when_there_is_space() {
    // The private `/tmp` of a command lies on the disk.
    let fill = "dd if=/dev/zero of=/tmp/filling bs=4k 2>/dev/null; echo it is filled";
    let model = MockModel::playing([
        Reply::default().and_shell_with(fill, json!({ "yield_time_ms": 30_000 })),
        Reply::shell("echo after >> after"),
        Reply::say("went on"),
    ]);
    let home = Home::new();
    let Some(disk) = disk(&home, &model) else {
        return;
    };
    let exec = disk.quire(&home, ["exec", "go"]).spawn();
    let (paths, record) =
        wait::until_some("a daemon", || disk.daemon().and_then(|_| disk.record()));
    let daemon = disk.daemon();
    let rpc = wait::until_some("its socket", || Rpc::to(&paths, &record));
    let session = wait::until_some("a session", || Some(rpc.newest()?.id));
    let watcher = rpc.watch(&session, None);
    watcher.until("that the turn is paused", |view| {
        let activity = view.activity.as_ref();
        activity.is_some_and(|activity| activity.kind() == ActivityKind::Paused)
    });
    let why = watcher.view().activity.unwrap_or_default().detail;
    assert!(!why.is_empty(), "why it is paused is not told");
    assert!(!home.work().join("after").exists());

    assert!(disk.remove("filling"));
    let freed = Instant::now();
    let exec = exec.finish();
    tell(&format!("over {:?} after there was space", freed.elapsed()));
    let said = (exec.code, exec.stdout.as_str());
    assert_eq!(said, (0, "went on\n"), "{}", exec.stderr);
    let told = model.requests()[1].outcome(0, 0).expect("it is kept");
    // What it printed lies on that disk too: it is there, or that it could not be kept is said.
    let parts = ["it is filled", "full", "space"];
    assert!(parts.iter().any(|part| told.contains(part)), "{told}");
    let after = fs::read_to_string(home.work().join("after")).expect("it ran");
    assert_eq!(after, "after\n");
    assert_eq!(disk.daemon(), daemon, "it is another daemon");
}

/// 64 KiB: the store does not fit.
#[test]
fn a_limit_on_the_size_of_files_kills_nobody() {
    if !Path::new("/usr/bin/prlimit").is_file() {
        return quire_tests::skip::skip("no prlimit from util-linux");
    }
    let model = MockModel::playing([Reply::say(&"many words ".repeat(20_000))]);
    let home = Home::asking(&model, Wire::Responses);
    let wrapped = Wrapped::outliving(&home);
    let quire = quire_tests::binaries::binaries().quire();
    let run = home
        .program(Path::new("/usr/bin/prlimit"))
        .args(["--fsize=65536".into(), quire.into_os_string()])
        .args(["exec", "go"])
        .env("QUIRE_DAEMON", wrapped.program())
        .run();
    assert!((1..=8).contains(&run.code), "{run:#?}");
    let line = run.stderr.lines().last().unwrap_or_default();
    assert!(line.starts_with("quire: ") && line.len() > 20, "{run:#?}");
    // It may live on: a limit on one file is not its end.
    let ends = wrapped.ends();
    assert!(
        ends.iter().all(|status| *status < 128),
        "a signal: {ends:?}"
    );
}

#[test]
fn a_read_only_home_is_refused_in_a_sentence() {
    let model = MockModel::playing([Reply::say("never")]);
    let home = Home::new();
    let Some(disk) = disk(&home, &model) else {
        return;
    };
    disk.make_read_only(&home);
    let run = disk.quire(&home, ["exec", "go"]).run();
    check_told(&run, &["ead-only", "not writable", "writable"]);
    tell(&format!("refused after {:?}", run.wall));
    assert!(model.requests().is_empty());
}
