//! A provider's key.

use std::fmt;

use reqwest::header::HeaderValue;

/// A secret that is never shown: it has no `Display`, and its `Debug` prints nothing of it.
#[derive(Clone, PartialEq, Eq)]
pub struct Key(String);

impl Key {
    /// Takes a key as files and commands give it, blanks and line end around it included. `None`
    /// when nothing is left.
    #[must_use]
    pub fn new(text: &str) -> Option<Self> {
        let text = text.trim();
        (!text.is_empty()).then(|| Self(text.to_owned()))
    }

    /// The header that proves it; `None` when a header can't carry it.
    pub(super) fn bearer(&self) -> Option<HeaderValue> {
        let mut value = HeaderValue::from_str(&format!("Bearer {}", self.0)).ok()?;
        value.set_sensitive(true);
        Some(value)
    }

    /// A text without the key, should a provider have repeated it.
    pub(super) fn hide_in(&self, text: &str) -> String {
        text.replace(&self.0, "***")
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key(***)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_trimmed_and_never_shown() {
        let key = Key::new(" sk-secret\n").unwrap();
        let bearer = key.bearer().unwrap();
        assert_eq!(bearer.to_str().unwrap(), "Bearer sk-secret");
        assert!(!format!("{key:?} {bearer:?}").contains("secret"));
        assert_eq!(key.hide_in("bad key sk-secret!"), "bad key ***!");
        assert_eq!(Key::new(" \n"), None);
        assert_eq!(Key::new("a\nb").unwrap().bearer(), None);
    }
}
