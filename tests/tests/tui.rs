//! The terminal UI in a real terminal: type, watch, approve, leave.

use quire_proto::v1::StopReason;
use quire_tests::{
    home::Home,
    model::{Gate, MockModel, Reply, Wire},
    rpc::Rpc,
    skip::skip,
    terminal::Terminal,
};
use rustix::process::Signal;

const CTRL_D: &str = "\u{4}";
const ESCAPE: &str = "\u{1b}";

/// The terminal is as it was before.
fn given_back(terminal: &mut Terminal) -> i32 {
    let code = terminal.finish();
    let screen = terminal.screen();
    assert!(!screen.alternate_screen(), "the alternate screen stays");
    assert!(!screen.hide_cursor(), "the cursor stays hidden");
    assert!(!screen.bracketed_paste(), "bracketed paste stays on");
    assert_eq!(screen.mouse_protocol_mode(), vt100::MouseProtocolMode::None);
    code
}

#[test]
fn a_prompt_is_typed_and_its_answer_streams() {
    if !Terminal::available() {
        return skip("no setsid from util-linux");
    }
    let gate = Gate::closed();
    let model = MockModel::playing([
        Reply::say("Let me see. ").and_shell("echo from a command"),
        Reply::say("The answer is ")
            .and_hold(&gate)
            .and_say("forty-two."),
    ]);
    let home = Home::asking(&model, Wire::Responses);
    let mut terminal = home.terminal([]);
    terminal.until("the first screen", |screen| screen.alternate_screen());
    terminal.types("what is the answer?\r");
    for part in [
        "what is the answer?",
        "Let me see.",
        "from a command",
        "The answer is",
    ] {
        terminal.shows(part);
    }
    gate.open();
    terminal.shows("The answer is forty-two.");
    terminal.types(CTRL_D);
    assert_eq!(given_back(&mut terminal), 0);
    assert!(home.daemon().is_some(), "leaving must not end the daemon");
}

#[test]
fn leaving_leaves_the_turn_running() {
    if !Terminal::available() {
        return skip("no setsid from util-linux");
    }
    let gate = Gate::closed();
    let model = MockModel::playing([Reply::say("half ").and_hold(&gate).and_say("and whole")]);
    let home = Home::asking(&model, Wire::Responses);
    let mut terminal = home.terminal(["say it"]);
    gate.wait_reached();
    terminal.shows("half");
    terminal.types(CTRL_D);
    assert_eq!(given_back(&mut terminal), 0);
    gate.open();
    let waited = home.quire(["wait", "@last"]).run();
    assert_eq!(waited.code, 0, "{}", waited.stderr);
    let again = home.terminal(["attach", "@last"]);
    again.shows("half and whole");
}

#[test]
fn an_approval_is_shown_and_given() {
    if !Terminal::available() {
        return skip("no setsid from util-linux");
    }
    let model = MockModel::playing([Reply::shell("touch approved-file"), Reply::say("made it")]);
    let home = Home::asking(&model, Wire::Responses);
    let mut terminal = home.terminal(["--approve", "untrusted", "make it"]);
    terminal.shows("touch approved-file");
    let rpc = Rpc::connect(&home);
    assert!(rpc.settled("@last").needs_approval);
    assert!(!home.work().join("approved-file").exists());
    terminal.shows("y    yes, once");
    terminal.types("y");
    terminal.shows("made it");
    assert!(home.work().join("approved-file").exists());
}

#[test]
fn escape_interrupts_the_turn() {
    if !Terminal::available() {
        return skip("no setsid from util-linux");
    }
    let gate = Gate::closed();
    let model = MockModel::playing([Reply::say("endless ").and_hold(&gate)]);
    let home = Home::asking(&model, Wire::Responses);
    let mut terminal = home.terminal(["go"]);
    gate.wait_reached();
    terminal.shows("endless");
    terminal.types(ESCAPE);
    let ended = Rpc::connect(&home).settled("@last");
    assert_eq!(ended.stop_reason(), StopReason::Interrupted);
    drop(terminal);
    gate.open();
}

#[test]
fn a_signal_gives_the_terminal_back() {
    if !Terminal::available() {
        return skip("no setsid from util-linux");
    }
    let model = MockModel::playing([]);
    let home = Home::asking(&model, Wire::Responses);
    for signal in [Signal::TERM, Signal::HUP] {
        let mut terminal = home.terminal([]);
        terminal.until("the first screen", |screen| screen.alternate_screen());
        terminal.signal(signal);
        given_back(&mut terminal);
    }
}
