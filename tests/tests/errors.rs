//! What goes wrong, and how it is told: one clear line, the right exit code, nothing half-made.

use std::{fs, time::Duration};

use quire_tests::{
    home::{Home, KEY_VARIABLE, provider},
    model::{Fault, MockModel, RawServer, Reply, Wire, closed_port},
    process::{Finished, Invocation},
};

/// Ends with this code and, as its only line on standard error, one that contains `part`.
#[track_caller]
fn check_line(invocation: Invocation, code: i32, part: &str) {
    let run = invocation.run();
    let lines: Vec<_> = run.stderr.lines().collect();
    assert_eq!(lines.len(), 1, "not one line: {run:#?}");
    check_told(&run, code, part);
}

/// Ends with this code and, as its last line on standard error, one that contains `part`.
#[track_caller]
fn check_told(run: &Finished, code: i32, part: &str) {
    assert_eq!(run.code, code, "{run:#?}");
    assert_eq!(
        run.stdout, "",
        "an error belongs to standard error: {run:#?}"
    );
    let last = run.stderr.lines().last().unwrap_or_default();
    assert!(last.contains(part), "`{part}` is not in: {run:#?}");
    assert!(!last.ends_with('.'), "a full stop: {last}");
    for raw in [
        "panicked",
        "Status {",
        "Error(",
        "Os {",
        "RUST_BACKTRACE",
        "kind:",
    ] {
        assert!(!run.stderr.contains(raw), "raw `{raw}` in: {run:#?}");
    }
}

#[test]
fn a_wrong_key_is_told_at_once() {
    for wire in Wire::ALL {
        let model = MockModel::playing([Reply::say("never")]);
        let home = Home::asking(&model, wire);
        let run = home
            .quire(["exec", "go"])
            .env(KEY_VARIABLE, "sk-wrong")
            .run();
        check_told(&run, 4, "mock");
        assert!(
            !run.stderr.contains("sk-wrong"),
            "the key is shown: {}",
            run.stderr
        );
        let requests = model.requests().len();
        assert!(
            (1..=2).contains(&requests),
            "{requests} requests with a wrong key"
        );
    }
}

#[test]
fn a_missing_key_is_told_before_anything_is_sent() {
    let model = MockModel::playing([]);
    let home = Home::asking(&model, Wire::Responses);
    let run = home.quire(["exec", "go"]).without_env(KEY_VARIABLE).run();
    check_told(&run, 4, KEY_VARIABLE);
    assert!(model.requests().is_empty());
}

#[test]
fn a_server_that_refuses_is_no_model_reached() {
    let home = Home::new();
    let port = closed_port();
    home.configure(&provider(
        &format!("http://127.0.0.1:{port}/v1"),
        Wire::Responses,
    ));
    // Eight requests with growing waits between them.
    let run = home
        .quire(["exec", "go"])
        .limit(Duration::from_secs(90))
        .run();
    check_told(&run, 5, &port.to_string());
}

