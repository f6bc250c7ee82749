//! Where the daemon lives: whatever the environment says, one user meets one daemon, and no place of
//! somebody else's is trusted.

#![allow(clippy::unwrap_used, reason = "a test that can't go on has failed")]

use std::{
    fs,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown, symlink},
    path::{Path, PathBuf},
};

use quire_tests::{
    account::Account,
    binaries::binaries,
    home::{Home, provider},
    lies::without_locks,
    model::{Gate, MockModel, Reply, Wire},
    process::{Finished, Invocation},
    skip::skip,
    wait,
};

/// A user that is neither root nor, on any machine that tests run on, anybody.
const STRANGER: u32 = 12_345;

const NO_COMPILER: &str = "there is no C compiler to change what the system says";

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

fn mode(path: &Path, bits: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(bits)).unwrap();
}

fn give(path: &Path, owner: u32) {
    chown(path, Some(owner), Some(owner)).unwrap();
}

fn names_in(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    let names = entries.map(|entry| entry.file_name().into_string().unwrap());
    names.collect()
}

fn check_refused(run: &Finished, what: &str) {
    assert_eq!(run.code, 8, "{what}: {run:#?}");
    assert!(
        run.stderr.contains("belongs to") && run.stderr.contains("QUIRE_HOME"),
        "{what}: no advice in {}",
        run.stderr
    );
}

#[test]
fn a_directory_of_another_owner_is_refused_and_left_as_it_is() {
    if !is_root() {
        return skip("only root can give a directory to another user");
    }
    for part in ["", "daemon"] {
        let home = Home::new();
        let place: PathBuf = home.quire_home().join(part).components().collect();
        fs::create_dir_all(&place).unwrap();
        mode(&place, 0o777);
        give(&place, STRANGER);
        check_refused(&home.quire(["ps"]).run(), part);
        assert!(home.daemon().is_none());
        let meta = fs::metadata(&place).unwrap();
        assert_eq!((meta.uid(), meta.mode() & 0o777), (STRANGER, 0o777));
        assert_eq!(names_in(&place), [""; 0], "something was made in {part}");
    }
}

#[test]
fn a_user_is_not_served_in_the_directory_of_another() {
    if !is_root() {
        return skip("only root can run a client as another user");
    }
    let home = Home::new();
    mode(home.root(), 0o777);
    fs::create_dir(home.quire_home()).unwrap();
    mode(&home.quire_home(), 0o777);
    let stranger = |home: &Home| home.quire(["ps"]).user(STRANGER);
    if !can_run(stranger(&home)) {
        return skip("another user cannot reach the programs under test");
    }
    check_refused(&stranger(&home).run(), "no daemon");
    assert_eq!(names_in(&home.quire_home()), [""; 0]);
    // Nor while the owner's daemon is there to be found.
    assert_eq!(home.quire(["daemon", "start"]).run().code, 0);
    mode(&home.quire_home(), 0o777);
    let run = stranger(&home).run();
    assert_eq!(run.code, 8, "{run:#?}");
    assert_eq!(home.daemons().len(), 1);
}

fn can_run(client: Invocation) -> bool {
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| drop(client.run()))).is_ok()
}

/// People move their state to another disk; what is behind the link is theirs.
#[test]
fn a_link_of_ours_to_a_directory_of_ours_will_do() {
    let home = Home::new();
    let elsewhere = home.root().join("disk");
    fs::create_dir(&elsewhere).unwrap();
    mode(&elsewhere, 0o755);
    symlink(&elsewhere, home.quire_home()).unwrap();
    let ps = home.quire(["ps"]).run();
    assert_eq!(ps.code, 0, "{}", ps.stderr);
    assert!(home.daemon().is_some());
    let open = fs::metadata(&elsewhere).unwrap().mode() & 0o077;
    assert_eq!(open, 0, "others may reach what is behind the link");
}

#[test]
fn a_link_to_a_directory_of_somebody_else_is_refused() {
    if !is_root() {
        return skip("only root can give a directory to another user");
    }
    for part in ["", "daemon"] {
        let home = Home::new();
        let foreign = home.root().join("foreign");
        fs::create_dir(&foreign).unwrap();
        give(&foreign, STRANGER);
        if !part.is_empty() {
            fs::create_dir(home.quire_home()).unwrap();
        }
        symlink(
            &foreign,
            home.quire_home()
                .join(part)
                .components()
                .collect::<PathBuf>(),
        )
        .unwrap();
        check_refused(&home.quire(["ps"]).run(), part);
        assert_eq!(names_in(&foreign), [""; 0], "something was made there");
    }
}

