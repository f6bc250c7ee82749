//! Runs the user's own program when something worth knowing has happened.
//!
//! The program is the user's, so it runs as the daemon does: unconfined, in the daemon's environment.
//! It gets what happened as its last argument, nothing on stdin, and nobody reads what it prints.
//! Whatever goes wrong with it is logged and concerns nobody else.

use std::{process::Stdio, sync::Arc, time::Duration};

use tokio::{process::Command, sync::Semaphore, time::timeout};

/// Programs that run at once; further ones wait.
const AT_ONCE: usize = 4;

/// How long one may run.
const LONGEST: Duration = Duration::from_secs(10);

/// The programs that run. Clones share the bound on how many.
#[derive(Clone, Debug)]
pub struct Programs(Arc<Semaphore>);

impl Default for Programs {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(AT_ONCE)))
    }
}

impl Programs {
    /// Runs `command`, program first, with `news` as one argument more. Returns at once; it is killed
    /// after ten seconds. Must be called within a runtime.
    pub fn run(&self, command: Vec<String>, news: String) {
        let turns = self.0.clone();
        tokio::spawn(async move {
            let Ok(_turn) = turns.acquire().await else {
                return;
            };
            if let Err(problem) = run(&command, &news).await {
                let program = command.first().map(String::as_str).unwrap_or_default();
                tracing::warn!(program, problem, "the program of `notify` failed");
            }
        });
    }
}

async fn run(command: &[String], news: &str) -> Result<(), String> {
    let (program, arguments) = command.split_first().ok_or("it names no program")?;
    let mut child = Command::new(program)
        .args(arguments)
        .arg(news)
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

    #[tokio::test]
    async fn a_program_gets_the_news_as_its_last_argument() {
        let place = tempfile::tempdir().unwrap();
        let file = place.path().join("news");
        let script = "printf '%s' \"$2\" > \"$1\"";
        let words = ["/bin/sh", "-c", script, "sh", file.to_str().unwrap()];
        run(&command(&words), "{\"type\": \"x y\"}").await.unwrap();
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
            let got = run(&words, "").await.unwrap_err();
            assert!(got.contains(want), "{got}");
        }
    }
}
