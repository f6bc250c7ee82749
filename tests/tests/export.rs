//! A session as a file: written whole, checked by a stranger, brought back at rest, and never read as
//! more or less than it is.

use std::{fs, os::unix::fs::PermissionsExt as _, path::Path};

use quire_proto::{
    id::RequestId,
    v1::{
        ApprovalVerdict, ClientWorld, OutcomeStatus, SandboxMode, SessionServiceImportRequest,
        SessionServiceImportResponse, SessionState, StopReason, ToolCallItem, event::Body, item,
    },
};
use quire_tests::{
    binaries::source_root,
    home::Home,
    model::{Gate, MockModel, Reply, Wire},
    process::Finished,
    rpc::{Rpc, items},
    skip::skip,
    wait,
};
use serde_json::{Value, json};
use tonic::Code;

/// Prints bytes that are no text, on both streams, and goes on in the background.
const ODD: &str =
    "printf 'odd \\377\\000\\033[31m\\n'; printf 'more \\376\\n' >&2; touch up; sleep 600";

/// A turn with a job that goes on, a patch and a message; then another.
fn story() -> MockModel {
    MockModel::playing([
        Reply::say("Looking. ").and_shell_with(ODD, json!({ "yield_time_ms": 250 })),
        Reply::patch("*** Begin Patch\n*** Add File: new.txt\n+one\n*** End Patch\n"),
        Reply::shell("echo over-there > by-command"),
        Reply::say("All done: 日本 🦀."),
        Reply::say("I remember it."),
    ])
}

/// Plays the story's first turn, with an approval for each call; returns the session's id.
fn told(home: &Home) -> String {
    let run = home.quire(["exec", "tell", "--detach", "--approve", "untrusted"]);
    let run = run.run();
    assert_eq!(run.code, 0, "{}", run.stderr);
    let rpc = Rpc::connect(home);
    while rpc.settled("@last").needs_approval {
        let decided = rpc.decide("@last", ApprovalVerdict::Once);
        decided.expect("a pending approval can be given");
    }
    assert_eq!(rpc.settled("@last").stop_reason(), StopReason::Done);
    rpc.session("@last").id
}

fn ok(run: Finished) -> String {
    assert_eq!(run.code, 0, "{run:#?}");
    run.stdout
}

/// `quire import` of these bytes.
fn import(home: &Home, bytes: &str) -> Finished {
    home.quire(["import", "-"]).stdin(bytes).run()
}

fn calls(rpc: &Rpc, session: &str) -> Vec<ToolCallItem> {
    let items = items(&rpc.events(session)).into_iter();
    let calls = items.filter_map(|one| match one.kind {
        Some(item::Kind::ToolCall(call)) => Some(call),
        _ => None,
    });
    calls.collect()
}

#[test]
fn a_session_goes_on_in_another_home_with_all_it_was_told() {
    let model = story();
    let home = Home::asking(&model, Wire::Responses);
    let id = told(&home);
    let file = home.work().join("kept.jsonl");
    fs::write(&file, "of an earlier export").unwrap();
    let export = ["export", &id, "-o", "kept.jsonl"];
    assert_eq!(ok(home.quire(export).run()), "");
    assert_eq!(
        fs::metadata(&file).unwrap().permissions().mode() & 0o777,
        0o600
    );
    let beside = fs::read_dir(home.work()).unwrap().flatten();
    let parts = beside.filter(|entry| entry.file_name().to_string_lossy().contains(".part"));
    assert_eq!(parts.count(), 0);
    let output = fs::read_to_string(&file).unwrap();
    assert!(output.contains("\"stream\":\"stderr\"") && output.contains("b2RkIP8AG1szMW0K"));
    let logs = ok(home.quire(["logs", &id]).run());

    let other = Home::asking(&model, Wire::Responses);
    let name = file.display().to_string();
    assert_eq!(
        ok(other.quire(["import", &name]).run()).trim(),
        id,
        "the id is free there"
    );
    let imported = ok(other.quire(["logs", &id]).run());
    assert!(imported.starts_with(&logs), "{imported}\n---\n{logs}");
    let rest = &imported[logs.len()..];
    assert!(
        rest.contains("Imported: session") && rest.contains("jobs: 1"),
        "{rest}"
    );
    let again = other
        .quire(["exec", "do you remember?", "--session", &id])
        .run();
    assert_eq!(
        (again.code, again.stdout.trim_end()),
        (0, "I remember it."),
        "{again:#?}"
    );
    let request = model.requests().pop().unwrap();
    let body = request.body.to_string();
    for part in [
        "tell",
        "Looking.",
        "All done: 日本",
        "do you remember?",
        "brought here from elsewhere",
    ] {
        assert!(
            body.contains(part),
            "the model is not told `{part}`: {body}"
        );
    }
    assert!(
        body.contains(&other.work().display().to_string()),
        "nor where it is now"
    );
    assert!(
        request
            .outcome(0, 0)
            .is_some_and(|told| told.contains("odd "))
    );
    assert!(
        !other.work().join("new.txt").exists(),
        "nothing is done twice"
    );
}

