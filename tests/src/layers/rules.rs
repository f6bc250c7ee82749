//! The rules themselves, one function each.

use std::collections::BTreeMap;

use super::{File, paths::paths, tokens::Token};

/// Layers of the daemon, each importing only from those before it.
pub const LAYERS: [&str; 5] = ["pure", "ports", "adapters", "session", "edge"];

/// What each crate may depend on among the others.
pub const CRATES: [(&str, &[&str]); 5] = [
    ("proto", &[]),
    ("sandbox", &[]),
    ("daemon", &["quire-proto", "quire-sandbox"]),
    ("client", &["quire-proto"]),
    ("tests", &["quire-proto"]),
];

/// Longest a file may be, in lines.
pub const LONGEST: usize = 600;

/// Words that say nothing about what a thing is.
const EMPTY_WORDS: [&str; 6] = ["manager", "managers", "helper", "helpers", "util", "utils"];

/// What a pure file may not name, as the beginning of a path.
const EFFECTS: [&[&str]; 12] = [
    &["tokio"],
    &["tokio_stream"],
    &["rusqlite"],
    &["reqwest"],
    &["rustix"],
    &["std", "fs"],
    &["std", "net"],
    &["std", "process"],
    &["std", "thread"],
    &["std", "env"],
    &["std", "os"],
    &["std", "io"],
];

/// Dependencies on other crates of the workspace that a manifest may not have. Test crates aside.
#[must_use]
pub fn crate_dependencies(krate: &str, manifest: &toml::Table) -> Vec<String> {
    let allowed = CRATES.iter().find(|(name, _)| *name == krate);
    let allowed = allowed.map_or(&[][..], |(_, allowed)| allowed);
    let sections = ["dependencies", "build-dependencies", "dev-dependencies"];
    let named = sections
        .iter()
        .filter_map(|section| manifest.get(*section)?.as_table())
        .flat_map(toml::Table::keys);
    let ours = named.filter(|name| name.starts_with("quire"));
    ours.filter(|name| !allowed.contains(&name.as_str()))
        .map(|name| format!("{krate}/Cargo.toml: `{krate}` may not depend on `{name}`"))
        .collect()
}

/// Imports of a daemon's file from a layer above its own, and files outside every layer.
#[must_use]
pub fn upward_imports(file: &File) -> Vec<String> {
    let module = file.module();
    let Some(layer) = module.first() else {
        // The crate's root only lists its parts, and starts the edge.
        return Vec::new();
    };
    let rank = |name: &str| LAYERS.iter().position(|layer| *layer == name);
    let Some(own) = rank(layer) else {
        return vec![format!("{}: belongs to no layer", file.path)];
    };
    let named = paths(&module, &file.source.shipped());
    let upward = named.iter().filter(|path| match path.as_slice() {
        [root, target, ..] => root == "crate" && rank(target).is_some_and(|other| other > own),
        _ => false,
    });
    upward
        .map(|path| {
            let path = path.join("::");
            format!(
                "{}: `{layer}` may not import `{path}` from above",
                file.path
            )
        })
        .collect()
}

/// Effects and clocks that a pure file names outside its tests.
#[must_use]
pub fn impurities(file: &File) -> Vec<String> {
    let module = file.module();
    if module.first().is_none_or(|layer| layer != "pure") {
        return Vec::new();
    }
    let tokens = file.source.shipped();
    let mut named: Vec<String> = Vec::new();
    for path in paths(&module, &tokens) {
        let effect = EFFECTS.iter().any(|effect| {
            let start = path.iter().take(effect.len());
            start.eq(effect.iter()) || (path.len() < effect.len() && path == effect[..path.len()])
        });
        if effect {
            named.push(path.join("::"));
        }
    }
    let clocks = ["Instant", "SystemTime", "tokio"];
    for clock in clocks {
        if tokens.iter().any(|token| token.is(clock)) {
            named.push(clock.to_owned());
        }
    }
    named
        .iter()
        .map(|name| format!("{}: a pure file may not name `{name}`", file.path))
        .collect()
}

/// Declared names and files named by empty words.
#[must_use]
pub fn empty_words(file: &File) -> Vec<String> {
    let declares = [
        "struct",
        "enum",
        "trait",
        "fn",
        "mod",
        "type",
        "const",
        "static",
        "macro_rules",
    ];
    let mut names: Vec<String> = file.module();
    let mut tokens = file
        .source
        .tokens
        .iter()
        .filter(|token| **token != Token::Mark('!'));
    while let Some(token) = tokens.next() {
        if declares.iter().any(|word| token.is(word))
            && let Some(Token::Name(name)) = tokens.next()
        {
            names.push(name.clone());
        }
    }
    let empty = names.iter().filter(|name| {
        let words = words(name);
        words
            .iter()
            .any(|word| EMPTY_WORDS.contains(&word.as_str()))
    });
    empty
        .map(|name| format!("{}: `{name}` says nothing; name what it is", file.path))
        .collect()
}

