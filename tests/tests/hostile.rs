//! Clients of our own user that mean harm, or know no better (FAULTS 52 to 54): garbage, messages of no
//! schema, floods. Whatever they do, the daemon lives, the others are served, and it costs at most one core.

#![allow(clippy::unwrap_used, reason = "a test that can't go on has failed")]

use std::{
    fs,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use quire_proto::{TOKEN_KEY, id::RequestId, v1::TurnServicePromptRequest};
use quire_tests::{
    dice::{Dice, count, tell},
    frames::{PREFACE, Rogue, Seen, call, field, flag, frame, kind},
    guide::rpcs,
    home::Home,
    model::{MockModel, Reply, Wire},
    processes::{Usage, proportional},
    rpc::Rpc,
    stranger::{Answer, Stranger, message},
    wait,
};
use rustix::process::Pid;
use tonic::Code;

/// A daemon under attack, someone who watches a session meanwhile, and what it has used so far.
struct Besieged {
    home: Home,
    _model: MockModel,
    rpc: Rpc,
    session: String,
    daemon: Pid,
    memory: u64,
    usage: Usage,
    since: Instant,
}

impl Besieged {
    fn new() -> Self {
        let model = MockModel::playing([Reply::say("all is well")]);
        let home = Home::asking(&model, Wire::Responses);
        let rpc = Rpc::starting(&home);
        let session = rpc.create(&home, &home.work()).id;
        let daemon = home.daemon().expect("a daemon");
        let mut besieged = Self {
            memory: 0,
            usage: Usage::default(),
            since: Instant::now(),
            daemon,
            session,
            rpc,
            home,
            _model: model,
        };
        // What the first prompt of all takes is not the attackers' doing.
        besieged.others_are_served("before");
        besieged.memory = proportional(daemon);
        besieged.usage = Usage::of(daemon);
        besieged.since = Instant::now();
        besieged
    }

    /// A prompt of somebody else is answered.
    fn others_are_served(&self, during: &str) {
        let run = self.home.quire(["exec", "go"]).run();
        let told = (run.code, run.stdout.trim_end());
        assert_eq!(told, (0, "all is well"), "{during}: {}", run.stderr);
    }

    /// Memory beyond what it had before, in KiB.
    fn grown(&self) -> u64 {
        proportional(self.daemon).saturating_sub(self.memory) / 1024
    }

    /// The same daemon is there, panicked nowhere, and grew by less than `most` KiB.
    fn held(&self, most: u64, told: &str) {
        assert_eq!(self.home.daemon(), Some(self.daemon), "{told}: it is gone");
        let log = self.home.paths().logs().join("quired.log");
        let log = fs::read_to_string(log).unwrap();
        assert!(!log.contains("panicked"), "{told}: {log}");
        assert_eq!(self.rpc.session(&self.session).id, self.session, "{told}");
        // What a connection had is given back when it is gone, which the daemon sees a moment later.
        let last = wait::within(Duration::from_secs(5), || {
            Some(self.grown()).filter(|grown| *grown < most)
        });
        assert!(last.is_some(), "{told}: grew by {} KiB", self.grown());
        let ticks = Usage::of(self.daemon).since(self.usage).ticks;
        let wall = self.since.elapsed();
        let cores = Duration::from_millis(10 * ticks).as_secs_f64() / wall.as_secs_f64();
        tell(&format!(
            "{told}: {cores:.2} cores, {} KiB more",
            self.grown()
        ));
        // Others are served meanwhile; that is in it too.
        assert!(cores < 1.3, "{told}: {cores} cores for {wall:?}");
    }
}

/// Bytes that are no beginning of HTTP/2, or soon none any more.
fn garbage(dice: &mut Dice) -> Vec<u8> {
    let noise = |dice: &mut Dice, most: usize| -> Vec<u8> {
        let length = dice.below(most) + 1;
        let bytes = (0..length).map(|_| u8::try_from(dice.below(256)).unwrap());
        bytes.collect()
    };
    let settings = frame(kind::SETTINGS, 0, 0, &[]);
    match dice.below(6) {
        0 => noise(dice, 4_000),
        1 => b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n".to_vec(),
        // A handshake of TLS.
        2 => [&[0x16, 3, 1, 2, 0, 1][..], &noise(dice, 500)].concat(),
        3 => [PREFACE, &noise(dice, 4_000)].concat(),
        // A frame longer than any may be.
        4 => [PREFACE, &settings, &[0xff; 9]].concat(),
        // Frames that look like some, with nothing of sense in them.
        _ => {
            let mut bytes = [PREFACE, &settings].concat();
            for _ in 0..8 {
                let (kind, flags) = (dice.below(12), dice.below(256));
                let stream = u32::try_from(dice.below(8)).unwrap();
                let payload = noise(dice, 60);
                let (kind, flags) = (kind.try_into().unwrap(), flags.try_into().unwrap());
                bytes.extend(frame(kind, flags, stream, &payload));
            }
            bytes
        }
    }
}

/// Bytes as a message might have them: fields of any number and kind, whole or not.
fn fields(dice: &mut Dice) -> Vec<u8> {
    let mut bytes = Vec::new();
    for _ in 0..=dice.below(6) {
        let (number, wire) = (dice.below(12) + 1, dice.below(8));
        bytes.push(u8::try_from(number << 3 | wire).unwrap());
        let length = dice.below(20);
        if wire == 2 {
            // Sometimes more is announced than comes.
            bytes.push(u8::try_from(length + dice.below(3)).unwrap());
        }
        bytes.extend((0..length).map(|_| u8::try_from(dice.below(256)).unwrap()));
    }
    bytes
}

/// Row 52: whoever sends garbage loses that connection, and nobody else loses anything.
#[test]
fn garbage_costs_its_sender_the_connection_and_nobody_else() {
    let besieged = Besieged::new();
    let watcher = besieged.rpc.watch(&besieged.session, None);
    watcher.until("the past", |view| view.synced);
    let mut dice = Dice::rolled();
    let seed = format!("QUIRE_SEED={}", dice.seed());
    for round in 0..count("QUIRE_FUZZ", 2_000) / 10 {
        let mut rogue = Rogue::connect(&besieged.home);
        rogue.send(&garbage(&mut dice));
        rogue.half_close();
        wait::until(&format!("round {round} of {seed} to be closed"), || {
            rogue.seen().closed
        });
    }
    besieged.others_are_served(&seed);
    besieged.rpc.prompt(&besieged.session, "go");
    watcher.until_turns_ended(1);
    besieged.held(16 << 10, "garbage");
}

/// Row 52: what is no message of the schema is told so, by every RPC, and the connection goes on.
#[test]
fn messages_of_no_schema_are_refused_by_every_rpc() {
    let besieged = Besieged::new();
    let mut stranger = Stranger::connect(&besieged.home);
    let mut dice = Dice::rolled();
    let seed = format!("QUIRE_SEED={}", dice.seed());
    let paths: Vec<_> = rpcs().iter().map(|name| name.replace('.', "/")).collect();
    let broken = Answer {
        code: Code::InvalidArgument,
        reason: "INVALID".to_owned(),
    };
    for path in &paths {
        // A field whose length is never over.
        let answer = stranger.call(path, &[], message(false, &[0x0a, 0xff]));
        assert_eq!(answer.unwrap(), broken, "{path}");
    }
    for round in 0..count("QUIRE_FUZZ", 2_000) {
        let path = &paths[dice.below(paths.len())];
        let mut body = message(false, &fields(&mut dice));
        if dice.below(4) == 0 {
            // No frame of gRPC either.
            body = fields(&mut dice);
        }
        match stranger.call(path, &[], body) {
            Ok(answer) => {
                let ours = answer.code == Code::Ok || !answer.reason.is_empty();
                assert!(ours, "{path} in round {round} of {seed}: {answer:?}");
                let bad = [Code::Unknown, Code::Internal];
                assert!(!bad.contains(&answer.code), "{path}: {answer:?} of {seed}");
            }
            Err(error) => {
                // A body that isn't whole may end its stream, but not the others'.
                assert!(error.is_reset(), "{path}, {round} of {seed}: {error}");
                stranger = Stranger::connect(&besieged.home);
            }
        }
    }
    besieged.others_are_served(&seed);
    besieged.held(16 << 10, "messages of no schema");
}

/// Row 53: a message that is too large, or says that it is, or is compressed, is refused unread.
#[test]
fn what_is_too_large_is_refused_and_takes_no_memory() {
    use prost::Message as _;
    let besieged = Besieged::new();
    let stranger = Stranger::connect(&besieged.home);
    let prompt = TurnServicePromptRequest {
        request_id: RequestId::random().to_string(),
        session: besieged.session.clone(),
        prompt: Some(quire_proto::v1::PromptItem {
            text: "x".repeat(5 << 20),
            ..Default::default()
        }),
        ..Default::default()
    };
    let large = message(false, &prompt.encode_to_vec());
    let mut endless = message(false, b"begun");
    endless[1..5].copy_from_slice(&u32::MAX.to_be_bytes());
    let bomb = message(true, &[0x1f; 1_000]);
    let too_large = (Code::ResourceExhausted, "TOO_LARGE");
    let table = [
        ("a prompt of 5 MiB", &large, "identity", too_large),
        ("4 GiB announced", &endless, "identity", too_large),
        ("gzip", &bomb, "gzip", (Code::Unimplemented, "COMPRESSED")),
        (
            "no coding",
            &bomb,
            "identity",
            (Code::InvalidArgument, "INVALID"),
        ),
    ];
    for (what, body, encoding, (code, reason)) in table {
        for _ in 0..40 {
            let encoding = [("grpc-encoding", encoding)];
            let answer = stranger.call("TurnService/Prompt", &encoding, body.clone());
            let answer = answer.unwrap_or_else(|error| panic!("{what}: {error}"));
            assert_eq!(
                (answer.code, answer.reason.as_str()),
                (code, reason),
                "{what}"
            );
        }
    }
    assert_eq!(besieged.rpc.session(&besieged.session).turns, 0);
    besieged.others_are_served("too large");
    besieged.held(16 << 10, "too large");
}

/// A way to keep a server busy for nothing.
struct Flood {
    name: &'static str,
    /// The n-th piece of it.
    piece: fn(u32) -> Vec<u8>,
    /// Whether the daemon must end it; else it may as well just take its time.
    ends: bool,
}

/// The error code of a stream that was not begun.
const REFUSED_STREAM: u32 = 7;
/// The error code of a connection that asked for too much.
const CALM_DOWN: u32 = 11;

const PATH: &str = "/quire.v1.DaemonService/GetStatus";

/// Streams are odd numbers, and begin with 1.
fn stream(nth: u32) -> u32 {
    nth * 2 + 1
}

fn begun(nth: u32) -> Vec<u8> {
    frame(kind::HEADERS, flag::END_HEADERS, stream(nth), &call(PATH))
}

const FLOODS: [Flood; 9] = [
    Flood {
        name: "rapid reset",
        piece: |nth| {
            let reset = frame(kind::RESET, 0, stream(nth), &8_u32.to_be_bytes());
            [begun(nth), reset].concat()
        },
        ends: true,
    },
    Flood {
        name: "streams that are never ended",
        piece: begun,
        ends: false,
    },
    Flood {
        name: "endless headers",
        piece: |nth| match nth {
            0 => frame(kind::HEADERS, 0, 1, &call(PATH)),
            _ => frame(kind::CONTINUATION, 0, 1, &field("x-more", "of the same")),
        },
        ends: true,
    },
    Flood {
        name: "empty continuations",
        piece: |nth| match nth {
            0 => frame(kind::HEADERS, 0, 1, &call(PATH)),
            _ => frame(kind::CONTINUATION, 0, 1, &[]),
        },
        ends: true,
    },
    Flood {
        name: "windows beyond all bounds",
        piece: |_| frame(kind::WINDOW_UPDATE, 0, 0, &0x7fff_ffff_u32.to_be_bytes()),
        ends: true,
    },
    Flood {
        name: "pings",
        piece: |nth| frame(kind::PING, 0, 0, &[nth.to_be_bytes(), [0; 4]].concat()),
        ends: false,
    },
    Flood {
        name: "settings",
        piece: |nth| {
            frame(
                kind::SETTINGS,
                0,
                0,
                &[&[0, 4], &nth.to_be_bytes()[..]].concat(),
            )
        },
        ends: false,
    },
    Flood {
        name: "priorities",
        piece: |nth| frame(kind::PRIORITY, 0, stream(nth), &[0, 0, 0, 0, 1]),
        ends: false,
    },
    Flood {
        name: "empty data",
        piece: |nth| match nth {
            0 => begun(0),
            _ => frame(kind::DATA, 0, 1, &[]),
        },
        ends: false,
    },
];

/// Floods until told to stop, on one connection after the other. What was said on one that was ended, or on
/// the last.
fn flood(home: &Home, flood: &Flood, stop: &AtomicBool) -> Seen {
    let mut ended = None;
    loop {
        let mut rogue = Rogue::greeting(home);
        for round in 0..200 {
            let pieces = round * 500..(round + 1) * 500;
            let bytes: Vec<u8> = pieces.flat_map(flood.piece).collect();
            let open = rogue.send(&bytes);
            // One that has to be ended is gone on with until it is.
            if !open || (!flood.ends && stop.load(Ordering::SeqCst)) {
                break;
            }
        }
        // What the daemon says last may come a moment after it took the last bytes.
        if flood.ends {
            wait::until("the flood to be ended", || rogue.seen().closed);
        }
        let seen = rogue.seen();
        if seen.closed {
            ended = Some(seen.clone());
        }
        if stop.load(Ordering::SeqCst) {
            return ended.unwrap_or(seen);
        }
    }
}

/// Row 54: floods are ended or slowed, cost at most a core, and others are served meanwhile.
#[test]
fn floods_end_with_a_farewell_and_others_are_served_meanwhile() {
    for kind in &FLOODS {
        let besieged = Besieged::new();
        let stop = AtomicBool::new(false);
        let seen = thread::scope(|scope| {
            let flooding = scope.spawn(|| flood(&besieged.home, kind, &stop));
            for _ in 0..3 {
                besieged.others_are_served(kind.name);
            }
            stop.store(true, Ordering::SeqCst);
            flooding.join().unwrap()
        });
        assert!(seen.closed || !kind.ends, "{}: {seen:?}", kind.name);
        if kind.ends {
            let told = seen.goaway.is_some();
            assert!(told, "{} was ended without a word: {seen:?}", kind.name);
        }
        let told = format!("{}, goaway {:?}", kind.name, seen.goaway);
        besieged.held(24 << 10, &told);
    }
}

/// Row 54: of 10,000 streams on one connection the daemon takes as many as it said it would.
#[test]
fn ten_thousand_streams_on_one_connection_are_not_taken() {
    let besieged = Besieged::new();
    let token = besieged.home.paths().token().unwrap();
    let head = [call(PATH), field(TOKEN_KEY, &token)].concat();
    let mut rogue = Rogue::greeting(&besieged.home);
    for nth in 0..10_000 {
        // Their bodies never come, so that those that are taken stay.
        let begun = frame(kind::HEADERS, flag::END_HEADERS, stream(nth), &head);
        if !rogue.send(&begun) {
            break;
        }
    }
    wait::until("the connection to be closed", || rogue.seen().closed);
    let seen = rogue.seen();
    let refused = seen.resets.get(&REFUSED_STREAM).copied();
    assert!(refused.is_some_and(|refused| refused > 100), "{seen:?}");
    assert_eq!(seen.goaway, Some(CALM_DOWN), "{seen:?}");
    besieged.others_are_served("ten thousand streams");
    let told = format!("ten thousand streams, {refused:?} refused");
    besieged.held(16 << 10, &told);
}

/// Row 54: connections that begin and don't go on cost next to nothing, and nobody waits for them.
#[test]
fn connections_that_stop_halfway_cost_next_to_nothing() {
    let beginnings: [(&str, Vec<u8>); 5] = [
        ("nothing", Vec::new()),
        ("half a preface", PREFACE[..12].to_vec()),
        ("half a frame", [PREFACE, &[0, 0, 9, 4]].concat()),
        ("half a head", half_a_head()),
        (
            "a call without a body",
            [PREFACE, &frame(kind::SETTINGS, 0, 0, &[]), &begun(0)].concat(),
        ),
    ];
    for (what, bytes) in beginnings {
        let besieged = Besieged::new();
        let crowd = 100;
        let rogues: Vec<_> = (0..crowd)
            .map(|_| {
                let mut rogue = Rogue::connect(&besieged.home);
                rogue.send(&bytes);
                rogue
            })
            .collect();
        wait::until("all to be taken in", || {
            open_descriptors(besieged.daemon) > crowd
        });
        let each = besieged.grown() / crowd as u64;
        assert!(each < 128, "{what}: {each} KiB for each connection");
        let before = Usage::of(besieged.daemon);
        wait::pass(Duration::from_millis(500));
        let idle = Usage::of(besieged.daemon).since(before).ticks;
        assert!(idle < 10, "{what}: {idle} ticks in half a second");
        besieged.others_are_served(what);
        drop(rogues);
        besieged.held(16 << 10, &format!("{what}, {each} KiB each"));
    }
}

fn open_descriptors(pid: Pid) -> usize {
    let place = format!("/proc/{}/fd", pid.as_raw_nonzero());
    fs::read_dir(place).map_or(0, Iterator::count)
}

/// Headers that come byte by byte and stop before their end.
fn half_a_head() -> Vec<u8> {
    let whole = frame(kind::HEADERS, flag::END_HEADERS, 1, &call(PATH));
    let settings = frame(kind::SETTINGS, 0, 0, &[]);
    [PREFACE, &settings, &whole[..whole.len() - 5]].concat()
}