#[test]
fn what_runs_in_the_file_does_not_run_on_here() {
    let gate = Gate::closed();
    let model = MockModel::playing([
        Reply::default().and_shell_with("touch up; sleep 600", json!({ "yield_time_ms": 30_000 })),
        Reply::say("shown, not whole ").and_hold(&gate),
    ]);
    let home = Home::asking(&model, Wire::Responses);
    ok(home
        .quire(["exec", "go", "--detach", "--sandbox", "full-access"])
        .run());
    wait::until("the command", || home.work().join("up").exists());
    let rpc = Rpc::connect(&home);
    ok(home
        .quire(["send", "@last", "and then this", "--queue"])
        .run());
    let id = rpc.session("@last").id;
    let file = ok(home.quire(["export", &id]).run());

    let other = Home::asking(&model, Wire::Responses);
    assert_eq!(ok(import(&other, &file)).trim(), id);
    let there = Rpc::connect(&other);
    let check = |there: &Rpc| {
        let session = there.session(&id);
        assert_eq!(session.state(), SessionState::Idle);
        let open = (
            session.running_turn,
            session.running_jobs,
            session.queued_prompts,
        );
        assert_eq!(open, (0, 0, 0));
        assert_eq!(session.last_stop(), StopReason::Interrupted);
        let policy = session.policy.unwrap_or_default();
        assert_eq!(
            policy.sandbox(),
            SandboxMode::WorkspaceWrite,
            "the file's rights were taken"
        );
        assert_eq!(
            Path::new(&session.cwd),
            other.work(),
            "the file's place was taken"
        );
    };
    check(&there);
    let outcome = calls(&there, &id)[0].outcome.clone().unwrap();
    assert_eq!(outcome.status(), OutcomeStatus::Unknown);
    // A new daemon finds nothing to go on with either.
    other.kill_daemon();
    check(&Rpc::starting(&other));
    assert!(!other.work().join("up").exists());
    assert_eq!(
        model.requests().len(),
        1,
        "the model was asked by an import"
    );
    assert_eq!(
        rpc.session(&id).state(),
        SessionState::Running,
        "the session itself goes on"
    );
}

#[test]
fn a_pending_approval_is_denied_by_the_import() {
    let model = MockModel::playing([Reply::shell("touch made"), Reply::say("never said")]);
    let home = Home::asking(&model, Wire::Responses);
    ok(home
        .quire(["exec", "go", "--detach", "--approve", "untrusted"])
        .run());
    assert!(Rpc::connect(&home).settled("@last").needs_approval);
    let file = ok(home.quire(["export", "@last"]).run());
    let copy = ok(import(&home, &file)).trim().to_owned();
    let rpc = Rpc::connect(&home);
    assert_eq!(rpc.session(&copy).pending_approvals, 0);
    let late = rpc
        .decide(&copy, ApprovalVerdict::Once)
        .map_err(|status| status.code());
    assert_eq!(
        late,
        Err(Code::FailedPrecondition),
        "the import answered it"
    );
    assert!(!home.work().join("made").exists());
}

#[test]
fn a_copy_beside_its_original_shares_nothing_with_it() {
    let model = story();
    let home = Home::asking(&model, Wire::Responses);
    let id = told(&home);
    let job = |session: &str| {
        let events = Rpc::connect(&home).events(session).into_iter();
        let mut started = events.filter_map(|event| match event.body {
            Some(Body::JobStarted(started)) => Some(started.job_id),
            _ => None,
        });
        started.next().expect("a job was started")
    };
    let first = ok(home.quire(["export", &id]).run());
    let copy = ok(import(&home, &first)).trim().to_owned();
    let second = ok(home.quire(["export", "@last"]).run());
    let copy_of_copy = ok(import(&home, &second)).trim().to_owned();
    let all = [id.as_str(), &copy, &copy_of_copy];
    for (one, other) in [(0, 1), (1, 2), (0, 2)] {
        assert_ne!(all[one], all[other]);
        assert_ne!(job(all[one]), job(all[other]));
    }
    for copy in [&copy, &copy_of_copy] {
        ok(home.quire(["delete", copy]).run());
    }
    let logs = home.quire(["job", "logs", &job(&id)]).run();
    assert!(
        ok(logs).contains("odd "),
        "the original lost its job's output"
    );
    assert_eq!(Rpc::connect(&home).session(&id).running_jobs, 1);
}