/// The words of `CamelCase`, `snake_case` and `CAPITALS`, in lower case.
fn words(name: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut before_lower = false;
    for letter in name.chars() {
        if letter == '_' || (letter.is_uppercase() && before_lower) {
            words.push(String::new());
        }
        before_lower = letter.is_lowercase();
        if let Some(word) = words.last_mut()
            && letter != '_'
        {
            word.extend(letter.to_lowercase());
        }
    }
    words
}

/// Work left undone: macros that panic in its place, and notes to self.
#[must_use]
pub fn unfinished(file: &File) -> Vec<String> {
    let macros = file.source.tokens.windows(2).filter_map(|pair| match pair {
        [Token::Name(name), Token::Mark('!')] if name == "todo" || name == "unimplemented" => {
            Some(format!("{name}!"))
        }
        _ => None,
    });
    let marks = ["FIXME", "TODO", "XXX", "HACK"];
    let comments = file.source.comments.iter();
    let notes = comments.filter_map(|comment| {
        let mut words = comment.split(|letter: char| !letter.is_alphanumeric());
        let mark = words.find(|word| marks.contains(word));
        mark.map(str::to_owned)
    });
    macros
        .chain(notes)
        .map(|what| format!("{}: `{what}` in finished code", file.path))
        .collect()
}

/// Files besides one of the sandbox that hold `unsafe` code.
#[must_use]
pub fn unsafe_code(files: &[File]) -> Vec<String> {
    let holds = |file: &&File| file.source.tokens.iter().any(|token| token.is("unsafe"));
    let unsafe_files: Vec<_> = files.iter().filter(holds).collect();
    let outside = unsafe_files.iter().filter(|file| file.krate() != "sandbox");
    let mut breaches: Vec<_> = outside
        .map(|file| format!("{}: `unsafe` outside the sandbox", file.path))
        .collect();
    let inside = unsafe_files.iter().filter(|file| file.krate() == "sandbox");
    let inside: Vec<_> = inside.map(|file| file.path.as_str()).collect();
    if inside.len() > 1 {
        breaches.push(format!(
            "`unsafe` in more than one file: {}",
            inside.join(", ")
        ));
    }
    breaches
}

/// Files that do not say what they are, or are too long.
#[must_use]
pub fn shape(file: &File) -> Vec<String> {
    let mut breaches = Vec::new();
    if !file.text.starts_with("//!") {
        breaches.push(format!("{}: begins without `//!`", file.path));
    }
    let lines = file.text.lines().count();
    if lines > LONGEST {
        breaches.push(format!("{}: {lines} lines, more than {LONGEST}", file.path));
    }
    breaches
}

