//! Tables of whole decisions.

use proptest::prelude::*;
use quire_proto::v1::Decision::{Allow, Ask, Deny};

use super::*;

const WORKSPACE: &str = "/w";

fn policy(sandbox: SandboxMode, approve: ApprovePolicy, rules: &[(Decision, &str)]) -> Policy {
    let rule = |(decision, prefix): &(Decision, &str)| Rule {
        prefix: prefix.split_whitespace().map(str::to_owned).collect(),
        decision: (*decision).into(),
        reason: String::new(),
    };
    Policy {
        sandbox: sandbox.into(),
        approve: approve.into(),
        network: vec!["*.crates.io".into(), "localhost:8080".into()],
        writable: vec!["/cache".into()],
        hidden: vec!["/home/u/.ssh".into()],
        rules: rules.iter().map(rule).collect(),
        require: vec![],
        wake: false,
    }
}

fn command(policy: &Policy, command: &str) -> Verdict {
    let access = Access {
        command: command.to_owned(),
        cwd: WORKSPACE.to_owned(),
        ..Access::default()
    };
    decide(policy, Path::new(WORKSPACE), &access)
}

fn write_to(policy: &Policy, path: &str) -> Verdict {
    let access = Access {
        writes: vec![path.to_owned()],
        ..Access::default()
    };
    decide(policy, Path::new(WORKSPACE), &access)
}

const UNTRUSTED: ApprovePolicy = ApprovePolicy::Untrusted;
const ON_REQUEST: ApprovePolicy = ApprovePolicy::OnRequest;
const NEVER: ApprovePolicy = ApprovePolicy::Never;
const WRITE: SandboxMode = SandboxMode::WorkspaceWrite;

#[test]
fn longest_rule_wins_and_deny_breaks_ties() {
    let rules = [
        (Allow, "git"),
        (Deny, "git push"),
        (Allow, "git push --dry-run"),
        (Allow, "rm"),
        (Deny, "rm"),
        (Ask, "make"),
        (Allow, "make"),
    ];
    let policy = policy(WRITE, UNTRUSTED, &rules);
    let table = [
        ("git status", Allow),
        ("git commit -m x", Allow),
        ("git push -f", Deny),
        ("git push --dry-run", Allow),
        ("rm -rf target", Deny),
        ("make", Ask),
        ("makefile", Ask),
        ("curl example.com", Ask),
        // The strictest part wins, wherever it stands.
        ("git status && git push", Deny),
        ("echo $(git push)", Deny),
        ("bash -c 'git push'", Deny),
        ("/usr/bin/git push", Deny),
        ("git -C /x push", Deny),
        ("sudo git push", Deny),
        ("X=y git push", Deny),
        ("xargs git push", Deny),
        ("cd x && timeout 9 env A=b git push", Deny),
        ("A='b c' git push", Deny),
        ("echo \"$'\"; git push; echo \"'\"", Deny),
        ("if true; then git push; fi", Deny),
        // What allows a command doesn't allow it in another world.
        ("sudo git commit", Ask),
        ("PATH=. git commit", Ask),
        ("LANG=C git commit", Allow),
        ("./git commit", Ask),
        ("git commit > log", Ask),
        ("git commit -m \"$(cat x)\"", Ask),
        ("bash -c 'git commit'", Allow),
    ];
    for (text, want) in table {
        let verdict = command(&policy, text);
        assert_eq!(verdict.decision, want, "for `{text}`: {}", verdict.reason);
    }
}

