//! The processes of a job by the real program: all of them end with it, whoever is killed.

#![cfg(target_os = "linux")]
#![allow(
    clippy::unwrap_used,
    reason = "this is test code, though Cargo cannot tell of what stands beside the tests"
)]

mod common;

use std::{fs, io::Read, path::Path};

use common::{Client, World, text};
use quire_sandbox::{
    job::{self, JobState},
    record::{self, JOB_FILE, JobRecord, KeeperRecord},
    remnant::{self, REMNANTS_FILE, Remnants},
    spec::{Layer, Lifetime, Mode, Size},
    wire::{Event, Order, Request},
};

/// Starts processes that do what they can to outlive their parents; each holds `fifo` open and says
/// `in` when it does. There are [`STUBBORN`] of them.
const SCRIPT: &str = r#"
stay() { echo in; exec sleep 600; }
setsid sh -c 'echo in; exec sleep 600' &
(setsid sh -c 'sh -c "echo in; exec sleep 600" &' &)
(trap '' TERM HUP INT; stay) &
nohup sh -c 'echo in; exec sleep 600' &
(stay &) &
"#;
const STUBBORN: usize = 5;

const MODES: [Mode; 2] = [Mode::WorkspaceWrite, Mode::FullAccess];

/// A pipe in the workspace: its end is the end of the last process that held it.
fn fifo(world: &World) -> std::path::PathBuf {
    let path = world.at("ws/fifo");
    let _ = fs::remove_file(&path);
    let kind = rustix::fs::FileType::Fifo;
    rustix::fs::mknodat(rustix::fs::CWD, &path, kind, 0o600.into(), 0).unwrap();
    path
}

/// Starts `script` with its output going to a pipe, and waits until `count` processes said `in`.
fn start(world: &World, mode: Mode, script: &str, count: usize) -> (Client, fs::File) {
    let path = fifo(world);
    let mut spec = world.spec("a", &format!("exec > fifo 2>&1\n{script}"));
    let _ = fs::remove_dir_all(&spec.directory);
    spec.profile.mode = mode;
    let client = Client::start(&spec);
    let mut alive = fs::File::open(path).unwrap();
    let mut seen = String::new();
    while seen.matches("in\n").count() < count {
        let mut bytes = [0; 256];
        let read = alive.read(&mut bytes).unwrap();
        assert!(read > 0, "they ended early: {seen}");
        seen.push_str(&String::from_utf8_lossy(&bytes[..read]));
    }
    (client, alive)
}

/// True when nobody holds the other end of the pipe any more, without waiting.
fn nobody_left(alive: &mut fs::File) -> bool {
    rustix::fs::fcntl_setfl(&*alive, rustix::fs::OFlags::NONBLOCK).unwrap();
    loop {
        match alive.read(&mut [0; 256]) {
            Ok(0) => return true,
            Ok(_) => {}
            Err(error) => {
                assert_eq!(error.kind(), std::io::ErrorKind::WouldBlock);
                return false;
            }
        }
    }
}

fn kill(pid: u32) {
    let pid = rustix::process::Pid::from_raw(pid as i32).unwrap();
    let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
}

fn keeper(directory: &Path) -> KeeperRecord {
    match job::state(directory).unwrap() {
        JobState::Running(keeper) => keeper,
        other => panic!("it should run: {other:?}"),
    }
}

/// The child of a process that has only one.
fn child(pid: u32) -> u32 {
    let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap();
    children.trim().parse().unwrap()
}

#[test]
fn when_the_end_is_told_nothing_of_the_tree_is_left() {
    for mode in MODES {
        let world = World::new();
        let script = format!("{SCRIPT} read x < go");
        let go = world.at("ws/go");
        rustix::fs::mknodat(
            rustix::fs::CWD,
            &go,
            rustix::fs::FileType::Fifo,
            0o600.into(),
            0,
        )
        .unwrap();
        let (mut client, mut alive) = start(&world, mode, &script, STUBBORN);
        fs::write(go, "x\n").unwrap();
        assert_eq!(client.ended().code, Some(0), "in {mode}");
        assert!(nobody_left(&mut alive), "in {mode}");
        assert!(!world.at("jobs/a").join(REMNANTS_FILE).exists());
    }
}

