//! Several terminals on one session: what happens in one is in the others, with the name of who did it.

use quire_tests::{
    home::Home,
    model::{Gate, MockModel, Reply, Wire},
    rpc::Rpc,
    skip::skip,
    terminal::Terminal,
    tmux::Tmux,
};
use rustix::process::Signal;

const NO_TMUX: &str = "no tmux";
const CTRL_D: &str = "\u{4}";
const CTRL_Q: &str = "C-q";

/// The rows of a screen that tell the conversation, up to where the transcript ends.
fn conversation(screen: &str) -> Vec<&str> {
    let rows = screen.lines().map(str::trim_end);
    rows.take_while(|row| !row.starts_with("──"))
        .filter(|row| !row.is_empty() && !row.starts_with('›'))
        .collect()
}

#[test]
fn what_streams_in_one_is_in_the_other_from_its_first_character() {
    let (first, second) = (Gate::closed(), Gate::closed());
    let model = MockModel::playing([Reply::say("It begins here, ")
        .and_hold(&first)
        .and_say("goes on ")
        .and_hold(&second)
        .and_say("and ends.")]);
    let home = Home::asking(&model, Wire::Responses);
    let Some(tmux) = Tmux::find(&home) else {
        return skip(NO_TMUX);
    };
    let one = tmux.quire("one", ["tell me"]);
    first.wait_reached();
    one.shows("It begins here,");
    let other = tmux.quire("other", ["attach", "@last"]);
    other.shows("It begins here,");
    one.shows("1 other attached");
    first.open();
    second.wait_reached();
    for pane in [&one, &other] {
        pane.shows("It begins here, goes on");
    }
    second.open();
    for pane in [&one, &other] {
        pane.shows("It begins here, goes on and ends.");
        pane.shows("done");
    }
    assert_eq!(
        conversation(&one.screen()),
        conversation(&other.screen()),
        "the terminals end alike"
    );
    // Who said it is told where it is someone else.
    other.shows("tell me  from tui");
    assert!(!one.screen().contains("from tui"), "{}", one.screen());
}

#[test]
fn an_answer_in_one_takes_the_question_from_the_other_and_names_who_gave_it() {
    let model = MockModel::playing([
        Reply::shell("touch first-file").and_shell("touch second-file"),
        Reply::say("that is that"),
    ]);
    let home = Home::asking(&model, Wire::Responses);
    let Some(tmux) = Tmux::find(&home) else {
        return skip(NO_TMUX);
    };
    let one = tmux.quire("one", ["--approve", "untrusted", "make them"]);
    one.shows("Run this command?");
    let other = tmux.quire("other", ["attach", "@last"]);
    other.shows("$ touch first-file");
    other.shows("y    yes, once");
    other.types("y");
    one.shows("approved by tui (pid ");
    one.shows("$ touch second-file");
    let rpc = Rpc::connect(&home);
    assert!(rpc.settled("@last").needs_approval);
    let denied = home.quire(["deny", "@last"]).run();
    assert_eq!(denied.code, 0, "{}", denied.stderr);
    for pane in [&one, &other] {
        pane.shows("denied by ");
        pane.shows_no_more("Run this command?");
        pane.shows("that is that");
    }
    assert!(home.work().join("first-file").exists());
    assert!(!home.work().join("second-file").exists());
}

#[test]
fn what_is_queued_in_one_is_edited_in_the_other_and_runs_as_edited() {
    let gate = Gate::closed();
    let model = MockModel::playing([
        Reply::say("busy ").and_hold(&gate).and_say("no more"),
        Reply::say("second turn"),
        Reply::say("third turn"),
    ]);
    let home = Home::asking(&model, Wire::Responses);
    let Some(tmux) = Tmux::find(&home) else {
        return skip(NO_TMUX);
    };
    let one = tmux.quire("one", ["begin"]);
    gate.wait_reached();
    let other = tmux.quire("other", ["attach", "@last"]);
    other.shows("busy");
    for text in ["paint it red", "and then rest", "never this"] {
        one.types(text);
        one.presses("Tab");
        other.shows(&format!("› {text}"));
    }
    other.shows("tui · queued");
    // The newest is taken out, the oldest edited and moved behind the other.
    other.presses(CTRL_Q);
    other.types("d");
    one.shows_no_more("› never this");
    other.presses("Up");
    other.presses("Enter");
    other.shows("you edit it");
    other.presses("C-w");
    other.types("blue");
    other.presses("Enter");
    one.shows("› paint it blue");
    other.presses(CTRL_Q);
    other.presses("Up");
    other.types("J");
    one.until("the new order", |screen| {
        let place = |text| screen.find(text);
        place("› and then rest") < place("› paint it blue")
    });
    gate.open();
    for pane in [&one, &other] {
        pane.shows("third turn");
    }
    let asked = model.requests();
    let last = |at: usize| asked[at].body.to_string();
    assert!(last(1).contains("and then rest"), "{}", last(1));
    assert!(!last(1).contains("paint it"), "{}", last(1));
    assert!(last(2).contains("paint it blue"), "{}", last(2));
    assert!(!last(2).contains("paint it red"), "{}", last(2));
}