#[test]
fn untrusted_runs_only_what_is_known_to_read() {
    let policy = policy(WRITE, UNTRUSTED, &[]);
    let table = [
        ("ls -la && git status | head -3", Allow),
        ("cd src; rg -n foo | wc -l", Allow),
        ("bash -lc 'ls | wc -l'", Allow),
        ("# only words", Allow),
        ("grep -rn 'a; rm x' src 2>/dev/null", Allow),
        ("cargo test", Ask),
        ("ls; cargo test", Ask),
        ("ls > x", Ask),
        ("cat <<E\nx\nE", Ask),
        ("X=1", Ask),
        ("ls &", Ask),
        ("GIT_PAGER=x git log", Ask),
        ("bash -c 'ls' && bash x.sh", Ask),
        ("bash -c \"ls $X\"", Ask),
        ("find . | xargs rg foo", Ask),
        ("find . | xargs cat", Allow),
        ("echo rm | xargs -I cat cat x", Ask),
        ("env --split-string='rm x' ls", Ask),
        ("zsh -c ls", Ask),
    ];
    for (text, want) in table {
        let verdict = command(&policy, text);
        assert_eq!(verdict.decision, want, "for `{text}`: {}", verdict.reason);
    }
}

#[test]
fn modes_and_approvals_decide_what_rules_do_not() {
    // Mode, approvals, then `cargo test`, `git push` (asked by rule), `rm -rf /`.
    let table = [
        (WRITE, UNTRUSTED, [Ask, Ask, Ask]),
        (WRITE, ON_REQUEST, [Allow, Ask, Ask]),
        (WRITE, NEVER, [Allow, Deny, Deny]),
        (SandboxMode::ReadOnly, ON_REQUEST, [Allow, Ask, Ask]),
        (SandboxMode::FullAccess, UNTRUSTED, [Ask, Ask, Ask]),
        (SandboxMode::FullAccess, ON_REQUEST, [Allow, Ask, Ask]),
        (SandboxMode::FullAccess, NEVER, [Allow, Deny, Deny]),
        (
            SandboxMode::Unspecified,
            ApprovePolicy::Unspecified,
            [Ask, Ask, Ask],
        ),
    ];
    for (mode, approve, want) in table {
        let policy = policy(mode, approve, &[(Ask, "git push")]);
        let got =
            ["cargo test", "git push", "rm -rf /"].map(|text| command(&policy, text).decision);
        assert_eq!(got, want, "for {mode:?}, {approve:?}");
    }
}

#[test]
fn writes_are_judged_by_place() {
    // Path, then read-only, workspace-write, full-access, each on request.
    let table = [
        ("/w/src/lib.rs", [Ask, Allow, Allow]),
        ("/cache/x", [Ask, Allow, Allow]),
        ("/w/.git/config", [Ask, Ask, Allow]),
        ("/w/sub/.quire/config.toml", [Ask, Ask, Allow]),
        ("/cache/.vscode/tasks.json", [Ask, Ask, Allow]),
        ("/w/../etc/passwd", [Ask, Ask, Allow]),
        ("/etc/passwd", [Ask, Ask, Allow]),
        ("/home/u/.ssh/id", [Deny, Deny, Allow]),
    ];
    let modes = [SandboxMode::ReadOnly, WRITE, SandboxMode::FullAccess];
    for (path, want) in table {
        let got = modes.map(|mode| write_to(&policy(mode, ON_REQUEST, &[]), path).decision);
        assert_eq!(got, want, "for {path}");
    }
    let never = write_to(&policy(SandboxMode::ReadOnly, NEVER, &[]), "/w/a");
    assert_eq!(never.decision, Deny);
    assert!(
        never.reason.ends_with("and approvals are off"),
        "{}",
        never.reason
    );
    assert_eq!(
        write_to(&policy(WRITE, UNTRUSTED, &[]), "/w/a").decision,
        Ask
    );
}

#[test]
fn hosts_are_asked_about_unless_listed() {
    let policy = policy(WRITE, ON_REQUEST, &[]);
    let table = [
        ("static.crates.io:443", Allow),
        ("static.crates.io:22", Ask),
        ("crates.io:443", Ask),
        ("evilcrates.io:443", Ask),
        ("localhost:8080", Allow),
        ("localhost:80", Ask),
    ];
    for (host, want) in table {
        let access = Access {
            hosts: vec![host.to_owned()],
            ..Access::default()
        };
        let verdict = decide(&policy, Path::new(WORKSPACE), &access);
        assert_eq!(verdict.decision, want, "for {host}");
    }
}

