//! Telling a person through the terminal: by which sequence, and with what in it.
//!
//! Terminals differ; the one that is known from the environment is spoken to in its own way, any other
//! rings. `ui.notify` of the configuration decides otherwise. What is told can't act on the terminal.

use std::{
    env,
    process::Stdio,
    sync::{Arc, OnceLock},
};

use tokio::process::Command;

use super::text::safe::{self, Care};
use crate::start::program;

/// Most characters of a notification.
const LONGEST: usize = 200;

/// How to tell.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Means {
    /// As the terminal in use wants it.
    #[default]
    Auto,
    /// iTerm2's sequence, which kitty, WezTerm, Ghostty and Windows Terminal know too.
    Osc9,
    /// rxvt's, which foot knows too.
    Osc777,
    /// The bell.
    Bell,
    /// Not at all.
    Off,
}

/// What of the environment tells the terminal.
#[derive(Clone, Debug, Default)]
struct Terminal {
    term: String,
    program: String,
    /// Variables that one terminal only sets are there.
    speaks_osc9: bool,
    /// A multiplexer is between: what it does not know must be passed on through it.
    in_tmux: bool,
}

impl Terminal {
    /// The terminal of this process.
    fn here() -> Self {
        let text = |name| env::var(name).unwrap_or_default();
        let is_set = |name| env::var_os(name).is_some_and(|value| !value.is_empty());
        let osc9 = [
            "ITERM_SESSION_ID",
            "KITTY_WINDOW_ID",
            "WEZTERM_PANE",
            "GHOSTTY_RESOURCES_DIR",
            "WT_SESSION",
        ];
        Self {
            term: text("TERM"),
            program: text("TERM_PROGRAM"),
            speaks_osc9: osc9.into_iter().any(is_set),
            in_tmux: is_set("TMUX"),
        }
    }

    fn means(&self) -> Means {
        let programs = ["iTerm.app", "WezTerm", "ghostty", "WarpTerminal"];
        let terms = ["xterm-kitty", "xterm-ghostty", "wezterm"];
        if self.speaks_osc9
            || programs.contains(&self.program.as_str())
            || terms.contains(&self.term.as_str())
        {
            Means::Osc9
        } else if self.term.starts_with("rxvt") || self.term.starts_with("foot") {
            Means::Osc777
        } else {
            Means::Bell
        }
    }
}

/// Tells through this process's terminal.
pub(super) struct Notifier {
    terminal: Terminal,
    /// What the configuration says, once it has been asked.
    configured: Arc<OnceLock<Means>>,
    asked: bool,
}

impl Notifier {
    /// For the terminal of this process.
    pub(super) fn here() -> Self {
        Self {
            terminal: Terminal::here(),
            configured: Arc::default(),
            asked: false,
        }
    }

    /// Asks, once and beside everything else, what the configuration says.
    pub(super) fn learn(&mut self) {
        if std::mem::replace(&mut self.asked, true) {
            return;
        }
        let known = self.configured.clone();
        tokio::spawn(async move { known.set(configured().await) });
    }

    /// The bytes that tell `text`; empty when nothing is to be told.
    pub(super) fn sequence(&self, text: &str) -> String {
        let means = self.configured.get().copied().unwrap_or_default();
        encode(means, &self.terminal, text)
    }
}

/// The bytes that tell `text` in this terminal; empty when it is not to be told.
fn encode(means: Means, terminal: &Terminal, text: &str) -> String {
    let means = match means {
        Means::Auto => terminal.means(),
        chosen => chosen,
    };
    let line = safe::line(text, Care::Prose);
    let text: String = line.chars().take(LONGEST).collect();
    let sequence = match means {
        // Named first: "4;..." would be progress to some.
        Means::Osc9 => format!("\x1b]9;Quire: {text}\x07"),
        // What parts the fields can't be in one.
        Means::Osc777 => format!("\x1b]777;notify;Quire;{}\x07", text.replace(';', ",")),
        Means::Bell => return "\x07".to_owned(),
        Means::Off | Means::Auto => return String::new(),
    };
    if terminal.in_tmux {
        let inner = sequence.replace('\x1b', "\x1b\x1b");
        return format!("\x1bPtmux;{inner}\x1b\\");
    }
    sequence
}

/// What `ui.notify` says. Whoever reads the configuration is asked: that is the daemon's program.
async fn configured() -> Means {
    let Ok(program) = program("quired", "QUIRE_DAEMON") else {
        return Means::Auto;
    };
    let mut command = Command::new(program);
    let command = command
        .args(["config", "get", "ui.notify"])
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true);
    match command.output().await {
        Ok(output) => read(&String::from_utf8_lossy(&output.stdout)),
        Err(_not_asked) => Means::Auto,
    }
}

fn read(told: &str) -> Means {
    match told.trim().trim_matches('"') {
        "osc9" => Means::Osc9,
        "osc777" => Means::Osc777,
        "bell" => Means::Bell,
        "off" => Means::Off,
        _ => Means::Auto,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn terminal(term: &str, program: &str) -> Terminal {
        Terminal {
            term: term.into(),
            program: program.into(),
            ..Terminal::default()
        }
    }

    #[test]
    fn each_terminal_is_told_in_its_own_way() {
        let table = [
            (terminal("xterm-256color", "iTerm.app"), Means::Osc9),
            (terminal("xterm-kitty", ""), Means::Osc9),
            (terminal("rxvt-unicode-256color", ""), Means::Osc777),
            (terminal("foot", ""), Means::Osc777),
            (terminal("xterm-256color", "vscode"), Means::Bell),
            (terminal("tmux-256color", "tmux"), Means::Bell),
        ];
        for (terminal, want) in table {
            assert_eq!(terminal.means(), want, "for {terminal:?}");
        }
    }

    #[test]
    fn nothing_in_a_text_acts_on_the_terminal() {
        let plain = terminal("xterm", "");
        let evil = "a;b\x1b]0;gone\x07\nc";
        let told = encode(Means::Osc9, &plain, evil);
        assert_eq!(told, "\x1b]9;Quire: a;b␛]0;gone␇␊c\x07");
        let told = encode(Means::Osc777, &plain, evil);
        assert_eq!(told, "\x1b]777;notify;Quire;a,b␛]0,gone␇␊c\x07");
        assert_eq!(encode(Means::Bell, &plain, evil), "\x07");
        assert_eq!(encode(Means::Off, &plain, evil), "");
    }

    #[test]
    fn a_multiplexer_passes_it_on() {
        let terminal = Terminal {
            in_tmux: true,
            speaks_osc9: true,
            ..Terminal::default()
        };
        let told = encode(Means::Auto, &terminal, "done");
        assert_eq!(told, "\x1bPtmux;\x1b\x1b]9;Quire: done\x07\x1b\\");
    }

    #[test]
    fn the_configuration_names_the_means() {
        let table = [
            ("bell\n", Means::Bell),
            ("\"osc9\"\n", Means::Osc9),
            ("off", Means::Off),
            ("auto", Means::Auto),
            ("", Means::Auto),
        ];
        for (told, want) in table {
            assert_eq!(read(told), want, "for {told:?}");
        }
    }
}
