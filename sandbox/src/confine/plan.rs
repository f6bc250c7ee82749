//! Decides what a command will see and where it may write, from its profile and from what there is
//! on this machine. Looks at the file system, changes nothing.

#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, BTreeSet},
    env, fs, io,
    path::{Path, PathBuf},
};

use quire_sandbox::{
    remnant::is_placeholder,
    report::Missing,
    spec::{Layer, Mode, Profile},
    tables::{
        self, HIDDEN_IN_HOME, HIDDEN_PATHS, Kind, NEUTRAL_COMMONDIR, PROTECTED_IN_GIT,
        PROTECTED_IN_HOME, PROTECTED_NAMES, Protected, REPLACED_TREES, SYSTEM_IN_TREES,
        TOOL_VARIABLES, TOOLS_IN_HOME,
    },
};

use super::{placeholder::Shape, scan::scan};

/// Whether a bound path may be written through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Write {
    /// It may.
    Yes,
    /// It may not.
    No,
}

/// What stands at a path of the view.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum View {
    /// An empty read-only directory, in which deeper entries may stand.
    Empty,
    /// A private writable directory of this name in the scratch space.
    Scratch(&'static str),
    /// The host's own entry.
    Host(Write),
    /// A file that can't be opened.
    Unreadable,
    /// A symbolic link.
    Link(PathBuf),
}

/// What a confined command will see. The rest of the host is visible and read-only.
#[derive(Debug, Default)]
pub(crate) struct Plan {
    /// By path; a parent comes before what is in it.
    pub(crate) views: BTreeMap<PathBuf, View>,
    /// Names that must not come into being, with what stands in their place meanwhile.
    pub(crate) placeholders: Vec<(PathBuf, Shape)>,
    /// The scratch directory on the host; none = memory.
    pub(crate) scratch: Option<PathBuf>,
    /// Variables to set (or, `None`, to unset) over the command's environment.
    pub(crate) environment: BTreeMap<&'static str, Option<String>>,
    /// True when the command has no network but its own loopback.
    pub(crate) offline: bool,
    /// What is weaker than the profile says.
    pub(crate) weaknesses: Vec<Missing>,
}

/// Why there is no plan.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PlanError {
    #[error("cannot use `{}` as a directory to write in", path.display())]
    Unusable { path: PathBuf, source: io::Error },
    #[error("`/` is the whole machine: choose a directory in it, or full-access")]
    Everything,
}

/// Plans for a confined mode; `environment` is the command's own.
///
/// # Errors
///
/// When the workspace or a writable directory can't be one.
pub(crate) fn plan(
    profile: &Profile,
    environment: &BTreeMap<String, String>,
) -> Result<Plan, PlanError> {
    let workspace = directory(&profile.workspace)?;
    let mut roots = vec![workspace];
    if profile.mode == Mode::WorkspaceWrite {
        for path in &profile.writable {
            roots.push(directory(path)?);
        }
    }
    let homes = homes(environment);
    let explicit = profile
        .hidden
        .iter()
        .chain(&own_state(environment))
        .filter_map(|path| existing(path))
        .collect();
    let mut planner = Planner {
        plan: Plan::default(),
        roots,
        homes,
        explicit,
    };
    planner.plan.scratch.clone_from(&profile.scratch);
    planner.trees();
    planner.tools(environment);
    planner.roots(profile.mode);
    planner.hidden();
    planner.network(profile, environment);
    planner.scratch_variables(environment);
    Ok(planner.plan)
}

struct Planner {
    plan: Plan,
    /// Workspace first; canonical.
    roots: Vec<PathBuf>,
    /// Canonical; the one the command knows first.
    homes: Vec<PathBuf>,
    /// Hidden by the profile, and Quire's own; canonical.
    explicit: Vec<PathBuf>,
}

impl Planner {
    fn put(&mut self, path: PathBuf, view: View) {
        self.plan.views.insert(path, view);
    }

    /// The view that `path` would have so far: that of the nearest entry at or above it.
    fn seen_through(&self, path: &Path) -> Option<&View> {
        path.ancestors()
            .find_map(|above| self.plan.views.get(above))
    }

