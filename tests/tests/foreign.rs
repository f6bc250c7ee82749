//! Clients that are not ours: Python with grpcio, and grpcurl. They have the schema and its guide, and
//! nothing else.

#![allow(clippy::unwrap_used, reason = "a test that can't go on has failed")]

use std::{
    env, fs,
    path::{Path, PathBuf},
};

use quire_tests::{
    binaries::source_root,
    guide,
    home::Home,
    model::{Gate, MockModel, Reply, Wire},
    python::Python,
    rpc::Rpc,
    skip::skip,
    wait::PATIENCE,
};
use serde_json::{Value, json};

/// What the tour needs a model to do, turn by turn.
fn tour() -> MockModel {
    MockModel::playing([
        Reply::patch("*** Begin Patch\n*** Add File: made.txt\n+made\n*** End Patch"),
        Reply::say("Made it."),
        Reply::default().and_shell_with("cat", json!({ "tty": true, "yield_time_ms": 250 })),
        Reply::say("It runs."),
        Reply::shell("sleep 1000"),
    ])
}

#[test]
fn a_python_client_calls_every_rpc() {
    let Some(python) = Python::with_grpc() else {
        return;
    };
    let model = tour();
    let home = Home::asking(&model, Wire::Responses);
    assert_eq!(home.quire(["daemon", "start"]).run().code, 0);
    let unanswered = guide::not_yet();
    let run = python
        .script(&home, "tour.py")
        .args([home.work()])
        .args(&unanswered)
        .limit(PATIENCE * 4)
        .run();
    assert_eq!(run.code, 0, "{}\n{}", run.stdout, run.stderr);
    let told = format!("{} RPCs: ", guide::rpcs().len());
    assert!(run.stdout.starts_with(&told), "{}", run.stdout);
}

/// Events of a journal that `follow.py` wrote.
fn journal(path: &Path) -> Vec<Value> {
    let text = fs::read_to_string(path).unwrap_or_default();
    let lines = text.lines().map(|line| serde_json::from_str(line).unwrap());
    lines
        .filter(|line: &Value| !line["event"].is_null())
        .collect()
}

/// Row 49, as a client of another language meets it. The scripts themselves hold the daemon to leave
/// nothing out and to say nothing twice.
#[test]
fn a_watch_killed_in_mid_stream_goes_on_from_its_cursor() {
    let Some(python) = Python::with_grpc() else {
        return;
    };
    let (gate, later) = (Gate::closed(), Gate::closed());
    let message = Reply::say("The first half ").and_hold(&gate);
    let message = message.and_say("and the second half").and_hold(&later);
    let model = MockModel::playing([message.and_say(".")]);
    let home = Home::asking(&model, Wire::Responses);
    assert_eq!(home.quire(["exec", "tell me", "--detach"]).run().code, 0);
    gate.wait_reached();
    let session = Rpc::connect(&home).session("@last").id;
    let follow = |journal: &str| {
        let follow = python.script(&home, "follow.py");
        follow.args([session.as_str(), journal]).spawn()
    };

    let first = follow("killed");
    first.shows("The first half ");
    first.kill();
    // It comes back while the message still stands where it left, and is told none of that again.
    let second = follow("killed");
    second.tells("synced");
    let quiet = follow("whole");
    quiet.shows("The first half ");
    gate.open();
    quiet.shows("The first half and the second half");
    second.shows("and the second half");
    assert_eq!(second.stdout(), "and the second half");
    later.open();
    for run in [second.finish(), quiet.finish()] {
        assert_eq!(run.code, 0, "{}", run.stderr);
    }
    let events = journal(&home.work().join("killed"));
    assert!(events.len() > 5, "{events:?}");
    assert_eq!(events, journal(&home.work().join("whole")));
}

/// Python from the guide, as one script; `after` is added to it.
fn snippets(after: &str) -> String {
    let code = guide::code(&guide::section("From Python"), "python");
    assert_eq!(
        code.len(),
        3,
        "the guide asks, comes back, and reads an error"
    );
    code.concat() + after
}

/// Leaves its watch after each event, and comes back with the cursor.
const COMING_BACK: &str = r#"
head = sessions.Get(s.SessionServiceGetRequest(session="@last"), metadata=me).session
seqs = []
while seq < head.head_seq:
    seqs.append(next(events(head.id)).seq)
assert seqs == list(range(1, head.head_seq + 1)), seqs
print("came back", len(seqs), "times")
"#;

#[test]
fn what_the_guide_says_in_python_works() {
    let Some(python) = Python::with_grpc() else {
        return;
    };
    let model = MockModel::playing([Reply::say("first"), Reply::say("Nothing is here.")]);
    let home = Home::asking(&model, Wire::Responses);
    assert_eq!(home.quire(["exec", "begin"]).run().code, 0);
    let script = home.work().join("guide.py");
    fs::write(&script, snippets(COMING_BACK)).unwrap();
    let run = python.file(&home, &script).dir(source_root()).run();
    assert_eq!(run.code, 0, "{}", run.stderr);
    for told in [
        "What is here?",
        "Nothing is here.",
        "stop_reason: STOP_REASON_DONE",
        "NOT_FOUND quire.v1 NOT_FOUND no session `none-of-mine`",
        "came back",
    ] {
        assert!(run.stdout.contains(told), "no `{told}`: {}", run.stdout);
    }
}

/// The directory of a `grpcurl`, if there is one.
fn grpcurl() -> Option<PathBuf> {
    let given = env::var_os("QUIRE_GRPCURL").map(PathBuf::from);
    let path = env::var_os("PATH").unwrap_or_default();
    let places = given.into_iter().chain(env::split_paths(&path));
    let has = |place: &PathBuf| place.join("grpcurl").is_file();
    places.into_iter().find(has)
}

#[test]
fn what_the_guide_says_with_grpcurl_works() {
    let Some(place) = grpcurl() else {
        return skip("no grpcurl: name its directory in QUIRE_GRPCURL");
    };
    let model = MockModel::playing([]);
    let home = Home::asking(&model, Wire::Responses);
    let rpc = Rpc::starting(&home);
    let path = env::var("PATH").unwrap_or_default();
    let path = format!("{}:{path}", place.display());
    let code = guide::code(&guide::section("From the command line"), "sh").concat();
    let shell = |script: &str| {
        let shell = home.program(Path::new("/bin/sh")).env("PATH", &path);
        shell.args(["-c", script]).run()
    };
    if shell("command -v jq").code != 0 {
        return skip("no jq");
    }
    let none = shell(&code);
    assert_eq!((none.code, none.stdout.trim()), (0, "{\n  \n}"), "{none:?}");
    let made = rpc.create(&home, &home.work()).id;
    let one = shell(&code);
    assert!(
        one.stdout.contains(&format!("\"id\": \"{made}\"")),
        "{one:?}"
    );
    let list = shell(&code.replace("quire.v1.SessionService/List", "list"));
    assert!(list.stdout.contains("quire.v1.TurnService"), "{list:?}");
    let wrong = shell(&code.replace("$(cat $S/daemon/token)", "wrong"));
    assert!(wrong.stderr.contains("Unauthenticated"), "{wrong:?}");
}
