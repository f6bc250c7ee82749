//! The `keep` form, by the real program: a job from its start to its record.

#![cfg(target_os = "linux")]

mod common;

use std::{fs, os::unix::fs::PermissionsExt, time::Duration};

use common::{Client, World, output, recorded, text};
use quire_sandbox::{
    job::{self, JobState, OutputReader, Stream},
    spec::{Layer, Limits, Mode, Size, Stdin},
    wire::{Event, Order, Request},
};

#[test]
fn a_job_leaves_its_output_and_its_record() {
    let world = World::new();
    let spec = world.spec("a", "echo out; echo err >&2; exit 3");
    let told = Client::start(&spec).ended();
    assert_eq!(
        (told.code, told.output_bytes, told.dropped_bytes),
        (Some(3), 8, 0)
    );
    assert_eq!(recorded(&spec.directory), told);
    let mut reader = OutputReader::new(spec.directory.clone(), 0);
    let mut pieces = Vec::new();
    while let Some(chunk) = reader.read(100).unwrap() {
        pieces.push((chunk.stream, chunk.bytes));
    }
    pieces.sort_by_key(|(stream, _)| *stream == Stream::Stderr);
    assert_eq!(
        pieces,
        [
            (Stream::Stdout, b"out\n".to_vec()),
            (Stream::Stderr, b"err\n".to_vec())
        ]
    );
    let mode = fs::metadata(&spec.directory).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o700);
}

