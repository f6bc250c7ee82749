//! What holds of all patches.

use proptest::{collection::vec, option, prelude::*};

use super::applied;
use crate::pure::patch::{Chunk, Edit, Line, Patch, apply};

/// Text that survives the trimming of paths and anchors.
fn word() -> impl Strategy<Value = String> {
    "[a-z*@+é-]([ a-z*@+é-]{0,6}[a-z*@+é-])?"
}

fn line() -> impl Strategy<Value = Line> {
    let text = "[ a-z*@+é\t-]{0,8}";
    prop_oneof![
        text.prop_map(Line::Context),
        text.prop_map(Line::Remove),
        text.prop_map(Line::Add),
    ]
}

fn chunk() -> impl Strategy<Value = Chunk> {
    let lines = vec(line(), 1..6).prop_filter(
        "a chunk that separators cannot shorten",
        |lines| !matches!(lines.last(), Some(Line::Context(text)) if text.is_empty()),
    );
    (
        vec(word(), 0..3),
        option::of(1..99_usize),
        lines,
        any::<bool>(),
    )
        .prop_map(|(anchors, line, lines, at_end)| Chunk {
            // An anchor that looks like the ranges of a diff would be read as such.
            anchors: anchors
                .into_iter()
                .filter(|text| !text.contains("@@"))
                .collect(),
            line,
            lines,
            at_end,
        })
}

fn edit() -> impl Strategy<Value = Edit> {
    prop_oneof![
        (word(), vec("[ a-z*+]{0,8}", 0..4)).prop_map(|(path, lines)| Edit::Add { path, lines }),
        word().prop_map(|path| Edit::Delete { path }),
        (word(), option::of(word()), vec(chunk(), 1..4)).prop_map(|(path, move_to, chunks)| {
            Edit::Update {
                path,
                move_to,
                chunks,
            }
        }),
    ]
}

proptest! {
    #[test]
    fn a_printed_patch_reads_back(edits in vec(edit(), 1..4)) {
        let patch = Patch { edits };
        prop_assert_eq!(Patch::parse(&patch.to_string()), Ok(patch));
    }

    /// A chunk cut out of a file whose lines all differ is put back exactly there.
    #[test]
    fn a_chunk_changes_its_own_lines_and_nothing_else(
        endings in vec(prop_oneof![Just("\n"), Just("\r\n")], 2..30),
        ended in any::<bool>(),
        place in any::<prop::sample::Index>(),
        length in 1..5_usize,
        added in vec("[a-z]{1,5}", 0..4),
    ) {
        let mut lines: Vec<String> = endings.iter().enumerate().map(|(i, end)| format!("line {i}{end}")).collect();
        if !ended && let Some(last) = lines.last_mut() {
            *last = last.trim_end().to_owned();
        }
        let start = place.index(lines.len());
        let end = (start + length).min(lines.len());
        let mut body = "@@\n".to_owned();
        for line in &lines[start..end] {
            body += &format!("-{}\n", line.trim_end());
        }
        for line in &added {
            body += &format!("+{line}\n");
        }
        let mut want: Vec<String> = lines[..start].to_vec();
        let ending = if lines[0].ends_with("\r\n") { "\r\n" } else { "\n" };
        want.extend(added.iter().map(|line| format!("{line}{ending}")));
        want.extend_from_slice(&lines[end..]);
        let got = applied(lines.concat().as_bytes(), &body).unwrap();
        prop_assert_eq!(String::from_utf8(got).unwrap(), want.concat());
    }

    #[test]
    fn no_text_or_file_makes_it_panic(text in "(\\*\\*\\* [A-Z][a-z]+ File: |@@|[-+ ]|\n|[a-c ]){0,30}", file in vec(any::<u8>(), 0..40)) {
        let patch = format!("*** Begin Patch\n*** Update File: f\n{text}\n*** End Patch");
        if let Ok(patch) = Patch::parse(&patch) {
            for edit in &patch.edits {
                if let Edit::Update { chunks, .. } = edit {
                    let _ = apply(&file, chunks);
                }
            }
        }
    }
}
