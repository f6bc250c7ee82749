//! `quire exec`: one prompt from the command line, over both wire formats.

use std::fs;

use quire_tests::{
    home::Home,
    model::{Gate, MockModel, Reply, Wire},
    repo::{FIX, Repo},
};

/// Runs the test, reads, fixes, runs the test again.
fn fixing() -> [Reply; 5] {
    [
        Reply::say("I will run the test first. ").and_shell("sh ./test.sh"),
        Reply::read("add.sh"),
        Reply::say("It subtracts. ")
            .and_shell("true")
            .and_shell("echo side by side"),
        Reply::patch(FIX),
        Reply::shell("sh ./test.sh"),
    ]
}

#[test]
fn a_failing_test_is_fixed_over_both_wires() {
    for wire in Wire::ALL {
        let last = Reply::say("Fixed: it adds now, and the test passes.");
        let model = MockModel::playing(fixing().into_iter().chain([last]));
        let home = Home::asking(&model, wire);
        let repo = Repo::failing(&home);
        let run = home.quire(["exec", "make the tests pass"]);
        let run = run.dir(repo.directory()).run();
        assert_eq!(run.code, 0, "over {wire:?}: {}", run.stderr);
        let answer = "Fixed: it adds now, and the test passes.";
        assert_eq!(run.stdout.trim_end(), answer, "the last message alone");
        assert!(
            run.stderr.contains("test.sh"),
            "no progress: {}",
            run.stderr
        );
        assert!(repo.passes(&home), "add.sh is {}", repo.read("add.sh"));

        let requests = model.requests();
        assert_eq!(requests.len(), 6, "one request for each reply");
        let told = |step, nth| requests[5].outcome(step, nth).expect("an outcome");
        assert!(told(0, 0).contains("FAIL: 2 + 2 = 0"), "{}", told(0, 0));
        assert!(told(1, 0).contains("$1 - $2"), "{}", told(1, 0));
        assert!(told(2, 1).contains("side by side"), "{}", told(2, 1));
        assert!(told(3, 0).contains("add.sh"), "{}", told(3, 0));
        assert!(told(4, 0).contains("ok"), "{}", told(4, 0));
    }
}

#[test]
fn the_first_request_is_small_and_has_what_the_model_needs() {
    let model = MockModel::playing([Reply::say("hello")]);
    let home = Home::asking(&model, Wire::Responses);
    let repo = Repo::failing(&home);
    let run = home
        .quire(["exec", "say hello, please"])
        .dir(repo.directory());
    assert_eq!(run.run().code, 0);
    let request = &model.requests()[0];
    assert!(request.bytes <= 24 * 1024, "{} bytes", request.bytes);
    let body = request.body.to_string();
    assert!(body.contains("say hello, please"));
    let place = repo.directory().display().to_string();
    assert!(body.contains(&place), "the model isn't told where it is");
    let tools = request.tools();
    for tool in [
        "exec_command",
        "write_stdin",
        "apply_patch",
        "read_file",
        "list_files",
        "search",
        "update_plan",
    ] {
        assert!(
            tools.iter().any(|name| name == tool),
            "no `{tool}` in {tools:?}"
        );
    }
}

#[test]
fn the_prefix_of_requests_stays_the_same_for_the_providers_cache() {
    let model = MockModel::playing([
        Reply::shell("true"),
        Reply::shell("true"),
        Reply::say("done"),
    ]);
    let home = Home::asking(&model, Wire::Responses);
    let repo = Repo::failing(&home);
    assert_eq!(
        home.quire(["exec", "go"]).dir(repo.directory()).run().code,
        0
    );
    let requests = model.requests();
    for pair in requests.windows(2) {
        for same in ["model", "instructions", "tools"] {
            assert_eq!(pair[0].body[same], pair[1].body[same], "`{same}` changed");
        }
        let [before, after] = [0, 1].map(|at| pair[at].body["input"].as_array().expect("a list"));
        assert_eq!(before[..], after[..before.len()], "the past was rewritten");
    }
}

#[test]
fn a_prompt_comes_from_standard_input() {
    let model = MockModel::playing([Reply::say("read")]);
    let home = Home::asking(&model, Wire::Chat);
    let run = home.quire(["exec", "-"]).stdin("words from a pipe\n").run();
    assert_eq!(
        (run.code, run.stdout.trim_end()),
        (0, "read"),
        "{}",
        run.stderr
    );
    assert!(
        model.requests()[0]
            .body
            .to_string()
            .contains("words from a pipe")
    );
}

