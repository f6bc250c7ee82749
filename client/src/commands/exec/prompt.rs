//! Where a prompt comes from: the argument, or standard input.

use std::io::Read as _;

use crate::{context::Ends, failure::Failure};

/// The prompt as given; `-`, or none while standard input is no terminal, reads it from there.
///
/// # Errors
///
/// [`Exit::Usage`](crate::failure::Exit::Usage) when there is none, or it is empty.
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
    Ok(text)
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
