//! Clients that are not ours: Python with grpcio, and grpcurl. They have the schema and its guide, and
//! nothing else.

#![allow(clippy::unwrap_used, reason = "a test that can't go on has failed")]

use std::{
    fs,
    path::{Path, PathBuf},
};

use quire_tests::{
    guide,
    home::Home,
    model::{Gate, MockModel, Reply, Wire},
    python::Python,
    rpc::Rpc,
    wait::PATIENCE,
};
use serde_json::{Value, json};

/// What the tour needs a model to do, turn by turn.
fn tour() -> MockModel {
    MockModel::playing([
        Reply::patch("*** Begin Patch\n*** Add File: made.txt\n+made\n*** End Patch"),
        Reply::say("Made it."),
        Reply::default().and_shell_with("cat", json!({ "tty": true, "yield_time_ms": 250 })),
        Reply::say("It runs."),
        Reply::shell("sleep 1000"),
    ])
}

#[test]
fn a_python_client_calls_every_rpc() {
    let Some(python) = Python::with_grpc() else {
        return;
    };
    let model = tour();
    let home = Home::asking(&model, Wire::Responses);
    assert_eq!(home.quire(["daemon", "start"]).run().code, 0);
    let unanswered = guide::not_yet();
    let run = python
        .script(&home, "tour.py")
        .args([home.work()])
        .args(&unanswered)
        .limit(PATIENCE * 4)
        .run();
    assert_eq!(run.code, 0, "{}\n{}", run.stdout, run.stderr);
    let told = format!("{} RPCs: ", guide::rpcs().len());
    assert!(run.stdout.starts_with(&told), "{}", run.stdout);
}
