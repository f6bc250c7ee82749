//! `quire demo`: the real loop with a scripted model, on a machine that has nothing.

use std::{fs, time::Duration};

use quire_tests::{home::Home, skip::skip, terminal::Terminal};

#[test]
fn the_demo_fixes_a_real_test_and_leaves_nothing_running() {
    let home = Home::new();
    // Its state must be private: not even the user's own home is used.
    let run = home
        .quire(["demo", "--plain"])
        .without_env("QUIRE_HOME")
        .run();
    assert_eq!(run.code, 0, "{}\n{}", run.stdout, run.stderr);
    let first = run.stdout.lines().next().unwrap_or_default().to_lowercase();
    assert!(
        first.contains("script"),
        "the model is not labelled as scripted: `{first}`"
    );
    assert!(
        run.stdout.contains("@@") || run.stdout.contains("+++"),
        "no diff: {}",
        run.stdout
    );
    assert!(run.wall < Duration::from_secs(5), "it took {:?}", run.wall);
    assert_eq!(home.processes(), [], "something is left running");
    let left: Vec<_> = fs::read_dir(home.user())
        .unwrap()
        .flatten()
        .map(|entry| entry.path())
        .collect();
    assert!(left.is_empty(), "it wrote in the user's home: {left:?}");
}

#[test]
fn the_demo_needs_no_configuration_and_no_daemon_of_the_user() {
    let home = Home::new();
    home.configure("this is no configuration at all");
    let run = home.quire(["demo", "--plain"]).run();
    assert_eq!(run.code, 0, "{}\n{}", run.stdout, run.stderr);
    assert_eq!(home.record(), None, "the user's own daemon was started");
    assert_eq!(home.processes(), []);
}

#[test]
fn the_demo_shows_itself_on_a_terminal() {
    if !Terminal::available() {
        return skip("no setsid from util-linux");
    }
    let home = Home::new();
    let mut terminal = home.terminal(["demo"]);
    terminal.until("the label of the scripted model", |screen| {
        screen.contents().to_lowercase().contains("script")
    });
    // Ctrl-C ends it cleanly, whatever it is doing.
    terminal.types("\u{3}");
    terminal.until("the terminal given back", |screen| {
        !screen.alternate_screen()
    });
    let _ = terminal.finish();
    quire_tests::wait::until("everything of the demo to end", || {
        home.processes().is_empty()
    });
}