/// RPCs of these schemas, as `Service.Name`.
#[must_use]
pub fn rpcs(schemas: &BTreeMap<String, String>) -> Vec<String> {
    let mut found = Vec::new();
    for schema in schemas.values() {
        let mut service = "";
        for line in schema.lines().map(str::trim_start) {
            let name = |rest: &'static str| {
                let rest = line.strip_prefix(rest)?;
                rest.split(|letter: char| !letter.is_alphanumeric()).next()
            };
            if let Some(name) = name("service ") {
                service = name;
            }
            if let Some(name) = name("rpc ") {
                found.push(format!("{service}.{name}"));
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each text at each path breaks the rule exactly if a breach is wanted, which names it.
    fn check(rule: fn(&File) -> Vec<String>, table: &[(&str, &str, Option<&str>)]) {
        for (path, text, want) in table {
            let found = rule(&File::new(path, text));
            match want {
                None => assert!(found.is_empty(), "for `{text}` in {path}: {found:?}"),
                Some(want) => assert!(
                    found.iter().any(|breach| breach.contains(want)),
                    "for `{text}` in {path}: {found:?} lacks `{want}`"
                ),
            }
        }
    }

    #[test]
    fn imports_go_down_only() {
        check(
            upward_imports,
            &[
                ("daemon/src/pure/turn.rs", "use crate::pure::sample;", None),
                (
                    "daemon/src/pure/turn.rs",
                    "use crate::ports::tool::Place;",
                    Some("ports"),
                ),
                (
                    "daemon/src/pure/turn.rs",
                    "use super::super::edge::x;",
                    Some("crate::edge::x"),
                ),
                (
                    "daemon/src/pure/mod.rs",
                    "use super::ports::x;",
                    Some("crate::ports::x"),
                ),
                (
                    "daemon/src/pure/turn.rs",
                    "use crate::{pure::a, session};",
                    Some("session"),
                ),
                (
                    "daemon/src/pure/turn.rs",
                    "fn f() { crate::adapters::log::x() }",
                    Some("adapters"),
                ),
                (
                    "daemon/src/pure/turn.rs",
                    "#[cfg(test)] mod tests { use crate::edge::x; }",
                    None,
                ),
                (
                    "daemon/src/session/actor.rs",
                    "use crate::{adapters::log, pure::turn};",
                    None,
                ),
                (
                    "daemon/src/session/actor.rs",
                    "use crate::edge::registry;",
                    Some("edge"),
                ),
                (
                    "daemon/src/edge/server.rs",
                    "use crate::session::actor;",
                    None,
                ),
                ("daemon/src/stray.rs", "", Some("no layer")),
                ("daemon/src/main.rs", "use quired::edge::x;", None),
            ],
        );
    }

    #[test]
    fn pure_files_have_no_effects() {
        check(
            impurities,
            &[
                ("daemon/src/pure/turn.rs", "use std::time::Duration;", None),
                (
                    "daemon/src/pure/turn.rs",
                    "use std::{fmt, fs};",
                    Some("std::fs"),
                ),
                (
                    "daemon/src/pure/turn.rs",
                    "fn f() { std::net::TcpStream::connect(x) }",
                    Some("std::net"),
                ),
                (
                    "daemon/src/pure/turn.rs",
                    "use tokio::sync::mpsc;",
                    Some("tokio"),
                ),
                (
                    "daemon/src/pure/turn.rs",
                    "use std::time::{Duration, Instant};",
                    Some("Instant"),
                ),
                (
                    "daemon/src/pure/turn.rs",
                    "use std::time; fn f() { time::SystemTime::now() }",
                    Some("SystemTime"),
                ),
                (
                    "daemon/src/pure/turn.rs",
                    "/// Unlike `std::fs`, tokio\nfn f() {}",
                    None,
                ),
                (
                    "daemon/src/pure/turn.rs",
                    "#[cfg(test)] mod tests { use std::fs; }",
                    None,
                ),
                ("daemon/src/adapters/log.rs", "use std::fs;", None),
            ],
        );
    }

    #[test]
    fn names_say_something() {
        check(
            empty_words,
            &[
                (
                    "client/src/a.rs",
                    "struct SessionManager;",
                    Some("SessionManager"),
                ),
                ("client/src/a.rs", "fn path_utils() {}", Some("path_utils")),
                ("client/src/util.rs", "", Some("util")),
                ("client/src/a.rs", "struct Managed; fn utility() {}", None),
                ("client/src/a.rs", "use x::Helper;", None),
            ],
        );
    }

    #[test]
    fn nothing_is_left_for_later() {
        check(
            unfinished,
            &[
                ("client/src/a.rs", "fn f() { todo!() }", Some("todo!")),
                (
                    "client/src/a.rs",
                    "fn f() { unimplemented!(\"x\") }",
                    Some("unimplemented!"),
                ),
                ("client/src/a.rs", "// FIXME: later", Some("FIXME")),
                (
                    "client/src/a.rs",
                    "let x = \"FIXME todo!\"; Status::unimplemented(x)",
                    None,
                ),
            ],
        );
    }

    #[test]
    fn files_say_what_they_are_and_end() {
        let long = format!("//! x\n{}", "\n".repeat(LONGEST));
        check(
            shape,
            &[
                ("client/src/a.rs", "//! What it is.\n", None),
                ("client/src/a.rs", "use x;\n", Some("begins without")),
                ("client/src/a.rs", &long, Some("601 lines")),
            ],
        );
    }

    #[test]
    fn unsafe_code_has_one_place() {
        let one = || File::new("sandbox/src/apply.rs", "unsafe { x() }");
        let word = || File::new("client/src/a.rs", "// unsafe\n#![deny(unsafe_code)]");
        assert!(unsafe_code(&[one(), word()]).is_empty());
        let other = File::new("sandbox/src/other.rs", "unsafe fn x() {}");
        assert_eq!(unsafe_code(&[one(), other]).len(), 1);
        let client = File::new("client/src/a.rs", "unsafe { x() }");
        assert_eq!(unsafe_code(&[one(), client]).len(), 1);
    }

    #[test]
    fn crates_know_only_those_below_them() {
        let manifest = |text: &str| text.parse::<toml::Table>().expect("valid");
        let daemon =
            manifest("[dependencies]\nquire-proto = \"1\"\nquire-sandbox = \"1\"\nserde = \"1\"");
        assert!(crate_dependencies("daemon", &daemon).is_empty());
        assert_eq!(crate_dependencies("client", &daemon).len(), 1);
        assert_eq!(crate_dependencies("proto", &daemon).len(), 2);
        let hidden = manifest("[dev-dependencies]\nquired = \"1\"");
        assert_eq!(crate_dependencies("client", &hidden).len(), 1);
    }

    #[test]
    fn rpcs_are_found_with_their_services() {
        let schema = "service AService {\n  // Does.\n  rpc Do(X) returns (Y);\n  rpc See(X) returns (stream Y);\n}";
        let found = rpcs(&BTreeMap::from([("a.proto".to_owned(), schema.to_owned())]));
        assert_eq!(found, ["AService.Do", "AService.See"]);
    }
}
