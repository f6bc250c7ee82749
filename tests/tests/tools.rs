//! Each tool as the model meets it: what it is told, and what became of the files.

use std::{fs, path::Path};

use quire_tests::{
    home::Home,
    model::{MockModel, Reply, Wire},
    repo::Repo,
};
use serde_json::{Value, json};

/// Plays one reply and says what the model was then told of each of its calls.
fn told(home_files: &[(&str, &str)], reply: Reply, calls: usize) -> (Vec<String>, Repo, Home) {
    let model = MockModel::playing([reply, Reply::say("done")]);
    let home = Home::asking(&model, Wire::Responses);
    let repo = Repo::with(&home, "project", home_files);
    let run = home.quire(["exec", "go"]).dir(repo.directory()).run();
    assert_eq!(run.code, 0, "{}", run.stderr);
    let request = model.requests().pop().expect("a request");
    let told = (0..calls).map(|nth| request.outcome(0, nth).expect("an outcome"));
    (told.collect(), repo, home)
}

/// The only file matters not.
const ANY: &[(&str, &str)] = &[("readme", "text\n")];

#[test]
fn a_command_tells_its_output_and_its_end() {
    let table = [
        ("echo out; echo err >&2; exit 3", vec!["out", "err", "3"]),
        ("kill -9 $$", vec!["signal 9"]),
        ("no-such-program-anywhere", vec!["127"]),
        ("cat", vec!["0"]),
        ("pwd", vec!["project"]),
        ("printf 'caf\\303\\251 \\377'", vec!["café"]),
    ];
    for (command, parts) in table {
        let (told, ..) = told(ANY, Reply::shell(command), 1);
        for part in parts {
            assert!(told[0].contains(part), "for `{command}`: {}", told[0]);
        }
    }
}

#[test]
fn a_command_has_a_directory_and_a_time_limit() {
    let files = [("sub/file", "x\n")];
    let reply = Reply::default()
        .and_shell_with("pwd; ls", json!({ "workdir": "sub" }))
        .and_shell_with(
            "sleep 1000",
            json!({ "timeout_ms": 300, "yield_time_ms": 20_000 }),
        );
    let (told, ..) = told(&files, reply, 2);
    assert!(
        told[0].contains("project/sub") && told[0].contains("file"),
        "{}",
        told[0]
    );
    assert!(
        told[1].contains("124") || told[1].contains("time"),
        "{}",
        told[1]
    );
}

#[test]
fn long_output_is_cut_in_the_middle() {
    let command = "echo the-very-first; seq 200000; echo the-very-last";
    let (told, _, home) = told(ANY, Reply::shell(command), 1);
    let told = &told[0];
    assert!(told.contains("the-very-first") && told.contains("the-very-last"));
    assert!(
        (10_000..60_000).contains(&told.len()),
        "{} bytes",
        told.len()
    );
    assert!(!told.contains("\n100000\n"), "the middle is there");
    let whole = jobs_holding(&home, b"\n100000\n");
    assert_eq!(whole, 1, "the whole output must stay in the job's file");
}

/// Files below the jobs' directories that hold these bytes.
fn jobs_holding(home: &Home, bytes: &[u8]) -> usize {
    let jobs = fs::read_dir(home.quire_home().join("jobs")).expect("there are jobs");
    let files = jobs
        .flatten()
        .flat_map(|job| fs::read_dir(job.path()).into_iter().flatten());
    let contents = files
        .flatten()
        .filter_map(|file| fs::read(file.path()).ok());
    let holding = contents.filter(|content| content.windows(bytes.len()).any(|part| part == bytes));
    holding.count()
}

#[test]
fn a_command_that_runs_on_is_written_to() {
    let start = "echo name?; read name; echo hello $name; read again; echo bye $again";
    let model = MockModel::playing([
        Reply::default().and_shell_with(start, json!({ "tty": true, "yield_time_ms": 300 })),
        Reply::call(
            "write_stdin",
            json!({ "job_id": "{job}", "chars": "Ada\n", "yield_time_ms": 1000 }),
        ),
        Reply::call(
            "write_stdin",
            json!({ "job_id": "{job}", "chars": "now\n", "yield_time_ms": 10_000 }),
        ),
        Reply::say("done"),
    ]);
    let home = Home::asking(&model, Wire::Responses);
    let run = home.quire(["exec", "go"]).run();
    assert_eq!(run.code, 0, "{}", run.stderr);
    let request = model.requests().pop().expect("a request");
    let told = |step| request.outcome(step, 0).expect("an outcome");
    assert!(told(0).contains("name?"), "{}", told(0));
    assert!(
        told(1).contains("hello Ada") && !told(1).contains("name?"),
        "{}",
        told(1)
    );
    assert!(told(2).contains("bye now"), "{}", told(2));
}