#[test]
fn a_stopped_tree_has_time_to_end_and_is_then_killed() {
    for mode in MODES {
        let world = World::new();
        // The first process ends at once, another takes its time.
        let polite = "(trap 'sleep 0.3; echo bye > ../ws/bye; exit' TERM; echo in; while :; do sleep 0.1; done) & echo in; exec sleep 600";
        let (mut client, mut alive) = start(&world, mode, polite, 2);
        client.order(Order::Stop);
        let record = client.ended();
        assert_eq!(
            (record.signal, record.stopped),
            (Some(15), true),
            "{record:?}"
        );
        assert!(
            record.wall_ms < 5000 && nobody_left(&mut alive),
            "in {mode}"
        );
        assert!(world.at("ws/bye").exists(), "in {mode}");

        let (mut client, mut alive) = start(&world, mode, &format!("{SCRIPT} wait"), STUBBORN);
        client.order(Order::Stop);
        let record = client.ended();
        assert!(record.stopped && nobody_left(&mut alive), "in {mode}");
    }
}

#[test]
fn a_killed_keeper_takes_the_command_along_and_leaves_no_record() {
    for mode in MODES {
        let world = World::new();
        let (_client, mut alive) = start(&world, mode, &format!("{SCRIPT} wait"), STUBBORN);
        let directory = world.at("jobs/a");
        kill(keeper(&directory).pid);
        // Ends when the last of them has.
        alive.read_to_end(&mut Vec::new()).unwrap();
        assert_eq!(job::state(&directory).unwrap(), JobState::Lost, "in {mode}");
        let remnants: Remnants = record::read(&directory, REMNANTS_FILE).unwrap();
        remnant::remove(&directory).unwrap();
        let made = remnants.placeholders.iter().chain(&remnants.cgroup);
        let left: Vec<_> = made.filter(|path| path.exists()).collect();
        assert!(left.is_empty(), "{left:?} in {mode}");
        assert!(!remnant::are_left(&directory));
    }
}

#[test]
fn a_control_group_ends_what_nobody_else_can() {
    let world = World::new();
    let (_client, mut alive) = start(
        &world,
        Mode::FullAccess,
        &format!("{SCRIPT} wait"),
        STUBBORN,
    );
    let directory = world.at("jobs/a");
    let keeper = keeper(&directory);
    let remnants: Remnants = record::read(&directory, REMNANTS_FILE).unwrap();
    let held = remnants.cgroup.is_some_and(|cgroup| cgroup.exists());
    // The keeper first, and stopped before it: so it can do nothing when its child goes.
    let pid = rustix::process::Pid::from_raw(keeper.pid as i32).unwrap();
    let warden = child(keeper.pid);
    rustix::process::kill_process(pid, rustix::process::Signal::STOP).unwrap();
    kill(warden);
    kill(keeper.pid);
    remnant::remove(&directory).unwrap();
    if held {
        alive.read_to_end(&mut Vec::new()).unwrap();
    } else {
        common::skipped("no control group can be made here");
    }
}

#[test]
fn the_command_is_killed_for_memory_before_those_who_look_after_it() {
    for mode in MODES {
        let world = World::new();
        let mut spec = world.spec("a", "cat /proc/self/oom_score_adj; read x");
        spec.profile.mode = mode;
        spec.pty = Some(Size {
            columns: 80,
            rows: 24,
        });
        let mut client = Client::start(&spec);
        client.grown_to(4);
        let keeper = keeper(&spec.directory).pid;
        let score = |pid: u32| fs::read_to_string(format!("/proc/{pid}/oom_score_adj")).unwrap();
        let own = score(std::process::id());
        assert_eq!(score(keeper), own, "in {mode}");
        assert_eq!(score(child(keeper)), own, "in {mode}");
        client.ask(&Request::Write(b"\n".to_vec()));
        client.ended();
        assert!(text(&spec.directory).starts_with("500"), "in {mode}");
    }
}

