//! What the whole path costs: `cargo bench -p quire-tests --bench path`.
//!
//! Plays `hello`, `turns50` (50 shell calls) and `stream` (20,000 one-token pieces) through the
//! release binaries against the scripted HTTP model, in the same run as its baselines: the bare
//! HTTP exchange of the very same requests, and the bare command. Prints medians; ratios to the
//! baselines are what can be compared between machines. Never part of `cargo test`.

#![expect(clippy::print_stdout, reason = "printing figures is what it is for")]

use std::{
    fs,
    os::unix::fs::MetadataExt as _,
    path::Path,
    process::{Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use quire_tests::{
    binaries::binaries,
    exchange::post,
    home::Home,
    model::{MockModel, Reply, Request, Wire},
    processes::{self, Process},
};

/// Runs of each figure of start and end.
const RUNS: usize = 15;
/// Shell calls of `turns50`.
const TURNS: usize = 50;
/// Pieces of `stream`.
const TOKENS: usize = 20_000;
/// Events that leave in one write of the model, as a network would hand them over.
const BATCH: usize = 16;

/// One line of the result.
struct Figure {
    name: &'static str,
    value: f64,
    unit: &'static str,
    /// The same without Quire, where that makes sense.
    baseline: Option<f64>,
    aim: f64,
    /// The best that another agent did, by the project's measurements.
    peer: &'static str,
}

fn main() {
    let _ = binaries();
    println!(
        "{:<34}{:>12}{:>12}{:>8}{:>10}  peers on such a machine",
        "figure", "median", "baseline", "ratio", "aim"
    );
    for figure in [hello(), turns(), vec![stream()], memory()]
        .into_iter()
        .flatten()
    {
        show(&figure);
    }
}

fn show(figure: &Figure) {
    let amount = |value: f64| format!("{value:.1} {}", figure.unit);
    let baseline = figure.baseline.map_or(String::new(), amount);
    let ratio = figure
        .baseline
        .map_or(String::new(), |base| format!("{:.2}", figure.value / base));
    println!(
        "{:<34}{:>12}{:>12}{:>8}{:>10}  {}",
        figure.name,
        amount(figure.value),
        baseline,
        ratio,
        format!("{:.0}", figure.aim),
        figure.peer
    );
}

/// Start to end of a one-message turn, with a warm daemon and with none; the first request.
fn hello() -> Vec<Figure> {
    let model = MockModel::playing([Reply::say("Hello from the mock model. All done.")]);
    let home = Home::asking(&model, Wire::Responses);
    exec(&home);
    let warm = median((0..RUNS).map(|_| exec(&home)));
    let cold = median((0..RUNS).map(|_| {
        assert_eq!(home.quire(["daemon", "stop"]).run().code, 0);
        exec(&home)
    }));
    let requests = model.requests();
    let bare = median((0..RUNS).map(|_| exchange(&model, &requests[..1])));
    let start = median((0..RUNS).map(|_| bare_command("true")));
    let baseline = Some(millis(bare + start));
    let figure = |name, value, aim, peer| Figure {
        name,
        value: millis(value),
        unit: "ms",
        baseline,
        aim,
        peer,
    };
    vec![
        figure(
            "quire exec, warm",
            warm,
            40.0,
            "230 / 760 / 4,900 / 2,700 ms",
        ),
        figure("quire exec, no daemon", cold, 120.0, ""),
        Figure {
            name: "first request",
            value: kilobytes(requests[0].bytes as u64),
            unit: "KB",
            baseline: None,
            aim: 24.0,
            peer: "38 / 116 / 31 / 50 KB",
        },
    ]
}

/// What the harness adds to each shell call, and what fifty of them leave on disk.
fn turns() -> Vec<Figure> {
    let calls = (0..TURNS).map(|nth| Reply::shell(&format!("echo {nth}")));
    let model = MockModel::playing(calls.chain([Reply::say("All fifty commands ran.")]));
    let home = Home::asking(&model, Wire::Responses);
    exec(&home);
    assert_eq!(home.quire(["daemon", "stop"]).run().code, 0);
    let disk = disk(&home.quire_home());
    exec(&home);
    let walls = (0..3).map(|_| {
        let before = model.requests().len();
        exec(&home);
        let requests = model.requests().split_off(before);
        assert_eq!(requests.len(), TURNS + 1);
        requests[TURNS].at - requests[0].at
    });
    let wall = median(walls.collect::<Vec<_>>());
    let requests = model.requests();
    let exchanges = exchange(&model, &requests[..TURNS]);
    let begin = Instant::now();
    (0..TURNS).for_each(|nth| {
        bare_command(&format!("echo {nth}"));
    });
    let bare = exchanges + begin.elapsed();
    let each = |all: Duration| millis(all) / TURNS as f64;
    vec![
        Figure {
            name: "tool turn, all in all",
            value: each(wall),
            unit: "ms",
            baseline: Some(each(bare)),
            aim: 8.0 + each(bare),
            peer: "",
        },
        Figure {
            name: "tool turn, harness alone",
            value: each(wall.saturating_sub(bare)),
            unit: "ms",
            baseline: None,
            aim: 8.0,
            peer: "74 (115 sandboxed) / 49 / 340 / 42 ms",
        },
        Figure {
            name: "disk after 50 tool turns",
            value: kilobytes(disk),
            unit: "KB",
            baseline: None,
            aim: 200.0,
            peer: "6,042 / 98 / 3,957 / 74 KB",
        },
    ]
}

/// Tokens a second from the model's first byte to the last on the client's standard output.
fn stream() -> Figure {
    let model = MockModel::playing([Reply::tokens(TOKENS).in_batches(BATCH)]);
    let home = Home::asking(&model, Wire::Responses);
    exec(&home);
    let walls = (0..5).map(|_| {
        exec(&home);
        let asked = model.requests().pop().expect("a request was made").at;
        asked.elapsed()
    });
    let wall = median(walls.collect::<Vec<_>>());
    let requests = model.requests();
    let bare = median((0..5).map(|_| exchange(&model, &requests[..1])));
    let rate = |wall: Duration| TOKENS as f64 / wall.as_secs_f64() / 1000.0;
    Figure {
        name: "stream of 20,000 tokens",
        value: rate(wall),
        unit: "k/s",
        baseline: Some(rate(bare)),
        aim: 200.0,
        peer: "63 to 118 / 16 / 4.9 / 1 k/s",
    }
}

/// Most proportional memory of all processes at once: while a command waits, and while much text
/// streams.
fn memory() -> Vec<Figure> {
    let figure = |name, value, peer| Figure {
        name,
        value: kilobytes(value) / 1024.0,
        unit: "MB",
        baseline: None,
        aim: 30.0,
        peer,
    };
    let waiting = [Reply::shell("sleep 0.5"), Reply::say("Slept well.")];
    let loud = "head -c 20000000 /dev/zero | tr '\\0' x; sleep 0.2";
    let loud = [Reply::shell(loud), Reply::say("That was loud.")];
    vec![
        figure(
            "memory, one command waits",
            peak(&waiting),
            "136 / 295 / 564 / 341 MB",
        ),
        figure(
            "memory, 20,000 tokens stream",
            peak(&[Reply::tokens(TOKENS)]),
            "",
        ),
        figure(
            "memory, a command prints 20 MB",
            peak(&loud),
            "164 / 306 / 657 / 1,021 MB",
        ),
    ]
}

fn peak(replies: &[Reply]) -> u64 {
    let model = MockModel::playing(replies.iter().cloned());
    let home = Home::asking(&model, Wire::Responses);
    assert_eq!(home.quire(["daemon", "start"]).run().code, 0);
    let done = Arc::new(AtomicBool::new(false));
    thread::scope(|scope| {
        let sampling = scope.spawn(|| {
            let mut most = 0;
            while !done.load(Ordering::Relaxed) {
                most = most.max(home.processes().iter().map(proportional).sum());
            }
            most
        });
        // Also when the run fails: the sampling would go on for ever.
        let ended = Ended(&done);
        exec(&home);
        drop(ended);
        sampling.join().unwrap_or_default()
    })
}

/// Ends the sampling when dropped.
struct Ended<'a>(&'a AtomicBool);

impl Drop for Ended<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Bytes that a process of Quire's occupies; 0 for all others.
fn proportional(process: &Process) -> u64 {
    if !process.program.starts_with(binaries().directory()) {
        return 0;
    }
    processes::proportional(process.pid)
}

/// Wall time of one `quire exec`.
fn exec(home: &Home) -> Duration {
    let run = home.quire(["exec", "go on"]).run();
    assert_eq!(run.code, 0, "{}", run.stderr);
    run.wall
}

/// Wall time of the same requests without Quire.
fn exchange(model: &MockModel, requests: &[Request]) -> Duration {
    let begin = Instant::now();
    for request in requests {
        let answer = post(&model.base_url(), "/responses", &request.key, &request.body);
        assert_eq!(answer.map(|answer| answer.status).ok(), Some(200));
    }
    begin.elapsed()
}

/// Wall time of a shell command without Quire.
fn bare_command(script: &str) -> Duration {
    let begin = Instant::now();
    let status = Command::new("/bin/sh")
        .args(["-c", script])
        .stdout(Stdio::null())
        .status();
    assert!(status.is_ok_and(|status| status.success()));
    begin.elapsed()
}

/// Bytes allocated below a directory.
fn disk(directory: &Path) -> u64 {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    let sizes = entries.map(|entry| match entry.metadata() {
        Ok(meta) if meta.is_dir() => disk(&entry.path()),
        Ok(meta) => meta.blocks() * 512,
        Err(_) => 0,
    });
    sizes.sum()
}

fn median(values: impl IntoIterator<Item = Duration>) -> Duration {
    let mut values: Vec<_> = values.into_iter().collect();
    values.sort_unstable();
    values[values.len() / 2]
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

fn kilobytes(bytes: u64) -> f64 {
    bytes as f64 / 1024.0
}
