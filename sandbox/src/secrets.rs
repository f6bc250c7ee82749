//! What looks like a secret in an environment: one answer for all who ask, be it for what a command
//! sees, for what is kept on disk, or for what people are shown.
//!
//! A heuristic over names and values; it knows no secret. What it takes for one and is none costs a
//! variable, so the tables err on that side, but never for what every shell needs: `PATH`, `LS_COLORS`,
//! directories named by hashes.

/// What a variable is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Nothing to hide.
    Plain,
    /// Its value looks like a secret, or its name says so.
    Secret,
    /// Its value is no secret, but leads a command to one, or out of the sandbox.
    Door,
}

/// How an entry of [`NAMES`] is compared. Names are compared in capitals but by `Is`.
#[derive(Clone, Copy, Debug)]
enum Name {
    /// The whole name, as it is written.
    Is(&'static str),
    /// How it begins.
    Begins(&'static str),
    /// One of its words. Words are parted by anything but letters and digits.
    Word(&'static str),
    /// How one of its words ends, such as `authToken`.
    Ending(&'static str),
    /// Any part of it.
    Part(&'static str),
}

use Kind::{Door, Plain, Secret};
use Name::{Begins, Ending, Is, Part, Word};

/// The first entry that fits decides.
const NAMES: &[(Name, Kind, &str)] = &[
    (Is("PWD"), Plain, "a directory"),
    (Is("OLDPWD"), Plain, "a directory"),
    (Is("NODE_AUTH_TOKEN_FILE"), Plain, "a path that tools need"),
    (Is("TOKENIZERS_PARALLELISM"), Plain, "a switch"),
    (Is("KEYBOARD_LAYOUT"), Plain, "a layout"),
    (Is("XKB_DEFAULT_LAYOUT"), Plain, "a layout"),
    (
        Is("SSH_AUTH_SOCK"),
        Door,
        "signs with the user's keys; the path itself tells nothing",
    ),
    (Is("SSH_AGENT_PID"), Door, "the same agent"),
    (
        Is("SSH_ASKPASS"),
        Door,
        "asks the user, or a program that knows, for passwords",
    ),
    (Is("SUDO_ASKPASS"), Door, "the same"),
    (
        Is("GIT_ASKPASS"),
        Door,
        "editors answer it with the user's tokens",
    ),
    (Begins("VSCODE_GIT_"), Door, "how they do"),
    (Is("VSCODE_IPC_HOOK_CLI"), Door, "commands the editor"),
    (
        Is("GPG_AGENT_INFO"),
        Door,
        "signs and decrypts with the user's keys",
    ),
    (Is("GNOME_KEYRING_CONTROL"), Door, "the user's keyring"),
    (
        Is("PASSWORD_STORE_DIR"),
        Door,
        "where the encrypted passwords are",
    ),
    (
        Is("DBUS_SESSION_BUS_ADDRESS"),
        Door,
        "commands the desktop, the keyring among it",
    ),
    (Is("XDG_RUNTIME_DIR"), Door, "holds the user's sockets"),
    (Is("DISPLAY"), Door, "sees the screen and types"),
    (Is("WAYLAND_DISPLAY"), Door, "the same"),
    (Is("XAUTHORITY"), Door, "the same"),
    (Is("DOCKER_HOST"), Door, "runs anything as root"),
    (Is("KUBECONFIG"), Door, "a file of credentials"),
    (Is("TMUX"), Door, "types into other terminals"),
    (Is("STY"), Door, "the same"),
    (
        Is("GOOGLE_APPLICATION_CREDENTIALS"),
        Door,
        "a file of credentials",
    ),
    (Is("NETRC"), Door, "a file of credentials"),
    (Is("PGPASSFILE"), Door, "a file of credentials"),
    (Is("BASH_ENV"), Door, "code that each shell runs first"),
    (Is("ENV"), Door, "the same"),
    (Is("PROMPT_COMMAND"), Door, "code of the user's own shell"),
    (Begins("OP_SESSION"), Secret, "an open 1Password"),
    (Begins("BW_SESSION"), Secret, "an open Bitwarden"),
    (Word("KEY"), Secret, "OPENAI_API_KEY, SSH_KEY"),
    (Word("KEYS"), Secret, "AGE_KEYS"),
    (Word("PASS"), Secret, "SMTP_PASS"),
    (Word("PWD"), Secret, "MYSQL_PWD"),
    (Word("PAT"), Secret, "personal access tokens: AZURE_PAT"),
    (Word("AUTH"), Secret, "REDISCLI_AUTH, npm_config__auth"),
    (Word("OAUTH"), Secret, "tokens by another name"),
    (Word("JWT"), Secret, "the same"),
    (Word("BEARER"), Secret, "the same"),
    (Word("CREDS"), Secret, "credentials"),
    (Word("COOKIE"), Secret, "an open session"),
    (Word("COOKIES"), Secret, "the same"),
    (
        Word("DSN"),
        Secret,
        "addresses of databases, password and all",
    ),
    (
        Word("WEBHOOK"),
        Secret,
        "who knows the address may write there",
    ),
    (
        Ending("TOKEN"),
        Secret,
        "GITHUB_TOKEN, npm_config_authToken",
    ),
    (Ending("TOKENS"), Secret, "the same"),
    (Ending("PASSPHRASE"), Secret, "BORG_PASSPHRASE"),
    (Part("SECRET"), Secret, "client_secret, AppSecret"),
    (Part("PASSWORD"), Secret, "PGPASSWORD"),
    (Part("PASSWD"), Secret, "the same"),
    (Part("APIKEY"), Secret, "a key of a provider"),
    (Part("API_KEY"), Secret, "OPENAI_API_KEY_2"),
    (Part("ACCESS_KEY"), Secret, "MINIO_ACCESS_KEY_ID"),
    (Part("ACCESSKEY"), Secret, "the same"),
    (Part("ACCOUNTKEY"), Secret, "of a storage account"),
    (Part("PRIVATE_KEY"), Secret, "of a pair"),
    (Part("PRIVATEKEY"), Secret, "the same"),
    (Part("CREDENTIAL"), Secret, "any kind of them"),
    (
        Part("CONNECTION_STRING"),
        Secret,
        "addresses of databases, password and all",
    ),
    (Part("CONNECTIONSTRING"), Secret, "the same"),
    // What of these is a key itself has been told above; the rest, regions and profiles, is kept.
    (Begins("AWS_"), Door, "says which keys of a cloud are used"),
    (Begins("AZURE_"), Door, "the same"),
    (Begins("VAULT_"), Door, "the same"),
    (
        Begins("QUIRE_"),
        Door,
        "how Quire itself is told what to do",
    ),
];

/// Parts of a name that mark a secret also within a value, as in `Server=db;Password=x`.
const ASSIGNED: &[&str] = &[
    "TOKEN",
    "SECRET",
    "PASSWORD",
    "PASSWD",
    "APIKEY",
    "API_KEY",
    "ACCESS_KEY",
    "ACCESSKEY",
    "ACCOUNTKEY",
];

/// How well-known secrets begin.
const BEGINNINGS: &[(&str, &str)] = &[
    ("sk-", "OpenAI, Anthropic and their like"),
    ("sk_live_", "Stripe"),
    ("rk_live_", "Stripe"),
    ("ghp_", "GitHub"),
    ("gho_", "GitHub"),
    ("ghu_", "GitHub"),
    ("ghs_", "GitHub"),
    ("ghr_", "GitHub"),
    ("github_pat_", "GitHub"),
    ("glpat-", "GitLab"),
    ("gldt-", "GitLab"),
    ("xoxb-", "Slack"),
    ("xoxp-", "Slack"),
    ("xoxa-", "Slack"),
    ("xoxs-", "Slack"),
    ("xapp-", "Slack"),
    ("AKIA", "Amazon"),
    ("ASIA", "Amazon"),
    ("AIza", "Google"),
    ("ya29.", "Google"),
    ("npm_", "npm"),
    ("pypi-", "PyPI"),
    ("hf_", "Hugging Face"),
    ("gsk_", "Groq"),
    ("xai-", "xAI"),
    ("nvapi-", "Nvidia"),
    ("dop_v1_", "DigitalOcean"),
    ("SG.", "SendGrid"),
    ("AGE-SECRET-KEY-", "age"),
];

/// Shortest piece of a value that is compared with [`BEGINNINGS`]; a whole value may be shorter.
const SHORTEST_PIECE: usize = 16;

/// Shortest text that may be a key merely because it looks random, and least bits in each of its
/// characters. Words, also many in camel case, have fewer.
const RANDOM: (usize, f64) = (32, 4.3);

/// What a variable is, by its name and its value.
#[must_use]
pub fn kind(name: &str, value: &str) -> Kind {
    match (by_name(name), value) {
        (by_name, "") => by_name,
        (Plain | Door, value) if is_secret_value(value) => Secret,
        (by_name, _) => by_name,
    }
}

/// Whether a variable looks like a secret.
#[must_use]
pub fn is_secret(name: &str, value: &str) -> bool {
    kind(name, value) == Secret
}

fn by_name(name: &str) -> Kind {
    let upper = name.to_ascii_uppercase();
    let words = || upper.split(|letter: char| !letter.is_ascii_alphanumeric());
    let fits = |entry: &Name| match entry {
        Is(whole) => name == *whole,
        Begins(start) => upper.starts_with(start),
        Word(wanted) => words().any(|word| word == *wanted),
        Ending(end) => words().any(|word| word.ends_with(end)),
        Part(part) => upper.contains(part),
    };
    let entry = NAMES.iter().find(|(entry, ..)| fits(entry));
    entry.map_or(Plain, |(_, kind, _)| *kind)
}

fn is_secret_value(value: &str) -> bool {
    begins_like_one(value)
        || value.contains("-----BEGIN")
        || has_credentials(value)
        || is_authorization(value)
        || pieces(value).any(|piece| {
            let long = piece.len() >= SHORTEST_PIECE;
            is_assigned(piece)
                || piece.split('=').any(|part| {
                    (long && begins_like_one(part)) || is_web_token(part) || is_random(part)
                })
        })
}

/// Parts of a value that may be a secret by themselves. A path stays whole.
fn pieces(value: &str) -> impl Iterator<Item = &str> {
    let between = |letter: char| letter.is_whitespace() || "\"'`,;:@&?(){}[]<>|".contains(letter);
    let pieces = value.split(between);
    // What follows the scheme of an address.
    pieces.map(|piece| piece.strip_prefix("//").unwrap_or(piece))
}

fn begins_like_one(text: &str) -> bool {
    BEGINNINGS.iter().any(|(start, _)| text.starts_with(start))
}

/// `Password=x`, `-Ddb.password=x`.
fn is_assigned(piece: &str) -> bool {
    let Some((name, value)) = piece.split_once('=') else {
        return false;
    };
    let name = name.to_ascii_uppercase();
    !value.is_empty() && ASSIGNED.iter().any(|part| name.ends_with(part))
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

/// A header of HTTP that proves who asks.
fn is_authorization(value: &str) -> bool {
    let lower = value.to_ascii_lowercase();
    let headers = ["authorization:", "authorization\":"];
    let starts = ["bearer ", "basic "];
    headers.iter().any(|header| lower.contains(header))
        || starts.iter().any(|start| lower.starts_with(start))
}

/// A JSON web token: its first part always begins so.
fn is_web_token(text: &str) -> bool {
    text.starts_with("eyJ") && text.matches('.').count() == 2
}

/// Letters of both cases and digits in no order. Hashes and ids, of one case or hexadecimal, are not:
/// they name things in every environment.
fn is_random(text: &str) -> bool {
    let count = |of: fn(&u8) -> bool| text.bytes().filter(of).count();
    let (shortest, least_bits) = RANDOM;
    let of_a_key = |byte: &u8| byte.is_ascii_alphanumeric() || b"_-+.".contains(byte);
    text.len() >= shortest
        && count(of_a_key) == text.len()
        && count(u8::is_ascii_uppercase) >= 4
        && count(u8::is_ascii_lowercase) >= 4
        && count(u8::is_ascii_digit) >= 3
        && bits_of_each(text.as_bytes()) >= least_bits
}

/// Shannon's entropy of the bytes.
fn bits_of_each(text: &[u8]) -> f64 {
    let mut counts = [0_u32; 256];
    for byte in text {
        counts[usize::from(*byte)] += 1;
    }
    let all = text.len() as f64;
    let shares = counts.iter().filter(|count| **count > 0);
    shares
        .map(|count| f64::from(*count) / all)
        .map(|share| -share * share.log2())
        .sum()
}

#[cfg(test)]
mod tests;