#[test]
fn a_job_is_started_once() {
    let world = World::new();
    let spec = world.spec("a", "echo ran >> count");
    Client::start(&spec).ended();
    assert_eq!(Client::start(&spec).event(), Some(Event::AlreadyStarted));
    assert_eq!(fs::read_to_string(world.at("ws/count")).unwrap(), "ran\n");
    let left: Vec<_> = fs::read_dir(world.at("jobs"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    assert_eq!(left, ["a"]);
}

#[test]
fn a_job_goes_on_when_nobody_is_connected() {
    let world = World::new();
    let spec = world.spec("a", "cat fifo; echo end");
    rustix::fs::mknodat(
        rustix::fs::CWD,
        world.at("ws/fifo"),
        rustix::fs::FileType::Fifo,
        0o600.into(),
        0,
    )
    .unwrap();
    let mut first = Client::start(&spec);
    first.until(|event| matches!(event, Event::Started(_)).then_some(()));
    drop(first);
    assert!(matches!(
        job::state(&spec.directory).unwrap(),
        JobState::Running(_)
    ));
    let mut second = Client::connect(&spec.directory);
    fs::write(world.at("ws/fifo"), "middle\n").unwrap();
    assert_eq!(second.ended().code, Some(0));
    assert_eq!(text(&spec.directory), "middle\nend\n");
}

#[test]
fn input_is_written_and_closed() {
    let world = World::new();
    let mut spec = world.spec("a", "cat; echo end");
    spec.stdin = Stdin::Pipe;
    let mut client = Client::start(&spec);
    // More than a pipe holds.
    let line = "0123456789".repeat(20_000);
    client.ask(&Request::Write(line.clone().into_bytes()));
    client.until(|event| (event == Event::Done).then_some(()));
    client.order(Order::CloseStdin);
    assert_eq!(client.ended().code, Some(0));
    assert_eq!(text(&spec.directory), format!("{line}end\n"));
}

#[test]
fn input_that_is_closed_is_refused() {
    let world = World::new();
    let spec = world.spec("a", "cat; sleep 600");
    let mut client = Client::start(&spec);
    client.ask(&Request::Write(b"x".to_vec()));
    client.until(|event| matches!(event, Event::Denied(_)).then_some(()));
    client.order(Order::Resize(Size {
        columns: 1,
        rows: 1,
    }));
    client.until(|event| matches!(event, Event::Denied(_)).then_some(()));
    client.order(Order::Signal(9));
    assert_eq!(client.ended().signal, Some(9));
}

#[test]
fn a_terminal_is_one_and_can_be_resized() {
    let world = World::new();
    let mut spec = world.spec(
        "a",
        "tty >/dev/null && stty size; read x; stty size; echo got $x",
    );
    spec.pty = Some(Size {
        columns: 100,
        rows: 30,
    });
    let mut client = Client::start(&spec);
    client.grown_to(6);
    client.order(Order::Resize(Size {
        columns: 120,
        rows: 40,
    }));
    client.until(|event| (event == Event::Done).then_some(()));
    client.ask(&Request::Write(b"hello\n".to_vec()));
    assert_eq!(client.ended().code, Some(0));
    let text = text(&spec.directory);
    assert_eq!(text, "30 100\r\nhello\r\n40 120\r\ngot hello\r\n");
}

#[test]
fn a_stopped_job_is_gone_with_all_its_processes() {
    for mode in [Mode::WorkspaceWrite, Mode::FullAccess] {
        let world = World::new();
        let mut spec = world.spec(
            "a",
            "setsid sh -c 'trap \"\" HUP; echo in; sleep 600' & wait",
        );
        spec.profile.mode = mode;
        let mut client = Client::start(&spec);
        client.grown_to(3);
        client.order(Order::Stop);
        let record = client.ended();
        assert!(record.stopped, "{record:?}");
        // The shell may see its child die first, and says the same in its own words.
        assert_eq!(record.status(), Some(143), "in {mode}: {record:?}");
    }
}

#[test]
fn what_ignores_the_request_to_end_is_killed() {
    let world = World::new();
    let mut spec = world.spec("a", "trap '' TERM; echo in; while :; do sleep 1; done");
    spec.limits.wall = Some(Duration::from_millis(300));
    let mut client = Client::start(&spec);
    let record = client.ended();
    assert!(record.timed_out && !record.stopped, "{record:?}");
    assert_eq!(record.signal, Some(9));
}

#[test]
fn the_middle_of_much_output_is_dropped_and_counted() {
    let world = World::new();
    let mut spec = world.spec("a", "head -c 5000000 /dev/zero | tr '\\0' a; echo end");
    spec.limits = Limits {
        output_bytes: 1 << 20,
        ..Limits::default()
    };
    let record = Client::start(&spec).ended();
    assert_eq!(record.output_bytes, 5_000_004);
    let (bytes, dropped) = output(&spec.directory);
    assert_eq!(dropped, record.dropped_bytes);
    assert_eq!(bytes.len() as u64 + dropped, record.output_bytes);
    assert!(bytes.len() <= 1 << 20 && bytes.ends_with(b"aend\n"));
}

#[test]
fn a_client_that_never_reads_holds_nobody_up() {
    let world = World::new();
    let spec = world.spec("a", "while read x; do echo $x; done < fifo; i=0; while [ $i -lt 20000 ]; do echo line; i=$((i+1)); done");
    rustix::fs::mknodat(
        rustix::fs::CWD,
        world.at("ws/fifo"),
        rustix::fs::FileType::Fifo,
        0o600.into(),
        0,
    )
    .unwrap();
    let mut client = Client::start(&spec);
    client.until(|event| matches!(event, Event::Started(_)).then_some(()));
    let _frozen = Client::connect(&spec.directory);
    fs::write(world.at("ws/fifo"), "go\n").unwrap();
    assert_eq!(client.ended().output_bytes, 3 + 20_000 * 5);
}

#[test]
fn without_a_layer_that_is_required_nothing_runs() {
    let world = World::new();
    let mut spec = world.spec("a", "echo ran > ran");
    spec.profile.require = Layer::ALL.into();
    let record = Client::start(&spec).ended();
    let all = Layer::ALL.into_iter().all(common::has);
    assert_eq!(record.never_ran, !all, "{record:?}");
    assert_eq!(world.at("ws/ran").exists(), all);
}

#[test]
fn a_command_that_cannot_be_run_ends_at_once() {
    let world = World::new();
    let mut missing = world.spec("a", "");
    missing.argv = vec!["no-such-program".into()];
    let record = Client::start(&missing).ended();
    assert_eq!((record.code, record.never_ran), (Some(127), true));
    let mut nowhere = world.spec("b", "echo ran");
    nowhere.cwd = world.at("none");
    let record = Client::start(&nowhere).ended();
    assert!(
        record.never_ran
            && record
                .error
                .as_ref()
                .is_some_and(|error| error.contains("cannot enter")),
        "{record:?}"
    );
}

#[test]
fn scratch_lasts_from_one_command_to_the_next() {
    if !common::has(Layer::Namespaces) {
        return;
    }
    let world = World::new();
    for (name, script, want) in [
        ("a", "echo x > /tmp/f; echo y > ~/g", ""),
        ("b", "cat /tmp/f ~/g", "x\ny\n"),
    ] {
        let mut spec = world.spec(name, script);
        spec.profile.scratch = Some(world.at("jobs/scratch"));
        assert_eq!(Client::start(&spec).ended().code, Some(0));
        assert_eq!(text(&spec.directory), want);
    }
}
