//! `quire demo`: the real loop with a scripted model, on a machine that has nothing.

use std::{fs, time::Duration};

use quire_tests::{home::Home, skip::skip, terminal::Terminal, wait};

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
    check_nothing_left(&home);
}

#[test]
fn the_demo_needs_no_configuration_and_no_daemon_of_the_user() {
    let home = Home::new();
    home.configure("this is no configuration at all");
    let run = home.quire(["demo", "--plain"]).run();
    assert_eq!(run.code, 0, "{}\n{}", run.stdout, run.stderr);
    assert_eq!(home.record(), None, "the user's own daemon was started");
    check_nothing_left(&home);
}

#[test]
fn the_demo_shows_itself_on_a_terminal() {
    if !Terminal::available() {
        return skip("no setsid from util-linux");
    }
    let home = Home::new();
    let mut terminal = home.terminal(["demo"]);
    terminal.until("the terminal UI", |screen| screen.alternate_screen());
    terminal.until("the end", |screen| !screen.alternate_screen());
    assert_eq!(terminal.finish(), 0, "{}", terminal.screen().contents());
    terminal.shows("Connect a model");
    check_nothing_left(&home);
}

#[test]
fn a_demo_cut_short_leaves_nothing_either() {
    if !Terminal::available() {
        return skip("no setsid from util-linux");
    }
    // At once, and when its daemon has been started.
    let moments: [fn(&Home) -> bool; 2] = [|_| true, |home| home.processes().len() > 1];
    for moment in moments {
        let home = Home::new();
        let mut terminal = home.terminal(["demo"]);
        terminal.shows("script");
        wait::until("the moment", || moment(&home));
        terminal.types("\u{3}\u{3}");
        let _ = terminal.finish();
        assert!(!terminal.screen().alternate_screen());
        check_nothing_left(&home);
    }
}

/// No process, and no file: neither in the user's home nor where it worked.
fn check_nothing_left(home: &Home) {
    let left = wait::within(Duration::from_secs(5), || {
        home.processes().is_empty().then_some(())
    });
    assert!(left.is_some(), "left running: {:#?}", home.processes());
    for place in [home.user(), home.temporary()] {
        let entries = fs::read_dir(place).expect("it was made before").flatten();
        let files: Vec<_> = entries.map(|entry| entry.path()).collect();
        assert!(files.is_empty(), "left behind: {files:?}");
    }
}