    /// True when the host's own `path` can be seen so far.
    fn is_visible(&self, path: &Path) -> bool {
        matches!(self.seen_through(path), None | Some(View::Host(_)))
    }

    fn trees(&mut self) {
        let trees = REPLACED_TREES.iter().map(|entry| PathBuf::from(entry.name));
        for tree in trees
            .chain(self.homes.clone())
            .filter(|path| is_plain_directory(path))
        {
            self.put(tree, View::Empty);
        }
        for path in self.explicit.clone() {
            if path.is_dir() && self.roots.iter().any(|root| root.starts_with(&path)) {
                self.put(path, View::Empty);
            }
        }
        for (path, name) in [("/tmp", "tmp"), ("/var/tmp", "var-tmp")] {
            if is_plain_directory(Path::new(path)) {
                self.put(path.into(), View::Scratch(name));
            }
        }
        if let Some(home) = self.homes.first().cloned() {
            self.put(home, View::Scratch("home"));
        }
    }

    fn tools(&mut self, environment: &BTreeMap<String, String>) {
        let named = TOOL_VARIABLES
            .iter()
            .filter_map(|name| environment.get(*name))
            .map(PathBuf::from);
        let in_homes = self
            .homes
            .iter()
            .flat_map(|home| TOOLS_IN_HOME.iter().map(move |entry| home.join(entry.name)));
        let system = SYSTEM_IN_TREES
            .iter()
            .map(|entry| PathBuf::from(entry.name));
        let path = environment
            .get("PATH")
            .map(String::as_str)
            .unwrap_or_default();
        let on_path = env::split_paths(path).map(|directory| self.home_of_programs(directory));
        let candidates: Vec<PathBuf> = named.chain(in_homes).chain(system).chain(on_path).collect();
        for candidate in candidates {
            self.tool(&candidate);
        }
    }

    /// Programs need the libraries beside their `bin`, unless that is somebody's whole home.
    fn home_of_programs(&self, directory: PathBuf) -> PathBuf {
        match directory.parent() {
            Some(parent) if directory.ends_with("bin") && self.may_be_tool(parent) => {
                parent.to_path_buf()
            }
            _ => directory,
        }
    }

    fn may_be_tool(&self, path: &Path) -> bool {
        let holds = |other: &PathBuf| other.starts_with(path);
        let hidden = |home: &PathBuf| {
            HIDDEN_IN_HOME
                .iter()
                .any(|entry| path.starts_with(home.join(entry.name)))
        };
        let tree = |entry: &tables::Entry| Path::new(entry.name).starts_with(path);
        path.components().count() > 2
            && !REPLACED_TREES.iter().any(tree)
            && !self.homes.iter().any(|home| holds(home) || hidden(home))
            && !self.roots.iter().any(holds)
            && !self
                .explicit
                .iter()
                .any(|secret| path.starts_with(secret) || holds(secret))
    }

    fn tool(&mut self, path: &Path) {
        let Some(target) = existing(path) else {
            return;
        };
        if target != path && path.is_symlink() && !self.is_visible(path) && self.may_be_tool(path) {
            self.put(path.to_path_buf(), View::Link(target.clone()));
        }
        if !self.is_visible(&target) && self.may_be_tool(&target) {
            self.put(target, View::Host(Write::No));
        }
    }

    fn roots(&mut self, mode: Mode) {
        let write = match mode {
            Mode::WorkspaceWrite | Mode::FullAccess => Write::Yes,
            Mode::ReadOnly => Write::No,
        };
        for root in self.roots.clone() {
            self.put(root.clone(), View::Host(write));
            if write == Write::Yes {
                self.protect_top(&root);
            }
            let found = scan(&root);
            for path in found
                .repositories
                .iter()
                .chain(&found.protected)
                .filter(|_| write == Write::Yes)
            {
                self.pin(&root, path);
                self.put(path.clone(), View::Host(Write::No));
            }
            for path in found.masked {
                self.put(path, View::Unreadable);
            }
            if found.cut_short {
                self.weakness("nested repositories and secrets of a very large workspace are not all protected".to_owned(), "name a smaller workspace");
            }
        }
    }

