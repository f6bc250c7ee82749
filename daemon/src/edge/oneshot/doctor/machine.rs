//! Checks of the machine: its kernel, its programs, its terminal.

use std::{
    collections::BTreeMap,
    env, fs,
    io::IsTerminal as _,
    path::{Path, PathBuf},
};

use quire_sandbox::{probe::probe, report::Report};
use rustix::fs::Access;

use super::Check;

type Environment = BTreeMap<String, String>;

/// The store's library, which comes with the program.
pub(super) fn sqlite() -> Check {
    Check::ok("sqlite", format!("{} (built in)", rusqlite::version()))
}

/// The sandbox program, and which layers really hold.
pub(super) fn sandbox(environment: &Environment) -> Vec<Check> {
    const NAME: &str = "sandbox program";
    let named = environment
        .get("QUIRE_SANDBOX")
        .filter(|path| !path.is_empty());
    let beside = || Some(env::current_exe().ok()?.with_file_name("quire-sandbox"));
    let path = named.map(PathBuf::from).or_else(beside);
    let Some(path) = path.filter(|path| is_program(path)) else {
        let remedy = "put `quire-sandbox` beside `quired`, or set `QUIRE_SANDBOX` to its path; no command can run without it";
        return vec![Check::error(NAME, "not found", remedy)];
    };
    let found = Check::ok(NAME, path.display().to_string());
    vec![found, layers(probe(&path).ok())]
}

fn layers(probed: Option<Report>) -> Check {
    const NAME: &str = "sandbox layers";
    let Some(Report { held, missing }) = probed else {
        let remedy = "run `quire-sandbox probe` to see why";
        return Check::error(NAME, "the sandbox program can't tell", remedy);
    };
    let (meanings, remedies): (Vec<_>, Vec<_>) = missing
        .into_iter()
        .map(|missing| (missing.meaning, missing.remedy))
        .unzip();
    let said = match held.as_slice() {
        [] => "none holds".to_owned(),
        held => held.join(", "),
    };
    match (held.is_empty(), meanings.is_empty()) {
        (true, _) => Check::error(NAME, said, remedies.join("\n")),
        (false, true) => Check::ok(NAME, said),
        (false, false) => {
            let missing = format!("{said}; missing: {}", meanings.join("; "));
            Check::warning(NAME, missing, remedies.join("\n"))
        }
    }
}

/// Landlock is among the kernel's security modules.
pub(super) fn landlock() -> Check {
    const NAME: &str = "landlock";
    if !cfg!(target_os = "linux") {
        return Check::ok(NAME, "not of this system");
    }
    match fs::read_to_string("/sys/kernel/security/lsm") {
        Ok(modules) if modules.trim().split(',').any(|name| name == "landlock") => {
            Check::ok(NAME, "on")
        }
        Ok(_) => Check::warning(
            NAME,
            "off in this kernel",
            "add `landlock` to the kernel's `lsm=` parameter, or use Linux 5.13 or newer",
        ),
        // Often so in containers; the probe of the layers tells the truth.
        Err(_) => Check::ok(
            NAME,
            "the kernel's list can't be read here; see the sandbox layers",
        ),
    }
}

/// An ordinary user may make user namespaces.
pub(super) fn user_namespaces() -> Check {
    const NAME: &str = "user namespaces";
    if !cfg!(target_os = "linux") {
        return Check::ok(NAME, "not of this system");
    }
    let switch = |path: &str| number(path);
    // Switch, the value that forbids, remedy.
    let switches = [
        (
            "/proc/sys/user/max_user_namespaces",
            0,
            "sysctl user.max_user_namespaces=10000",
        ),
        (
            "/proc/sys/kernel/unprivileged_userns_clone",
            0,
            "sysctl kernel.unprivileged_userns_clone=1",
        ),
        (
            "/proc/sys/kernel/apparmor_restrict_unprivileged_userns",
            1,
            "give `quire-sandbox` an AppArmor profile with `userns,`, or sysctl kernel.apparmor_restrict_unprivileged_userns=0",
        ),
    ];
    let forbidding = switches
        .iter()
        .find(|(path, bad, _)| switch(path) == Some(*bad));
    match forbidding {
        Some((path, value, remedy)) => {
            let name = path.rsplit('/').next().unwrap_or(path);
            Check::warning(NAME, format!("forbidden (`{name}` is {value})"), *remedy)
        }
        None => Check::ok(NAME, "allowed"),
    }
}

/// Version 2 of control groups, which limits memory and processes best.
pub(super) fn cgroups() -> Check {
    const NAME: &str = "cgroup v2";
    if !cfg!(target_os = "linux") {
        return Check::ok(NAME, "not of this system");
    }
    match fs::read_to_string("/sys/fs/cgroup/cgroup.controllers") {
        Ok(controllers) if controllers.trim().is_empty() => Check::ok(
            NAME,
            "mounted, without controllers; limits fall back to rlimits",
        ),
        Ok(controllers) => Check::ok(NAME, controllers.trim().to_owned()),
        Err(_) => Check::ok(NAME, "not mounted; limits fall back to rlimits"),
    }
}

