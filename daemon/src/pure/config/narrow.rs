//! What an untrusted repository may say: less than the user already allows, and nothing else.
//!
//! It can't name a command, an endpoint, a key or a model, and can't widen a policy. What it may
//! not say is left out and told, so that nobody wonders why it has no effect.

use toml::{Table, Value};

use super::{
    layer::{Layer, dotted},
    schema,
};

/// The part of a repository's layer that narrows what `below` allows, and a sentence for each
/// thing left out.
#[must_use]
pub(super) fn narrowed(layer: Layer, below: &Table) -> (Layer, Vec<String>) {
    let Layer { origin, table } = layer;
    let mut kept = Table::new();
    let mut ignored = Vec::new();
    let empty = Table::new();
    let allowed = below.get("policy").and_then(Value::as_table);
    let allowed = allowed.unwrap_or(&empty);
    for (name, value) in table {
        match (name.as_str(), value) {
            ("policy", Value::Table(policy)) => {
                for (key, value) in policy {
                    let at = dotted(&["policy", &key]);
                    match narrow(&key, value, allowed.get(&key)) {
                        Narrow::Kept(value) => drop(kept.insert(key, value)),
                        Narrow::Partly(value) => {
                            kept.insert(key, value);
                            ignored.push(format!("part of `{at}` (it would allow more)"));
                        }
                        Narrow::Wider => ignored.push(format!("`{at}` (it would allow more)")),
                    }
                }
            }
            // Only a matter of looks.
            ("ui", _) => ignored.push("`ui`".to_owned()),
            _ => ignored.push(format!("`{}`", dotted(&[&name]))),
        }
    }
    let notices = ignored
        .into_iter()
        .map(|what| {
            format!("{what} in {origin} is ignored: this repository is not trusted and may only narrow the policy")
        })
        .collect();
    let mut table = Table::new();
    if !kept.is_empty() {
        table.insert("policy".to_owned(), Value::Table(kept));
    }
    (Layer { origin, table }, notices)
}

enum Narrow {
    Kept(Value),
    Partly(Value),
    Wider,
}

fn narrow(key: &str, value: Value, below: Option<&Value>) -> Narrow {
    let below_text = below.and_then(Value::as_str);
    let keep_if = |good: bool, value| {
        if good {
            Narrow::Kept(value)
        } else {
            Narrow::Wider
        }
    };
    match key {
        "sandbox" => {
            let rank = |word: Option<&str>| schema::SANDBOXES.iter().position(|w| Some(*w) == word);
            // Nothing below means nothing to compare with: the repository's word is not taken.
            let narrower = rank(below_text).is_some() && rank(value.as_str()) <= rank(below_text);
            keep_if(narrower, value)
        }
        "approve" => {
            let narrower = approve_narrows(below_text, value.as_str());
            keep_if(narrower, value)
        }
        "hidden" | "require" => Narrow::Kept(value),
        "wake" => keep_if(value.as_bool() == Some(false), value),
        "network" | "writable" => subset(value, below),
        "rules" => rules(value, below),
        _ => Narrow::Wider,
    }
}

/// `untrusted` runs less unasked than the others. `never` turns questions of `on-request` into
/// denials, but would also end the questions of `untrusted`.
fn approve_narrows(from: Option<&str>, to: Option<&str>) -> bool {
    match (from, to) {
        (Some("on-request"), Some("untrusted" | "never")) => true,
        (from, to) => from.is_some() && from == to,
    }
}

fn subset(value: Value, below: Option<&Value>) -> Narrow {
    let none = Vec::new();
    let allowed = below.and_then(Value::as_array).unwrap_or(&none);
    let Value::Array(list) = value else {
        return Narrow::Wider;
    };
    let asked = list.len();
    let kept: Vec<_> = list
        .into_iter()
        .filter(|entry| allowed.contains(entry))
        .collect();
    match kept.len() {
        same if same == asked => Narrow::Kept(Value::Array(kept)),
        0 => Narrow::Wider,
        _ => Narrow::Partly(Value::Array(kept)),
    }
}

/// Rules that ask or deny, unless one would soften what a shorter rule below denies: the longest
/// prefix wins, so an `ask` may also widen.
fn rules(value: Value, below: Option<&Value>) -> Narrow {
    let Value::Array(rules) = value else {
        return Narrow::Wider;
    };
    let none = Vec::new();
    let below = below.and_then(Value::as_array).unwrap_or(&none);
    let asked = rules.len();
    let strict = |rule: &Value| match (words(rule), decision(rule)) {
        (Some(_), Some("deny")) => true,
        (Some(prefix), Some("ask")) => !is_denied(prefix, below),
        _ => false,
    };
    let kept: Vec<_> = rules.into_iter().filter(strict).collect();
    match kept.len() {
        same if same == asked => Narrow::Kept(Value::Array(kept)),
        0 => Narrow::Wider,
        _ => Narrow::Partly(Value::Array(kept)),
    }
}

fn words(rule: &Value) -> Option<&[Value]> {
    rule.get("prefix")?.as_array().map(Vec::as_slice)
}

fn decision(rule: &Value) -> Option<&str> {
    rule.get("decision")?.as_str()
}

