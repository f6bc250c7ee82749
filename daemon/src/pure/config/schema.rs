//! Every key a configuration file may hold: what it takes and what it is for, as data.
//!
//! The checker, the nearest-key hints and the reference in the crate's README all follow this
//! table. A new key is one line here and one field in the struct it lands in; a test holds the two
//! together.

/// What a key takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Any text.
    Text,
    /// A model, written `provider/model`.
    Model,
    /// Several of them.
    Models,
    /// One of these words.
    Word(&'static [&'static str]),
    /// Some of these words.
    Words(&'static [&'static str]),
    /// `true` or `false`.
    Flag,
    /// A whole number from 0.
    Count,
    /// A whole number from 1.
    Positive,
    /// A number from 0, fractions allowed.
    Amount,
    /// A list of texts.
    Texts,
    /// A program and its arguments: a list of texts with at least one.
    Command,
    /// A list of directories or files, absolute or beginning with `~/`.
    Paths,
    /// A file; a relative one is beside the configuration file that names it.
    File,
    /// A table whose values are texts.
    TextTable,
    /// A table of anything.
    Free,
}

impl Kind {
    /// What was expected, for an error.
    #[must_use]
    pub fn expected(self) -> String {
        match self {
            Self::Text => "a text in quotes".to_owned(),
            Self::Model => "a model as `provider/model`".to_owned(),
            Self::Models => "a list of models as `provider/model`".to_owned(),
            Self::Word(words) => format!("one of {}", quoted(words)),
            Self::Words(words) => format!("a list of {}", quoted(words)),
            Self::Flag => "`true` or `false`".to_owned(),
            Self::Count => "a whole number from 0".to_owned(),
            Self::Positive => "a whole number from 1".to_owned(),
            Self::Amount => "a number from 0".to_owned(),
            Self::Texts => "a list of texts".to_owned(),
            Self::Command => "a list of texts, the program first".to_owned(),
            Self::Paths => "a list of paths that are absolute or begin with `~/`".to_owned(),
            Self::File => "the path of a file".to_owned(),
            Self::TextTable => "a table of texts".to_owned(),
            Self::Free => "a table".to_owned(),
        }
    }
}

fn quoted(words: &[&str]) -> String {
    let words: Vec<_> = words.iter().map(|word| format!("\"{word}\"")).collect();
    words.join(", ")
}

/// One key.
#[derive(Clone, Copy, Debug)]
pub struct Key {
    /// Its place; `*` stands for a name of the user's, `[]` for each entry of a list of tables.
    pub path: &'static str,
    /// What it takes.
    pub kind: Kind,
    /// What it is for, for people.
    pub meaning: &'static str,
}

const fn key(path: &'static str, kind: Kind, meaning: &'static str) -> Key {
    Key {
        path,
        kind,
        meaning,
    }
}

/// Words of `wire`.
pub const WIRES: &[&str] = &["responses", "chat", "messages", "gemini", "script"];
/// Words of `sandbox`, narrowest first.
pub const SANDBOXES: &[&str] = &["read-only", "workspace-write", "full-access"];
/// Words of `approve`.
pub const APPROVES: &[&str] = &["untrusted", "on-request", "never"];
/// Words of `decision`.
pub const DECISIONS: &[&str] = &["allow", "ask", "deny"];
/// Words of `require`.
pub const SANDBOX_LAYERS: &[&str] = &["namespaces", "landlock", "seccomp"];
const EFFORTS: &[&str] = &["none", "minimal", "low", "medium", "high", "xhigh"];