#[test]
fn the_last_message_goes_to_a_file() {
    let model = MockModel::playing([
        Reply::say("first ").and_shell("true"),
        Reply::say("the last"),
    ]);
    let home = Home::asking(&model, Wire::Responses);
    let file = home.work().join("last.txt");
    let run = home
        .quire(["exec", "go", "--output-last-message", "last.txt"])
        .run();
    assert_eq!(run.code, 0, "{}", run.stderr);
    assert_eq!(fs::read_to_string(file).unwrap().trim_end(), "the last");
}

#[test]
fn a_directory_is_named_by_option() {
    let model = MockModel::playing([Reply::shell("pwd; touch made-here"), Reply::say("done")]);
    let home = Home::asking(&model, Wire::Responses);
    let repo = Repo::failing(&home);
    let directory = repo.directory().display().to_string();
    let run = home.quire(["exec", "go", "--cd", &directory]).run();
    assert_eq!(run.code, 0, "{}", run.stderr);
    assert!(repo.path("made-here").is_file());
}

#[test]
fn a_session_goes_on_where_it_was() {
    let model = MockModel::playing([
        Reply::say("the first answer"),
        Reply::say("the second answer"),
    ]);
    for wire in Wire::ALL {
        let home = Home::asking(&model, wire);
        let first = home.quire(["exec", "a first question"]).run();
        assert_eq!(first.code, 0, "{}", first.stderr);
        let second = home
            .quire(["exec", "a second question", "--session", "@last"])
            .run();
        assert_eq!(
            second.stdout.trim_end(),
            "the second answer",
            "{}",
            second.stderr
        );
        let body = model.requests().pop().expect("a request").body.to_string();
        for part in ["a first question", "the first answer", "a second question"] {
            assert!(body.contains(part), "`{part}` is not in the request");
        }
    }
}

#[test]
fn a_detached_prompt_runs_on_by_itself() {
    let gate = Gate::closed();
    let reply = Reply::say("slowly ").and_hold(&gate).and_say("but surely");
    let model = MockModel::playing([reply]);
    let home = Home::asking(&model, Wire::Responses);
    let detached = home.quire(["exec", "go", "--detach"]).run();
    assert_eq!(detached.code, 0, "{}", detached.stderr);
    let session = detached.stdout.trim().to_owned();
    assert!(!session.is_empty(), "the session is not named");
    gate.wait_reached();
    let name = session
        .split_whitespace()
        .last()
        .expect("a name")
        .to_owned();
    let waiting = home.quire(["wait", &name]).spawn();
    gate.open();
    let waited = waiting.finish();
    assert_eq!(waited.code, 0, "{}", waited.stderr);
    let logs = home.quire(["logs", &name]).run();
    assert!(logs.stdout.contains("slowly but surely"), "{}", logs.stdout);
}

#[test]
fn commands_see_the_world_of_their_client() {
    let model = MockModel::playing([
        Reply::shell("echo \"[$GREETING] [$MOCK_API_KEY]\"; umask"),
        Reply::say("done"),
    ]);
    let home = Home::asking(&model, Wire::Responses);
    // The daemon starts in another world.
    let other = home
        .quire(["daemon", "start"])
        .env("GREETING", "from elsewhere")
        .run();
    assert_eq!(other.code, 0, "{}", other.stderr);
    let run = home
        .quire(["exec", "go"])
        .env("GREETING", "from here")
        .run();
    assert_eq!(run.code, 0, "{}", run.stderr);
    let told = model.requests()[1].outcome(0, 0).expect("an outcome");
    assert!(
        told.contains("[from here] []"),
        "a variable is lost, or the key is not: {told}"
    );
}

#[test]
fn the_key_is_nowhere_at_rest() {
    let model = MockModel::playing([
        Reply::shell("env; cat /proc/self/environ"),
        Reply::say("done"),
    ]);
    let home = Home::asking(&model, Wire::Responses);
    let run = home.quire(["exec", "go"]).run();
    assert_eq!(run.code, 0, "{}", run.stderr);
    let mut files = Vec::new();
    collect(home.root(), &mut files);
    assert!(
        files.iter().any(|path| path.ends_with("quire.db")),
        "{files:?}"
    );
    for path in files {
        let bytes = fs::read(&path).unwrap_or_default();
        let key = MockModel::KEY.as_bytes();
        let holds = bytes.windows(key.len()).any(|window| window == key);
        assert!(!holds, "`{}` holds the key", path.display());
    }
}

fn collect(directory: &std::path::Path, files: &mut Vec<std::path::PathBuf>) {
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        let kind = entry.file_type().expect("a file has a type");
        if kind.is_dir() {
            collect(&entry.path(), files);
        } else if kind.is_file() {
            files.push(entry.path());
        }
    }
}
