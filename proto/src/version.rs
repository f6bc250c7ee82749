//! What this build says of itself: its version, and the range of protocols it speaks.
//!
//! A debug build believes `QUIRE_TEST_VERSION=x.y.z` and `QUIRE_TEST_PROTOCOL=min-max` instead, so that
//! tests can play other builds with one set of programs. A release build never looks.

use std::borrow::Cow;

use crate::v1::ProtocolRange;

/// Protocol versions this source speaks.
const PROTOCOL: ProtocolRange = ProtocolRange { min: 1, max: 1 };

/// Protocol versions this build speaks.
#[must_use]
pub fn protocol() -> ProtocolRange {
    told("QUIRE_TEST_PROTOCOL")
        .and_then(|text| parse_range(&text))
        .unwrap_or(PROTOCOL)
}

/// Version of this build, such as "0.1.0".
#[must_use]
pub fn version() -> Cow<'static, str> {
    told("QUIRE_TEST_VERSION").map_or(Cow::Borrowed(env!("CARGO_PKG_VERSION")), Cow::Owned)
}

/// What a test wants this build to say.
fn told(variable: &str) -> Option<String> {
    if cfg!(debug_assertions) {
        std::env::var(variable).ok()
    } else {
        None
    }
}

fn parse_range(text: &str) -> Option<ProtocolRange> {
    let (min, max) = text.split_once('-')?;
    Some(ProtocolRange {
        min: min.parse().ok()?,
        max: max.parse().ok()?,
    })
}

/// How the protocols of two builds stand to each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// There is one that both speak.
    Overlaps,
    /// The other is too old for this one.
    Older,
    /// The other is too new for this one.
    Newer,
}

/// How `theirs` stands to `ours`.
#[must_use]
pub fn standing(theirs: ProtocolRange, ours: ProtocolRange) -> Standing {
    if theirs.max < ours.min {
        Standing::Older
    } else if theirs.min > ours.max {
        Standing::Newer
    } else {
        Standing::Overlaps
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(min: u32, max: u32) -> ProtocolRange {
        ProtocolRange { min, max }
    }

    #[test]
    fn ranges_overlap_at_their_ends_too() {
        let table = [
            ((1, 1), (1, 1), Standing::Overlaps),
            ((1, 3), (3, 4), Standing::Overlaps),
            ((3, 4), (1, 3), Standing::Overlaps),
            ((1, 2), (3, 4), Standing::Older),
            ((5, 6), (3, 4), Standing::Newer),
        ];
        for (theirs, ours, want) in table {
            let (theirs, ours) = (range(theirs.0, theirs.1), range(ours.0, ours.1));
            assert_eq!(standing(theirs, ours), want, "{theirs:?} and {ours:?}");
        }
    }

    #[test]
    fn a_range_is_two_numbers() {
        assert_eq!(parse_range("2-3"), Some(range(2, 3)));
        for wrong in ["", "2", "2-", "a-3", "2-3-4"] {
            assert_eq!(parse_range(wrong), None, "for {wrong:?}");
        }
    }

    #[test]
    fn nobody_tells_this_test_otherwise() {
        assert_eq!(version(), env!("CARGO_PKG_VERSION"));
        assert_eq!(protocol(), PROTOCOL);
    }
}
