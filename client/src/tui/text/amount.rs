//! Durations, sizes, tokens and money as people read them.

/// Milliseconds as `0.4 s`, `12 s`, `3 min 20 s` or `2 h 5 min`.
pub(crate) fn duration(ms: i64) -> String {
    let ms = ms.max(0);
    let seconds = ms / 1_000;
    match seconds {
        0..10 => format!("{seconds}.{} s", ms % 1_000 / 100),
        10..60 => format!("{seconds} s"),
        60..3_600 => format!("{} min {} s", seconds / 60, seconds % 60),
        _ => format!("{} h {} min", seconds / 3_600, seconds / 60 % 60),
    }
}

/// Time still going on: whole seconds, so that it changes once a second.
pub(crate) fn elapsed(ms: i64) -> String {
    match ms.max(0) / 1_000 {
        seconds @ 0..10 => format!("{seconds} s"),
        seconds => duration(seconds * 1_000),
    }
}

/// Bytes as `312 B`, `4.2 kB` or `1.5 MB`.
pub(crate) fn bytes(bytes: u64) -> String {
    match bytes {
        0..1_000 => format!("{bytes} B"),
        1_000..1_000_000 => format!("{} kB", tenths(bytes, 1_000)),
        _ => format!("{} MB", tenths(bytes, 1_000_000)),
    }
}

/// Tokens as `950`, `12.3k` or `1.2M`.
pub(crate) fn tokens(tokens: u64) -> String {
    match tokens {
        0..1_000 => tokens.to_string(),
        1_000..1_000_000 => format!("{}k", tenths(tokens, 1_000)),
        _ => format!("{}M", tenths(tokens, 1_000_000)),
    }
}

/// Millionths of a dollar as `$0.042` below ten cents, else `$1.23`. Empty for 0: not known.
pub(crate) fn money(micros: u64) -> String {
    match micros {
        0 => String::new(),
        1..100_000 => format!("${}.{:03}", micros / 1_000_000, micros % 1_000_000 / 1_000),
        _ => format!("${}.{:02}", micros / 1_000_000, micros % 1_000_000 / 10_000),
    }
}

/// `1 line`, `2 lines`.
pub(crate) fn count(number: usize, what: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {what}{plural}")
}

fn tenths(amount: u64, unit: u64) -> String {
    match (amount / unit, amount % unit * 10 / unit) {
        (whole @ 100.., _) | (whole, 0) => whole.to_string(),
        (whole, tenth) => format!("{whole}.{tenth}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_read_as_people_write_them() {
        let table = [
            (duration(0), "0.0 s"),
            (duration(1_250), "1.2 s"),
            (duration(59_999), "59 s"),
            (duration(200_000), "3 min 20 s"),
            (duration(7_500_000), "2 h 5 min"),
            (elapsed(1_900), "1 s"),
            (elapsed(12_300), "12 s"),
            (bytes(312), "312 B"),
            (bytes(4_260), "4.2 kB"),
            (bytes(1_500_000), "1.5 MB"),
            (tokens(950), "950"),
            (tokens(12_345), "12.3k"),
            (tokens(400_000), "400k"),
            (money(0), ""),
            (money(4_200), "$0.004"),
            (money(1_239_999), "$1.23"),
            (count(1, "line"), "1 line"),
            (count(0, "line"), "0 lines"),
        ];
        for (got, want) in table {
            assert_eq!(got, want);
        }
    }
}
