//! Commands typed into the composer, as data: `/name argument`.
//!
//! A line that begins with a space, or with a slash and something that is no command's shape, is a
//! prompt like any other.

use quire_proto::v1::{ApprovePolicy, SandboxMode};

/// A change of the session's settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Setting {
    /// "provider/model".
    Model(String),
    /// Where commands may write and what they may reach.
    Sandbox(SandboxMode),
    /// When a person is asked.
    Approve(ApprovePolicy),
    /// The session's title.
    Title(String),
}

/// What a command means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Command {
    /// Shows all keys and commands.
    Help,
    /// Leaves; the turn goes on.
    Quit,
    /// Shows what the session changed.
    Diff,
    /// Changes the session.
    Set(Setting),
    /// Shows who is attached.
    Who,
    /// Gives the keyboard to the queue.
    Queue,
    /// Goes on in a copy of the session, of this title unless it is empty.
    Fork(String),
    /// Chooses another session.
    Sessions,
}

/// One row of the table.
pub(super) struct Entry {
    /// The name, without the slash.
    pub(super) name: &'static str,
    /// What follows it, for the help; empty when nothing does.
    pub(super) argument: &'static str,
    /// What the help says.
    pub(super) help: &'static str,
    read: fn(&str) -> Result<Command, String>,
}

/// The table.
#[rustfmt::skip]
pub(super) const COMMANDS: &[Entry] = &[
    Entry { name: "help", argument: "", help: "all keys and commands", read: |_| Ok(Command::Help) },
    Entry { name: "diff", argument: "", help: "what this session changed", read: |_| Ok(Command::Diff) },
    Entry { name: "model", argument: "PROVIDER/MODEL", help: "the model of the next request", read: model },
    Entry { name: "sandbox", argument: "MODE", help: "read-only, workspace-write or full-access", read: sandbox },
    Entry { name: "approve", argument: "POLICY", help: "untrusted, on-request or never", read: approve },
    Entry { name: "who", argument: "", help: "who else is attached", read: |_| Ok(Command::Who) },
    Entry { name: "queue", argument: "", help: "go to the queue: edit, move, take out", read: |_| Ok(Command::Queue) },
    Entry { name: "sessions", argument: "", help: "choose another session; this one goes on", read: |_| Ok(Command::Sessions) },
    Entry { name: "fork", argument: "[TITLE]", help: "go on in a copy of this session", read: |title| Ok(Command::Fork(title.to_owned())) },
    Entry { name: "title", argument: "TITLE", help: "a title for this session; so does `/rename`", read: rename },
    Entry { name: "rename", argument: "TITLE", help: "a title for this session", read: rename },
    Entry { name: "detach", argument: "", help: "leave; the turn goes on; so does `/quit`", read: |_| Ok(Command::Quit) },
    Entry { name: "quit", argument: "", help: "leave; the turn goes on", read: |_| Ok(Command::Quit) },
];

/// The modes of the sandbox as people write them.
pub(super) const SANDBOX_MODES: [(&str, SandboxMode); 3] = [
    ("read-only", SandboxMode::ReadOnly),
    ("workspace-write", SandboxMode::WorkspaceWrite),
    ("full-access", SandboxMode::FullAccess),
];

/// The approval policies as people write them.
pub(super) const APPROVE_POLICIES: [(&str, ApprovePolicy); 3] = [
    ("untrusted", ApprovePolicy::Untrusted),
    ("on-request", ApprovePolicy::OnRequest),
    ("never", ApprovePolicy::Never),
];

/// Reads a command; `None` when the text is a prompt.
///
/// # Errors
///
/// One sentence, when it has the shape of a command and is none.
pub(super) fn read(text: &str) -> Option<Result<Command, String>> {
    let line = text.strip_prefix('/').filter(|line| !line.contains('\n'))?;
    let (name, argument) = line.split_once(' ').unwrap_or((line, ""));
    let is_name = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_lowercase());
    if !is_name {
        return None;
    }
    let entry = COMMANDS.iter().find(|entry| entry.name == name);
    Some(match entry {
        Some(entry) => (entry.read)(argument.trim()),
        None => Err(format!(
            "`/{name}` is no command: `/help` lists them, a space before the slash sends the text as it is"
        )),
    })
}

fn model(name: &str) -> Result<Command, String> {
    let whole = name
        .split_once('/')
        .is_some_and(|(provider, model)| !provider.is_empty() && !model.is_empty());
    if !whole {
        return Err("a model is written `provider/model`".to_owned());
    }
    Ok(Command::Set(Setting::Model(name.to_owned())))
}

fn sandbox(mode: &str) -> Result<Command, String> {
    let mode = choice(&SANDBOX_MODES, mode)?;
    Ok(Command::Set(Setting::Sandbox(mode)))
}

fn approve(policy: &str) -> Result<Command, String> {
    let policy = choice(&APPROVE_POLICIES, policy)?;
    Ok(Command::Set(Setting::Approve(policy)))
}

fn rename(title: &str) -> Result<Command, String> {
    if title.is_empty() {
        return Err("a title is missing: `/rename TITLE`".to_owned());
    }
    Ok(Command::Set(Setting::Title(title.to_owned())))
}

fn choice<T: Copy>(choices: &[(&str, T)], name: &str) -> Result<T, String> {
    let found = choices.iter().find(|(known, _)| *known == name);
    found.map(|(_, value)| *value).ok_or_else(|| {
        let names: Vec<String> = choices
            .iter()
            .map(|(name, _)| format!("`{name}`"))
            .collect();
        format!("choose one of {}", names.join(", "))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_told_from_prompts_and_from_mistakes() {
        let set = |setting| Some(Ok(Command::Set(setting)));
        let table = [
            ("/help", Some(Ok(Command::Help))),
            (
                "/model openai/gpt",
                set(Setting::Model("openai/gpt".into())),
            ),
            (
                "/sandbox read-only ",
                set(Setting::Sandbox(SandboxMode::ReadOnly)),
            ),
            (
                "/approve never",
                set(Setting::Approve(ApprovePolicy::Never)),
            ),
            (
                "/rename a new title",
                set(Setting::Title("a new title".into())),
            ),
            ("/title other", set(Setting::Title("other".into()))),
            ("/detach", Some(Ok(Command::Quit))),
            ("/fork", Some(Ok(Command::Fork(String::new())))),
            ("/fork a try", Some(Ok(Command::Fork("a try".into())))),
            ("fix /help", None),
            (" /help", None),
            ("/etc/hosts is wrong", None),
            ("/", None),
            ("/help\nand more", None),
        ];
        for (text, want) in table {
            assert_eq!(read(text), want, "for {text:?}");
        }
        for mistake in [
            "/model gpt",
            "/sandbox none",
            "/approve",
            "/rename",
            "/frobnicate x",
        ] {
            assert!(matches!(read(mistake), Some(Err(_))), "for {mistake:?}");
        }
    }
}