    fn protect_top(&mut self, root: &Path) {
        for name in PROTECTED_NAMES {
            self.protect(root, name, Shape::Directory);
        }
        let git = root.join(".git");
        match fs::symlink_metadata(&git) {
            Ok(metadata) if metadata.is_dir() && !is_placeholder(&git) => self.git_directory(git),
            Ok(metadata) if metadata.is_file() => {
                self.put(git.clone(), View::Host(Write::No));
                self.git_elsewhere(&git);
            }
            _ => self.protect(
                root,
                &Protected {
                    name: ".git",
                    kind: Kind::Directory,
                    reason: "",
                },
                Shape::Directory,
            ),
        }
        if self.homes.iter().any(|home| home.starts_with(root)) {
            self.weakness("the home directory is the workspace: what is not in the tables of secrets can be read".to_owned(), "choose a directory in it");
            for (home, entry) in self.homes.clone().iter().flat_map(|home| {
                PROTECTED_IN_HOME
                    .iter()
                    .map(move |entry| (home.clone(), entry))
            }) {
                if let Some(path) =
                    existing(&home.join(entry.name)).filter(|path| path.starts_with(root))
                {
                    self.put(path, View::Host(Write::No));
                }
            }
        }
    }

    /// Makes an entry of a writable directory read-only, also if it does not exist.
    fn protect(&mut self, directory: &Path, name: &Protected, missing: Shape) {
        let path = directory.join(name.name);
        if path.symlink_metadata().is_err() || is_placeholder(&path) {
            self.plan.placeholders.push((path.clone(), missing));
        }
        self.put(path, View::Host(Write::No));
    }

    /// A git directory stays writable but for what makes git run programs.
    fn git_directory(&mut self, git: PathBuf) {
        self.put(git.clone(), View::Host(Write::Yes));
        for name in PROTECTED_IN_GIT {
            let shape = match (name.kind, name.name) {
                (Kind::Directory, _) => Shape::Directory,
                (Kind::File, "commondir") => Shape::File(NEUTRAL_COMMONDIR),
                (Kind::File, _) => Shape::File(""),
            };
            self.protect(&git, name, shape);
        }
    }

    /// Worktrees and submodules: `.git` is a file that names the git directory.
    fn git_elsewhere(&mut self, pointer: &Path) {
        let Some(git) = pointed_to(pointer, "gitdir: ") else {
            return;
        };
        if let Some(common) = pointed_to(&git.join("commondir"), "") {
            self.git_directory(common);
        }
        self.git_directory(git);
    }

    /// Makes the directories between `root` and `path` mount points, so that none can be renamed
    /// away together with what it protects.
    fn pin(&mut self, root: &Path, path: &Path) {
        let between = path.ancestors().skip(1).take_while(|above| *above != root);
        for above in between.map(Path::to_path_buf).collect::<Vec<_>>() {
            self.plan
                .views
                .entry(above)
                .or_insert(View::Host(Write::Yes));
        }
    }

    fn hidden(&mut self) {
        let in_homes = self.homes.iter().flat_map(|home| {
            HIDDEN_IN_HOME
                .iter()
                .map(move |entry| home.join(entry.name))
        });
        let built_in: Vec<PathBuf> = HIDDEN_PATHS
            .iter()
            .map(|entry| PathBuf::from(entry.name))
            .chain(in_homes)
            .collect();
        let above_roots =
            |path: &PathBuf, roots: &[PathBuf]| roots.iter().any(|root| root.starts_with(path));
        let built_in: BTreeSet<PathBuf> =
            built_in.iter().filter_map(|path| existing(path)).collect();
        for path in built_in.into_iter().chain(self.explicit.clone()) {
            if above_roots(&path, &self.roots) || !self.is_visible(&path) {
                continue;
            }
            let view = if path.is_dir() {
                View::Empty
            } else {
                View::Unreadable
            };
            self.put(path, view);
        }
    }

    fn network(&mut self, profile: &Profile, environment: &BTreeMap<String, String>) {
        let _ = environment;
        self.plan.offline = profile.network.is_empty();
        if self.plan.offline {
            return;
        }
        // Names are looked up through a file that is often a link into a replaced tree.
        if let Some(resolver) =
            existing(Path::new("/etc/resolv.conf")).filter(|path| !self.is_visible(path))
        {
            self.put(resolver, View::Host(Write::No));
        }
        let hosts = profile.network.join(", ");
        self.weakness(
            format!("hosts are not told apart yet: asked for {hosts}, any host can be reached"),
            "grant network only to commands you trust with it",
        );
    }