/// The table.
#[rustfmt::skip]
pub const KEYS: &[Key] = &[
    key("model", Kind::Model, "the model that does the work"),
    key("roles.fallback", Kind::Models, "models tried in this order when the first can't be reached"),
    key("roles.*", Kind::Model, "the model of one role; a role without one uses `model`"),
    key("providers.*.wire", Kind::Word(WIRES), "the wire format it speaks"),
    key("providers.*.base_url", Kind::Text, "where it is, up to and including the version: `https://host/v1`"),
    key("providers.*.api_key_env", Kind::Text, "the variable that holds its key; empty for none"),
    key("providers.*.api_key_command", Kind::Command, "a command that prints its key, when the variable is not set"),
    key("providers.*.script", Kind::File, "the file that `wire = \"script\"` plays"),
    key("providers.*.models.*.context_window", Kind::Positive, "tokens that fit one request and its answer"),
    key("providers.*.models.*.max_output_tokens", Kind::Positive, "most tokens of one answer"),
    key("providers.*.models.*.reasoning_effort", Kind::Word(EFFORTS), "how long it thinks, where it has levels"),
    key("providers.*.models.*.freeform_tools", Kind::Flag, "whether it takes tools whose input is plain text"),
    key("providers.*.models.*.usd_per_million.input", Kind::Amount, "price of a million input tokens in US dollars"),
    key("providers.*.models.*.usd_per_million.cached", Kind::Amount, "the same for those read from the provider's cache"),
    key("providers.*.models.*.usd_per_million.output", Kind::Amount, "the same for output tokens"),
    key("policy.sandbox", Kind::Word(SANDBOXES), "where commands may write"),
    key("policy.approve", Kind::Word(APPROVES), "when a person is asked"),
    key("policy.network", Kind::Texts, "hosts that a confined command may reach, such as `*.crates.io`"),
    key("policy.writable", Kind::Paths, "directories writable besides the workspace"),
    key("policy.hidden", Kind::Paths, "paths that can't be read, besides the built-in ones"),
    key("policy.require", Kind::Words(SANDBOX_LAYERS), "sandbox layers without which no command runs"),
    key("policy.wake", Kind::Flag, "whether the end of a background job is told to the model at once"),
    key("policy.rules.[].prefix", Kind::Command, "the first words of the commands it is about"),
    key("policy.rules.[].decision", Kind::Word(DECISIONS), "what happens to them"),
    key("policy.rules.[].reason", Kind::Text, "shown with the decision"),
    key("agents.*.model", Kind::Text, "a role, or a model as `provider/model`"),
    key("agents.*.sandbox", Kind::Word(SANDBOXES), "where this sub-agent's commands may write"),
    key("mcp_servers.*.command", Kind::Command, "starts the server, which speaks on stdio"),
    key("mcp_servers.*.env", Kind::TextTable, "variables added to its environment"),
    key("mcp_servers.*.cwd", Kind::File, "where it runs"),
    key("mcp_servers.*.url", Kind::Text, "where a server is that speaks HTTP"),
    key("mcp_servers.*.bearer_token_env", Kind::Text, "the variable that holds its token"),
    key("daemon.idle_exit_minutes", Kind::Count, "minutes without client, turn, job or queue until the daemon ends; 0 = never"),
    key("jobs.max_detached", Kind::Count, "most detached jobs at once"),
    key("jobs.max_hours", Kind::Positive, "hours after which a detached job is stopped"),
    key("notify", Kind::Command, "told, by one JSON argument more, when a session needs someone; `[\"desktop\"]` shows it on the desktop"),
    key("limits.max_cost_usd", Kind::Amount, "most US dollars one turn may cost; 0 = no limit"),
    key("limits.max_requests", Kind::Positive, "most requests to models in one turn"),
    key("ui", Kind::Free, "kept for the client"),
];

/// What stands at a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// A key that takes this.
    Leaf(Kind),
    /// A table, or with `[]` next a list of tables.
    Table,
    /// Nothing Quire knows.
    Unknown,
}

/// Looks up a place given as its names from the top.
#[must_use]
pub fn find(place: &[&str]) -> Found {
    let mut table = false;
    for key in KEYS {
        let mut pattern = key.path.split('.');
        let fits = place
            .iter()
            .all(|name| pattern.next().is_some_and(|part| matches(part, name)));
        match (fits, pattern.next()) {
            (true, None) => return Found::Leaf(key.kind),
            (true, Some(_)) => table = true,
            (false, _) => {}
        }
    }
    if table { Found::Table } else { Found::Unknown }
}

