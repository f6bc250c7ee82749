//! What of a session's environment is whose to see: keys of providers are Quire's alone, other secrets
//! are in memory only, the rest may be stored and shown.
//!
//! What looks like a secret is told by [`quire_sandbox::secrets`]; here is added what only the
//! configuration tells, the names under which providers look for their keys.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// Variables by name.
pub type Environment = BTreeMap<String, String>;

/// Shortest value of a key that is looked for under other names, in bytes: what is put in place of a key
/// where none is wanted is shorter.
const SHORTEST_KEY: usize = 8;

/// Shortest value of a key that is looked for within other values.
const SHORTEST_PART: usize = 16;

/// An environment, parted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Parted {
    /// What may be stored and shown.
    pub open: Environment,
    /// Names of what may not, sorted.
    pub secrets: Vec<String>,
}

/// Parts an environment; `keys` are the names of providers' keys.
#[must_use]
pub fn part(environment: &Environment, keys: &BTreeSet<String>) -> Parted {
    let known = Keys::of(environment, keys);
    let mut parted = Parted::default();
    for (name, value) in environment {
        if known.is_secret(name, value) {
            parted.secrets.push(name.clone());
        } else {
            parted.open.insert(name.clone(), value.clone());
        }
    }
    parted
}

/// `held` with the secrets of `given` that it lacks. What `held` has stays as it is.
#[must_use]
pub fn completed(held: &Environment, given: &Environment, keys: &BTreeSet<String>) -> Environment {
    let known = Keys::of(given, keys);
    let lacking = given
        .iter()
        .filter(|(name, value)| !held.contains_key(*name) && known.is_secret(name, value));
    let lacking = lacking.map(|(name, value)| (name.clone(), value.clone()));
    held.clone().into_iter().chain(lacking).collect()
}

/// The environment without keys of providers, under whatever name they stand there. The same one when
/// it holds none.
#[must_use]
pub fn without_keys(environment: &Arc<Environment>, keys: &BTreeSet<String>) -> Arc<Environment> {
    let known = Keys::of(environment, keys);
    if !environment
        .iter()
        .any(|(name, value)| known.has(name, value))
    {
        return environment.clone();
    }
    let mut rest = (**environment).clone();
    rest.retain(|name, value| !known.has(name, value));
    Arc::new(rest)
}

/// The keys of providers in one environment.
struct Keys<'a> {
    names: &'a BTreeSet<String>,
    values: BTreeSet<&'a str>,
}

impl<'a> Keys<'a> {
    fn of(environment: &'a Environment, names: &'a BTreeSet<String>) -> Self {
        let values = names.iter().filter_map(|name| environment.get(name));
        let values = values.map(|value| value.trim());
        Self {
            names,
            values: values.filter(|value| value.len() >= SHORTEST_KEY).collect(),
        }
    }

    fn has(&self, name: &str, value: &str) -> bool {
        let is_within = |key: &&str| key.len() >= SHORTEST_PART && value.contains(key);
        self.names.contains(name)
            || self.values.contains(value.trim())
            || self.values.iter().any(is_within)
    }

    fn is_secret(&self, name: &str, value: &str) -> bool {
        self.has(name, value) || quire_sandbox::secrets::is_secret(name, value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(pairs: &[(&str, &str)]) -> Environment {
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        pairs.iter().map(owned).collect()
    }

    fn keys() -> BTreeSet<String> {
        BTreeSet::from(["MINE".to_owned()])
    }

    #[test]
    fn secrets_and_configured_keys_are_named_and_no_more() {
        let all = environment(&[
            ("PATH", "/bin"),
            ("MINE", "a rather plain word"),
            ("ALIAS", "a rather plain word"),
            ("PAIR", "user:a rather plain word@host"),
            ("GITHUB_TOKEN", "x"),
            ("SSH_AUTH_SOCK", "/s"),
        ]);
        let parted = part(&all, &keys());
        let open = environment(&[("PATH", "/bin"), ("SSH_AUTH_SOCK", "/s")]);
        assert_eq!(parted.open, open);
        assert_eq!(parted.secrets, ["ALIAS", "GITHUB_TOKEN", "MINE", "PAIR"]);
    }

    #[test]
    fn only_secrets_that_are_lacking_are_taken() {
        let held = environment(&[("PATH", "/bin"), ("GITHUB_TOKEN", "old")]);
        let given = environment(&[
            ("PATH", "/other"),
            ("FOO", "bar"),
            ("GITHUB_TOKEN", "new"),
            ("MINE", "k"),
        ]);
        let want = environment(&[("PATH", "/bin"), ("GITHUB_TOKEN", "old"), ("MINE", "k")]);
        assert_eq!(completed(&held, &given, &keys()), want);
    }

    #[test]
    fn tools_see_no_key_under_any_name() {
        let all = Arc::new(environment(&[
            ("MINE", "a plain word"),
            ("ALIAS", " a plain word"),
            ("GITHUB_TOKEN", "x"),
        ]));
        let rest = without_keys(&all, &keys());
        assert_eq!(*rest, environment(&[("GITHUB_TOKEN", "x")]));
        assert!(Arc::ptr_eq(&rest, &without_keys(&rest, &keys())));
        let short = Arc::new(environment(&[("MINE", "1"), ("SHLVL", "1")]));
        let rest = without_keys(&short, &keys());
        assert_eq!(*rest, environment(&[("SHLVL", "1")]));
    }
}
