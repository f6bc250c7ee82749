//! Names of things, each with a type of its own and its rule in the constructor.

use std::{fmt, num::NonZeroU64, str::FromStr};

/// Why a text is not an id.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a {what}")]
pub struct InvalidId {
    what: &'static str,
    text: String,
}

/// Letters of random ids: no vowels, so no words; no look-alikes.
const ALPHABET: &[u8; 27] = b"23456789bcdfghjkmnpqrstvwxz";

fn random(length: usize) -> String {
    let mut text = String::with_capacity(length);
    let mut bytes = [0u8; 64];
    while text.len() < length {
        getrandom::fill(&mut bytes).expect("the kernel hands out random bytes");
        // Bytes past the last whole multiple of the alphabet would make early letters likelier.
        let fair = bytes.iter().filter(|byte| **byte < 243);
        let missing = length - text.len();
        text.extend(
            fair.take(missing)
                .map(|byte| ALPHABET[*byte as usize % 27] as char),
        );
    }
    text
}

macro_rules! random_id {
    ($(#[$doc:meta])* $name:ident, $what:literal, $length:literal) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(String);

        impl $name {
            /// Makes a name that nobody has used before.
            #[must_use]
            pub fn random() -> Self {
                Self(random($length))
            }

            /// The name as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;

            fn from_str(text: &str) -> Result<Self, InvalidId> {
                let fits = text.len() == $length && text.bytes().all(|b| ALPHABET.contains(&b));
                if fits {
                    Ok(Self(text.to_owned()))
                } else {
                    Err(InvalidId { what: $what, text: text.to_owned() })
                }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

random_id!(
    /// Names one session for the life of the state directory. Never reused.
    SessionId,
    "session id",
    10
);
random_id!(
    /// Names one job, and its directory, for the life of the state directory. Never reused.
    JobId,
    "job id",
    12
);

macro_rules! dense_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(NonZeroU64);

        impl $name {
            /// The first one of a session.
            pub const FIRST: Self = Self(NonZeroU64::MIN);

            /// `None` for 0, which the wire uses for "none".
            #[must_use]
            pub fn new(number: u64) -> Option<Self> {
                NonZeroU64::new(number).map(Self)
            }

            /// The number on the wire.
            #[must_use]
            pub fn get(self) -> u64 {
                self.0.get()
            }

            /// The one after this.
            #[must_use]
            pub fn next(self) -> Self {
                Self(self.0.saturating_add(1))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

dense_id!(
    /// Names one turn within its session.
    TurnId
);
dense_id!(
    /// Names one item within its session.
    ItemId
);
dense_id!(
    /// Names one approval within its session.
    ApprovalId
);

/// A client's own name for one mutating request; the same again gets the same answer.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RequestId(String);

impl RequestId {
    /// Longest text accepted, in bytes.
    pub const MAX: usize = 128;

    /// Makes a name that nobody has used before.
    #[must_use]
    pub fn random() -> Self {
        Self(random(20))
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for RequestId {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        let fits =
            (1..=Self::MAX).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic());
        if fits {
            Ok(Self(text.to_owned()))
        } else {
            let shown = text.chars().take(40).collect();
            Err(InvalidId {
                what: "request id (1 to 128 printable ASCII characters)",
                text: shown,
            })
        }
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn random_ids_parse_back_and_differ() {
        let ids: std::collections::BTreeSet<_> = (0..100).map(|_| SessionId::random()).collect();
        assert_eq!(ids.len(), 100);
        for id in ids {
            assert_eq!(id.as_str().parse(), Ok(id.clone()));
        }
    }

    #[test]
    fn wrong_shapes_are_refused() {
        for text in [
            "",
            "short",
            "aaaaaaaaaa",
            "23456789b",
            "23456789bcd",
            "../../etc/",
        ] {
            assert!(text.parse::<SessionId>().is_err(), "for `{text}`");
        }
        for text in ["", "with space", "new\nline", &"x".repeat(129)] {
            assert!(text.parse::<RequestId>().is_err(), "for `{text}`");
        }
    }

    #[test]
    fn zero_is_no_id() {
        assert_eq!(TurnId::new(0), None);
        assert_eq!(TurnId::FIRST.next().get(), 2);
    }
}
