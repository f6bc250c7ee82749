//! The demo's project and what is played over it, all under one private directory.

use std::{
    env, fs,
    fs::DirBuilder,
    io,
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
};

use quire_proto::{home::Home, id::RequestId};

use crate::{
    failure::{Exit, Failure},
    start,
};

/// What the agent is asked.
pub(super) const PROMPT: &str = "A test fails. Find out why and fix it.";

/// The scripted model's name in the demo's configuration.
pub(super) const MODEL: &str = "demo/script";

/// Where to go from here.
pub(super) const NEXT: &str = "\
  Connect a model: set OPENAI_API_KEY, or OPENROUTER_API_KEY (https://openrouter.ai), or start a
  local server such as Ollama;
  `quire models` shows what was found, `quire config path` where to say more.
  Then: `quire` for the terminal UI, `quire exec 'make the tests pass'` without it.
";

/// What the project consists of.
const FILES: [(&str, &str); 2] = [
    ("price.sh", include_str!("price.sh")),
    ("test.sh", include_str!("test.sh")),
];

const SCRIPT: &str = include_str!("script.toml");

/// A directory with the code, and a home for Quire beside it.
#[derive(Debug)]
pub(super) struct Project {
    root: PathBuf,
    code: PathBuf,
}

impl Project {
    /// Makes it in the directory for temporary files.
    pub(super) fn make() -> Result<Self, Failure> {
        // Short, because the socket's path must fit.
        let name = format!("quire-demo-{}", &RequestId::random().as_str()[..6]);
        let parent = env::temp_dir();
        let parent = fs::canonicalize(&parent).map_err(|error| cannot(&parent, &error))?;
        let root = parent.join(name);
        let code = root.join("apples");
        let project = Self { root, code };
        if let Err(error) = start::privately(|| project.fill()) {
            let failure = cannot(&project.root, &error);
            project.remove()?;
            return Err(failure);
        }
        Ok(project)
    }

    fn fill(&self) -> io::Result<()> {
        let private = |path: &Path| DirBuilder::new().mode(0o700).create(path);
        private(&self.root)?;
        private(&self.code)?;
        for (name, content) in FILES {
            fs::write(self.code.join(name), content)?;
        }
        let home = self.quire();
        private(&home)?;
        let script = home.join("script.toml");
        fs::write(&script, SCRIPT)?;
        let script = toml_text(&script.to_string_lossy());
        let config = format!(
            "model = \"{MODEL}\"\n\n[providers.demo]\nwire = \"script\"\nscript = {script}\n"
        );
        fs::write(home.join("config.toml"), config)
    }

    fn quire(&self) -> PathBuf {
        self.root.join("quire")
    }

    /// Where Quire keeps everything of the demo.
    pub(super) fn home(&self) -> Result<Home, Failure> {
        Home::under(self.quire()).map_err(|error| Failure::new(Exit::Failed, error.to_string()))
    }

    /// The private directory.
    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    /// The project's code.
    pub(super) fn code(&self) -> &Path {
        &self.code
    }

    /// Removes everything.
    pub(super) fn remove(&self) -> Result<(), Failure> {
        match fs::remove_dir_all(&self.root) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(cannot(&self.root, &error))
            }
            _ => Ok(()),
        }
    }
}

fn cannot(path: &Path, error: &io::Error) -> Failure {
    let path = path.display();
    Failure::new(
        Exit::Failed,
        format!("cannot use `{path}` for the demo: {error}"),
    )
}

/// `text` as a TOML basic string; JSON's escapes are a part of TOML's.
fn toml_text(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    fn test_passes(project: &Project) -> bool {
        let ran = Command::new("sh")
            .arg("test.sh")
            .current_dir(project.code())
            .output();
        ran.unwrap().status.success()
    }

    #[test]
    fn the_test_fails_until_it_is_repaired_as_scripted() {
        let project = Project::make().unwrap();
        assert!(!test_passes(&project));
        let path = project.code().join("price.sh");
        let broken = fs::read_to_string(&path).unwrap();
        let lines = SCRIPT.lines();
        let changed = |sign: char| {
            let mut lines = lines.clone().filter(|line| line.starts_with(sign));
            lines.next().unwrap()[1..].to_owned()
        };
        let (before, after) = (changed('-'), changed('+'));
        assert_eq!(broken.matches(&before).count(), 1, "for `{before}`");
        fs::write(&path, broken.replace(&before, &after)).unwrap();
        assert!(test_passes(&project));
        project.remove().unwrap();
        assert!(!project.root().exists());
    }
}
