//! What a one-shot command is told of the process it runs in, and how it answers.

use std::{
    collections::BTreeMap,
    env,
    ffi::OsString,
    io::{self, Write as _},
    path::PathBuf,
    process::ExitCode,
};

use quire_proto::home::Home;

use crate::{
    adapters::config::{Flags, Loaded, Places, Sources, load, workspace_of},
    pure::config::{Problems, Trust},
};

/// The process a command runs in, as data, so that tests can make one up.
#[derive(Debug)]
pub(super) struct World {
    pub(super) home: Home,
    pub(super) places: Places,
    pub(super) environment: BTreeMap<String, String>,
    /// The workspace around the working directory, when that is there.
    pub(super) workspace: Option<PathBuf>,
}

impl World {
    /// This process.
    pub(super) fn here() -> Result<Self, Failure> {
        let home = Home::find().map_err(|error| Failure::configuration(error.to_string()))?;
        let text = |(name, value): (OsString, OsString)| {
            Some((name.into_string().ok()?, value.into_string().ok()?))
        };
        let cwd = env::current_dir();
        Ok(Self {
            places: Places::of(&home),
            home,
            environment: env::vars_os().filter_map(text).collect(),
            workspace: cwd.and_then(|cwd| workspace_of(&cwd)).ok(),
        })
    }

    /// What is configured here.
    pub(super) fn load(&self) -> Result<Loaded, Problems> {
        load(&Sources {
            places: &self.places,
            workspace: self.workspace.as_deref(),
            trust: Trust::Untrusted,
            environment: &self.environment,
            flags: &Flags::default(),
        })
    }
}

/// What a command says, and its exit code.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Answer {
    /// For stdout.
    pub(super) out: String,
    /// For stderr.
    pub(super) err: String,
    pub(super) code: u8,
}

impl Answer {
    /// The manual of a command, for those who ask for it.
    pub(super) fn manual(text: &str) -> Self {
        Self {
            out: format!("{text}\n"),
            ..Self::default()
        }
    }
}

/// Whether the words ask for the manual.
pub(super) fn asks_for_manual(words: &[String]) -> bool {
    words.iter().any(|word| word == "--help" || word == "-h")
}

/// Why a command did nothing.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Failure {
    pub(super) code: u8,
    pub(super) text: String,
}

impl Failure {
    pub(super) fn usage(text: impl Into<String>) -> Self {
        Self {
            code: 2,
            text: text.into(),
        }
    }

    pub(super) fn configuration(text: impl Into<String>) -> Self {
        Self {
            code: 4,
            text: text.into(),
        }
    }
}

/// Says an answer. A reader that has gone changes nothing.
pub(super) fn say(answer: Result<Answer, Failure>) -> ExitCode {
    let answer = answer.unwrap_or_else(|failure| Answer {
        out: String::new(),
        err: format!("{}\n", failure.text),
        code: failure.code,
    });
    let _gone = io::stdout().lock().write_all(answer.out.as_bytes());
    let _gone = io::stderr().lock().write_all(answer.err.as_bytes());
    ExitCode::from(answer.code)
}

/// Arguments as text; the few words these commands take are all ASCII.
pub(super) fn words(arguments: impl IntoIterator<Item = OsString>) -> Vec<String> {
    let lossy = |word: OsString| word.to_string_lossy().into_owned();
    arguments.into_iter().map(lossy).collect()
}
