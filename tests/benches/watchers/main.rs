//! What many terminals cost: `cargo bench -p quire-tests --bench watchers`.
//!
//! Streams 500 pieces a second to 1, 10 and 50 watchers, with and without some that have stopped; reads
//! sessions of 10,000 events with and without a snapshot; weighs idle sessions, clients that watch and
//! clients that have stopped reading; and counts how often an idle daemon wakes. Each figure stands
//! beside its baseline of the same run and what is aimed for. Never part of `cargo test`.

#![expect(clippy::print_stdout, reason = "printing figures is what it is for")]

mod latency;
mod memory;
mod replay;
mod watching;

use quire_tests::binaries::binaries;

/// One line of the result.
struct Figure {
    name: String,
    value: f64,
    unit: &'static str,
    /// What it is compared with, in the same run.
    baseline: Option<(f64, &'static str)>,
    aim: Option<f64>,
}

fn main() {
    let _ = binaries();
    println!(
        "{:<52}{:>14}{:>12}{:>8}{:>10}  baseline",
        "figure", "value", "baseline", "ratio", "aim"
    );
    let parts: [fn() -> Vec<Figure>; 3] = [memory::figures, replay::figures, latency::figures];
    for part in parts {
        part().iter().for_each(show);
    }
}

fn show(figure: &Figure) {
    let amount = |value: f64| format!("{value:.2} {}", figure.unit);
    let (baseline, ratio, what) = match figure.baseline {
        Some((base, what)) => (amount(base), format!("{:.2}", figure.value / base), what),
        None => (String::new(), String::new(), ""),
    };
    let aim = figure.aim.map_or(String::new(), |aim| format!("< {aim}"));
    println!(
        "{:<52}{:>14}{baseline:>12}{ratio:>8}{aim:>10}  {what}",
        figure.name,
        amount(figure.value)
    );
}
