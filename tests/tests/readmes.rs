//! What the READMEs say of the tree, held against the tree: links, tests, code maps.

use std::{collections::BTreeSet, fs, path::Path};

use quire_tests::{
    binaries::source_root,
    layers::{files, rules::LAYERS},
};

const READMES: [&str; 6] = [
    "README.md",
    "proto/README.md",
    "daemon/README.md",
    "client/README.md",
    "sandbox/README.md",
    "tests/README.md",
];

fn text(path: &str) -> String {
    fs::read_to_string(source_root().join(path))
        .unwrap_or_else(|error| panic!("cannot read `{path}`: {error}"))
}

/// From `from` to the next heading of its depth.
fn section<'t>(text: &'t str, from: &str) -> &'t str {
    let (_, rest) = text
        .split_once(from)
        .unwrap_or_else(|| panic!("there is no `{from}`"));
    rest.split("\n## ").next().unwrap_or_default()
}

/// What stands between backticks.
fn quoted(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

/// Targets of links, without their anchors.
fn links(text: &str) -> Vec<&str> {
    let targets = text.split("](").skip(1);
    targets
        .filter_map(|rest| rest.split([')', '#']).next())
        .filter(|target| !target.is_empty() && !target.contains("://"))
        .collect()
}

#[test]
fn every_link_leads_somewhere() {
    for readme in READMES {
        let text = text(readme);
        let directory = source_root().join(readme);
        let directory = directory.parent().unwrap_or(Path::new(""));
        for link in links(&text) {
            assert!(directory.join(link).exists(), "{readme}: `{link}`");
        }
    }
    assert_eq!(
        links("[a](b#c) [d](e.md) [f](#g) [h](https://i)"),
        ["b", "e.md"]
    );
}

#[test]
fn every_invariant_names_tests_that_exist() {
    let readme = text("README.md");
    let table = section(&readme, "## What always holds");
    let rows = table.lines().filter(|line| line.starts_with("| "));
    let sources = tests_of_all_crates();
    let mut named = 0;
    for row in rows.skip(2) {
        let (_, held_by) = row
            .trim_end_matches(" |")
            .rsplit_once(" | ")
            .unwrap_or_else(|| panic!("not a row: {row}"));
        for test in quoted(held_by) {
            named += 1;
            assert!(sources.contains(&format!("fn {test}(")), "no test `{test}`");
        }
    }
    assert!(named > 15, "only {named} tests are named");
}

/// The text of every file that may hold a test.
fn tests_of_all_crates() -> String {
    let crates = ["proto", "daemon", "client", "sandbox", "tests"];
    let inside = files(source_root(), &crates).into_iter();
    let mut all: String = inside.map(|file| file.text).collect();
    for krate in crates {
        let beside = fs::read_dir(source_root().join(krate).join("tests"));
        for entry in beside.into_iter().flatten().flatten() {
            // Directories hold what tests share, and no tests.
            all += &fs::read_to_string(entry.path()).unwrap_or_default();
        }
    }
    all
}

#[test]
fn the_daemons_code_map_names_each_part_and_no_other() {
    let readme = text("daemon/README.md");
    let map = section(&readme, "## Inside");
    let map = map.split("\n### ").next().unwrap_or_default();
    let named: BTreeSet<_> = map
        .lines()
        .filter(|line| line.starts_with("| "))
        .flat_map(|row| row.split('|').skip(1).take(2).flat_map(quoted))
        .filter(|name| !LAYERS.contains(name))
        .map(str::to_owned)
        .collect();
    let mut there = BTreeSet::new();
    for layer in LAYERS {
        let entries = fs::read_dir(source_root().join("daemon/src").join(layer));
        for entry in entries.expect("each layer is a directory").flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            there.insert(name.trim_end_matches(".rs").to_owned());
        }
    }
    for own in ["mod", "tests"] {
        there.remove(own);
    }
    assert_eq!(named, there);
}

#[test]
fn every_black_box_test_is_in_the_list() {
    let readme = text("tests/README.md");
    let entries = fs::read_dir(source_root().join("tests/tests")).expect("there are tests");
    for entry in entries.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let row = format!("| `tests/{name}` |");
        assert!(readme.contains(&row), "tests/README.md has no line `{row}`");
    }
}