#[test]
fn a_patch_lands_whole_or_not_at_all() {
    let files = [("one", "1\n"), ("two", "2\n")];
    let good = "*** Begin Patch\n*** Update File: one\n@@\n-1\n+one\n*** Add File: deep/three\n+3\n\
                *** Delete File: two\n*** End Patch\n";
    let (told_good, repo, _home) = told(&files, Reply::patch(good), 1);
    assert!(told_good[0].contains("Success"), "{}", told_good[0]);
    assert_eq!(
        (repo.read("one"), repo.read("deep/three")),
        ("one\n".into(), "3\n".into())
    );
    assert!(!repo.path("two").exists());

    let bad = "*** Begin Patch\n*** Update File: one\n@@\n-1\n+one\n*** Update File: two\n@@\n-nothing like it\n+x\n*** End Patch\n";
    let (told_bad, repo, _home) = told(&files, Reply::patch(bad), 1);
    assert!(told_bad[0].contains("two"), "{}", told_bad[0]);
    assert_eq!(
        (repo.read("one"), repo.read("two")),
        ("1\n".into(), "2\n".into())
    );
}

#[test]
fn a_patch_stays_in_the_workspace() {
    let patch = "*** Begin Patch\n*** Add File: ../../user/planted\n+x\n*** End Patch\n";
    let model = MockModel::playing([Reply::patch(patch), Reply::say("done")]);
    let home = Home::asking(&model, Wire::Responses);
    let repo = Repo::with(&home, "project", ANY);
    let _ = home
        .quire(["exec", "go", "--approve", "never"])
        .dir(repo.directory())
        .run();
    assert!(!home.user().join("planted").exists());
}

#[test]
fn files_are_read_with_their_line_numbers() {
    let lines: String = (1..=100).map(|nth| format!("line {nth}\n")).collect();
    let files = [("long.txt", lines.as_str())];
    let reply = Reply::call(
        "read_file",
        json!({ "path": "long.txt", "offset": 40, "limit": 3 }),
    );
    let (told, ..) = told(&files, reply, 1);
    for nth in 40..43 {
        assert!(told[0].contains(&format!("line {nth}")), "{}", told[0]);
        assert!(told[0].contains(&nth.to_string()));
    }
    assert!(
        !told[0].contains("line 39") && !told[0].contains("line 43"),
        "{}",
        told[0]
    );
}

#[test]
fn files_are_listed_and_searched_as_git_sees_them() {
    let files = [
        (".gitignore", "built/\n"),
        ("src/a.rs", "fn needle() {}\n"),
        ("built/b.rs", "fn needle() {}\n"),
    ];
    let list = |tool: &str, arguments: Value| {
        let (told, ..) = told(&files, Reply::call(tool, arguments), 1);
        told[0].clone()
    };
    let listed = list("list_files", json!({}));
    assert!(
        listed.contains("a.rs") && !listed.contains("b.rs"),
        "{listed}"
    );
    let found = list("search", json!({ "pattern": "needle" }));
    assert!(
        found.contains("src/a.rs") && !found.contains("built"),
        "{found}"
    );
    let none = list("search", json!({ "pattern": "no such thing" }));
    assert!(!none.contains("a.rs"), "{none}");
}

#[test]
fn wrong_calls_are_told_and_harm_nothing() {
    let table = [
        ("no_such_tool", json!({})),
        ("read_file", json!({ "path": "no/such/file" })),
        ("read_file", json!({ "path": 7 })),
        ("read_file", json!({})),
        ("search", json!({ "pattern": "(" })),
        ("exec_command", json!({ "cmd": "" })),
        (
            "write_stdin",
            json!({ "job_id": "nosuchjob", "chars": "x" }),
        ),
        ("update_plan", json!({ "plan": "not a list" })),
    ];
    for (tool, arguments) in table {
        let (told, ..) = told(ANY, Reply::call(tool, arguments.clone()), 1);
        assert!(told[0].len() > 10, "{tool} {arguments}: `{}`", told[0]);
        assert!(!told[0].contains("panicked"), "{}", told[0]);
    }
}

#[test]
fn hidden_files_are_hidden_from_every_tool() {
    let model = MockModel::playing([
        Reply::call("read_file", json!({ "path": "{secret}" })).and_shell("cat ~/.ssh/id_ed25519"),
        Reply::say("done"),
    ]);
    // The path is only known once there is a home, so the link leads there.
    let home = Home::asking(&model, Wire::Responses);
    let secret = home.user().join(".ssh/id_ed25519");
    fs::create_dir_all(secret.parent().unwrap()).unwrap();
    fs::write(&secret, "PRIVATE KEY").unwrap();
    std::os::unix::fs::symlink(&secret, home.work().join("{secret}")).unwrap();
    let run = home.quire(["exec", "go", "--approve", "never"]).run();
    let request = model.requests().pop().expect("a request");
    assert!(
        !request.body.to_string().contains("PRIVATE KEY"),
        "{}",
        run.stderr
    );
}

#[test]
fn a_daemonised_descendant_ends_with_its_command_or_is_listed() {
    let reply = Reply::shell("(setsid nohup sleep 98771 >/dev/null 2>&1 &); echo started");
    let (told, _, home) = told(ANY, reply, 1);
    assert!(told[0].contains("started"), "{}", told[0]);
    let left = home.processes();
    let alive = left.iter().any(|one| one.command.contains("sleep 98771"));
    let jobs = home.quire(["jobs"]).dir(Path::new("/")).run();
    assert!(
        !alive || jobs.stdout.contains("98771"),
        "unlisted: {left:#?}"
    );
}