#[test]
fn a_jobs_directory_explains_itself_and_knows_when_it_is_detached() {
    let world = World::new();
    let spec = world.spec("a", "echo in; exec sleep 600");
    let mut client = Client::start(&spec);
    client.grown_to(3);
    let told: JobRecord = record::read(&spec.directory, JOB_FILE).unwrap();
    assert_eq!(told.label, spec.label);
    assert_eq!((told.cwd, told.pty), (spec.cwd, false));
    assert_eq!(told.started_ms, keeper(&spec.directory).started_ms);
    client.order(Order::Detach { ms: 200 });
    client.until(|event| (event == Event::Done).then_some(()));
    let told: JobRecord = record::read(&spec.directory, JOB_FILE).unwrap();
    assert_eq!(told.label.lifetime, Lifetime::Detached);
    // A longer time does not undo a shorter one.
    client.order(Order::Detach { ms: u64::MAX });
    let ended = client.ended();
    assert!(ended.timed_out && !ended.stopped, "{ended:?}");
}

#[test]
fn a_keeper_needs_little_memory() {
    let world = World::new();
    let spec = world.spec("a", "echo in; exec sleep 600");
    let mut client = Client::start(&spec);
    client.grown_to(3);
    let pid = keeper(&spec.directory).pid;
    let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap();
    let kib = |name: &str| -> u64 {
        let line = rollup.lines().find(|line| line.starts_with(name)).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    };
    // What a build without optimization maps of its program is shared by all keepers.
    let own = kib("Pss_Anon:");
    common::told(&format!(
        "a keeper: {own} KiB of its own, {} KiB in all",
        kib("Pss:")
    ));
    assert!(own < 1024, "{rollup}");
    client.order(Order::Stop);
    client.ended();
}

#[test]
fn a_full_disk_refuses_a_job_or_lets_it_leave_its_record() {
    if !common::has(Layer::Namespaces) {
        return;
    }
    let world = World::new();
    let disk = world.at("disk");
    fs::create_dir(&disk).unwrap();
    // In a mount namespace of its own, so that an ordinary user can have a disk that is full.
    let script = r#"
        mount -t tmpfs -o size=256k,mode=700 tmpfs "$1" && shift && exec "$@"
    "#;
    let test = std::env::current_exe().unwrap();
    let output = std::process::Command::new("unshare")
        .args([
            "--user",
            "--map-root-user",
            "--mount",
            "sh",
            "-c",
            script,
            "sh",
        ])
        .arg(&disk)
        .arg(test)
        .args([
            "--exact",
            "on_a_small_disk",
            "--include-ignored",
            "--nocapture",
        ])
        .env("SMALL_DISK", &disk)
        .output();
    let output = match output {
        Ok(output) => output,
        Err(error) => return common::skipped(&format!("no `unshare`: {error}")),
    };
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success() && said.contains("1 passed"),
        "{said}"
    );
}

/// Run by the test above, with the disk made.
#[test]
#[ignore = "needs a small disk"]
fn on_a_small_disk() {
    let Some(disk) = std::env::var_os("SMALL_DISK").map(std::path::PathBuf::from) else {
        return;
    };
    let world = World::new();
    let job = |name: &str, script: String| {
        let mut spec = world.spec(name, &script);
        spec.directory = disk.join(name);
        spec.profile.mode = Mode::FullAccess;
        spec
    };
    let fill = format!(
        "cat /dev/zero > {}; echo full; exit 3",
        disk.join("zero").display()
    );
    let filled = job("a", fill);
    let record = Client::start(&filled).ended();
    assert_eq!(record.code, Some(3));
    assert!(
        record.output_bytes > 0 && record.dropped_bytes > 0,
        "{record:?}"
    );
    assert_eq!(common::recorded(&filled.directory), record);
    let ran = world.at("ws/ran");
    let refused = job("b", format!("echo x > {}", ran.display()));
    let told = Client::start(&refused).event();
    assert!(
        matches!(&told, Some(Event::Refused(why)) if why.contains("No space left")),
        "{told:?}"
    );
    let mut left: Vec<_> = fs::read_dir(&disk)
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    left.sort();
    assert_eq!(left, ["a", "zero"]);
    assert!(!ran.exists());
}