fn matches(part: &str, name: &str) -> bool {
    part == name || (part == "*" && name != "[]")
}

/// The names known directly below a place; a name of the user's own is not among them.
#[must_use]
pub fn known_below(place: &[&str]) -> Vec<&'static str> {
    let mut names: Vec<_> = KEYS
        .iter()
        .filter_map(|key| {
            let mut pattern = key.path.split('.');
            let fits = place
                .iter()
                .all(|name| pattern.next().is_some_and(|part| matches(part, name)));
            pattern
                .next()
                .filter(|part| fits && *part != "*" && *part != "[]")
        })
        .collect();
    names.dedup();
    names
}

/// The name that `wrong` was probably meant to be: one of `known`, if any is close.
#[must_use]
pub fn nearest<'a>(wrong: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let wrong = wrong.to_lowercase().replace('-', "_");
    known
        .into_iter()
        .map(|name| (strsim::damerau_levenshtein(&wrong, name), name))
        .filter(|(distance, name)| *distance <= name.len().max(wrong.len()) / 2)
        .min()
        .map(|(_, name)| name)
}

/// What to write instead of an unknown key at `place`: a sentence that follows "unknown key".
#[must_use]
pub fn advice(place: &[&str]) -> String {
    let Some((wrong, above)) = place.split_last() else {
        return String::new();
    };
    let known = known_below(above);
    if let Some(name) = nearest(wrong, known.iter().copied()) {
        return format!("; did you mean `{name}`?");
    }
    let elsewhere = |key: &&Key| key.path.rsplit('.').next() == Some(wrong);
    if let Some(key) = KEYS.iter().find(elsewhere) {
        return format!("; `{}` is a key", key.path.replace(".[]", "[]"));
    }
    format!("; known here: {}", known.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_found_and_user_names_fit_stars() {
        let table = [
            (&["model"][..], Found::Leaf(Kind::Model)),
            (&["roles", "fallback"], Found::Leaf(Kind::Models)),
            (&["roles", "review"], Found::Leaf(Kind::Model)),
            (&["policy"], Found::Table),
            (&["policy", "rules"], Found::Table),
            (
                &["policy", "rules", "[]", "prefix"],
                Found::Leaf(Kind::Command),
            ),
            (&["providers", "x", "models", "gpt-5.2"], Found::Table),
            (&["providers", "[]"], Found::Unknown),
            (&["modle"], Found::Unknown),
            (&["model", "deeper"], Found::Unknown),
        ];
        for (place, want) in table {
            assert_eq!(find(place), want, "for {place:?}");
        }
    }

    #[test]
    fn the_readme_explains_every_key() {
        let readme = include_str!("../../../README.md");
        for key in KEYS {
            let row = format!("| `{}` |", key.path);
            let row = readme.lines().find(|line| line.starts_with(&row));
            let row = row.unwrap_or_else(|| panic!("`{}` has no row", key.path));
            assert!(row.ends_with(&format!("| {} |", key.meaning)), "{row}");
        }
    }

    #[test]
    fn advice_names_the_nearest_key_or_its_true_place() {
        let table = [
            (&["modle"][..], "; did you mean `model`?"),
            (&["policy", "sandobx"], "; did you mean `sandbox`?"),
            (&["policy", "hide"], "; did you mean `hidden`?"),
            (
                &["idle_exit_minutes"],
                "; `daemon.idle_exit_minutes` is a key",
            ),
            (&["daemon", "zzz"], "; known here: idle_exit_minutes"),
            (
                &["providers", "openai", "api-key-env"],
                "; did you mean `api_key_env`?",
            ),
        ];
        for (place, want) in table {
            assert_eq!(advice(place), want, "for {place:?}");
        }
    }
}
