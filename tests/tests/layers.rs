//! The blueprint's rules, held against the sources as they are.

use std::fs;

use quire_tests::{
    binaries::source_root,
    layers::{File, files, rules},
};

const CRATES: [&str; 5] = ["proto", "sandbox", "daemon", "client", "tests"];

fn each(crates: &[&str], rule: fn(&File) -> Vec<String>) {
    let breaches: Vec<_> = files(source_root(), crates).iter().flat_map(rule).collect();
    assert!(breaches.is_empty(), "{breaches:#?}");
}

#[test]
fn crates_depend_only_on_those_below_them() {
    let mut breaches = Vec::new();
    for krate in CRATES {
        let manifest = source_root().join(krate).join("Cargo.toml");
        let manifest = fs::read_to_string(manifest).unwrap().parse().unwrap();
        breaches.extend(rules::crate_dependencies(krate, &manifest));
    }
    assert!(breaches.is_empty(), "{breaches:#?}");
}

#[test]
fn the_daemon_imports_downwards_only() {
    each(&["daemon"], rules::upward_imports);
}

#[test]
fn pure_files_have_no_effects_and_no_clock() {
    each(&["daemon"], rules::impurities);
}

#[test]
fn names_say_what_things_are() {
    each(&CRATES, rules::empty_words);
}

#[test]
fn nothing_is_left_for_later() {
    each(&CRATES, rules::unfinished);
}

#[test]
fn every_file_says_what_it_is_and_ends() {
    each(&CRATES, rules::shape);
}

#[test]
fn unsafe_code_is_in_one_file_of_the_sandbox() {
    let breaches = rules::unsafe_code(&files(source_root(), &CRATES));
    assert!(breaches.is_empty(), "{breaches:#?}");
}