#[test]
fn an_import_that_is_sent_again_makes_no_second_session() {
    let model = MockModel::playing([Reply::say("hello")]);
    let home = Home::asking(&model, Wire::Chat);
    ok(home.quire(["exec", "good day"]).run());
    let file = ok(home.quire(["export", "@last"]).run());
    let rpc = Rpc::connect(&home);
    let request = RequestId::random();
    let send = || imported(&rpc, &home, &request, file.as_bytes());
    let id = send().expect("a whole file").session.unwrap().id;
    assert_eq!(send().expect("the same").session.unwrap().id, id);
    let listed = ok(home.quire(["ps", "--all", "--json"]).run());
    assert_eq!(listed.lines().count(), 2, "{listed}");
}

/// Sends a file in pieces of three bytes.
fn imported(
    rpc: &Rpc,
    home: &Home,
    request: &RequestId,
    file: &[u8],
) -> Result<SessionServiceImportResponse, Code> {
    let first = SessionServiceImportRequest {
        request_id: request.to_string(),
        world: Some(ClientWorld {
            cwd: home.work().display().to_string(),
            ..ClientWorld::default()
        }),
        ..SessionServiceImportRequest::default()
    };
    let chunks = file.chunks(3).map(|chunk| SessionServiceImportRequest {
        chunk: chunk.to_vec(),
        ..SessionServiceImportRequest::default()
    });
    let pieces: Vec<_> = [first].into_iter().chain(chunks).collect();
    let answer = rpc.wait(async {
        let pieces = futures_util::stream::iter(pieces);
        rpc.sessions().import(pieces).await
    });
    answer
        .map(tonic::Response::into_inner)
        .map_err(|status| status.code())
}

#[test]
fn a_deleted_session_comes_back_under_another_name_and_stays() {
    let model = MockModel::playing([Reply::say("hello")]);
    let home = Home::asking(&model, Wire::Responses);
    ok(home.quire(["exec", "good day"]).run());
    let id = Rpc::connect(&home).session("@last").id;
    let file = ok(home.quire(["export", &id]).run());
    ok(home.quire(["delete", &id]).run());
    let copy = ok(import(&home, &file)).trim().to_owned();
    // A deletion that the disk lost is made again at the next start: this is none.
    assert_ne!(copy, id);
    home.kill_daemon();
    assert!(ok(home.quire(["logs", &copy]).run()).contains("hello"));
}

#[test]
fn what_is_damaged_or_no_export_is_told_by_sentence_and_code() {
    let model = MockModel::playing([Reply::say("hello")]);
    let home = Home::asking(&model, Wire::Responses);
    ok(home.quire(["exec", "good day"]).run());
    let file = ok(home.quire(["export", "@last"]).run());
    let newer = file.replacen("\"version\":1", "\"version\":7", 1);
    let cut = &file[..file.len() * 2 / 3];
    let flipped = file.replacen("hello", "jello", 1);
    let header = file.lines().next().unwrap();
    let refused: [(&str, &str, i32, &str); 5] = [
        ("nothing", "", 2, "no exported session"),
        ("a letter", "Dear all,\n", 2, "no exported session"),
        ("a newer one", &newer, 2, "version 7"),
        ("a header", header, 1, "cut"),
        (
            "a JSON log",
            "{\"type\":\"thread.started\"}\n",
            2,
            "no exported session",
        ),
    ];
    let sessions = || {
        ok(home.quire(["ps", "--all", "--json"]).run())
            .lines()
            .count()
    };
    for (what, bytes, code, word) in refused {
        let run = import(&home, bytes);
        assert_eq!(
            (run.code, run.stdout.as_str()),
            (code, ""),
            "{what}: {run:#?}"
        );
        assert!(run.stderr.contains(word), "{what}: {run:#?}");
        assert_eq!(run.stderr.lines().count(), 1, "{what}: {run:#?}");
        assert_eq!(sessions(), 1, "{what} made a session");
    }
    for (what, bytes, word) in [("cut", cut, "is cut"), ("flipped", &flipped, "checksum")] {
        let run = home.quire(["import", "--json"]).stdin(bytes).run();
        assert_eq!(run.code, 1, "{what}: {run:#?}");
        assert!(run.stderr.contains(word), "{what}: {run:#?}");
        let told: Value = serde_json::from_str(&run.stdout).expect("an object");
        assert!(
            told["notices"][0]
                .as_str()
                .is_some_and(|notice| notice.contains(word))
        );
        let logs = ok(home.quire(["logs", told["id"].as_str().unwrap()]).run());
        assert!(
            logs.contains("good day") && logs.contains(word),
            "{what}: {logs}"
        );
    }
    let missing = home.quire(["import", "no-such-file"]).run();
    assert_eq!(missing.code, 2, "{missing:#?}");
    let unknown = home.quire(["export", "no-such-session"]).run();
    assert_eq!(
        (unknown.code, unknown.stdout.as_str()),
        (2, ""),
        "{unknown:#?}"
    );
    let unwritable = home.quire(["export", "@last", "-o", "no/such/place"]).run();
    assert_eq!(unwritable.code, 1, "{unwritable:#?}");
}

