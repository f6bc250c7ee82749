//! The environment of commands: the session's, without what looks like a secret or leads out of the
//! sandbox, as [`secrets`](crate::secrets) tells.
//!
//! Only the second line: the first is that commands have no network by default.

use std::collections::BTreeMap;

use crate::{
    secrets::{Kind, kind},
    spec::Mode,
};

/// Set for every command, over what the session has.
const FIXED: &[(&str, &str)] = &[
    ("GIT_PAGER", "cat"),
    ("NO_COLOR", "1"),
    ("PAGER", "cat"),
    ("TERM", "dumb"),
];

/// What of a session's environment a command gets in `mode`, and what Quire adds.
///
/// In [`Mode::FullAccess`] only Quire's own variables and keys of model providers are dropped: the
/// command could read the rest anyway.
#[must_use]
pub fn scrub(environment: &BTreeMap<String, String>, mode: Mode) -> BTreeMap<String, String> {
    let kept = |name: &str, value: &str| match mode {
        Mode::FullAccess => !is_of_the_agent(name),
        Mode::ReadOnly | Mode::WorkspaceWrite => kind(name, value) == Kind::Plain,
    };
    let mut result: BTreeMap<_, _> = environment
        .iter()
        .filter(|(name, value)| kept(name, value))
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect();
    for (name, value) in FIXED {
        result.insert((*name).to_owned(), (*value).to_owned());
    }
    if !is_utf8(&result) {
        result.insert("LANG".to_owned(), "C.UTF-8".to_owned());
        result.remove("LC_ALL");
        result.remove("LC_CTYPE");
    }
    result
}

fn is_of_the_agent(name: &str) -> bool {
    name.starts_with("QUIRE_") || name.ends_with("_API_KEY")
}

fn is_utf8(environment: &BTreeMap<String, String>) -> bool {
    let set = ["LC_ALL", "LC_CTYPE", "LANG"]
        .iter()
        .find_map(|name| environment.get(*name).filter(|value| !value.is_empty()));
    set.is_some_and(|value| {
        let value = value.to_ascii_lowercase();
        value.ends_with("utf-8") || value.ends_with("utf8")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect()
    }

    #[test]
    fn a_language_without_utf8_is_replaced() {
        let table = [
            (&[][..], Some("C.UTF-8")),
            (&[("LANG", "de_DE.UTF-8")], Some("de_DE.UTF-8")),
            (&[("LANG", "de_DE.utf8"), ("LC_ALL", "C")], Some("C.UTF-8")),
            (&[("LANG", ""), ("LC_ALL", "en_GB.UTF-8")], Some("")),
        ];
        for (given, want) in table {
            let result = scrub(&environment(given), Mode::ReadOnly);
            assert_eq!(
                result.get("LANG").map(String::as_str),
                want,
                "for {given:?}"
            );
        }
    }

    #[test]
    fn full_access_keeps_all_but_the_agents_own() {
        let given = environment(&[
            ("GITHUB_TOKEN", "t"),
            ("OPENAI_API_KEY", "k"),
            ("QUIRE_HOME", "/q"),
        ]);
        let result = scrub(&given, Mode::FullAccess);
        assert!(result.contains_key("GITHUB_TOKEN"));
        assert!(!result.contains_key("OPENAI_API_KEY") && !result.contains_key("QUIRE_HOME"));
        assert_eq!(result.get("TERM").map(String::as_str), Some("dumb"));
    }
}