/// Whoever can plant a link in place of the state directory would have us write into, and close,
/// a directory of our own that he chose.
#[test]
fn a_link_that_somebody_else_planted_is_refused() {
    if !is_root() {
        return skip("only root can give a link to another user");
    }
    for part in ["", "daemon"] {
        let home = Home::new();
        let precious = home.root().join("precious");
        fs::create_dir(&precious).unwrap();
        mode(&precious, 0o755);
        if !part.is_empty() {
            fs::create_dir(home.quire_home()).unwrap();
        }
        let link: PathBuf = home.quire_home().join(part).components().collect();
        symlink(&precious, &link).unwrap();
        std::os::unix::fs::lchown(&link, Some(STRANGER), Some(STRANGER)).unwrap();
        check_refused(&home.quire(["ps"]).run(), part);
        assert_eq!(names_in(&precious), [""; 0], "something was made there");
        let bits = fs::metadata(&precious).unwrap().mode() & 0o777;
        assert_eq!(bits, 0o755, "its mode was changed");
    }
}

/// A runtime directory as a client may find it.
struct Runtime {
    what: &'static str,
    directory: Option<PathBuf>,
    /// Whether a socket may live there.
    fit: bool,
}

fn runtimes(root: &Path) -> Vec<Runtime> {
    let make = |name: &str, bits| {
        let path = root.join(name);
        fs::create_dir(&path).unwrap();
        mode(&path, bits);
        path
    };
    let runtime = |what, directory, fit| Runtime {
        what,
        directory,
        fit,
    };
    let mut all = vec![
        runtime("none", None, false),
        runtime("ours", Some(make("r1", 0o700)), true),
        runtime("open to all", Some(make("r2", 0o777)), false),
        runtime("not there", Some(root.join("missing")), false),
        runtime("relative", Some("run".into()), false),
        runtime("a file", Some(root.join("file")), false),
        runtime("too deep", Some(make(&"d".repeat(100), 0o700)), false),
    ];
    fs::write(root.join("file"), "").unwrap();
    let ours = root.join("r3");
    fs::create_dir(&ours).unwrap();
    mode(&ours, 0o700);
    fs::create_dir(root.join("moved")).unwrap();
    symlink(root.join("moved"), ours.join("quire")).unwrap();
    all.push(runtime("ours, with a link of ours", Some(ours), true));
    if is_root() {
        all.extend(foreign_runtimes(root, make));
    }
    all
}

fn foreign_runtimes(root: &Path, make: impl Fn(&str, u32) -> PathBuf) -> Vec<Runtime> {
    let theirs = make("r4", 0o700);
    give(&theirs, STRANGER);
    let taken = make("r5", 0o700);
    fs::create_dir(taken.join("quire")).unwrap();
    give(&taken.join("quire"), STRANGER);
    let linked = make("r6", 0o700);
    fs::create_dir(root.join("foreign")).unwrap();
    give(&root.join("foreign"), STRANGER);
    symlink(root.join("foreign"), linked.join("quire")).unwrap();
    let table = [
        ("somebody else's", theirs),
        ("ours, with a `quire` of somebody else's", taken),
        ("ours, with a link to somebody else's", linked),
    ];
    let unfit = |(what, directory)| Runtime {
        what,
        directory: Some(directory),
        fit: false,
    };
    table.into_iter().map(unfit).collect()
}

fn in_runtime(client: Invocation, runtime: &Runtime) -> Invocation {
    match &runtime.directory {
        Some(directory) => client.env("XDG_RUNTIME_DIR", directory.clone()),
        None => client.without_env("XDG_RUNTIME_DIR"),
    }
}

