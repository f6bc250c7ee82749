//! The daemon's life: started by whoever needs it, one per home, gone when told.

use std::{fs, os::unix::fs::PermissionsExt as _, path::Path};

use quire_proto::v1::{DaemonServiceGetStatusRequest, ShutdownMode};
use quire_tests::{
    binaries::binaries,
    home::{Home, provider},
    model::{Gate, MockModel, Reply, Wire},
    rpc::Rpc,
    wait,
};
use rustix::process::{Signal, kill_process};

#[test]
fn many_clients_at_once_start_one_daemon() {
    let home = Home::new();
    let clients: Vec<_> = (0..20).map(|_| home.quire(["ps"]).spawn()).collect();
    for client in clients {
        let client = client.finish();
        assert_eq!(client.code, 0, "{}", client.stderr);
    }
    let all = home.processes();
    let quired = binaries().quired().display().to_string();
    let daemons = all.iter().filter(|one| one.command.starts_with(&quired));
    assert_eq!(daemons.count(), 1, "{all:#?}");
}

#[test]
fn start_status_stop() {
    let home = Home::new();
    let stopped = home.quire(["daemon", "status"]).run();
    assert_eq!(
        stopped.code, 8,
        "no daemon must not be started for this: {stopped:#?}"
    );
    assert!(home.daemon().is_none());
    for _ in 0..2 {
        assert_eq!(home.quire(["daemon", "start"]).run().code, 0);
    }
    let status = home.quire(["daemon", "status"]).run();
    let pid = home.record().unwrap().pid.to_string();
    assert!(
        status.code == 0 && status.stdout.contains(&pid),
        "{status:#?}"
    );
    let stop = home.quire(["daemon", "stop"]).run();
    assert_eq!(stop.code, 0, "{}", stop.stderr);
    wait::until("the daemon to end", || home.processes().is_empty());
    let sockets = fs::read_dir(home.quire_home().join("daemon"))
        .unwrap()
        .flatten();
    let left = sockets.filter(|entry| entry.path().extension().is_some_and(|end| end == "sock"));
    assert_eq!(left.count(), 0, "a socket is left");
}

#[test]
fn a_stale_record_and_socket_are_no_obstacle() {
    let home = Home::new();
    assert_eq!(home.quire(["daemon", "start"]).run().code, 0);
    home.kill_daemon();
    let ps = home.quire(["ps"]).run();
    assert_eq!(ps.code, 0, "{}", ps.stderr);
    assert!(home.daemon().is_some());
}

#[test]
fn only_the_user_can_read_what_quire_keeps() {
    let model = MockModel::playing([Reply::shell("echo x"), Reply::say("done")]);
    let home = Home::asking(&model, Wire::Responses);
    fs::remove_dir_all(home.quire_home()).unwrap();
    home.configure(&provider(&model.base_url(), Wire::Responses));
    // Whatever the umask of whoever starts it.
    let script = format!("umask 000; exec {} exec go", binaries().quire().display());
    let run = home.program("/bin/sh".as_ref()).args(["-c", &script]).run();
    assert_eq!(run.code, 0, "{}", run.stderr);
    let mut open = Vec::new();
    for part in ["daemon", "jobs", "log", "growing", "quire.db"] {
        let path = home.quire_home().join(part);
        assert!(path.exists(), "no `{}`", path.display());
        check_private(&path, &mut open);
    }
    assert!(open.is_empty(), "others may read {open:#?}");
}

fn check_private(path: &std::path::Path, open: &mut Vec<String>) {
    let meta = fs::symlink_metadata(path).expect("it was just listed");
    let mode = meta.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        open.push(format!("{} {mode:o}", path.display()));
    }
    if meta.is_dir() {
        for entry in fs::read_dir(path).into_iter().flatten().flatten() {
            check_private(&entry.path(), open);
        }
    }
}

#[test]
fn a_caller_without_the_token_is_refused() {
    let home = Home::new();
    let rpc = Rpc::starting(&home);
    let token = home.paths().token_file();
    fs::write(&token, "not the token").unwrap();
    let stranger = Rpc::connect(&home);
    let request = DaemonServiceGetStatusRequest {};
    let refused = stranger.wait(async { stranger.daemon().get_status(request).await });
    let refused = refused.expect_err("a stranger must be refused");
    assert_eq!(refused.code(), tonic::Code::Unauthenticated, "{refused}");
    let known = rpc.wait(async { rpc.daemon().get_status(request).await });
    assert_eq!(known.unwrap().into_inner().pid, home.record().unwrap().pid);
}

