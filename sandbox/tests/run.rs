//! The `run` form, by the real program: what a command may do, and what it is answered.

#![cfg(target_os = "linux")]

mod common;

use std::fs;

use common::{World, has};
use quire_sandbox::spec::Layer;

fn stdout(output: &std::process::Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn stderr(output: &std::process::Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn it_exits_as_the_command_does() {
    let world = World::new();
    let table = [
        ("exit 0", 0),
        ("exit 7", 7),
        ("exit 255", 255),
        ("kill -9 $$", 137),
        ("kill -TERM $$", 143),
    ];
    for mode in ["workspace-write", "full-access"] {
        for (script, want) in table {
            let output = world.run(&["--mode", mode], script);
            assert_eq!(
                output.status.code(),
                Some(want),
                "for `{script}` in {mode}: {}",
                stderr(&output)
            );
        }
    }
}

#[test]
fn what_cannot_be_run_is_told_like_a_shell_does() {
    let world = World::new();
    fs::write(world.at("ws/data"), "no program").unwrap();
    let table: &[(&[&str], i32, &str)] = &[
        (
            &["run", "--", "no-such-program"],
            127,
            "cannot run `no-such-program`",
        ),
        (&["run", "--", "./data"], 126, "cannot run `./data`"),
        (&["run"], 2, "no command was given"),
        (&["run", "--mode", "none", "ls"], 2, "`none` is not a mode"),
        (
            &["run", "--workspace", "/no/such", "ls"],
            2,
            "cannot use `/no/such`",
        ),
        (&["run", "--workspace", "/", "ls"], 2, "the whole machine"),
        (&["what"], 2, "say `run`, `keep` or `probe`"),
    ];
    for (arguments, code, message) in table {
        let output = std::process::Command::new(common::PROGRAM)
            .args(*arguments)
            .current_dir(world.at("ws"))
            .output()
            .unwrap();
        assert_eq!(
            output.status.code(),
            Some(*code),
            "for {arguments:?}: {}",
            stderr(&output)
        );
        assert!(
            stderr(&output).contains(message),
            "for {arguments:?}: {}",
            stderr(&output)
        );
    }
}

#[test]
fn writes_land_only_where_they_may() {
    if !has(Layer::Namespaces) {
        return;
    }
    let world = World::new();
    fs::create_dir(world.at("more")).unwrap();
    let more = world.at("more").display().to_string();
    // Path, and whether it may be written with each of the modes.
    let table = [
        ("ws/new", true, false),
        ("ws/.git/index", true, false),
        ("more/new", true, false),
        ("outside/new", false, false),
        ("home/new", false, false),
        ("ws/.git/hooks/post-commit", false, false),
        ("ws/.git/config", false, false),
        ("ws/.git/commondir", false, false),
        ("ws/.quire/config.toml", false, false),
        ("ws/.vscode/tasks.json", false, false),
        ("ws/sub/.git/config", false, false),
        ("jobs/new", false, false),
    ];
    for (mode, writes) in [("workspace-write", true), ("read-only", false)] {
        for (path, in_workspace_write, in_read_only) in table {
            let want = if writes {
                in_workspace_write
            } else {
                in_read_only
            };
            let target = world.at(path);
            let before = fs::read(&target).ok();
            let script = format!(
                "mkdir -p '{}' 2>/dev/null; echo WRITTEN > '{}'",
                target.parent().unwrap().display(),
                target.display()
            );
            world.run(&["--mode", mode, "--writable", &more], &script);
            let written = fs::read(&target).is_ok_and(|text| text == b"WRITTEN\n");
            assert_eq!(written, want, "for {path} in {mode}");
            match before {
                Some(before) => fs::write(&target, before).unwrap(),
                None => drop(fs::remove_file(&target)),
            }
        }
    }
    let mut left: Vec<_> = fs::read_dir(world.at("ws"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    left.sort();
    assert_eq!(
        left,
        [".env", ".env.example", ".git", "sub"],
        "placeholders are left behind"
    );
}

#[test]
fn secrets_cannot_be_read() {
    if !has(Layer::Namespaces) {
        return;
    }
    let world = World::new();
    let hidden = world.at("outside").display().to_string();
    let table = [
        ("../home/.ssh/id", false),
        (".env", false),
        (".env.example", true),
        ("../outside/file", false),
        ("/etc/shadow", false),
        ("/etc/passwd", true),
    ];
    for (path, want) in table {
        let output = world.run(&["--hidden", &hidden], &format!("cat {path}"));
        assert_eq!(
            output.status.success(),
            want,
            "for {path}: {}",
            stderr(&output)
        );
    }
}

#[test]
fn the_environment_is_scrubbed_and_home_is_private() {
    let world = World::new();
    let output = std::process::Command::new(common::PROGRAM)
        .args([
            "run",
            "--",
            "sh",
            "-c",
            "env; echo x > ~/x && cat ~/x; echo y > /tmp/y && cat /tmp/y",
        ])
        .current_dir(world.at("ws"))
        .envs([
            ("GITHUB_TOKEN", "t"),
            ("SSH_AUTH_SOCK", "/s"),
            ("FINE", "f"),
        ])
        .env("HOME", world.at("home"))
        .env("TMPDIR", world.at("outside"))
        .output()
        .unwrap();
    let text = stdout(&output);
    assert!(
        text.contains("FINE=f") && text.contains("NO_COLOR=1"),
        "{text}"
    );
    assert!(
        !text.contains("GITHUB_TOKEN")
            && !text.contains("SSH_AUTH_SOCK")
            && !text.contains("TMPDIR="),
        "{text}"
    );
    if has(Layer::Namespaces) {
        assert!(text.ends_with("x\ny\n"), "{text} {}", stderr(&output));
        assert!(!world.at("home/x").exists());
    }
}

#[test]
fn nothing_outlives_the_command() {
    let world = World::new();
    for mode in ["workspace-write", "full-access"] {
        // The background process holds the pipe open: output() returns only when it is gone.
        let output = world.run(
            &["--mode", mode],
            "(trap '' TERM HUP; setsid sleep 600) & echo done",
        );
        assert_eq!(stdout(&output), "done\n", "in {mode}");
        assert!(output.status.success());
    }
}

#[test]
fn the_layers_are_explained_and_required() {
    let world = World::new();
    let output = world.run(&["--explain"], "true");
    let told = stderr(&output);
    for line in ["mode: workspace-write\n", "network: none\n", "layers: "] {
        assert!(told.contains(line), "{told}");
    }
    for layer in Layer::ALL {
        let output = world.run(&["--require", &layer.to_string()], "echo ran");
        let want = if has(layer) {
            (Some(0), "ran\n")
        } else {
            (Some(7), "")
        };
        assert_eq!(
            (output.status.code(), stdout(&output).as_str()),
            want,
            "for {layer}"
        );
    }
    let output = world.run(&["--mode", "full-access", "--explain"], "true");
    assert_eq!(stderr(&output), "mode: full-access\nlayers: none\n");
}

#[test]
fn there_is_no_network_but_loopback_inside() {
    if !has(Layer::Namespaces) {
        return;
    }
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let world = World::new();
    let script = format!("exec bash -c 'echo > /dev/tcp/127.0.0.1/{port}'");
    assert!(!world.run(&[], &script).status.success());
    assert!(
        world
            .run(&["--mode", "full-access"], &script)
            .status
            .success()
    );
}

/// As on a machine that forbids user namespaces: a limit of none, set from within one.
#[test]
fn without_namespaces_the_other_layers_hold_and_it_is_told() {
    if !has(Layer::Namespaces) || !has(Layer::Landlock) {
        return;
    }
    let world = World::new();
    let script = format!(
        "echo 0 > /proc/sys/user/max_user_namespaces || exit 99; exec {} run --explain -- sh -c 'echo x > sub/ok; echo x > new; echo x > .git/config; echo x > $OUT/new; cat ~/.ssh/id; echo t > $TMPDIR/t && cat $TMPDIR/t'",
        common::PROGRAM
    );
    let output = std::process::Command::new("unshare")
        .args(["--user", "--map-root-user", "sh", "-c", &script])
        .current_dir(world.at("ws"))
        .env("HOME", world.at("home"))
        .env("OUT", world.at("outside"))
        .output();
    let Ok(output) = output else {
        eprintln!("SKIPPED, NOT TESTED: there is no `unshare` here");
        return;
    };
    let told = stderr(&output);
    assert!(
        told.contains("missing: namespaces: no view of files"),
        "{told}"
    );
    assert!(told.contains("layers: landlock-v"), "{told}");
    assert_eq!(stdout(&output), "t\n", "{told}");
    assert!(!world.at("outside/new").exists() && !world.at("ws/new").exists());
    assert_eq!(fs::read(world.at("ws/.git/config")).unwrap(), b"");
}