#[test]
fn whatever_the_runtime_directory_all_clients_of_a_user_meet_one_daemon() {
    let Some(account) = Account::new() else {
        return skip(NO_COMPILER);
    };
    let all = runtimes(account.home().root());
    for first in &all {
        let start = in_runtime(account.quire(["daemon", "start"]), first).run();
        assert_eq!(start.code, 0, "{}: {}", first.what, start.stderr);
        let daemon = account.daemon().expect("a daemon");
        let socket = account.paths().record().unwrap().socket;
        let place = match (&first.directory, first.fit) {
            (Some(directory), true) => directory.join("quire"),
            _ => account.paths().daemon(),
        };
        assert_eq!(socket.parent(), Some(&*place), "{}", first.what);
        for other in &all {
            let ps = in_runtime(account.quire(["ps"]), other).run();
            assert_eq!(
                ps.code, 0,
                "{} to {}: {}",
                other.what, first.what, ps.stderr
            );
            assert_eq!(account.daemon(), Some(daemon));
        }
        let stop = account.quire(["daemon", "stop"]).run();
        assert_eq!(stop.code, 0, "{}: {}", first.what, stop.stderr);
        assert!(!socket.exists(), "{}: the socket is left", first.what);
    }
    if is_root() {
        let foreign = names_in(&account.home().root().join("foreign"));
        assert_eq!(foreign, [""; 0], "something was made behind a foreign link");
    }
}

/// As cron, ssh, sudo and containers set it.
#[test]
fn whatever_home_is_all_clients_of_a_user_meet_one_daemon() {
    let Some(account) = Account::new() else {
        return skip(NO_COMPILER);
    };
    let elsewhere = account.home().root().join("elsewhere");
    fs::create_dir(&elsewhere).unwrap();
    let client = |home: Option<&Path>| match home {
        Some(home) => account.quire(["ps"]).env("HOME", home),
        None => account.quire(["ps"]).without_env("HOME"),
    };
    let homes = [
        None,
        Some(Path::new("")),
        Some(Path::new("/")),
        Some(Path::new("/nowhere/at/all")),
        Some(elsewhere.as_path()),
    ];
    for first in homes {
        let ps = client(first).run();
        assert_eq!(ps.code, 0, "HOME {first:?}: {}", ps.stderr);
        let daemon = account.daemon();
        assert!(daemon.is_some(), "HOME {first:?}: it lives elsewhere");
        for other in homes {
            assert_eq!(client(other).run().code, 0, "HOME {other:?}");
            assert_eq!(account.daemon(), daemon, "HOME {other:?}");
        }
        assert_eq!(account.quire(["daemon", "stop"]).run().code, 0);
    }
    assert_eq!(names_in(&elsewhere), [""; 0]);
}

/// A session's command sees the `HOME` of the client that made it, not the daemon's.
#[test]
fn a_turn_runs_for_a_client_without_home() {
    let Some(account) = Account::new() else {
        return skip(NO_COMPILER);
    };
    let model = MockModel::playing([Reply::shell("echo ran >> made"), Reply::say("done")]);
    let config = account.home().user().join(".config/quire");
    fs::create_dir_all(&config).unwrap();
    let text = provider(&model.base_url(), Wire::Responses);
    fs::write(config.join("config.toml"), text).unwrap();
    let run = account.quire(["exec", "go"]).without_env("HOME").run();
    assert_eq!(run.code, 0, "{}", run.stderr);
    let made = fs::read_to_string(account.home().work().join("made"));
    assert_eq!(made.unwrap(), "ran\n");
}

/// Row 31: a socket's path has 108 bytes at most. Also of jobs, whose sockets lie deeper still.
#[test]
fn a_state_directory_too_deep_for_a_socket_works_all_the_same() {
    let model = MockModel::playing([Reply::shell("echo ran >> made"), Reply::say("done")]);
    let home = Home::asking(&model, Wire::Responses);
    let deep = home.root().join("d".repeat(60)).join("e".repeat(60));
    fs::create_dir_all(deep.parent().unwrap()).unwrap();
    fs::rename(home.quire_home(), &deep).unwrap();
    symlink(&deep, home.quire_home()).unwrap();
    let quire = |args: &[&'static str]| {
        let client = home.program(&binaries().quire()).args(args.iter().copied());
        client.env("QUIRE_HOME", &deep)
    };
    let run = quire(&["exec", "go"]).run();
    assert_eq!(run.code, 0, "{}", run.stderr);
    assert!(home.work().join("made").exists());
    let socket = home.record().expect("a record").socket;
    assert!(socket.as_os_str().len() <= 103, "{}", socket.display());
    let place = socket.parent().unwrap().to_owned();
    let meta = fs::symlink_metadata(&place).unwrap();
    let me = rustix::process::geteuid().as_raw();
    assert_eq!((meta.uid(), meta.mode() & 0o777), (me, 0o700));
    // A stale one is no obstacle, and another deep home gets another.
    home.kill_daemon();
    let run = quire(&["ps"]).run();
    assert_eq!(run.code, 0, "{}", run.stderr);
    let run = quire(&["daemon", "stop"]).run();
    assert_eq!(run.code, 0, "{}", run.stderr);
    assert!(!place.exists(), "`{}` is left", place.display());
}

