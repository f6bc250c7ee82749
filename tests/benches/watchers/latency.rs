//! From a word's being said by the model until a watcher has it, by how many watch.

use std::time::Duration;

use quire_proto::v1::{event::Body, session_service_watch_response::Update};
use quire_tests::{
    home::{Home, provider},
    model::Wire,
    rpc::Rpc,
    ticker::{Ticker, WORD, age},
};

use super::{
    Figure,
    watching::{Stopped, Updates, connected, next, past, readers, watch},
};

/// Words a second, and how many are said.
const RATE: u32 = 500;
const WORDS: u32 = 5_000;
/// Those left out at the beginning.
const WARMING: usize = 500;

/// Who watches: so many that read, and so many that have stopped.
const CROWDS: [(usize, usize); 5] = [(1, 0), (10, 0), (50, 0), (50, 5), (100, 0)];

pub(crate) fn figures() -> Vec<Figure> {
    let ticker = Ticker::saying(WORDS, Duration::from_secs(1) / RATE);
    let mut alone = None;
    let mut figures = Vec::new();
    for (readers, stopped) in CROWDS {
        let ages = heard(&ticker, readers, stopped);
        let parts = [50, 99].map(|part| ages[(ages.len() - 1) * part / 100]);
        let base = *alone.get_or_insert(parts);
        let more = match stopped {
            0 => String::new(),
            stopped => format!(" beside {stopped} stopped"),
        };
        for (nth, part) in [(0, "p50"), (1, "p99")] {
            figures.push(Figure {
                name: format!("word said to word heard, {readers} watchers{more}, {part}"),
                value: millis(parts[nth]),
                unit: "ms",
                baseline: Some((millis(base[nth]), "one watcher")),
                aim: (part == "p99").then_some(20.0),
            });
        }
    }
    figures
}

/// How old words were when they were heard, of all watchers, the freshest first.
fn heard(ticker: &Ticker, readers_count: usize, stopped: usize) -> Vec<Duration> {
    let home = Home::new();
    home.configure(&provider(&ticker.base_url(), Wire::Chat));
    let rpc = Rpc::starting(&home);
    let session = rpc.create(&home, &home.work()).id;
    let _stopped = (stopped > 0).then(|| Stopped::watching(&home, &session, stopped));
    let runtime = readers();
    let watches: Vec<_> = (0..readers_count)
        .map(|_| {
            runtime.block_on(async {
                let mut updates = watch(&mut connected(&home).await, &session, 0).await;
                past(&mut updates).await;
                updates
            })
        })
        .map(|updates| runtime.spawn(listen(updates)))
        .collect();
    rpc.prompt(&session, "speak");
    let mut ages = Vec::new();
    for watch in watches {
        ages.extend(rpc.wait(watch).expect("a watcher hears the turn's end"));
    }
    assert!(ages.len() > readers_count * (WORDS as usize - WARMING) * 9 / 10);
    ages.sort_unstable();
    ages
}

/// Ages of the words of one turn as they come.
async fn listen(mut updates: Updates) -> Vec<Duration> {
    let mut ages = Vec::with_capacity(WORDS as usize);
    let mut rest = Vec::new();
    while let Some(update) = next(&mut updates).await {
        match update {
            Update::Delta(delta) => {
                rest.extend(delta.data);
                let whole = rest.len() / WORD * WORD;
                ages.extend(rest.drain(..whole).as_slice().chunks(WORD).filter_map(age));
            }
            Update::Event(event) if matches!(event.body, Some(Body::TurnEnded(_))) => break,
            _ => {}
        }
    }
    ages.split_off(WARMING.min(ages.len()))
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1_000.0
}
