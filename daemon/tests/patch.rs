//! `quired patch` as a command: what it prints, how it ends, and what it leaves.

#![allow(clippy::unwrap_used, reason = "a failed set-up fails the test")]

use std::{
    fs,
    io::Write,
    path::Path,
    process::{Command, Output, Stdio},
};

fn patch(directory: &Path, arguments: &[&str], input: &[u8]) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_quired"))
        .arg("patch")
        .args(arguments)
        .current_dir(directory)
        .env("QUIRE_HOME", directory.join("home"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // A command that refuses its arguments does not wait for its input.
    let _ = child.stdin.take().unwrap().write_all(input);
    child.wait_with_output().unwrap()
}

#[test]
fn a_patch_is_checked_and_then_applied() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("a"), "x\n").unwrap();
    let input =
        b"*** Begin Patch\n*** Update File: a\n@@\n-x\n+y\n*** Add File: d/n\n+n\n*** End Patch\n";

    let checked = patch(dir.path(), &["--check"], input);
    let shown = String::from_utf8(checked.stdout).unwrap();
    assert_eq!(checked.status.code(), Some(0));
    assert!(
        shown.starts_with("Would update the following files:\nA d/n\nM a\n"),
        "{shown}"
    );
    assert!(shown.contains("\n--- a\n@@ -1 +1 @@\n-x\n+y\n"), "{shown}");
    assert_eq!(fs::read_to_string(dir.path().join("a")).unwrap(), "x\n");
    assert!(!dir.path().join("d").exists());

    let applied = patch(dir.path(), &[], input);
    assert_eq!(applied.status.code(), Some(0));
    assert_eq!(
        String::from_utf8(applied.stdout).unwrap(),
        "Success. Updated the following files:\nA d/n\nM a\n"
    );
    assert_eq!(applied.stderr, b"");
    assert_eq!(fs::read_to_string(dir.path().join("a")).unwrap(), "y\n");
    let left: Vec<_> = fs::read_dir(dir.path()).unwrap().collect();
    assert_eq!(left.len(), 2, "nothing else is made: {left:?}");
}

#[test]
fn a_refusal_is_one_line_and_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("a"), "\x1b[31mthe quick brown fox\n").unwrap();
    let body = |body: &str| format!("*** Begin Patch\n{body}*** End Patch\n").into_bytes();
    let table: [(&[&str], Vec<u8>, i32, &str); 6] = [
        (&[], Vec::new(), 1, "the patch is empty"),
        (&[], b"\xff".to_vec(), 1, "is not UTF-8"),
        (
            &[],
            body("*** Update File: a\n@@\n-the quick brown dog\n"),
            1,
            "nearest place is line 1",
        ),
        (
            &[],
            body("*** Add File: b\n+b\n*** Delete File: c\n"),
            1,
            "`c`: there is no such file",
        ),
        (&[], body("*** Add File: ../b\n+b\n"), 1, "outside"),
        (&["--force"], Vec::new(), 2, "usage:"),
    ];
    for (arguments, input, code, want) in table {
        let output = patch(dir.path(), arguments, &input);
        let error = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(code), "{error}");
        assert!(error.contains(want), "{error}");
        assert_eq!(error.matches('\n').count(), 1, "{error}");
        assert!(!error.contains('\x1b'), "{error:?}");
        assert_eq!(output.stdout, b"");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }
}