/// Whether some rule denies commands that begin so.
fn is_denied(prefix: &[Value], rules: &[Value]) -> bool {
    let covers = |rule: &&Value| words(rule).is_some_and(|words| prefix.starts_with(words));
    let denies = |rule: &Value| decision(rule) == Some("deny");
    rules.iter().filter(covers).any(denies)
}

#[cfg(test)]
mod tests {
    use super::super::{
        layer::Origin,
        merge::{Trust, merge},
    };
    use super::*;

    fn merged(user: &str, repository: &str, trust: Trust) -> (Table, Vec<String>) {
        let user = Layer::parse(Origin::User("/u.toml".into()), user, None).unwrap();
        let origin = Origin::Repository("/w/.quire/config.toml".into());
        let repository = Layer::parse(origin, repository, None).unwrap();
        let merged = merge(vec![user, repository], trust);
        (merged.table, merged.notices)
    }

    #[test]
    fn a_repository_may_narrow_but_not_widen() {
        let user = "[policy]\nsandbox = \"workspace-write\"\napprove = \"on-request\"\n\
                    network = [\"a\", \"b\"]\nwritable = []";
        // What the repository says under [policy], and whether it is taken.
        let table = [
            ("sandbox = \"read-only\"", true),
            ("sandbox = \"workspace-write\"", true),
            ("sandbox = \"full-access\"", false),
            ("approve = \"untrusted\"", true),
            ("approve = \"never\"", true),
            ("network = []", true),
            ("network = [\"a\"]", true),
            ("network = [\"c\"]", false),
            ("writable = [\"/x\"]", false),
            ("hidden = [\"/x\"]", true),
            ("require = [\"landlock\"]", true),
            ("wake = false", true),
            ("wake = true", false),
            ("rules = [{ prefix = [\"x\"], decision = \"deny\" }]", true),
            ("rules = [{ prefix = [\"x\"], decision = \"ask\" }]", true),
            (
                "rules = [{ prefix = [\"x\"], decision = \"allow\" }]",
                false,
            ),
        ];
        for (says, taken) in table {
            let (with, notices) = merged(user, &format!("[policy]\n{says}"), Trust::Untrusted);
            let (without, _) = merged(user, "", Trust::Untrusted);
            let (full, _) = merged(user, &format!("[policy]\n{says}"), Trust::Trusted);
            let want = if taken { &full } else { &without };
            assert_eq!(&with, want, "for `{says}`");
            assert_eq!(notices.is_empty(), taken, "for `{says}`: {notices:?}");
        }
    }

    #[test]
    fn never_does_not_replace_untrusted() {
        let user = "[policy]\napprove = \"untrusted\"";
        for word in ["never", "on-request"] {
            let says = format!("[policy]\napprove = \"{word}\"");
            let (table, notices) = merged(user, &says, Trust::Untrusted);
            assert_eq!(table["policy"]["approve"].as_str(), Some("untrusted"));
            assert_eq!(notices.len(), 1);
        }
    }

    #[test]
    fn commands_endpoints_keys_and_models_are_ignored_and_told() {
        let says = "model = \"a/b\"\n[roles]\nsmall = \"a/b\"\n\
                    [providers.openai]\nbase_url = \"http://evil\"\napi_key_env = \"X\"\n\
                    api_key_command = [\"sh\"]\n[mcp_servers.x]\ncommand = [\"sh\"]\n\
                    [agents.explore]\nsandbox = \"full-access\"\n[daemon]\nidle_exit_minutes = 0\n\
                    [limits]\nmax_requests = 9";
        let (table, notices) = merged("", says, Trust::Untrusted);
        assert_eq!(table, Table::new());
        for key in [
            "model",
            "roles",
            "providers",
            "mcp_servers",
            "agents",
            "daemon",
            "limits",
        ] {
            let told = notices
                .iter()
                .filter(|text| text.starts_with(&format!("`{key}` in ")));
            assert_eq!(told.count(), 1, "for {key}: {notices:?}");
        }
    }

    #[test]
    fn an_ask_does_not_soften_a_denial() {
        let user = "policy.rules = [{ prefix = [\"git\"], decision = \"deny\" }]";
        // Prefix, decision, and whether it is taken.
        let table = [
            ("[\"git\", \"push\"]", "ask", false),
            ("[\"git\", \"push\"]", "deny", true),
            ("[\"git\"]", "ask", false),
            ("[\"make\"]", "ask", true),
        ];
        for (prefix, decision, taken) in table {
            let says =
                format!("policy.rules = [{{ prefix = {prefix}, decision = \"{decision}\" }}]");
            let (table, _) = merged(user, &says, Trust::Untrusted);
            let rules = table["policy"]["rules"].as_array().map(Vec::len);
            assert_eq!(
                rules,
                Some(1 + usize::from(taken)),
                "for {decision} {prefix}"
            );
        }
    }

    #[test]
    fn of_a_mixed_list_the_strict_part_is_kept() {
        let says = "[[policy.rules]]\nprefix = [\"x\"]\ndecision = \"allow\"\n\
                    [[policy.rules]]\nprefix = [\"y\"]\ndecision = \"deny\"";
        let (table, notices) = merged("", says, Trust::Untrusted);
        assert_eq!(table["policy"]["rules"].as_array().map(Vec::len), Some(1));
        assert!(
            notices[0].starts_with("part of `policy.rules`"),
            "{notices:?}"
        );
    }
}