#[test]
fn two_homes_too_deep_for_sockets_have_a_daemon_each() {
    let home = Home::new();
    let deep = |name: &str| home.root().join("d".repeat(100)).join(name);
    let run = |place: &Path, args: [&'static str; 2]| {
        let run = home.quire(args).env("QUIRE_HOME", place).run();
        assert_eq!(run.code, 0, "{}", run.stderr);
    };
    let places = [deep("one"), deep("two")];
    let sockets = places.each_ref().map(|place| {
        run(place, ["daemon", "start"]);
        let paths = quire_proto::home::Home::under(place.clone()).unwrap();
        paths.record().unwrap().socket
    });
    assert_ne!(sockets[0], sockets[1]);
    for place in &places {
        run(place, ["daemon", "stop"]);
    }
}

/// Row 32: as on some network mounts. Nothing may run where nobody can tell who runs.
#[test]
fn a_disk_that_cannot_lock_is_refused_with_advice() {
    for kinds in ["flock", "flock,fcntl", "fcntl"] {
        let model = MockModel::playing([Reply::say("before"), Reply::say("after")]);
        let home = Home::asking(&model, Wire::Responses);
        assert_eq!(home.quire(["exec", "go"]).run().code, 0);
        assert_eq!(home.quire(["daemon", "stop"]).run().code, 0);
        let before = fs::read(home.paths().database()).unwrap();
        let Some(without) = without_locks(&home) else {
            return skip(NO_COMPILER);
        };
        let quire = binaries().quire().into_os_string();
        for args in [["exec", "and this"], ["daemon", "start"]] {
            let refused = home.program(&without).args([kinds.into(), quire.clone()]);
            let refused = refused.args(args).run();
            assert_eq!(refused.code, 8, "{kinds}: {refused:#?}");
            let lines: Vec<_> = refused.stderr.lines().collect();
            assert!(
                lines.len() == 1 && lines[0].contains("QUIRE_HOME") && lines[0].contains("lock"),
                "{kinds}: no advice in {lines:?}"
            );
        }
        assert_eq!(
            fs::read(home.paths().database()).unwrap(),
            before,
            "{kinds}"
        );
        assert_eq!(home.daemons(), [], "{kinds}");
        let after = home.quire(["exec", "again", "--session", "@last"]).run();
        assert_eq!(after.code, 0, "{kinds}: {}", after.stderr);
    }
}

/// Row 33.
#[test]
fn a_state_directory_removed_under_a_turn_ends_the_daemon_and_the_next_begins_anew() {
    let gate = Gate::closed();
    let model = MockModel::playing([Reply::say("half ").and_hold(&gate).and_say("whole")]);
    let home = Home::asking(&model, Wire::Responses);
    let config = fs::read(home.paths().config_file()).unwrap();
    assert_eq!(home.quire(["exec", "go", "--detach"]).run().code, 0);
    gate.wait_reached();
    let daemon = home.daemon().expect("a daemon");
    // What the daemon writes at this moment can make one attempt fail.
    wait::until("an empty place", || {
        let _ = fs::remove_dir_all(home.quire_home());
        !home.quire_home().exists()
    });
    let ended = wait::within(std::time::Duration::from_secs(5), || {
        (!quire_tests::processes::alive(daemon)).then_some(())
    });
    assert!(ended.is_some(), "the daemon lives on without its directory");
    gate.open();
    let made = names_in(&home.quire_home());
    assert!(!home.quire_home().exists(), "it was made again: {made:?}");
    fs::create_dir(home.quire_home()).unwrap();
    fs::write(home.paths().config_file(), config).unwrap();
    let run = home.quire(["exec", "go"]).run();
    assert_eq!(run.code, 0, "{}", run.stderr);
    assert!(home.daemon().is_some_and(|pid| pid != daemon));
}