#[test]
fn a_damaged_log_is_written_up_to_its_damage() {
    let marker = "the-words-that-rot";
    let model = MockModel::playing([Reply::say("first answer"), Reply::say(marker)]);
    let home = Home::asking(&model, Wire::Responses);
    ok(home.quire(["exec", "good day"]).run());
    ok(home.quire(["exec", "go on", "--session", "@last"]).run());
    let whole = ok(home.quire(["export", "@last"]).run());
    let id = Rpc::connect(&home).session("@last").id;
    ok(home.quire(["daemon", "stop"]).run());
    let database = home.paths().state().join("quire.db");
    let mut bytes = fs::read(&database).unwrap();
    let at = bytes
        .windows(marker.len())
        .position(|part| part == marker.as_bytes());
    bytes[at.expect("the log holds the answer")] ^= 1;
    fs::write(&database, bytes).unwrap();

    let run = home.quire(["export", &id]).run();
    assert_eq!(run.code, 1, "{run:#?}");
    assert!(run.stderr.contains("is damaged at event"), "{run:#?}");
    // The sums differ: the moment of the export is in the first line.
    let rests = |text: &str| -> Vec<String> {
        let lines = text.lines().skip(1);
        lines.map(|line| line[76..].to_owned()).collect()
    };
    let mut kept = rests(&run.stdout);
    let end = format!("{{{}", kept.pop().expect("a last line"));
    assert!(rests(&whole).starts_with(&kept), "{kept:#?}");
    let kept = kept.concat();
    assert!(
        kept.contains("first answer") && !kept.contains(marker),
        "{kept}"
    );
    let end: Value = serde_json::from_str(&end).unwrap();
    assert_eq!(
        end["end"].as_u64().map(|end| end + 1),
        end["damaged_at"].as_u64()
    );
    let copy = import(&home, &run.stdout);
    assert_eq!(copy.code, 1, "{copy:#?}");
    let logs = ok(home.quire(["logs", copy.stdout.trim()]).run());
    assert!(
        logs.contains("first answer") && logs.contains("was damaged"),
        "{logs}"
    );
}

#[test]
fn a_stranger_checks_the_file_as_the_guide_says() {
    let guide = fs::read_to_string(source_root().join("proto/README.md")).unwrap();
    let section = guide
        .split("## A session as a file")
        .nth(1)
        .expect("a section");
    let program = section
        .split("```python\n")
        .nth(1)
        .and_then(|rest| rest.split("```").next());
    let program = program.expect("a program in it");
    let model = story();
    let home = Home::asking(&model, Wire::Responses);
    let id = told(&home);
    ok(home.quire(["export", &id, "-o", "good.jsonl"]).run());
    let good = fs::read_to_string(home.work().join("good.jsonl")).unwrap();
    fs::write(home.work().join("cut.jsonl"), &good[..good.len() - 20]).unwrap();
    fs::write(
        home.work().join("bad.jsonl"),
        good.replacen("Looking", "Lookinh", 1),
    )
    .unwrap();
    for (name, fits) in [
        ("good.jsonl", true),
        ("cut.jsonl", false),
        ("bad.jsonl", false),
    ] {
        let check = ["-c", "exec python3 -c \"$0\" \"$1\"", program, name];
        let run = home.program(Path::new("/bin/sh")).args(check).run();
        if run.code == 127 {
            return skip("no python3");
        }
        assert_eq!(run.code == 0, fits, "{name}: {run:#?}");
    }
}
