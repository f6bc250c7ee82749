//! Landlock: the second opinion on files, independent of the mount view, and the only one where
//! there is no view.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use landlock::{
    ABI, Access, AccessFs, AccessNet, CompatLevel, Compatible, LandlockStatus, PathBeneath, PathFd,
    RestrictionStatus, Ruleset, RulesetAttr, RulesetCreatedAttr, RulesetError, RulesetStatus,
    Scope,
};
use quire_sandbox::{
    report::{Missing, Report},
    spec::Layer,
};

use super::plan::{Plan, View, Write};

/// The newest Landlock that this code was written for.
const NEWEST: ABI = ABI::V9;

/// Directories that every command may write in, where the view has put something private there.
const PRIVATE: &[&str] = &["/dev", "/proc"];

/// Devices for a command that sees the host's own: not terminals and shared memory of others.
const DEVICES: &[&str] = &[
    "/dev/null",
    "/dev/zero",
    "/dev/full",
    "/dev/random",
    "/dev/urandom",
    "/dev/tty",
];

/// What may be read and run, and what may be written.
#[derive(Debug, Default)]
pub(crate) struct Fence {
    readable: Vec<PathBuf>,
    writable: Vec<PathBuf>,
    deny_tcp: bool,
}

impl Fence {
    /// The fence around a mount view: the view hides, the fence only repeats what is writable.
    pub(crate) fn with_view(plan: &Plan) -> Self {
        let writable = plan
            .views
            .iter()
            .filter(|(_, view)| matches!(view, View::Host(Write::Yes) | View::Scratch(_)));
        let private = PRIVATE.iter().map(PathBuf::from);
        Self {
            readable: vec!["/".into()],
            writable: writable
                .map(|(path, _)| path.clone())
                .chain(private)
                .collect(),
            deny_tcp: false,
        }
    }

    /// The fence that must do without a view. Landlock can't take a part out of what it gives, so
    /// directories that hold something hidden or protected are given entry by entry: new entries
    /// can't be made in them.
    pub(crate) fn without_view(plan: &Plan, scratch: Option<&Path>) -> Self {
        let visible = |view: &View| matches!(view, View::Host(_));
        let hidden = |path: &Path| {
            path == Path::new("/dev") || plan.views.get(path).is_some_and(|view| !visible(view))
        };
        let protected = |path: &Path| {
            plan.views
                .get(path)
                .is_some_and(|view| *view != View::Host(Write::Yes))
        };
        let mut readable = carve(Path::new("/"), &plan.views, &hidden);
        readable.extend(
            plan.views
                .iter()
                .filter(|(_, view)| visible(view))
                .map(|(path, _)| path.clone()),
        );
        let roots = plan
            .views
            .iter()
            .filter(|(_, view)| **view == View::Host(Write::Yes));
        let mut writable: Vec<PathBuf> = roots
            .flat_map(|(path, _)| carve(path, &plan.views, &protected))
            .collect();
        writable.extend(scratch.map(Path::to_path_buf));
        writable.extend(DEVICES.iter().map(PathBuf::from));
        Self {
            readable,
            writable,
            deny_tcp: plan.offline,
        }
    }

    /// Puts the fence around this process and its children for ever. Adds to the report.
    pub(crate) fn close(&self, report: &mut Report) {
        match self.restrict() {
            Ok(status) => tell(&status, report),
            Err(error) => missing(report, format!("files are not fenced ({error})")),
        }
    }

    fn restrict(&self) -> Result<RestrictionStatus, RulesetError> {
        let all = AccessFs::from_all(NEWEST);
        let read = AccessFs::from_read(NEWEST);
        let mut ruleset = Ruleset::default()
            .set_compatibility(CompatLevel::BestEffort)
            .handle_access(all)?
            .scope(Scope::from_all(NEWEST))?;
        if self.deny_tcp {
            ruleset = ruleset.handle_access(AccessNet::from_all(NEWEST))?;
        }
        let mut ruleset = ruleset.create()?;
        for (paths, access) in [(&self.readable, read), (&self.writable, all)] {
            for path in paths {
                // What is gone by now needs no rule.
                let Ok(place) = PathFd::new(path) else {
                    continue;
                };
                let is_file = !path.is_dir();
                let access = if is_file {
                    access & AccessFs::from_file(NEWEST)
                } else {
                    access
                };
                ruleset = ruleset.add_rule(PathBeneath::new(place, access))?;
            }
        }
        ruleset.restrict_self()
    }
}

/// The largest parts of `directory` that hold nothing unwanted.
fn carve(
    directory: &Path,
    views: &BTreeMap<PathBuf, View>,
    unwanted: &dyn Fn(&Path) -> bool,
) -> Vec<PathBuf> {
    if unwanted(directory) {
        return Vec::new();
    }
    let below = views
        .range(directory.to_path_buf()..)
        .skip_while(|(path, _)| *path == directory);
    let mut below = below.take_while(|(path, _)| path.starts_with(directory));
    if !below.any(|(path, _)| unwanted(path)) {
        return vec![directory.to_path_buf()];
    }
    let Ok(entries) = fs::read_dir(directory) else {
        return Vec::new();
    };
    let plain = entries
        .flatten()
        .filter(|entry| entry.file_type().is_ok_and(|kind| !kind.is_symlink()));
    plain
        .flat_map(|entry| carve(&entry.path(), views, unwanted))
        .collect()
}

fn tell(status: &RestrictionStatus, report: &mut Report) {
    match (status.landlock, &status.ruleset) {
        (
            LandlockStatus::Available { effective_abi, .. },
            RulesetStatus::FullyEnforced | RulesetStatus::PartiallyEnforced,
        ) => {
            report
                .held
                .push(format!("landlock-v{}", effective_abi as i32));
        }
        (LandlockStatus::NotEnabled, _) => missing(
            report,
            "files are not fenced (Landlock is in this kernel but not enabled)".to_owned(),
        ),
        _ => missing(
            report,
            "files are not fenced (this kernel has no Landlock)".to_owned(),
        ),
    }
}

fn missing(report: &mut Report, meaning: String) {
    report.missing.push(Missing {
        layer: Layer::Landlock,
        whole: true,
        meaning,
        remedy: "use Linux 5.13 or newer with `landlock` among its `lsm=` boot parameters"
            .to_owned(),
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_unwanted_is_carved_out() {
        let directory = tempfile::tempdir().unwrap();
        let top = directory.path();
        for path in ["a/x", "a/y/z", "b", "c"] {
            fs::create_dir_all(top.join(path)).unwrap();
        }
        let views: BTreeMap<_, _> = [
            (top.to_path_buf(), View::Host(Write::Yes)),
            (top.join("a/y"), View::Empty),
            (top.join("c"), View::Host(Write::No)),
        ]
        .into();
        let unwanted = |path: &Path| {
            views
                .get(path)
                .is_some_and(|view| *view != View::Host(Write::Yes))
        };
        let mut parts = carve(top, &views, &unwanted);
        parts.sort();
        assert_eq!(parts, [top.join("a/x"), top.join("b")]);
        assert_eq!(carve(&top.join("b"), &views, &unwanted), [top.join("b")]);
    }
}
