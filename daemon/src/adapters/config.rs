//! Reads the layers of configuration from disk and environment and lays them over each other.
//!
//! The files are read anew at each call: they are small, and a session made after an edit sees the
//! edit.

use std::{
    collections::BTreeMap,
    env,
    path::{Path, PathBuf},
};

use quire_proto::home::Home;
use toml::Value;

use super::small_file::{self, SmallFileError};
use crate::pure::config::{
    Config, Layer, Merged, Origin, Problem, Problems, Trust, built_in, merge, typed,
};

/// Largest configuration file, in bytes.
const LARGEST: u64 = 1 << 20;

/// Where files of configuration are.
#[derive(Clone, Debug)]
pub struct Places {
    /// The machine's file.
    pub system: PathBuf,
    /// The user's file.
    pub user: PathBuf,
    /// What `~` stands for.
    pub home: Option<PathBuf>,
}

impl Places {
    /// The usual places for a user.
    #[must_use]
    pub fn of(home: &Home) -> Self {
        Self {
            system: PathBuf::from("/etc/quire/config.toml"),
            user: home.config_file(),
            home: env::home_dir().filter(|home| home.is_absolute()),
        }
    }
}

/// What was asked for on a command line or in the request that makes a session.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Flags {
    /// `provider/model`.
    pub model: Option<String>,
    /// A sandbox mode, as it is written in a file.
    pub sandbox: Option<String>,
    /// An approval policy, as it is written in a file.
    pub approve: Option<String>,
    /// Further writable directories, absolute. They are added to the configured ones.
    pub writable: Vec<PathBuf>,
    /// Most US dollars a turn may cost.
    pub max_cost_usd: Option<f64>,
}

/// Everything that a configuration is made from.
#[derive(Clone, Copy, Debug)]
pub struct Sources<'a> {
    /// Where the files are.
    pub places: &'a Places,
    /// Absolute; its `.quire/config.toml` is a layer. `None` = no repository's layer.
    pub workspace: Option<&'a Path>,
    /// Whether that layer is believed.
    pub trust: Trust,
    /// The environment of the client.
    pub environment: &'a BTreeMap<String, String>,
    /// The highest layer.
    pub flags: &'a Flags,
}

/// A configuration with what is known of its making.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// What holds.
    pub config: Config,
    /// The same without types, where each value is from, and what was ignored.
    pub merged: Merged,
}

/// Reads and merges all layers.
///
/// A repository's file that can't be understood is left out with a notice while it is not trusted:
/// a stranger's mistake must not keep anyone from working.
///
/// # Errors
///
/// Everything that is wrong in the other layers.
pub fn load(sources: &Sources<'_>) -> Result<Loaded, Problems> {
    let places = sources.places;
    let home = places.home.as_deref();
    let mut layers = vec![built_in()?];
    let mut problems = Vec::new();
    let mut notices = Vec::new();
    let mut keep = |layer: Result<Option<Layer>, Problems>, problems: &mut Vec<Problem>| match layer
    {
        Ok(layer) => layers.extend(layer),
        Err(Problems(found)) => problems.extend(found),
    };
    for origin in [
        Origin::System(places.system.clone()),
        Origin::User(places.user.clone()),
    ] {
        keep(file(origin, home), &mut problems);
    }
    if let Some(workspace) = sources.workspace {
        let mut wrong = Vec::new();
        keep(repository(workspace, home), &mut wrong);
        match sources.trust {
            Trust::Trusted => problems.extend(wrong),
            Trust::Untrusted => {
                notices.extend(wrong.iter().map(|problem| {
                    format!("{problem}; this repository's configuration is ignored")
                }))
            }
        }
    }
    for (origin, place, value) in settings(sources) {
        keep(
            Layer::setting(origin, place, value, home).map(Some),
            &mut problems,
        );
    }
    if !problems.is_empty() {
        return Err(Problems(problems));
    }
    let mut merged = merge(layers, sources.trust);
    merged.notices.extend(notices);
    let mut config = typed(&merged)?;
    let added = sources
        .flags
        .writable
        .iter()
        .filter_map(|path| path.to_str());
    config.policy.writable.extend(added.map(str::to_owned));
    Ok(Loaded { config, merged })
}

/// A layer's file, as [`check`] found it.
#[derive(Debug)]
pub struct CheckedFile {
    /// Where it is looked for.
    pub path: PathBuf,
    /// Whether it is there and right.
    pub state: FileState,
}

/// What became of a layer's file.
#[derive(Debug)]
pub enum FileState {
    /// There is none, which is fine.
    Absent,
    /// Every key is known and of its kind.
    Right,
    /// What is wrong with it.
    Wrong(Problems),
}

