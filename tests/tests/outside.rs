//! The outside mock model, when it is there: an opinion on the wire formats that is not ours.

use std::{fs, path::Path};

use quire_tests::{
    binaries::shared_checks,
    home::{Home, provider},
    model::Wire,
    process::{Invocation, Running},
    repo::Repo,
    skip::skip,
    wait,
};

/// The server, and the base URL under which it plays `script`.
fn serve(home: &Home, checks: &Path, script: &str) -> (Running, String) {
    let port_file = home.root().join("port");
    let server = home.program(Path::new("python3")).args([
        checks.join("mockmodel/mockmodel.py").into_os_string(),
        "--port".into(),
        "0".into(),
        "--port-file".into(),
        port_file.clone().into(),
        "--script".into(),
        script.into(),
    ]);
    let server = server.spawn();
    let port = wait::until_some("the outside mock model", || {
        let port = fs::read_to_string(&port_file).ok()?;
        port.trim().parse::<u16>().ok()
    });
    (server, format!("http://127.0.0.1:{port}/v1"))
}

/// The checks, when they and what they need are there.
fn available(home: &Home) -> Option<std::path::PathBuf> {
    let checks = shared_checks();
    if checks.is_none() {
        skip("the outside checks are not beside this tree");
    }
    let on_path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&on_path).any(|place| place.join("python3").is_file());
    let works = |python: Invocation| python.args(["-c", "import unittest"]).run().code == 0;
    if !found || !works(home.program(Path::new("python3"))) {
        skip("no python3");
        return None;
    }
    checks
}

#[test]
fn the_fix_script_is_played_over_both_wires() {
    for wire in Wire::ALL {
        let home = Home::new();
        let Some(checks) = available(&home) else {
            return;
        };
        let repo = Repo::calc(&home);
        let (_server, base_url) = serve(&home, &checks, "fix");
        home.configure(&provider(&base_url, wire));
        let run = home
            .quire(["exec", "make the tests pass"])
            .dir(repo.directory())
            .run();
        assert_eq!(run.code, 0, "over {wire:?}: {}", run.stderr);
        let last = "Fixed: mean() now divides by the number of values, and the tests pass.";
        assert_eq!(run.stdout.trim_end(), last);
        assert!(
            repo.read("calc/core.py")
                .contains("return total / len(values)\n")
        );
        let tests = home
            .program(Path::new("python3"))
            .args(["-m", "unittest", "-q"]);
        let tests = tests.dir(repo.directory()).run();
        assert_eq!(tests.code, 0, "{}", tests.stderr);
    }
}

#[test]
fn twenty_edits_land() {
    let home = Home::new();
    let Some(checks) = available(&home) else {
        return;
    };
    let file = |nth: usize| {
        let content = format!("def f(x):\n    return x + {nth}\n");
        (format!("src/mod_{nth:02}.py"), content)
    };
    let files: Vec<_> = (0..20).map(file).collect();
    let borrowed = files
        .iter()
        .map(|(path, text)| (path.as_str(), text.as_str()));
    let repo = Repo::with(&home, "modules", &borrowed.collect::<Vec<_>>());
    let (_server, base_url) = serve(&home, &checks, "edit20");
    home.configure(&provider(&base_url, Wire::Responses));
    let run = home.quire(["exec", "go"]).dir(repo.directory()).run();
    assert_eq!(run.code, 0, "{}", run.stderr);
    for (nth, (path, _)) in files.iter().enumerate() {
        let want = format!("    # adjusted by step {nth}\n    y = x * 2\n    return y + {nth}\n");
        assert!(
            repo.read(path).contains(&want),
            "{path}: {}",
            repo.read(path)
        );
    }
}

#[test]
fn twenty_megabytes_of_output_reach_the_model_cut() {
    let home = Home::new();
    let Some(checks) = available(&home) else {
        return;
    };
    let (_server, base_url) = serve(&home, &checks, "bigout");
    home.configure(&provider(&base_url, Wire::Responses));
    let run = home.quire(["exec", "go"]).run();
    assert_eq!(
        (run.code, run.stdout.trim_end()),
        (0, "The output was large."),
        "{}",
        run.stderr
    );
}