#[test]
fn a_call_that_touches_nothing_is_allowed_and_hidden_files_are_not_read() {
    let policy = policy(WRITE, UNTRUSTED, &[]);
    let workspace = Path::new(WORKSPACE);
    assert_eq!(
        decide(&policy, workspace, &Access::default()).decision,
        Allow
    );
    let table = [
        ("/w/a", Allow),
        ("/etc/hosts", Allow),
        ("/home/u/.ssh/id", Deny),
    ];
    for (path, want) in table {
        let access = Access {
            reads: vec![path.to_owned()],
            read_only: true,
            ..Access::default()
        };
        assert_eq!(
            decide(&policy, workspace, &access).decision,
            want,
            "for {path}"
        );
    }
}

#[test]
fn always_is_offered_where_a_rule_can_answer() {
    let policy = policy(WRITE, UNTRUSTED, &[(Ask, "git push")]);
    let table = [
        ("cargo test --all", Some("cargo test")),
        ("cd x && cargo test | tail -5", Some("cargo test")),
        ("cargo test && cargo build", None),
        ("git push origin main", Some("git push origin main")),
        ("git push", None),
        ("git push --force origin main", None),
        ("rm -rf /", None),
        ("sudo make", None),
        ("cargo test > log", None),
        ("A=b cargo test", None),
        ("python3 x.py", None),
    ];
    for (text, want) in table {
        let mut policy = policy.clone();
        let verdict = command(&policy, text);
        assert_eq!(verdict.decision, Ask, "for `{text}`");
        let prefix = verdict.rule.as_ref().map(|rule| rule.prefix.join(" "));
        assert_eq!(prefix.as_deref(), want, "for `{text}`");
        if let Some(rule) = verdict.rule {
            policy.rules.push(rule);
            assert_eq!(
                command(&policy, text).decision,
                Allow,
                "`{text}` is still asked about"
            );
        }
    }
}

#[test]
fn an_always_does_not_answer_half_a_question() {
    let policy = policy(WRITE, UNTRUSTED, &[]);
    let access = Access {
        command: "cargo test".to_owned(),
        writes: vec!["/etc/x".to_owned()],
        ..Access::default()
    };
    assert_eq!(decide(&policy, Path::new(WORKSPACE), &access).rule, None);
}

fn pieces() -> impl Strategy<Value = String> {
    let piece = prop::sample::select(vec![
        "ls",
        "cat",
        "git status",
        "echo",
        "\"",
        "'",
        " ",
        "\n",
        ";",
        "|",
        "&&",
        "(",
        ")",
        "$(",
        "`",
        "${",
        "}",
        "{",
        "<<E\n",
        "\\",
        "#",
        ">",
        "<",
        "sh -c ",
        "sudo ",
        "xargs ",
        "*",
        "~",
        "é",
        "\0",
    ]);
    prop::collection::vec(piece, 0..30).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn no_script_makes_it_panic(text in pieces()) {
        for approve in [UNTRUSTED, ON_REQUEST, NEVER] {
            command(&policy(WRITE, approve, &[(Ask, "git push")]), &text);
        }
    }

    /// Whatever stands around a substitution that the shell would carry out.
    #[test]
    fn a_substitution_never_runs_unasked_when_untrusted(
        before in prop::sample::select(vec![
            "", "ls ", "ls;", "cat \"", "echo a|", "git log -n ", "LANG=C ls ", "bash -c \"ls ", "ls\n", "find . -name ",
            "cd x && ls ", "rg ", "echo '$(x)' ", "echo \\$ ", "cat \"a'b ",
        ]),
        substitution in prop::sample::select(vec![
            "$(id)", "`id`", "$X", "${X}", "$((1))", "${X:-$(id)}", "$@", "$1", "$(", "`", "${",
        ]),
        after in pieces(),
    ) {
        // What was opened as a quote before is closed, so that the end can't hide the middle.
        let close = if before.contains('"') { "\"" } else { "" };
        let text = format!("{before}{substitution}{close} {after}");
        let verdict = command(&policy(WRITE, UNTRUSTED, &[]), &text);
        prop_assert_ne!(verdict.decision, Allow, "for `{}`", text);
    }
}