/// Enough watches for a large repository.
pub(super) fn inotify() -> Check {
    const NAME: &str = "inotify watches";
    const ENOUGH: u64 = 65_536;
    match number("/proc/sys/fs/inotify/max_user_watches") {
        Some(most) if most < ENOUGH => Check::warning(
            NAME,
            format!("{most}; a large repository needs more"),
            "sysctl fs.inotify.max_user_watches=524288",
        ),
        Some(most) => Check::ok(NAME, most.to_string()),
        None => Check::ok(NAME, "not of this system"),
    }
}

fn number(path: &str) -> Option<u64> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

/// A program that tools or models rely on is found by name.
pub(super) fn program(name: &'static str, environment: &Environment) -> Check {
    let directories = environment
        .get("PATH")
        .map(String::as_str)
        .unwrap_or_default();
    let candidates = directories
        .split(':')
        .filter(|directory| directory.starts_with('/'));
    let found = candidates
        .map(|directory| Path::new(directory).join(name))
        .find(|path| is_program(path));
    match found {
        Some(path) => Check::ok(name, path.display().to_string()),
        None => Check::warning(name, "not found in `PATH`", format!("install {name}")),
    }
}

fn is_program(path: &Path) -> bool {
    path.is_file() && rustix::fs::access(path, Access::EXEC_OK).is_ok()
}

/// The terminal can show the TUI.
pub(super) fn terminal(environment: &Environment) -> Check {
    const NAME: &str = "terminal";
    let variable = |name: &str| {
        environment
            .get(name)
            .map(String::as_str)
            .unwrap_or_default()
    };
    let term = variable("TERM");
    let locale = ["LC_ALL", "LC_CTYPE", "LANG"];
    let locale = locale
        .map(variable)
        .into_iter()
        .find(|value| !value.is_empty())
        .unwrap_or_default();
    let utf8 = locale.to_lowercase().replace('-', "").contains("utf8");
    if !std::io::stdout().is_terminal() {
        return Check::ok(NAME, "none here; `quire exec` works without");
    }
    match (term, utf8) {
        ("" | "dumb", _) => Check::warning(
            NAME,
            format!("`TERM` is \"{term}\": it can't show the TUI"),
            "use another terminal, or `quire exec`",
        ),
        (term, false) => Check::warning(
            NAME,
            format!("{term}, but its locale is no UTF-8"),
            "set `LANG` to a UTF-8 locale, such as `C.UTF-8`",
        ),
        (term, true) => Check::ok(NAME, format!("{term}, {locale}")),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::edge::oneshot::doctor::Level;

    #[test]
    fn what_the_probe_says_is_passed_on() {
        let missing = json!([{"layer": "landlock", "whole": true, "meaning": "m", "remedy": "r"}]);
        let table = [
            (
                Some(json!({"held": ["seccomp", "landlock-v7"], "missing": []})),
                Level::Ok,
                "seccomp, landlock-v7",
                None,
            ),
            (
                Some(json!({"held": ["seccomp"], "missing": missing})),
                Level::Warning,
                "seccomp; missing: m",
                Some("r"),
            ),
            (
                Some(json!({"held": [], "missing": missing})),
                Level::Error,
                "none holds",
                Some("r"),
            ),
            (
                None,
                Level::Error,
                "the sandbox program can't tell",
                Some("run `quire-sandbox probe` to see why"),
            ),
        ];
        for (probed, level, found, remedy) in table {
            let check = layers(probed.map(|report| serde_json::from_value(report).unwrap()));
            assert_eq!((check.level, check.found.as_str()), (level, found));
            assert_eq!(check.remedy.as_deref(), remedy, "for {found}");
        }
    }

    #[test]
    fn programs_are_found_in_absolute_directories_of_the_path() {
        let path = |path: &str| Environment::from([("PATH".to_owned(), path.to_owned())]);
        assert_eq!(
            program("sh", &path("relative:/nowhere:/bin")).level,
            Level::Ok
        );
        assert_eq!(program("sh", &path("relative:bin")).level, Level::Warning);
        assert_eq!(program("sh", &Environment::new()).level, Level::Warning);
    }

    #[test]
    fn a_missing_sandbox_program_is_an_error() {
        let named = Environment::from([("QUIRE_SANDBOX".to_owned(), "/nowhere/x".to_owned())]);
        let checks = sandbox(&named);
        assert_eq!((checks.len(), checks[0].level), (1, Level::Error));
    }
}
