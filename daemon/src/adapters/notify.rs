//! Runs the user's own program when something worth knowing has happened, or shows it on the desktop.
//!
//! The program is the user's, so it runs as the daemon does: unconfined, in the daemon's environment.
//! It gets what happened as its last argument, nothing on stdin, and nobody reads what it prints. No shell
//! is ever between. Whatever goes wrong with it is logged and concerns nobody else.

use std::{env, ffi::OsString, path::PathBuf, process::Stdio, sync::Arc, time::Duration};

use tokio::{process::Command, sync::Semaphore, time::timeout};

use crate::pure::news::News;

/// Programs that run at once; further ones wait.
const AT_ONCE: usize = 4;

/// Programs that run or wait; further news are not told, so that a program that hangs costs little.
const AT_MOST: usize = 64;

/// How long one may run.
const LONGEST: Duration = Duration::from_secs(10);

/// The only word of a command that stands for the desktop's own notifications.
const DESKTOP: &str = "desktop";

/// The programs that run. Clones share the bounds on how many.
#[derive(Clone, Debug)]
pub struct Programs {
    running: Arc<Semaphore>,
    places: Arc<Semaphore>,
}

impl Default for Programs {
    fn default() -> Self {
        Self {
            running: Arc::new(Semaphore::new(AT_ONCE)),
            places: Arc::new(Semaphore::new(AT_MOST)),
        }
    }
}

impl Programs {
    /// Runs `command`, program first, with the news as one JSON argument more; `desktop` alone shows them
    /// on the desktop. Returns at once; what runs is killed after ten seconds. Must be called within a
    /// runtime.
    pub fn run(&self, command: &[String], news: News) {
        let Ok(place) = self.places.clone().try_acquire_owned() else {
            return tracing::warn!(text = news.text, "not told: the program of `notify` hangs");
        };
        let words = words(command, news);
        let running = self.running.clone();
        tokio::spawn(async move {
            let _place = place;
            let Ok(_turn) = running.acquire().await else {
                return;
            };
            if let Err(problem) = run(&words).await {
                let program = words.first().map(String::as_str).unwrap_or_default();
                tracing::warn!(program, problem, "the program of `notify` failed");
            }
        });
    }
}

/// What is run, program first.
fn words(command: &[String], news: News) -> Vec<String> {
    match command {
        [word] if word == DESKTOP => on_desktop(cfg!(target_os = "macos"), &news),
        _ => command.iter().cloned().chain([news.json]).collect(),
    }
}

/// The program that shows news on the desktop of Linux or of macOS.
fn on_desktop(mac: bool, News { title, text, .. }: &News) -> Vec<String> {
    const SCRIPT: [&str; 3] = [
        "on run told",
        "display notification (item 2 of told) with title (item 1 of told)",
        "end run",
    ];
    let owned = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
    if mac {
        let [begin, show, end] = SCRIPT;
        let script = ["osascript", "-e", begin, "-e", show, "-e", end, "--"];
        return owned(&[&script[..], &[title, text]].concat());
    }
    // The text, unlike the title, is read as markup.
    let text = text.replace('&', "&amp;").replace('<', "&lt;");
    let text = text.replace('>', "&gt;");
    owned(&["notify-send", "--app-name=quire", "--", title, &text])
}

/// Where the desktop listens, when the daemon's own environment does not say: it may have been started
/// from elsewhere.
fn desktop_bus() -> Option<(&'static str, OsString)> {
    const VARIABLE: &str = "DBUS_SESSION_BUS_ADDRESS";
    if env::var_os(VARIABLE).is_some() {
        return None;
    }
    let user = rustix::process::geteuid().as_raw();
    let socket = PathBuf::from(format!("/run/user/{user}/bus"));
    let address = format!("unix:path={}", socket.display());
    socket.exists().then(|| (VARIABLE, address.into()))
}

async fn run(command: &[String]) -> Result<(), String> {
    let (program, arguments) = command.split_first().ok_or("it names no program")?;
    let mut child = Command::new(program)
        .args(arguments)
        .envs(desktop_bus())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| error.to_string())?;
    match timeout(LONGEST, child.wait()).await {
        Ok(Ok(status)) if status.success() => Ok(()),
        Ok(Ok(status)) => Err(status.to_string()),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_elapsed) => Err(format!("it took longer than {} s", LONGEST.as_secs())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn command(words: &[&str]) -> Vec<String> {
        words.iter().map(|word| (*word).to_owned()).collect()
    }

    fn news(title: &str, text: &str) -> News {
        News {
            title: title.to_owned(),
            text: text.to_owned(),
            json: "{\"type\": \"x y\"}".to_owned(),
        }
    }

    #[tokio::test]
    async fn a_program_gets_the_news_as_its_last_argument() {
        let place = tempfile::tempdir().unwrap();
        let file = place.path().join("news");
        let script = "printf '%s' \"$2\" > \"$1\"";
        let told = ["/bin/sh", "-c", script, "sh", file.to_str().unwrap()];
        run(&words(&command(&told), news("", ""))).await.unwrap();
        let got = std::fs::read_to_string(&file).unwrap();
        assert_eq!(got, "{\"type\": \"x y\"}");
    }

    #[tokio::test]
    async fn what_goes_wrong_is_said() {
        let table = [
            (command(&[]), "it names no program"),
            (command(&["/nonexistent/program"]), "No such file"),
            (command(&["/bin/sh", "-c", "exit 3"]), "exit status: 3"),
        ];
        for (words, want) in table {
            let got = run(&words).await.unwrap_err();
            assert!(got.contains(want), "{got}");
        }
    }

    #[test]
    fn the_desktop_is_told_without_a_shell_and_without_markup() {
        let news = news("--fix it; \"rm\"", "$(reboot) <b>&</b>");
        let linux = on_desktop(false, &news);
        let want = [
            "notify-send",
            "--app-name=quire",
            "--",
            "--fix it; \"rm\"",
            "$(reboot) &lt;b&gt;&amp;&lt;/b&gt;",
        ];
        assert_eq!(linux, want);
        let mac = on_desktop(true, &news);
        assert_eq!(mac.first().map(String::as_str), Some("osascript"));
        assert_eq!(mac[mac.len() - 3..], ["--", &news.title, &news.text]);
        let here = on_desktop(cfg!(target_os = "macos"), &news);
        assert_eq!(words(&command(&["desktop"]), news.clone()), here);
        let other = words(&command(&["desktop", "-x"]), news);
        assert_eq!(other[..2], ["desktop", "-x"], "a program of that name");
    }
}