    /// Temporary files go where the command may write.
    fn scratch_variables(&mut self, environment: &BTreeMap<String, String>) {
        for name in ["TMPDIR", "TMP", "TEMP"] {
            let given = environment
                .get(name)
                .map(PathBuf::from)
                .and_then(|path| existing(&path));
            // In a scratch directory only its top is there.
            let writable = given.is_some_and(|path| match self.plan.views.get(&path) {
                Some(View::Scratch(_)) => true,
                _ => self.seen_through(&path) == Some(&View::Host(Write::Yes)),
            });
            if environment.contains_key(name) && !writable {
                self.plan.environment.insert(name, None);
            }
        }
    }

    fn weakness(&mut self, meaning: String, remedy: &str) {
        self.plan.weaknesses.push(Missing {
            layer: Layer::Namespaces,
            whole: false,
            meaning,
            remedy: remedy.to_owned(),
        });
    }
}

fn directory(path: &Path) -> Result<PathBuf, PlanError> {
    let unusable = |source| PlanError::Unusable {
        path: path.to_path_buf(),
        source,
    };
    let path = fs::canonicalize(path).map_err(unusable)?;
    if !path.is_dir() {
        return Err(PlanError::Unusable {
            path,
            source: io::ErrorKind::NotADirectory.into(),
        });
    }
    if path == Path::new("/") {
        Err(PlanError::Everything)
    } else {
        Ok(path)
    }
}

/// The path without links, when it exists.
fn existing(path: &Path) -> Option<PathBuf> {
    path.is_absolute()
        .then(|| fs::canonicalize(path).ok())
        .flatten()
}

fn is_plain_directory(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|metadata| metadata.is_dir())
}

/// Homes of the user: what the environment says, and what the password file says. Not those that
/// are part of the system, such as a daemon's.
fn homes(environment: &BTreeMap<String, String>) -> Vec<PathBuf> {
    const SYSTEM: &[&str] = &[
        "/usr", "/etc", "/bin", "/sbin", "/lib", "/var", "/dev", "/proc", "/sys", "/opt", "/nix",
    ];
    let from_environment = environment.get("HOME").map(PathBuf::from);
    let mut homes: Vec<PathBuf> = Vec::new();
    for home in from_environment.into_iter().chain(home_in_password_file()) {
        let Some(home) = existing(&home).filter(|home| home.is_dir()) else {
            continue;
        };
        let system = home == Path::new("/") || SYSTEM.iter().any(|tree| home == Path::new(tree));
        if !system && !homes.contains(&home) {
            homes.push(home);
        }
    }
    homes
}

fn home_in_password_file() -> Option<PathBuf> {
    let uid = rustix::process::getuid().as_raw().to_string();
    let text = fs::read_to_string("/etc/passwd").ok()?;
    let entry = text
        .lines()
        .map(|line| line.split(':').collect::<Vec<_>>())
        .find(|fields| fields.get(2) == Some(&uid.as_str()))?;
    entry.get(5).map(PathBuf::from)
}

/// Quire's own files, where variables put them outside the home.
fn own_state(environment: &BTreeMap<String, String>) -> Vec<PathBuf> {
    let variable = |name: &str| {
        environment
            .get(name)
            .map(PathBuf::from)
            .or_else(|| env::var_os(name).map(PathBuf::from))
    };
    let runtime = variable("XDG_RUNTIME_DIR");
    let state = ["XDG_STATE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME"]
        .into_iter()
        .filter_map(variable)
        .map(|path| path.join("quire"));
    variable("QUIRE_HOME")
        .into_iter()
        .chain(runtime)
        .chain(state)
        .collect()
}

/// Where a git pointer file leads, if that is a git directory.
fn pointed_to(file: &Path, prefix: &str) -> Option<PathBuf> {
    let text = fs::read_to_string(file).ok()?;
    let target = text.trim_end().strip_prefix(prefix)?;
    let target = existing(&file.parent()?.join(target))?;
    target.join("HEAD").is_file().then_some(target)
}