#[test]
fn a_server_of_garbage_is_told_as_such() {
    let table: [(&[u8], &str); 3] = [
        (b"SSH-2.0-OpenSSH_9.2\r\n", "no HTTP"),
        (b"HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ncontent-length: 16\r\n\r\n<html>hi</html>\n", "a page"),
        (b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n\xff\xfe\x00garbage\n\n", "bytes"),
    ];
    for (answer, what) in table {
        let server = RawServer::saying(answer);
        let home = Home::new();
        home.configure(&provider(&server.base_url(), Wire::Chat));
        let run = home
            .quire(["exec", "go"])
            .limit(Duration::from_secs(90))
            .run();
        assert!([1, 5].contains(&run.code), "for {what}: {run:#?}");
        check_told(&run, run.code, "mock");
        let connections = server.connections();
        assert!(
            (1..=8).contains(&connections),
            "{connections} requests to a server of {what}"
        );
    }
}

#[test]
fn a_bad_moment_of_the_provider_is_survived() {
    let faults = [
        Fault::Status(429, Some(0)),
        Fault::Status(500, None),
        Fault::Status(503, None),
        Fault::Reset,
        Fault::Cut,
    ];
    for wire in Wire::ALL {
        for fault in &faults {
            let reply = Reply::say("one two three four").failing(fault.clone(), 2);
            let model = MockModel::playing([reply]);
            let home = Home::asking(&model, wire);
            let run = home.quire(["exec", "go"]).run();
            assert_eq!(run.code, 0, "{fault:?} over {wire:?}: {run:#?}");
            assert_eq!(
                run.stdout.trim_end(),
                "one two three four",
                "after {fault:?}"
            );
            assert_eq!(model.requests().len(), 3);
            let logs = home.quire(["logs", "@last"]).run().stdout;
            assert_eq!(logs.matches("three four").count(), 1, "told twice: {logs}");
        }
    }
}

#[test]
fn a_wait_that_the_provider_asks_for_is_kept() {
    let reply = Reply::say("at last").failing(Fault::Status(429, Some(1)), 1);
    let model = MockModel::playing([reply]);
    let home = Home::asking(&model, Wire::Responses);
    assert_eq!(home.quire(["exec", "go"]).run().code, 0);
    let requests = model.requests();
    let waited = requests[1].at - requests[0].at;
    assert!(
        waited >= Duration::from_secs(1),
        "asked again after {waited:?}"
    );
}

#[test]
fn a_request_that_is_wrong_is_not_sent_again() {
    let reply = Reply::say("never").failing(Fault::Status(400, None), 9);
    let model = MockModel::playing([reply]);
    let home = Home::asking(&model, Wire::Responses);
    let run = home.quire(["exec", "go"]).run();
    check_told(&run, 1, "the script says so");
    assert_eq!(model.requests().len(), 1);
}

#[test]
fn how_a_stream_is_cut_up_does_not_matter() {
    let text = "grüße, 世界: \"quotes\" and \\ slashes";
    for wire in Wire::ALL {
        for reply in [
            Reply::say(text).byte_by_byte(),
            Reply::say(text).in_batches(1000),
        ] {
            let model = MockModel::playing([reply]);
            let home = Home::asking(&model, wire);
            let run = home.quire(["exec", "go"]).run();
            assert_eq!(run.stdout.trim_end(), text, "over {wire:?}: {}", run.stderr);
        }
    }
}

#[test]
fn events_that_come_twice_run_nothing_twice() {
    for wire in Wire::ALL {
        let model =
            MockModel::playing([Reply::shell("echo ran >> runs").twice(), Reply::say("done")]);
        let home = Home::asking(&model, wire);
        let run = home.quire(["exec", "go"]).run();
        // Chat has nothing to tell a repeated chunk by; then the arguments are no JSON, and the
        // model is told so. Nothing may run twice either way.
        let runs = fs::read_to_string(home.work().join("runs")).unwrap_or_default();
        let most = usize::from(wire == Wire::Responses);
        assert!(
            runs.lines().count() <= 1,
            "over {wire:?}: {runs}; {}",
            run.stderr
        );
        assert!(
            runs.lines().count() >= most,
            "over {wire:?}: {}",
            run.stderr
        );
    }
}

#[test]
fn wrong_use_is_told_before_anything_is_made() {
    let home = Home::new();
    for args in [["exec", ""], ["exec", "  \n "]] {
        check_line(home.quire(args), 2, "prompt");
    }
    check_line(home.quire(["exec", "-"]).stdin(""), 2, "prompt");
    assert!(
        !home.quire_home().exists(),
        "an empty prompt made something"
    );
    let run = home.quire(["exec", "--no-such-flag", "x"]).run();
    assert_eq!(run.code, 2, "{run:#?}");
    assert_eq!(run.stdout, "");
}

#[test]
fn an_unknown_session_is_told_by_every_command() {
    let model = MockModel::playing([]);
    let home = Home::asking(&model, Wire::Responses);
    let commands = [
        vec!["exec", "hello", "--session", "nosuch"],
        vec!["logs", "nosuch"],
        vec!["send", "nosuch", "hello"],
        vec!["interrupt", "nosuch"],
        vec!["approve", "nosuch"],
        vec!["deny", "nosuch"],
        vec!["wait", "nosuch"],
    ];
    for args in commands {
        let invocation = home.quire([]).args(args);
        check_line(invocation, 2, "nosuch");
    }
    check_line(home.quire(["logs", "@last"]), 2, "session");
    let ps = home.quire(["ps", "--json"]).run();
    assert_eq!((ps.code, ps.stdout.as_str()), (0, ""), "a session was made");
}

#[test]
fn a_state_directory_that_is_none_is_told() {
    let home = Home::new();
    fs::write(home.quire_home(), "in the way").unwrap();
    let place = home.quire_home().display().to_string();
    check_line(home.quire(["exec", "go"]), 8, &place);
    assert_eq!(fs::read_to_string(home.quire_home()).unwrap(), "in the way");
    assert_eq!(home.processes(), []);
}

#[test]
fn a_relative_home_is_told() {
    let home = Home::new();
    let invocation = home.quire(["ps"]).env("QUIRE_HOME", "relative");
    check_line(invocation, 8, "QUIRE_HOME");
    assert!(!home.work().join("relative").exists());
}

#[test]
fn no_terminal_for_the_terminal_ui_is_told() {
    let home = Home::new();
    check_line(home.quire([]), 2, "terminal");
    check_line(home.quire(["attach"]), 2, "terminal");
    assert!(
        !home.quire_home().exists(),
        "something was made all the same"
    );
}

#[test]
fn a_configuration_that_is_wrong_names_the_line_and_the_nearest_key() {
    let home = Home::new();
    home.configure("model = \"mock/scripted\"\n\n[provider.mock]\nwire = \"chat\"\n");
    let run = home.quire(["exec", "go"]).run();
    assert_eq!(run.code, 4, "{run:#?}");
    for part in ["config.toml", "3", "`providers`"] {
        assert!(
            run.stderr.contains(part),
            "`{part}` is not in: {}",
            run.stderr
        );
    }
    let check = home.quire(["config", "check"]).run();
    assert_eq!(check.code, 4, "{check:#?}");
}

#[test]
fn no_model_at_all_is_told_with_the_way_to_one() {
    let home = Home::new();
    let run = home.quire(["exec", "go"]).without_env(KEY_VARIABLE).run();
    assert_eq!(run.code, 4, "{run:#?}");
    let lines = run.stderr.lines().count();
    assert!((1..=4).contains(&lines), "{}", run.stderr);
    assert!(run.stderr.contains("quire demo"), "{}", run.stderr);
}
