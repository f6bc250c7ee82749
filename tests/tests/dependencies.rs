//! What comes in from outside, held to the lists of `.deny.toml`.
//!
//! Not all that cargo-deny does, but what it says of licences and bans, without installing it.

use std::{env, fs, process::Command};

use quire_tests::binaries::source_root;
use serde_json::Value;

/// Whether a licence expression can be met with what is allowed. `/` is an old way to write `OR`.
fn met(expression: &str, allowed: &dyn Fn(&str) -> bool) -> bool {
    let spaced = expression
        .replace('/', " OR ")
        .replace('(', " ( ")
        .replace(')', " ) ");
    let words: Vec<_> = spaced.split_whitespace().collect();
    let mut rest = words.as_slice();
    any_of(&mut rest, allowed) && rest.is_empty()
}

fn any_of(rest: &mut &[&str], allowed: &dyn Fn(&str) -> bool) -> bool {
    let mut met = all_of(rest, allowed);
    while let ["OR", after @ ..] = rest {
        *rest = after;
        met |= all_of(rest, allowed);
    }
    met
}

fn all_of(rest: &mut &[&str], allowed: &dyn Fn(&str) -> bool) -> bool {
    let mut met = one(rest, allowed);
    while let ["AND", after @ ..] = rest {
        *rest = after;
        met &= one(rest, allowed);
    }
    met
}

fn one(rest: &mut &[&str], allowed: &dyn Fn(&str) -> bool) -> bool {
    match rest {
        ["(", after @ ..] => {
            *rest = after;
            let met = any_of(rest, allowed);
            if let [")", after @ ..] = rest {
                *rest = after;
                return met;
            }
            false
        }
        [licence, "WITH", exception, after @ ..] => {
            *rest = after;
            allowed(&format!("{licence} WITH {exception}")) || allowed(licence)
        }
        [licence, after @ ..] => {
            *rest = after;
            allowed(licence)
        }
        [] => false,
    }
}

fn rules() -> toml::Table {
    let text = fs::read_to_string(source_root().join(".deny.toml")).expect("the lists are there");
    text.parse().expect("the lists are TOML")
}

/// Every package that a build on this machine could use.
fn packages() -> Vec<Value> {
    let cargo = env::var_os("CARGO").unwrap_or("cargo".into());
    let host = format!("{}-unknown-linux-gnu", env::consts::ARCH);
    let output = Command::new(cargo)
        .args(["metadata", "--format-version", "1", "--offline"])
        .args(["--filter-platform", &host])
        .current_dir(source_root())
        .output()
        .expect("cargo can be started");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let metadata: Value = serde_json::from_slice(&output.stdout).expect("cargo writes JSON");
    metadata["packages"].as_array().expect("packages").clone()
}

#[test]
fn every_licence_is_allowed() {
    let rules = rules();
    let allowed = rules["licenses"]["allow"].as_array().expect("a list");
    let allowed = |name: &str| allowed.iter().any(|one| one.as_str() == Some(name));
    let packages = packages();
    assert!(
        packages.len() > 100,
        "only {} packages were found",
        packages.len()
    );
    let refused: Vec<_> = packages
        .iter()
        .filter(|package| !met(package["license"].as_str().unwrap_or_default(), &allowed))
        .map(|package| format!("{} is under {}", package["name"], package["license"]))
        .collect();
    assert!(refused.is_empty(), "{refused:#?}");
}

#[test]
fn nothing_banned_is_locked() {
    let rules = rules();
    let lock = fs::read_to_string(source_root().join("Cargo.lock")).expect("a lock file");
    for banned in rules["bans"]["deny"].as_array().expect("a list") {
        let name = banned["name"].as_str().expect("a name");
        let line = format!("\nname = \"{name}\"\n");
        assert!(!lock.contains(&line), "`{name}` is locked: {banned}");
    }
    let foreign = lock
        .lines()
        .find(|line| line.starts_with("source = ") && !line.contains("crates.io-index"));
    assert_eq!(foreign, None, "a package of another registry");
}

#[test]
fn licence_expressions_are_understood() {
    let allowed = |name: &str| ["MIT", "Zlib", "Apache-2.0 WITH LLVM-exception"].contains(&name);
    let table = [
        ("MIT", true),
        ("GPL-3.0", false),
        ("GPL-3.0 OR MIT", true),
        ("GPL-3.0/MIT", true),
        ("GPL-3.0 AND MIT", false),
        ("(GPL-3.0 OR MIT) AND Zlib", true),
        ("(GPL-3.0 OR MIT) AND GPL-3.0", false),
        ("MIT AND (Zlib OR GPL-3.0)", true),
        ("Apache-2.0 WITH LLVM-exception", true),
        ("GPL-2.0 WITH Classpath-exception", false),
        ("", false),
        ("MIT nonsense", false),
    ];
    for (expression, want) in table {
        assert_eq!(met(expression, &allowed), want, "for `{expression}`");
    }
}
