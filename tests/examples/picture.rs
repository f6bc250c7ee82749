//! Makes the picture of the terminal UI that the README shows: `tests/pictures/tui.svg`.
//!
//! The real client, daemon, tools and sandbox, in a real terminal, over the project and the scripted
//! model of `quire demo`. Run it when the screen has changed, look at the result, and commit it.

use std::fs;

use quire_tests::{binaries::source_root, home::Home, svg};

/// What a person types in it.
const PROMPT: &str = "A test fails. Find out why and fix it.";

/// The last words of its answer.
const LAST_WORDS: &str = "as the comment promised.";

/// Row and column of the cursor when nothing is written.
const HOME: (u16, u16) = (28, 2);

fn main() {
    let home = Home::new();
    let demo = source_root().join("client/src/commands/demo");
    for file in ["price.sh", "test.sh"] {
        fs::copy(demo.join(file), home.work().join(file)).expect("the demo has its files");
    }
    let script = demo.join("script.toml");
    home.configure(&format!(
        "model = \"demo/script\"\n\n[providers.demo]\nwire = \"script\"\nscript = {script:?}\n"
    ));
    let terminal = home.terminal([PROMPT]);
    terminal.until("the end of the turn", |screen| {
        let shown = screen.contents();
        // The cursor comes home last, when the whole frame is drawn.
        shown.contains(LAST_WORDS) && shown.contains("─ done") && screen.cursor_position() == HOME
    });
    let picture = source_root().join("tests/pictures/tui.svg");
    fs::write(picture, svg::draw(&terminal.screen())).expect("the tree is writable");
}