#[test]
fn a_drain_leaves_the_turn_to_the_next_daemon() {
    let gate = Gate::closed();
    let model = MockModel::playing([Reply::say("half ").and_hold(&gate).and_say("and whole")]);
    let home = Home::asking(&model, Wire::Responses);
    assert_eq!(home.quire(["exec", "go", "--detach"]).run().code, 0);
    gate.wait_reached();
    let pid = home.daemon().unwrap();
    kill_process(pid, Signal::TERM).unwrap();
    wait::until("the daemon to drain", || home.daemon().is_none());
    let waiting = home.quire(["wait", "@last"]).spawn();
    gate.wait_reached_times(2);
    gate.open();
    let waited = waiting.finish();
    assert_eq!(waited.code, 0, "{}", waited.stderr);
    assert_eq!(model.requests().len(), 2);
}

#[test]
fn a_stop_if_idle_is_refused_while_a_turn_runs() {
    let gate = Gate::closed();
    let model = MockModel::playing([Reply::say("half ").and_hold(&gate).and_say("and whole")]);
    let home = Home::asking(&model, Wire::Responses);
    assert_eq!(home.quire(["exec", "go", "--detach"]).run().code, 0);
    gate.wait_reached();
    let rpc = Rpc::connect(&home);
    let request = quire_proto::v1::DaemonServiceShutdownRequest {
        request_id: quire_proto::id::RequestId::random().to_string(),
        mode: ShutdownMode::IfIdle.into(),
    };
    let refused = rpc.wait(async { rpc.daemon().shutdown(request).await });
    assert_eq!(refused.unwrap_err().code(), tonic::Code::FailedPrecondition);
    gate.open();
    assert_eq!(home.quire(["wait", "@last"]).run().code, 0);
}

/// As logind empties a runtime directory at the last logout.
#[test]
fn a_daemon_whose_files_were_removed_is_found_again() {
    let home = Home::new();
    assert_eq!(home.quire(["daemon", "start"]).run().code, 0);
    let pid = home.daemon().expect("a daemon");
    for name in ["daemon.json", "quire.sock", "token"] {
        fs::remove_file(home.quire_home().join("daemon").join(name)).unwrap();
        let ps = home.quire(["ps"]).run();
        assert_eq!(ps.code, 0, "without {name}: {}", ps.stderr);
        assert_eq!(home.daemon(), Some(pid), "without {name}");
    }
}

/// Modes are looked at, as no mode keeps root out.
#[test]
fn an_umask_that_takes_all_rights_from_the_user_changes_nothing() {
    let model = MockModel::playing([Reply::shell("umask"), Reply::say("done")]);
    let home = Home::asking(&model, Wire::Responses);
    fs::remove_dir_all(home.quire_home()).unwrap();
    let quire = binaries().quire();
    let with_umask = |line: &str| {
        let script = format!("umask 777; exec \"$0\" {line}");
        let shell = home.program(Path::new("/bin/sh"));
        let run = shell
            .args(["-c", &script, &quire.display().to_string()])
            .run();
        assert_eq!(run.code, 0, "{line}: {run:#?}");
    };
    with_umask("daemon start");
    home.configure(&provider(&model.base_url(), Wire::Responses));
    with_umask("exec go");
    with_umask("export @last -o kept.jsonl");
    let told = model.requests()[1].outcome(0, 0).expect("an outcome");
    assert!(
        told.contains("0777"),
        "the command has the client's own: {told}"
    );
    let daemon = home.paths().daemon();
    let modes = [
        (home.quire_home(), 0o700),
        (daemon.clone(), 0o700),
        (home.paths().start_lock_file(), 0o600),
        (home.paths().lock_file(), 0o600),
        (daemon.join("token"), 0o600),
        (home.paths().database(), 0o600),
        (home.work().join("kept.jsonl"), 0o600),
    ];
    for (path, want) in modes {
        let mode = fs::metadata(&path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, want, "{} has mode {mode:o}", path.display());
    }
}
