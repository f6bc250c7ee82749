//! What a session's model is told before the first prompt: where it works, and what the project asks.

use std::path::{Path, PathBuf};

use super::guides;
use crate::{
    ports::tool::Place,
    pure::prompt::{Surroundings, environment_message, guides_message},
};

/// Writes the message for a session at `place`. `directory` is that of the user's configuration.
///
/// Blocks for as long as a few small files take to read.
#[must_use]
pub fn write(directory: &Path, place: &Place, date: &str) -> String {
    let platform = format!("{} {}", std::env::consts::OS, std::env::consts::ARCH);
    let around = Surroundings {
        workspace: &place.workspace,
        cwd: &place.cwd,
        platform: &platform,
        date,
        policy: &place.policy,
    };
    let found = guides::find(directory, &place.workspace, &place.cwd, &place.policy);
    let mut message = environment_message(&around);
    for part in guides_message(&found.guides)
        .into_iter()
        .chain(found.notices)
    {
        message.push_str("\n\n");
        message.push_str(&part);
    }
    message
}

/// The directory that holds the user's configuration file.
#[must_use]
pub fn directory(config_file: &Path) -> PathBuf {
    config_file.parent().unwrap_or(config_file).to_owned()
}

/// The day, "2026-11-22", `days` after the Unix epoch (after Howard Hinnant's `civil_from_days`).
#[must_use]
pub fn date(days: i64) -> String {
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 {
        month_from_march + 3
    } else {
        month_from_march - 9
    };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_become_dates() {
        let table = [
            (0, "1970-01-01"),
            (11_016, "2000-02-29"),
            (11_017, "2000-03-01"),
            (20_779, "2026-11-22"),
            (-1, "1969-12-31"),
        ];
        for (days, want) in table {
            assert_eq!(date(days), want);
        }
    }
}