/// Looks at each file by itself, the repository's too.
#[must_use]
pub fn check(places: &Places, workspace: Option<&Path>) -> Vec<CheckedFile> {
    let home = places.home.as_deref();
    let state = |layer: Result<Option<Layer>, Problems>| match layer {
        Ok(None) => FileState::Absent,
        Ok(Some(_)) => FileState::Right,
        Err(problems) => FileState::Wrong(problems),
    };
    let mut checked = Vec::new();
    for origin in [
        Origin::System(places.system.clone()),
        Origin::User(places.user.clone()),
    ] {
        let path = PathBuf::from(origin.to_string());
        let state = state(file(origin, home));
        checked.push(CheckedFile { path, state });
    }
    if let Some(workspace) = workspace {
        let path = repository_file(workspace);
        let state = state(repository(workspace, home));
        checked.push(CheckedFile { path, state });
    }
    checked
}

/// The directory that a session started in `cwd` works in: the git top level above it, else
/// itself. Links in it are resolved.
///
/// # Errors
///
/// When `cwd` can't be found.
pub fn workspace_of(cwd: &Path) -> std::io::Result<PathBuf> {
    let cwd = cwd.canonicalize()?;
    let top = cwd.ancestors().find(|above| above.join(".git").exists());
    Ok(top.unwrap_or(&cwd).to_path_buf())
}

fn repository_file(workspace: &Path) -> PathBuf {
    workspace.join(".quire/config.toml")
}

fn file(origin: Origin, home: Option<&Path>) -> Result<Option<Layer>, Problems> {
    let path = PathBuf::from(origin.to_string());
    let text = small_file::read(&path, LARGEST).map_err(|error| unreadable(&path, &error))?;
    text.map(|text| Layer::parse(origin, &text, home))
        .transpose()
}

fn repository(workspace: &Path, home: Option<&Path>) -> Result<Option<Layer>, Problems> {
    let path = repository_file(workspace);
    let found = small_file::read_below(workspace, &path, LARGEST)
        .map_err(|error| unreadable(&path, &error))?;
    let origin = Origin::Repository(path);
    found
        .map(|(_, text)| Layer::parse(origin, &text, home))
        .transpose()
}

fn unreadable(path: &Path, error: &SmallFileError) -> Problems {
    let cause = std::error::Error::source(error).map(|cause| format!(": {cause}"));
    Problems(vec![Problem {
        source: path.display().to_string(),
        line: None,
        message: format!("the file {error}{}", cause.unwrap_or_default()),
    }])
}

