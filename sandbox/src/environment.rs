//! The environment of commands: the session's, without what looks like a secret.
//!
//! A heuristic, and only the second line: the first is that commands have no network by default.
//! Values are looked at where a name says nothing, such as URLs that carry a password.

use std::collections::BTreeMap;

use crate::spec::Mode;

/// Set for every command, over what the session has.
const FIXED: &[(&str, &str)] = &[
    ("GIT_PAGER", "cat"),
    ("NO_COLOR", "1"),
    ("PAGER", "cat"),
    ("TERM", "dumb"),
];

/// Kept although they look like secrets: tools fail without them, and they hold none.
const KEPT: &[&str] = &[
    "NODE_AUTH_TOKEN_FILE",
    "TOKENIZERS_PARALLELISM",
    "KEYBOARD_LAYOUT",
    "XKB_DEFAULT_LAYOUT",
];

/// Dropped by name: doors to the user's desktop, agents and other programs.
const DROPPED: &[&str] = &[
    "SSH_AUTH_SOCK",
    "SSH_AGENT_PID",
    "GPG_AGENT_INFO",
    "DBUS_SESSION_BUS_ADDRESS",
    "XDG_RUNTIME_DIR",
    "DISPLAY",
    "WAYLAND_DISPLAY",
    "XAUTHORITY",
    "DOCKER_HOST",
    "KUBECONFIG",
    "TMUX",
    "STY",
    "GOOGLE_APPLICATION_CREDENTIALS",
    "NETRC",
    "PGPASSFILE",
    "BASH_ENV",
    "ENV",
    "PROMPT_COMMAND",
];

/// Dropped by the beginning of their name.
const DROPPED_PREFIXES: &[&str] = &[
    "AWS_",
    "AZURE_",
    "QUIRE_",
    "VAULT_",
    "OP_SESSION",
    "BW_SESSION",
];

/// Words of a name, split at `_`, that mark a secret.
const SECRET_WORDS: &[&str] = &[
    "KEY",
    "KEYS",
    "APIKEY",
    "TOKEN",
    "TOKENS",
    "SECRET",
    "SECRETS",
    "PASSWORD",
    "PASSWORDS",
    "PASSWD",
    "PASSPHRASE",
    "PASS",
    "PWD",
    "CREDENTIAL",
    "CREDENTIALS",
    "CREDS",
    "COOKIE",
    "PAT",
    "AUTH",
    "DSN",
];

/// Parts of a name that mark a secret wherever they stand.
const SECRET_PARTS: &[&str] = &[
    "SECRET",
    "PASSWORD",
    "PASSWD",
    "APIKEY",
    "API_KEY",
    "ACCESS_KEY",
    "PRIVATE_KEY",
    "CREDENTIAL",
];

/// How well-known secrets begin.
const SECRET_VALUES: &[&str] = &[
    "sk-",
    "ghp_",
    "gho_",
    "ghs_",
    "github_pat_",
    "glpat-",
    "xoxb-",
    "xoxp-",
    "AKIA",
    "ASIA",
    "AIza",
    "-----BEGIN",
    "npm_",
    "hf_",
];

/// What of a session's environment a command gets in `mode`, and what Quire adds.
///
/// In [`Mode::FullAccess`] only Quire's own variables and keys of model providers are dropped: the
/// command could read the rest anyway.
#[must_use]
pub fn scrub(environment: &BTreeMap<String, String>, mode: Mode) -> BTreeMap<String, String> {
    let kept = |name: &str, value: &str| match mode {
        Mode::FullAccess => !is_of_the_agent(name),
        Mode::ReadOnly | Mode::WorkspaceWrite => !is_secret(name, value),
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

/// Whether a variable looks like a secret, or like a door out of the sandbox.
#[must_use]
pub fn is_secret(name: &str, value: &str) -> bool {
    if KEPT.contains(&name) || name == "PWD" || name == "OLDPWD" {
        return false;
    }
    let upper = name.to_ascii_uppercase();
    DROPPED.contains(&name)
        || DROPPED_PREFIXES
            .iter()
            .any(|prefix| upper.starts_with(prefix))
        || SECRET_PARTS.iter().any(|part| upper.contains(part))
        || upper.split('_').any(|word| SECRET_WORDS.contains(&word))
        || SECRET_VALUES.iter().any(|start| value.starts_with(start))
        || has_credentials(value)
}

fn is_of_the_agent(name: &str) -> bool {
    name.starts_with("QUIRE_") || name.ends_with("_API_KEY")
}

/// `scheme://user:password@host`, anywhere in the value.
fn has_credentials(value: &str) -> bool {
    value.split("://").skip(1).any(|rest| {
        let authority = rest.split(['/', '?', '#', ' ']).next().unwrap_or_default();
        authority
            .rsplit_once('@')
            .is_some_and(|(user, _)| user.contains(':'))
    })
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

    #[test]
    fn secrets_are_told_from_what_tools_need() {
        let table = [
            ("OPENAI_API_KEY", "x", true),
            ("GITHUB_TOKEN", "x", true),
            ("MY_SERVICE_PASSWORD", "x", true),
            ("AWS_REGION", "x", true),
            ("SSH_AUTH_SOCK", "/x", true),
            ("DATABASE_URL", "postgres://u:p@x/y", true),
            ("HTTPS_PROXY", "http://u:p@proxy:1", true),
            ("WHATEVER", "ghp_abc", true),
            ("client_secret", "x", true),
            ("HTTPS_PROXY", "http://proxy:1", false),
            ("PATH", "/usr/bin", false),
            ("HOME", "/home/u", false),
            ("PWD", "/home/u", false),
            ("CARGO_HOME", "/c", false),
            ("MONKEY", "x", false),
            ("AUTHOR", "x", false),
            ("GIT_AUTHOR_EMAIL", "a@b", false),
            ("URL", "https://x/a:b@c", false),
        ];
        for (name, value, want) in table {
            assert_eq!(is_secret(name, value), want, "for {name}={value}");
        }
    }

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
