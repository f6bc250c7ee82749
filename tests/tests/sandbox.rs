//! `quire sandbox`: one command under a policy, and what it must not reach.
//!
//! A handful of probes; the outside suite has the whole zoo.

use std::fs;

use quire_tests::{
    home::Home,
    model::RawServer,
    process::{Finished, Invocation},
    repo::Repo,
    skip::skip,
};

fn confined(home: &Home, repo: &Repo, script: &str) -> Invocation {
    home.quire(["sandbox", "--", "bash", "-c", script])
        .dir(repo.directory())
}

fn run(home: &Home, repo: &Repo, script: &str) -> Finished {
    confined(home, repo, script).run()
}

#[test]
fn a_command_ends_as_itself() {
    let home = Home::new();
    let repo = Repo::failing(&home);
    let table = [
        ("exit 0", 0),
        ("exit 7", 7),
        ("kill -TERM $$", 143),
        ("kill -KILL $$", 137),
    ];
    for (script, want) in table {
        assert_eq!(run(&home, &repo, script).code, want, "for `{script}`");
    }
    for (program, want) in [("no-such-program-anywhere", 127), ("./add.sh", 126)] {
        let finished = home
            .quire(["sandbox", "--", program])
            .dir(repo.directory())
            .run();
        assert_eq!(finished.code, want, "{finished:#?}");
    }
    let piped = confined(&home, &repo, "cat; echo $0 \"$PWD\"")
        .stdin("through")
        .run();
    assert_eq!(
        piped.stdout,
        format!("throughbash {}\n", repo.directory().display())
    );
    assert!(home.daemon().is_none(), "it needs no daemon");
}

#[test]
fn it_writes_in_the_workspace_and_nowhere_else() {
    let home = Home::new();
    let repo = Repo::failing(&home);
    let outside = home.user().join("outside");
    let script = format!(
        "echo in > inside; mkdir -p deep/er && echo in > deep/er/file; \
         echo out > {0}; ln -s {0} link; echo out > link; mv inside moved; true",
        outside.display()
    );
    let finished = run(&home, &repo, &script);
    assert_eq!(finished.code, 0, "{}", finished.stderr);
    assert_eq!(
        (repo.read("moved"), repo.read("deep/er/file")),
        ("in\n".into(), "in\n".into())
    );
    assert!(!outside.exists(), "it wrote outside");
}

#[test]
fn read_only_writes_nowhere() {
    let home = Home::new();
    let repo = Repo::failing(&home);
    let args = [
        "sandbox",
        "--mode",
        "read-only",
        "--",
        "bash",
        "-c",
        "cat add.sh; echo x > add.sh; echo x > new",
    ];
    let finished = home.quire(args).dir(repo.directory()).run();
    assert!(finished.stdout.contains("$1 - $2"), "{finished:#?}");
    assert!(repo.read("add.sh").contains("$1 - $2"));
    assert!(!repo.path("new").exists());
}

#[test]
fn what_runs_code_later_is_protected() {
    let home = Home::new();
    let repo = Repo::failing(&home);
    fs::create_dir(repo.path(".quire")).unwrap();
    fs::write(repo.path(".quire/config.toml"), "# mine\n").unwrap();
    let before = repo.read(".git/config");
    let script = "mkdir -p .git/hooks; echo evil > .git/hooks/post-commit; \
                  git config core.fsmonitor evil; echo evil >> .git/config; \
                  echo evil > .quire/config.toml; mv .git elsewhere; rm -rf .git/hooks; true";
    let _ = run(&home, &repo, script);
    assert!(
        !repo.path(".git/hooks/post-commit").exists(),
        "a hook was planted"
    );
    assert_eq!(repo.read(".git/config"), before);
    assert_eq!(repo.read(".quire/config.toml"), "# mine\n");
    let commit = "git -c user.name=t -c user.email=t@example.invalid commit -qam second";
    let script = format!("echo more >> add.sh && {commit} && git log --oneline");
    let work = run(&home, &repo, &script);
    assert_eq!(
        work.stdout.lines().count(),
        2,
        "git must work on: {work:#?}"
    );
}