/// Variables, then flags. `QUIRE_SANDBOX` is not among them: it names the sandbox program.
fn settings(sources: &Sources<'_>) -> Vec<(Origin, &'static [&'static str], Value)> {
    const MODEL: &[&str] = &["model"];
    const SANDBOX: &[&str] = &["policy", "sandbox"];
    const APPROVE: &[&str] = &["policy", "approve"];
    const COST: &[&str] = &["limits", "max_cost_usd"];
    let flags = sources.flags;
    let variable = |name: &'static str, place| {
        let value = sources
            .environment
            .get(name)
            .filter(|value| !value.is_empty())?;
        Some((Origin::Environment(name), place, Value::from(value.clone())))
    };
    let flag = |name: &'static str, place, value: &Option<String>| {
        Some((Origin::Flag(name), place, Value::from(value.clone()?)))
    };
    let cost = flags.max_cost_usd;
    let all = [
        variable("QUIRE_MODEL", MODEL),
        variable("QUIRE_SANDBOX_MODE", SANDBOX),
        variable("QUIRE_APPROVE", APPROVE),
        flag("--model", MODEL, &flags.model),
        flag("--sandbox", SANDBOX, &flags.sandbox),
        flag("--approve", APPROVE, &flags.approve),
        cost.map(|cost| (Origin::Flag("--max-cost"), COST, Value::from(cost))),
    ];
    all.into_iter().flatten().collect()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::pure::config::policy::{Approve, Sandbox};

    struct World {
        directory: tempfile::TempDir,
        places: Places,
        environment: BTreeMap<String, String>,
        flags: Flags,
    }

    impl World {
        fn new() -> Self {
            let directory = tempfile::tempdir().unwrap();
            let top = directory.path();
            fs::create_dir_all(top.join("w/.quire")).unwrap();
            let places = Places {
                system: top.join("system.toml"),
                user: top.join("user.toml"),
                home: Some("/home/u".into()),
            };
            Self {
                directory,
                places,
                environment: BTreeMap::new(),
                flags: Flags::default(),
            }
        }

        fn write(&self, name: &str, text: &str) {
            fs::write(self.directory.path().join(name), text).unwrap();
        }

        fn load(&self, trust: Trust) -> Result<Loaded, Problems> {
            load(&Sources {
                places: &self.places,
                workspace: Some(&self.directory.path().join("w")),
                trust,
                environment: &self.environment,
                flags: &self.flags,
            })
        }
    }

    #[test]
    fn each_layer_overrides_the_ones_below_it() {
        let mut world = World::new();
        let sandbox = |world: &World| world.load(Trust::Untrusted).unwrap().config.policy.sandbox;
        assert_eq!(sandbox(&world), Sandbox::WorkspaceWrite);
        world.write("system.toml", "[policy]\nsandbox = \"full-access\"");
        assert_eq!(sandbox(&world), Sandbox::FullAccess);
        world.write("user.toml", "[policy]\nsandbox = \"workspace-write\"");
        assert_eq!(sandbox(&world), Sandbox::WorkspaceWrite);
        world.write("w/.quire/config.toml", "[policy]\nsandbox = \"read-only\"");
        assert_eq!(sandbox(&world), Sandbox::ReadOnly);
        let variable = ("QUIRE_SANDBOX_MODE".to_owned(), "full-access".to_owned());
        world.environment.extend([variable]);
        assert_eq!(sandbox(&world), Sandbox::FullAccess);
        world.flags.sandbox = Some("workspace-write".into());
        assert_eq!(sandbox(&world), Sandbox::WorkspaceWrite);
        let origins = &world.load(Trust::Untrusted).unwrap().merged.origins;
        assert_eq!(origins["policy.sandbox"], [Origin::Flag("--sandbox")]);
    }

    #[test]
    fn variables_and_flags_are_checked_like_files() {
        let mut world = World::new();
        world
            .environment
            .extend([("QUIRE_MODEL".to_owned(), "gpt".to_owned())]);
        world.flags.approve = Some("always".into());
        let problems = world.load(Trust::Untrusted).unwrap_err().to_string();
        assert_eq!(
            problems,
            "QUIRE_MODEL: `model` must be a model as `provider/model`, not \"gpt\"\n\
             --approve: `policy.approve` must be one of \"untrusted\", \"on-request\", \"never\", not \"always\""
        );
    }

    #[test]
    fn flags_add_writable_directories_and_set_approvals() {
        let mut world = World::new();
        world.write(
            "user.toml",
            "[policy]\nwritable = [\"~/cache\"]\napprove = \"never\"",
        );
        world.flags.writable = vec!["/x".into()];
        let policy = world.load(Trust::Untrusted).unwrap().config.policy;
        assert_eq!(policy.writable, ["/home/u/cache", "/x"]);
        assert_eq!(policy.approve, Approve::Never);
    }

    #[test]
    fn a_broken_repository_file_stops_only_those_who_trust_it() {
        let world = World::new();
        world.write("w/.quire/config.toml", "modle = 1");
        let loaded = world.load(Trust::Untrusted).unwrap();
        let notice = &loaded.merged.notices[0];
        assert!(notice.contains("unknown key `modle`"), "{notice}");
        assert!(notice.ends_with("configuration is ignored"), "{notice}");
        assert!(world.load(Trust::Trusted).is_err());
    }

    #[test]
    fn a_repository_file_elsewhere_is_not_read() {
        let world = World::new();
        world.write("elsewhere.toml", "[policy]\nsandbox = \"read-only\"");
        let link = world.directory.path().join("w/.quire/config.toml");
        std::os::unix::fs::symlink("../../elsewhere.toml", link).unwrap();
        let loaded = world.load(Trust::Untrusted).unwrap();
        assert_eq!(loaded.config.policy.sandbox, Sandbox::WorkspaceWrite);
        assert!(loaded.merged.notices[0].contains("leads out of the workspace"));
    }

    #[test]
    fn every_file_is_checked_by_itself() {
        let world = World::new();
        world.write("user.toml", "model = \"a/b\"");
        world.write("w/.quire/config.toml", "nonsense");
        let workspace = world.directory.path().join("w");
        let checked = check(&world.places, Some(&workspace));
        assert!(matches!(checked[0].state, FileState::Absent));
        assert!(matches!(checked[1].state, FileState::Right));
        assert!(matches!(checked[2].state, FileState::Wrong(_)));
    }

    #[test]
    fn the_workspace_is_the_git_top_level() {
        let directory = tempfile::tempdir().unwrap();
        let top = directory.path().canonicalize().unwrap();
        fs::create_dir_all(top.join("a/b/c")).unwrap();
        assert_eq!(workspace_of(&top.join("a/b/c")).unwrap(), top.join("a/b/c"));
        fs::create_dir(top.join("a/.git")).unwrap();
        assert_eq!(workspace_of(&top.join("a/b/c")).unwrap(), top.join("a"));
        assert!(workspace_of(&top.join("none")).is_err());
    }
}
