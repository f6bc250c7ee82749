//! Counts that an environment variable raises, and chance that can be had again.
//!
//! A run that fails says its seed; `QUIRE_SEED=N` rolls the same dice again. What the machine does
//! between two instants is not repeated by that, only the instants are.

use std::{
    env,
    io::{Write as _, stderr},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

/// The count that `variable` asks for, else `usual`.
///
/// # Panics
///
/// When the variable holds no number.
#[must_use]
pub fn count(variable: &str, usual: usize) -> usize {
    let asked = env::var(variable).ok();
    asked.map_or(usual, |text| {
        let number = text.trim().parse();
        number.unwrap_or_else(|_| panic!("`{variable}` must be a number, not `{text}`"))
    })
}

/// Says something past the test runner's capture: figures that a passing test has to show.
pub fn tell(figures: &str) {
    let name = std::thread::current().name().unwrap_or("a test").to_owned();
    // A closed stderr leaves nowhere to complain to.
    let _ = writeln!(stderr(), "{name}: {figures}");
}

/// A source of pseudo-random numbers (`SplitMix64`).
#[derive(Clone, Debug)]
pub struct Dice {
    seed: u64,
    state: u64,
}

impl Dice {
    /// Those of `QUIRE_SEED`, else others each time.
    ///
    /// # Panics
    ///
    /// When the variable holds no number.
    #[must_use]
    pub fn rolled() -> Self {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let other = now.map_or(0, |since| since.subsec_nanos());
        let seed = count("QUIRE_SEED", usize::try_from(other).unwrap_or_default());
        Self::of(seed as u64)
    }

    /// Those of this seed.
    #[must_use]
    pub fn of(seed: u64) -> Self {
        Self { seed, state: seed }
    }

    /// What to give as `QUIRE_SEED` for the same numbers.
    #[must_use]
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// A number below `end`; 0 when there is none.
    pub fn below(&mut self, end: usize) -> usize {
        self.state = self.state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        let number = usize::try_from((mixed ^ (mixed >> 31)) >> 33).unwrap_or_default();
        number % end.max(1)
    }

    /// A time shorter than `longest`, in steps of 100 microseconds.
    pub fn time(&mut self, longest: Duration) -> Duration {
        let steps = longest.as_micros() / 100;
        let step = self.below(usize::try_from(steps).unwrap_or(usize::MAX));
        Duration::from_micros(100) * u32::try_from(step).unwrap_or(u32::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_numbers_and_another_gives_others() {
        let rolls = |seed| {
            let mut dice = Dice::of(seed);
            (0..20).map(move |_| dice.below(1000)).collect::<Vec<_>>()
        };
        assert_eq!(rolls(7), rolls(7));
        assert_ne!(rolls(7), rolls(8));
    }

    #[test]
    fn every_number_below_the_end_comes_and_no_other() {
        let mut dice = Dice::of(1);
        let mut seen = [false; 6];
        for _ in 0..200 {
            seen[dice.below(6)] = true;
        }
        assert_eq!(seen, [true; 6]);
        assert_eq!(dice.below(0), 0);
        assert!((0..100).all(|_| dice.time(Duration::from_millis(3)) < Duration::from_millis(3)));
    }
}