#[test]
fn who_only_watches_changes_nothing_whatever_they_press() {
    if !Terminal::available() {
        return skip("no setsid from util-linux");
    }
    let model = MockModel::playing([Reply::shell("touch made"), Reply::say("never reached")]);
    let home = Home::asking(&model, Wire::Responses);
    let run = home
        .quire(["exec", "go", "--detach", "--approve", "untrusted"])
        .run();
    assert_eq!(run.code, 0, "{}", run.stderr);
    let rpc = Rpc::connect(&home);
    assert!(rpc.settled("@last").needs_approval);
    let before = rpc.events(&rpc.session("@last").id).len();
    let mut terminal = home.terminal(["attach", "@last", "--read-only"]);
    terminal.shows("someone else answers: you only watch");
    // All that would act for someone who may, then what shows that it has been read.
    terminal.types("yaAnd\r\t\u{1b}hello\r\u{11}");
    terminal.types("?");
    terminal.shows("Keys and commands");
    terminal.types("q");
    terminal.types(CTRL_D);
    assert_eq!(terminal.finish(), 0);
    let after = rpc.events(&rpc.session("@last").id).len();
    assert_eq!(before, after, "an observer wrote events");
}

#[test]
fn a_terminal_that_was_stopped_catches_up_in_few_pictures() {
    if !Terminal::available() {
        return skip("no setsid from util-linux");
    }
    const TOKENS: usize = 5_000;
    let gate = Gate::closed();
    let model = MockModel::playing([
        Reply::say("wait ")
            .and_hold(&gate)
            .and_say(&"word ".repeat(TOKENS)),
        Reply::say("unused"),
    ]);
    let home = Home::asking(&model, Wire::Responses);
    let mut terminal = home.terminal(["count"]);
    gate.wait_reached();
    terminal.shows("wait");
    terminal.signal(Signal::STOP);
    gate.open();
    let _ = Rpc::connect(&home).settled("@last");
    let drawn = terminal.drawn();
    terminal.signal(Signal::CONT);
    terminal.shows("done");
    let drawn = terminal.drawn() - drawn;
    assert!(drawn < TOKENS / 20, "{drawn} pictures to catch up");
    terminal.types(CTRL_D);
    assert_eq!(terminal.finish(), 0);
}

#[test]
fn what_was_said_last_arrives_though_the_screen_is_left_at_once() {
    if !Terminal::available() {
        return skip("no setsid from util-linux");
    }
    let model = MockModel::playing([Reply::say("heard you")]);
    let home = Home::asking(&model, Wire::Responses);
    let mut terminal = home.terminal([]);
    terminal.shows("Say what to do");
    terminal.types(&format!("last words\r{CTRL_D}"));
    assert_eq!(terminal.finish(), 0);
    terminal.shows("come back with: quire attach");
    let waited = home.quire(["wait", "@last"]).run();
    assert_eq!(waited.code, 0, "{}", waited.stderr);
    let logs = home.quire(["logs", "@last"]).run();
    assert!(logs.stdout.contains("heard you"), "{}", logs.stdout);
}

#[test]
fn a_session_is_chosen_by_what_is_remembered_of_it() {
    if !Terminal::available() {
        return skip("no setsid from util-linux");
    }
    let model = MockModel::playing([]);
    let home = Home::asking(&model, Wire::Responses);
    let rpc = Rpc::starting(&home);
    let ids = ["mend the fence", "paint the door", "count the sheep"].map(|title| {
        let id = rpc.create(&home, &home.work()).id;
        let renamed = home.quire(["rename", &id, title]).run();
        assert_eq!(renamed.code, 0, "{}", renamed.stderr);
        id
    });
    let mut terminal = home.terminal(["attach"]);
    for title in ["mend the fence", "paint the door", "count the sheep"] {
        terminal.shows(title);
    }
    terminal.types("pnt dor");
    terminal.until("what fits alone", |screen| {
        let shown = screen.contents();
        shown.contains("paint the door") && !shown.contains("sheep")
    });
    terminal.types("\r");
    terminal.shows("Say what to do");
    terminal.shows(&ids[1]);
    // From there to another, and back out of the list without choosing.
    terminal.types("/sessions\r");
    terminal.shows("count the sheep");
    terminal.types("fence\r");
    terminal.shows(&format!(" {} ", ids[0]));
    terminal.types("/sessions\r");
    terminal.shows("count the sheep");
    terminal.types("\u{1b}");
    terminal.shows("Say what to do");
    terminal.types(CTRL_D);
    assert_eq!(terminal.finish(), 0);
    terminal.shows(&format!("quire attach {}", ids[0]));
}

#[test]
fn a_session_is_watched_before_its_first_turn() {
    if !Terminal::available() {
        return skip("no setsid from util-linux");
    }
    let model = MockModel::playing([Reply::say("at your service")]);
    let home = Home::asking(&model, Wire::Responses);
    let rpc = Rpc::starting(&home);
    let id = rpc.create(&home, &home.work()).id;
    let terminal = home.terminal(["attach", &id]);
    terminal.shows("Say what to do");
    let sent = home.quire(["send", &id, "hello there"]).run();
    assert_eq!(sent.code, 0, "{}", sent.stderr);
    terminal.shows("hello there  from send");
    terminal.shows("at your service");
    let changed = home.quire(["rename", &id, "another name"]).run();
    assert_eq!(changed.code, 0, "{}", changed.stderr);
    terminal.shows("renamed the session: another name");
}
