//! The protocol as its guide tells it: what is answered, what is not yet, and what strangers get.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
};

use quire_tests::{binaries::source_root, home::Home, layers::rules, rpc::Rpc};
use tonic::Code;

/// Every RPC of the schema, as `Service.Name`.
fn rpcs() -> Vec<String> {
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
fn not_yet() -> BTreeSet<String> {
    let guide =
        fs::read_to_string(source_root().join("proto/README.md")).expect("proto has a guide");
    let table = guide
        .split("## Not answered yet")
        .nth(1)
        .unwrap_or_default();
    let table = table.split("\n## ").next().unwrap_or_default();
    let rows = table.lines().filter_map(|line| {
        let mut cells = line.trim_matches('|').split('|').map(str::trim);
        Some((cells.next()?, cells.next()?))
    });
    let services = rows.filter(|(service, _)| service.ends_with("Service"));
    services
        .flat_map(|(service, calls)| {
            let calls = calls.split(',').map(str::trim);
            calls.map(move |call| format!("{service}.{call}"))
        })
        .collect()
}

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
