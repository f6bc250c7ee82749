//! The protocol as its guide tells it: what is answered, what is not yet, and what strangers get.

use std::collections::BTreeSet;

use quire_tests::{
    guide::{not_yet, rpcs},
    home::Home,
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

#[test]
fn an_rpc_that_is_none_is_told() {
    let home = Home::new();
    let rpc = Rpc::starting(&home);
    assert_eq!(
        rpc.call_empty("/quire.v1.TurnService/NoSuchCall"),
        Code::Unimplemented
    );
}