#[test]
fn there_is_no_network() {
    let home = Home::new();
    let repo = Repo::failing(&home);
    let server = RawServer::saying(b"hello");
    let port = server
        .base_url()
        .rsplit(':')
        .next()
        .unwrap()
        .replace("/v1", "");
    let script = format!("exec 3<>/dev/tcp/127.0.0.1/{port} && echo x >&3 && cat <&3");
    let free = home
        .program("/bin/bash".as_ref())
        .args(["-c", &script])
        .run();
    assert_eq!(free.stdout, "hello", "the probe itself must work");
    let finished = run(&home, &repo, &script);
    assert_ne!(finished.code, 0);
    assert_eq!(server.connections(), 1, "it came through");
}

#[test]
fn secrets_are_out_of_sight() {
    let home = Home::new();
    let repo = Repo::failing(&home);
    home.configure("# a token could be here\n");
    for path in [
        ".ssh/id_ed25519",
        ".aws/credentials",
        ".gnupg/key",
        ".netrc",
    ] {
        let path = home.user().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, "SECRET").unwrap();
    }
    let script = format!(
        "cat ~/.ssh/id_ed25519 ~/.aws/credentials ~/.gnupg/key ~/.netrc {}/config.toml; env",
        home.quire_home().display()
    );
    let command = confined(&home, &repo, &script);
    let finished = command
        .env("GITHUB_TOKEN", "SECRET")
        .env("AWS_SECRET_ACCESS_KEY", "SECRET")
        .run();
    assert!(!finished.stdout.contains("SECRET"), "{}", finished.stdout);
    assert!(
        !finished.stdout.contains("a token could be here"),
        "{}",
        finished.stdout
    );
    assert!(finished.stdout.contains("PATH="), "{}", finished.stdout);
}

#[test]
fn no_rights_are_gained() {
    let home = Home::new();
    let repo = Repo::failing(&home);
    let finished = run(
        &home,
        &repo,
        "grep -E 'NoNewPrivs|Seccomp:' /proc/self/status",
    );
    assert!(
        finished.stdout.contains("NoNewPrivs:\t1"),
        "{}",
        finished.stdout
    );
    assert!(
        finished.stdout.contains("Seccomp:\t2"),
        "{}",
        finished.stdout
    );
}

#[test]
fn the_sandbox_says_what_it_enforces() {
    let home = Home::new();
    let explained = home.quire(["sandbox", "--explain", "--", "true"]).run();
    if explained.code == 7 {
        return skip("this machine has no layer to explain");
    }
    assert_eq!(explained.code, 0, "{explained:#?}");
    let text = (explained.stdout + &explained.stderr).to_lowercase();
    for word in ["landlock", "seccomp"] {
        assert!(text.contains(word), "`{word}` is not in: {text}");
    }
}

#[test]
fn ordinary_work_goes_on_inside() {
    let home = Home::new();
    let repo = Repo::failing(&home);
    let script = "set -e; sh ./test.sh || true; f=$(mktemp); echo x > $f; cat $f; rm $f; \
                  printf a | sort | tee out; (sleep 0.01 & wait); mkfifo p; ps > /dev/null || true; \
                  git log --oneline | cat; ls / > /dev/null; echo all done";
    let finished = run(&home, &repo, script);
    assert!(
        finished.code == 0 && finished.stdout.ends_with("all done\n"),
        "{finished:#?}"
    );
}

#[test]
fn large_output_comes_through_whole() {
    let home = Home::new();
    let repo = Repo::failing(&home);
    let finished = run(&home, &repo, "head -c 20000000 /dev/zero | tr '\\0' x");
    assert_eq!((finished.code, finished.stdout.len()), (0, 20_000_000));
}
