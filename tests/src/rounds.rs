//! How often a test repeats what chance decides.

use std::env;

/// The number in the environment variable, or `usual`: few in every run, many by hand.
///
/// # Panics
///
/// When the variable holds no number.
#[must_use]
pub fn rounds(variable: &str, usual: usize) -> usize {
    let given = env::var(variable).ok();
    given.map_or(usual, |text| {
        let number = text.parse();
        number.unwrap_or_else(|_| panic!("`{variable}` must be a number, not `{text}`"))
    })
}
