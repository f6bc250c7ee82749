//! What is read as a patch, and what is not.

use super::chunks;
use crate::pure::patch::{Line, Patch};

#[test]
fn sloppy_patches_are_read() {
    let plain = "*** Begin Patch\n*** Update File: a b\n@@\n-x\n+y\n*** End Patch\n";
    let want = Patch::parse(plain).unwrap();
    let table = [
        plain.replace('\n', "\r\n"),
        format!("\n\n  {plain}\n \n"),
        format!("<<'EOF'\n{plain}EOF\n"),
        format!("<< \"PATCH\"\n{plain}PATCH"),
        format!("\u{feff}{plain}"),
        plain
            .replace("*** Update", "  *** Update")
            .replace("a b", "a b  "),
        plain.replace("@@\n", ""),
        plain.replace("@@\n", "\t@@ \n"),
    ];
    for text in table {
        assert_eq!(Patch::parse(&text).as_ref(), Ok(&want), "for {text:?}");
    }
}

#[test]
fn markers_are_text_where_a_line_begins_otherwise() {
    let lines = chunks("@@\n *** End Patch\n-*** Add File: x\n+*** End Patch\n");
    let want = [
        Line::Context("*** End Patch".to_owned()),
        Line::Remove("*** Add File: x".to_owned()),
        Line::Add("*** End Patch".to_owned()),
    ];
    assert_eq!(lines[0].lines, want);
    let deletes = chunks("@@\n+x\n *** Delete File: y\n");
    assert_eq!(
        deletes.len(),
        1,
        "documentation about patches deletes nothing"
    );
}

#[test]
fn what_is_no_patch_is_refused() {
    let line = |line: usize| format!("line {line} of the patch: ");
    let body = |body: &str| format!("*** Begin Patch\n{body}*** End Patch\n");
    let table = [
        (String::new(), "the patch is empty".to_owned()),
        ("hello".to_owned(), "the first line".to_owned()),
        (
            "*** begin patch\n*** end patch".to_owned(),
            "the first line".to_owned(),
        ),
        ("*** Begin Patch".to_owned(), "the last line".to_owned()),
        (
            "*** Begin Patch\n*** Add File: a\n+x\n".to_owned(),
            "the last line".to_owned(),
        ),
        (
            format!("{}done", body("*** Add File: a\n+x\n")),
            "the last line".to_owned(),
        ),
        (body(""), "the patch names no file".to_owned()),
        (body("*** Rename File: a\n"), line(2)),
        (body("*** Update File: \n@@\n-a\n"), line(2)),
        (body("*** Add File: a\nx\n"), line(3)),
        (body("*** Add File: a\n+x\n*** Bogus: q\n"), line(4)),
        (body("*** Delete File: a\n-x\n"), line(3)),
        (body("*** Update File: a\n"), line(2)),
        (body("*** Update File: a\n@@\n"), line(3)),
        (body("*** Update File: a\n@@\nx\n"), line(4)),
        (
            body("*** Update File: a\n@@\n-x\n*** End of File\n-y\n"),
            line(6),
        ),
        (body("*** Update File: a\n*** Move to:\n@@\n-x\n"), line(3)),
        (
            body("diff --git a/a b/a\n--- a/a\n+++ b/a\n@@ -1 +1 @@\n-x\n+y\n"),
            line(2),
        ),
    ];
    for (text, want) in table {
        let error = Patch::parse(&text).unwrap_err().to_string();
        assert!(error.starts_with(&want), "for {text:?}: {error}");
    }
}

#[test]
fn the_list_groups_and_names_each_file_once() {
    let text = "*** Begin Patch\n*** Delete File: d\n*** Update File: a\n*** Move to: b\n*** Add File: c\n+x\n\
                *** Update File: c\n@@\n-x\n+y\n*** Update File: c\n@@\n-y\n+z\n*** End Patch\n";
    let patch = Patch::parse(text).unwrap();
    assert_eq!(patch.list(), "A c\nM b\nM c\nD d\n");
}
