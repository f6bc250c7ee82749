//! The protocol as its guide tells it: what is answered, what is not yet, and what strangers get.

#![allow(clippy::unwrap_used, reason = "a test that can't go on has failed")]

use std::{collections::BTreeSet, fs};

use quire_tests::{
    binaries::source_root,
    guide::{self, not_yet, rpcs},
    home::Home,
    layers::files,
    rpc::Rpc,
};
use tonic::Code;

#[test]
fn exactly_what_the_guide_says_is_not_answered_yet() {
    let home = Home::new();
    let rpc = Rpc::starting(&home);
    let unanswered: BTreeSet<_> = rpcs()
        .into_iter()
        .filter(|name| {
            let path = format!("/quire.v1.{}", name.replace('.', "/"));
            rpc.call_empty(&path) == Code::Unimplemented
        })
        .collect();
    assert_eq!(unanswered, not_yet());
}

#[test]
fn nothing_is_answered_wrongly_for_lack_of_a_request() {
    let home = Home::new();
    let rpc = Rpc::starting(&home);
    for name in rpcs() {
        let path = format!("/quire.v1.{}", name.replace('.', "/"));
        let code = rpc.call_empty(&path);
        let bad = [
            Code::Unknown,
            Code::Internal,
            Code::Unavailable,
            Code::Cancelled,
        ];
        assert!(
            !bad.contains(&code),
            "{name} with an empty request: {code:?}"
        );
    }
    assert!(home.daemon().is_some(), "an empty request ended the daemon");
}

/// RPCs whose request carries a `request_id`: they change something.
fn mutating() -> Vec<String> {
    let schemas = fs::read_dir(source_root().join("proto/quire/v1")).expect("the schema is there");
    let schemas = schemas
        .flatten()
        .map(|entry| fs::read_to_string(entry.path()));
    let text: String = schemas
        .map(|text| text.expect("the schema is readable"))
        .collect();
    let carries = |name: &String| {
        let message = format!("message {}Request {{", name.replace('.', ""));
        let fields = text.split(&message).nth(1).unwrap_or_default();
        let fields = fields.split("\n}").next().unwrap_or_default();
        fields.contains("string request_id = 1;")
    };
    let mutating: Vec<_> = rpcs().into_iter().filter(carries).collect();
    assert!(mutating.len() > 15, "only {mutating:?} were found");
    mutating
}

#[test]
fn an_observer_may_change_nothing() {
    let home = Home::new();
    let _up = Rpc::starting(&home);
    let observer = Rpc::observing(&home);
    let unanswered = not_yet();
    for name in mutating() {
        let path = format!("/quire.v1.{}", name.replace('.', "/"));
        let code = observer.call_mutating(&path);
        let open = unanswered.contains(&name) && code == Code::Unimplemented;
        assert!(open || code == Code::PermissionDenied, "{name}: {code:?}");
    }
    assert!(home.daemon().is_some(), "an observer ended the daemon");
}

#[test]
fn an_rpc_that_is_none_is_told() {
    let home = Home::new();
    let rpc = Rpc::starting(&home);
    assert_eq!(
        rpc.call_empty("/quire.v1.TurnService/NoSuchCall"),
        Code::Unimplemented
    );
}

/// What the daemon's sources refuse with: code and reason.
fn refusals() -> BTreeSet<(String, String)> {
    let edge = files(source_root(), &["daemon"])
        .into_iter()
        .filter(|file| {
            let path = file.path.as_str();
            path.starts_with("daemon/src/edge/") && !path.ends_with("tests.rs")
        });
    let sources = edge.map(|file| fs::read_to_string(source_root().join(file.path)).unwrap());
    sources.flat_map(|source| named(&source)).collect()
}

/// Every `Code::Name, "REASON"` of a source, its tests left out.
fn named(source: &str) -> Vec<(String, String)> {
    let shipped = source.split("#[cfg(test)]").next().unwrap_or_default();
    let words = shipped.split_whitespace().collect::<Vec<_>>().join(" ");
    let codes = words.split("Code::").skip(1);
    let named = codes.filter_map(|rest| {
        let (code, rest) = rest.split_once(", \"")?;
        let (reason, _) = rest.split_once('"')?;
        let whole = code.chars().all(char::is_alphanumeric) && !reason.is_empty();
        whole.then(|| (upper(code), reason.to_owned()))
    });
    named.collect()
}

/// `NotFound` as `NOT_FOUND`.
fn upper(code: &str) -> String {
    let mut upper = String::new();
    for letter in code.chars() {
        if letter.is_uppercase() && !upper.is_empty() {
            upper.push('_');
        }
        upper.extend(letter.to_uppercase());
    }
    upper
}

/// The same from the guide's table: reasons in its first column, and in its second one code for all of
/// them, or one for each.
fn told() -> BTreeSet<(String, String)> {
    let rows = guide::rows(&guide::section("The shape of it"));
    let rows = rows.into_iter().filter(|cells| cells[0].starts_with('`'));
    rows.flat_map(|cells| {
        let reasons = cells[0]
            .split(", ")
            .map(|word| word.trim_matches('`').to_owned());
        let codes = cells[1].split(", ").map(str::to_owned).cycle();
        codes.zip(reasons).collect::<Vec<_>>()
    })
    .collect()
}

#[test]
fn the_guide_has_every_reason_the_daemon_gives_and_no_other() {
    assert_eq!(
        named("(Code::NotFound,\n \"GONE\") Code::Ok, x")[0].0,
        "NOT_FOUND"
    );
    let (refusals, told) = (refusals(), told());
    assert!(refusals.len() > 30, "only {refusals:?}");
    let untold: Vec<_> = refusals.difference(&told).collect();
    let unused: Vec<_> = told.difference(&refusals).collect();
    assert_eq!((untold, unused), (vec![], vec![]), "untold and unused");
}
