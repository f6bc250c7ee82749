//! Plans for a small world of real directories.

use super::*;

struct World {
    _directory: tempfile::TempDir,
    top: PathBuf,
}

fn world() -> World {
    let directory = tempfile::tempdir().unwrap();
    let top = directory.path().canonicalize().unwrap();
    for path in [
        "home/.ssh",
        "home/.cargo",
        "home/x/bin",
        "ws/.git/hooks",
        "ws/a/.git",
        "state",
    ] {
        fs::create_dir_all(top.join(path)).unwrap();
    }
    for path in [
        "home/.cargo/credentials.toml",
        "ws/.env",
        "ws/.git/config",
        "ws/.git/HEAD",
    ] {
        fs::write(top.join(path), "").unwrap();
    }
    World {
        _directory: directory,
        top,
    }
}

impl World {
    fn at(&self, path: &str) -> PathBuf {
        self.top.join(path)
    }

    fn plan(&self, mode: Mode, workspace: &str, hidden: &[&str]) -> Plan {
        let profile = Profile {
            mode,
            workspace: self.at(workspace),
            writable: vec![],
            hidden: hidden.iter().map(|path| self.at(path)).collect(),
            network: vec![],
            require: vec![],
            scratch: None,
        };
        let environment = [("HOME", self.at("home")), ("PATH", self.at("home/x/bin"))];
        let environment =
            environment.map(|(name, path)| (name.to_owned(), path.display().to_string()));
        plan(&profile, &environment.into()).unwrap()
    }
}

#[test]
fn each_path_is_seen_as_the_tables_say() {
    let world = world();
    let plan = world.plan(Mode::WorkspaceWrite, "ws", &["state", "ws/a"]);
    let table = [
        ("home", Some(View::Scratch("home"))),
        ("home/.ssh", None),
        ("home/.cargo", Some(View::Host(Write::No))),
        ("home/.cargo/credentials.toml", Some(View::Unreadable)),
        ("home/x", Some(View::Host(Write::No))),
        ("ws", Some(View::Host(Write::Yes))),
        ("ws/.env", Some(View::Unreadable)),
        ("ws/.git", Some(View::Host(Write::Yes))),
        ("ws/.git/hooks", Some(View::Host(Write::No))),
        ("ws/.git/commondir", Some(View::Host(Write::No))),
        ("ws/.quire", Some(View::Host(Write::No))),
        ("ws/a", Some(View::Empty)),
    ];
    for (path, want) in table {
        assert_eq!(plan.views.get(&world.at(path)), want.as_ref(), "for {path}");
    }
    let missing: Vec<_> = plan
        .placeholders
        .iter()
        .map(|(path, _)| path.clone())
        .collect();
    assert!(
        missing.contains(&world.at("ws/.quire"))
            && missing.contains(&world.at("ws/.git/commondir"))
    );
    assert!(!missing.contains(&world.at("ws/.git/hooks")));
}

#[test]
fn read_only_writes_nowhere_on_the_host_and_makes_no_placeholders() {
    let world = world();
    let plan = world.plan(Mode::ReadOnly, "ws", &[]);
    assert!(
        !plan
            .views
            .values()
            .any(|view| *view == View::Host(Write::Yes))
    );
    assert_eq!(plan.placeholders, []);
}

#[test]
fn a_home_as_workspace_still_hides_its_secrets() {
    let world = world();
    let plan = world.plan(Mode::WorkspaceWrite, "home", &[]);
    assert_eq!(
        plan.views.get(&world.at("home")),
        Some(&View::Host(Write::Yes))
    );
    assert_eq!(plan.views.get(&world.at("home/.ssh")), Some(&View::Empty));
    assert_eq!(plan.weaknesses.len(), 1);
}

#[test]
fn a_hidden_directory_above_the_workspace_shows_only_the_workspace() {
    let world = world();
    let plan = world.plan(Mode::WorkspaceWrite, "ws", &["."]);
    assert_eq!(plan.views.get(&world.top), Some(&View::Empty));
    assert_eq!(
        plan.views.get(&world.at("ws")),
        Some(&View::Host(Write::Yes))
    );
    assert_eq!(plan.views.get(&world.at("home/.cargo")), None);
}

#[test]
fn the_whole_machine_is_no_workspace() {
    let world = world();
    let profile = Profile {
        mode: Mode::WorkspaceWrite,
        workspace: "/".into(),
        writable: vec![],
        hidden: vec![],
        network: vec![],
        require: vec![],
        scratch: None,
    };
    assert!(matches!(
        plan(&profile, &BTreeMap::new()),
        Err(PlanError::Everything)
    ));
    let nowhere = Profile {
        workspace: world.at("none"),
        ..profile
    };
    assert!(matches!(
        plan(&nowhere, &BTreeMap::new()),
        Err(PlanError::Unusable { .. })
    ));
}
