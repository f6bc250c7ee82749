//! How a command's outcome is written for the model, and read back.

use quire_proto::v1::Outcome;

/// The line between how a command ended and what it printed.
pub const OUTPUT: &str = "Output:\n";

/// Stands where a command printed nothing.
pub const NO_OUTPUT: &str = "(no output)";

/// What a command printed, if its outcome tells all of it, byte for byte.
#[must_use]
pub fn whole_output(outcome: &Outcome) -> Option<&str> {
    let (_, output) = outcome.text.split_once(OUTPUT)?;
    if outcome.output_bytes == 0 && output == NO_OUTPUT {
        return Some("");
    }
    let whole = output.len() as u64 == outcome.output_bytes;
    // What stands for bytes that are no text is as long as some of them.
    (whole && !output.contains(char::REPLACEMENT_CHARACTER)).then_some(output)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_told_byte_for_byte_is_whole() {
        let table = [
            ("Exit code: 0\nOutput:\nfine\n", 5, Some("fine\n")),
            ("Exit code: 0\nOutput:\n(no output)", 0, Some("")),
            ("Exit code: 0\nOutput:\nOutput:\n", 8, Some("Output:\n")),
            ("Exit code: 0\nOutput:\nfi[...]ne\n", 5000, None),
            ("Exit code: 0\nOutput:\n\u{FFFD}", 3, None),
            ("not run", 0, None),
        ];
        for (text, output_bytes, want) in table {
            let outcome = Outcome {
                text: text.to_owned(),
                output_bytes,
                ..Outcome::default()
            };
            assert_eq!(whole_output(&outcome), want, "for {text:?}");
        }
    }
}
