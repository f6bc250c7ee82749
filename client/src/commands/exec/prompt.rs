//! Where a prompt comes from: the argument, or standard input.

use std::io::Read as _;

use crate::{context::Ends, failure::Failure};

/// Most bytes of a prompt.
pub const PROMPT_MAX: usize = 4 << 20;

/// The prompt as given; `-`, or none while standard input is no terminal, reads it from there.
///
/// # Errors
///
/// [`Exit::Usage`](crate::failure::Exit::Usage) when there is none, it is empty, or it is too long.
pub fn read(argument: Option<String>, ends: Ends) -> Result<String, Failure> {
    let text = match argument {
        Some(text) if text != "-" => text,
        None if ends.stdin => {
            return Err(Failure::usage(
                "no prompt: give one as an argument, or `-` to read it from standard input",
            ));
        }
        _ => from_stdin()?,
    };
    if text.trim().is_empty() {
        return Err(Failure::usage("the prompt is empty"));
    }
    check_length(&text).map_err(Failure::usage)?;
    Ok(text)
}

/// Refuses a prompt of more than [`PROMPT_MAX`] bytes, in one sentence.
///
/// # Errors
///
/// That sentence.
pub fn check_length(text: &str) -> Result<(), &'static str> {
    match text.len() {
        0..=PROMPT_MAX => Ok(()),
        _ => {
            Err("the prompt is longer than 4 MiB: put the text in a file and name it in the prompt")
        }
    }
}

fn from_stdin() -> Result<String, Failure> {
    let mut text = String::new();
    std::io::stdin()
        .read_to_string(&mut text)
        .map_err(|error| Failure::usage(format!("cannot read the prompt: {error}")))?;
    Ok(text.trim_end().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prompt_has_a_longest_length() {
        let longest = "x".repeat(PROMPT_MAX);
        assert_eq!(check_length(&longest), Ok(()));
        let refused = read(Some(longest + "x"), Ends::default()).unwrap_err();
        assert_eq!(refused.exit(), crate::failure::Exit::Usage);
    }

    #[test]
    fn an_empty_prompt_is_wrong_use() {
        let terminal = Ends {
            stdin: true,
            ..Ends::default()
        };
        for argument in [None, Some(""), Some(" \n\t")] {
            let refused = read(argument.map(str::to_owned), terminal);
            let exit = refused.unwrap_err().exit();
            assert_eq!(exit, crate::failure::Exit::Usage, "for {argument:?}");
        }
        assert_eq!(read(Some("go".into()), terminal), Ok("go".into()));
    }
}
