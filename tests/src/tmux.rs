//! Several programs side by side in terminals of tmux, as people have them.

use std::path::{Path, PathBuf};

use crate::{
    binaries::binaries,
    home::Home,
    process::Finished,
    wait::{self, PATIENCE},
};

/// A tmux server of a home's own, with a window for each program. Dropping it ends them all.
pub struct Tmux<'a> {
    home: &'a Home,
    program: PathBuf,
}

/// One program in its window of 100 by 30 characters.
pub struct Pane<'a> {
    tmux: &'a Tmux<'a>,
    name: &'static str,
}

impl<'a> Tmux<'a> {
    /// The server, started with its first window; `None` where there is no tmux.
    #[must_use]
    pub fn find(home: &'a Home) -> Option<Self> {
        let places = ["/usr/bin/tmux", "/usr/local/bin/tmux", "/bin/tmux"];
        let program = places
            .into_iter()
            .find(|place| Path::new(place).is_file())?;
        Some(Self {
            home,
            program: program.into(),
        })
    }

    /// Starts `quire` with these arguments in a window of this name.
    ///
    /// # Panics
    ///
    /// When tmux can't.
    #[must_use]
    pub fn quire<const N: usize>(&'a self, name: &'static str, args: [&str; N]) -> Pane<'a> {
        let quire = binaries().quire();
        let quire = quire.to_str().expect("the path is UTF-8");
        let mut words = vec![
            "-f",
            "/dev/null",
            "new-session",
            "-d",
            "-s",
            name,
            "-x",
            "100",
            "-y",
            "30",
            "--",
            quire,
        ];
        words.extend(args);
        let started = self.run(&words);
        assert_eq!(started.code, 0, "tmux: {}", started.stderr);
        Pane { tmux: self, name }
    }

    fn run(&self, words: &[&str]) -> Finished {
        let socket = self.home.root().join("tmux");
        let tmux = self
            .home
            .program(&self.program)
            .env("TERM", "xterm-256color");
        let tmux = tmux.args(["-S".into(), socket.into_os_string()]);
        tmux.args(words.iter().copied()).run()
    }
}

impl Drop for Tmux<'_> {
    fn drop(&mut self) {
        // Fails only when no window was ever opened, or all have closed.
        let _ = self.run(&["kill-server"]);
    }
}

impl Pane<'_> {
    /// Types this text.
    pub fn types(&self, text: &str) {
        self.send(&["send-keys", "-l", "-t", self.name, "--", text]);
    }

    /// Presses one key, by the name that tmux has for it.
    pub fn presses(&self, key: &str) {
        self.send(&["send-keys", "-t", self.name, key]);
    }

    fn send(&self, words: &[&str]) {
        let sent = self.tmux.run(words);
        assert_eq!(sent.code, 0, "tmux: {}", sent.stderr);
    }

    /// What a person sees, without blanks at the ends of lines.
    #[must_use]
    pub fn screen(&self) -> String {
        self.tmux
            .run(&["capture-pane", "-p", "-t", self.name])
            .stdout
    }

    /// Waits until the screen shows `text`.
    ///
    /// # Panics
    ///
    /// When it doesn't in time, with what it shows instead.
    pub fn shows(&self, text: &str) {
        self.until(text, |screen| screen.contains(text));
    }

    /// Waits until the screen does not show `text` any more.
    ///
    /// # Panics
    ///
    /// When it still does in the end.
    pub fn shows_no_more(&self, text: &str) {
        self.until(&format!("no `{text}`"), |screen| !screen.contains(text));
    }

    /// Waits until the screen is as it should be.
    ///
    /// # Panics
    ///
    /// When it isn't in time, with what it shows instead.
    pub fn until(&self, what: &str, holds: impl Fn(&str) -> bool) {
        let held = wait::within(PATIENCE, || holds(&self.screen()).then_some(()));
        assert!(
            held.is_some(),
            "`{}` never showed {what}:\n{}",
            self.name,
            self.screen()
        );
    }
}
