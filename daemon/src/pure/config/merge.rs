//! Laying layers over each other, and remembering which one set what.
//!
//! A higher layer replaces what it names. Lists that only ever make a policy stricter or more
//! precise (rules, hidden paths, required layers) are added to instead. An untrusted repository's
//! layer is first cut down to what narrows.

use std::collections::BTreeMap;

use toml::{Table, Value};

use super::{
    layer::{Layer, Origin, dotted},
    narrow::narrowed,
};

/// Lists that grow from layer to layer.
const ADDED: &[&str] = &["policy.rules", "policy.hidden", "policy.require"];

/// All layers as one.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Merged {
    /// What holds.
    pub table: Table,
    /// For each value its layer; for lists that grow, every layer that added.
    pub origins: BTreeMap<String, Vec<Origin>>,
    /// What a person should be told: settings that were ignored, and why.
    pub notices: Vec<String>,
}

/// Whether the repository's layer is believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trust {
    /// It may set everything.
    Trusted,
    /// It may only narrow the policy.
    Untrusted,
}

/// Lays `layers` over each other, lowest first.
#[must_use]
pub fn merge(layers: Vec<Layer>, repository: Trust) -> Merged {
    let mut merged = Merged::default();
    for layer in layers {
        let distrusted =
            matches!(layer.origin, Origin::Repository(_)) && repository == Trust::Untrusted;
        let layer = if distrusted {
            let (layer, notices) = narrowed(layer, &merged.table);
            merged.notices.extend(notices);
            layer
        } else {
            layer
        };
        let mut place = Vec::new();
        lay(
            &mut merged.table,
            &mut merged.origins,
            &mut place,
            layer.table,
            &layer.origin,
        );
    }
    merged
}

fn lay(
    below: &mut Table,
    origins: &mut BTreeMap<String, Vec<Origin>>,
    place: &mut Vec<String>,
    above: Table,
    origin: &Origin,
) {
    for (name, value) in above {
        place.push(name.clone());
        let names: Vec<&str> = place.iter().map(String::as_str).collect();
        let at = dotted(&names);
        match (below.get_mut(&name), value) {
            (Some(Value::Table(table)), Value::Table(value)) => {
                lay(table, origins, place, value, origin);
            }
            (Some(Value::Array(list)), Value::Array(value)) if ADDED.contains(&at.as_str()) => {
                list.extend(value);
                origins.entry(at).or_default().push(origin.clone());
            }
            (_, Value::Table(value)) => {
                let mut table = Table::new();
                lay(&mut table, origins, place, value, origin);
                below.insert(name, Value::Table(table));
            }
            (_, value) => {
                origins.insert(at, vec![origin.clone()]);
                below.insert(name, value);
            }
        }
        place.pop();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layer(origin: Origin, text: &str) -> Layer {
        Layer::parse(origin, text, None).unwrap()
    }

    fn user() -> Origin {
        Origin::User("/u.toml".into())
    }

    #[test]
    fn the_highest_layer_wins_and_is_remembered() {
        let merged = merge(
            vec![
                layer(
                    Origin::BuiltIn,
                    "model = \"a/b\"\n[policy]\nsandbox = \"read-only\"",
                ),
                layer(user(), "model = \"c/d\"\n[providers.c]\nwire = \"chat\""),
                layer(Origin::Flag("--model"), "model = \"e/f\""),
            ],
            Trust::Untrusted,
        );
        assert_eq!(merged.table["model"].as_str(), Some("e/f"));
        let table = [
            ("model", Origin::Flag("--model")),
            ("policy.sandbox", Origin::BuiltIn),
            ("providers.c.wire", user()),
        ];
        for (place, origin) in table {
            assert_eq!(merged.origins[place], [origin], "for {place}");
        }
    }

    #[test]
    fn rules_and_hidden_paths_add_up_while_hosts_are_replaced() {
        let text = |name: &str| {
            format!(
                "[policy]\nhidden = [\"/{name}\"]\nnetwork = [\"{name}\"]\n\
                 [[policy.rules]]\nprefix = [\"{name}\"]\ndecision = \"ask\""
            )
        };
        let layers = vec![
            layer(Origin::BuiltIn, &text("a")),
            layer(user(), &text("b")),
        ];
        let merged = merge(layers, Trust::Untrusted);
        let policy = &merged.table["policy"];
        assert_eq!(policy["hidden"].as_array().map(Vec::len), Some(2));
        assert_eq!(policy["rules"].as_array().map(Vec::len), Some(2));
        assert_eq!(policy["network"].to_string(), r#"["b"]"#);
        assert_eq!(merged.origins["policy.hidden"], [Origin::BuiltIn, user()]);
    }
}
