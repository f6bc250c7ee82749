//! What the schema has and what its guide, `proto/README.md`, says of it.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
};

use crate::{binaries::source_root, layers::rules};

/// The guide.
///
/// # Panics
///
/// When it can't be read.
#[must_use]
pub fn text() -> String {
    fs::read_to_string(source_root().join("proto/README.md")).expect("proto has a guide")
}

/// From a heading of the guide, given without its marks, to the next one.
///
/// # Panics
///
/// When there is no such heading.
#[must_use]
pub fn section(heading: &str) -> String {
    let text = text();
    let (_, rest) = text
        .split_once(&format!("\n## {heading}\n"))
        .unwrap_or_else(|| panic!("the guide has no `{heading}`"));
    rest.split("\n## ").next().unwrap_or_default().to_owned()
}

/// Blocks of code in this language, in order.
#[must_use]
pub fn code(text: &str, language: &str) -> Vec<String> {
    let fence = format!("```{language}\n");
    let blocks = text.split(&fence).skip(1);
    let blocks = blocks.filter_map(|rest| Some(rest.split_once("```")?.0.to_owned()));
    blocks.collect()
}

/// Every RPC of the schema, as `Service.Name`.
///
/// # Panics
///
/// When the schema can't be read.
#[must_use]
pub fn rpcs() -> Vec<String> {
    let schemas = fs::read_dir(source_root().join("proto/quire/v1")).expect("the schema is there");
    let schemas: BTreeMap<_, _> = schemas
        .flatten()
        .map(|entry| entry.path())
        .map(|path| {
            let text = fs::read_to_string(&path).expect("the schema is readable");
            (path.display().to_string(), text)
        })
        .collect();
    let rpcs = rules::rpcs(&schemas);
    assert!(rpcs.len() > 40, "only {} RPCs were found", rpcs.len());
    rpcs
}

/// RPCs in the guide's table of what is not answered yet.
#[must_use]
pub fn not_yet() -> BTreeSet<String> {
    let table = section("Not answered yet");
    let rows = rows(&table);
    let services = rows
        .iter()
        .filter(|cells| cells.first().is_some_and(|cell| cell.ends_with("Service")));
    services
        .filter_map(|cells| Some((cells.first()?, cells.get(1)?)))
        .flat_map(|(service, calls)| {
            let calls = calls.split(',').map(str::trim);
            calls.map(move |call| format!("{service}.{call}"))
        })
        .collect()
}

/// Rows of the tables in a text, each as its cells; heads and rules among them.
#[must_use]
pub fn rows(text: &str) -> Vec<Vec<String>> {
    let lines = text.lines().filter(|line| line.starts_with('|'));
    lines
        .map(|line| {
            let cells = line.trim_matches('|').split('|');
            cells.map(|cell| cell.trim().to_owned()).collect()
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn code_and_tables_are_found() {
        let text =
            "a\n```sh\nls\n```\n```python\nx\ny\n```\n| a | b |\n| --- | --- |\n| `c` | d |\n";
        assert_eq!(code(text, "python"), ["x\ny\n"]);
        assert_eq!(rows(text).last().unwrap(), &["`c`", "d"]);
    }
}
