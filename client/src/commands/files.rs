//! Find files of the workspace.

use quire_proto::v1::WorkspaceServiceFindFilesRequest;

use super::Done;
use crate::{
    context::{self, Context},
    failure::{Exit, Failure},
    output::safe::{self, Care},
    world,
};

/// Find files of the workspace by parts of their paths, best first.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  quire files main.rs
  quire files -n 5 'client readme'")]
pub struct Arguments {
    /// Parts of the path.
    query: String,
    /// Most files to print.
    #[arg(long, short = 'n', value_name = "N", default_value_t = 0)]
    limit: u32,
}

/// Carries it out.
///
/// # Errors
///
/// A silent one with exit code 1 when no file matches.
pub async fn run(arguments: Arguments, context: &Context) -> Done {
    let mut link = context.connect("files").await?;
    let request = WorkspaceServiceFindFilesRequest {
        workspace: world::here(None)?.cwd,
        query: arguments.query,
        limit: arguments.limit,
    };
    let found = link
        .call(async |connection| connection.workspace().find_files(request.clone()).await)
        .await?;
    let files = found.into_inner().files;
    let lines: String = files
        .iter()
        .map(|file| one_line(&file.path, context.ends.stdout))
        .collect();
    context::print(lines)?;
    if files.is_empty() {
        return Err(Failure::silent(Exit::Failed));
    }
    Ok(())
}

/// A path on a line of its own. For a terminal everything in it that acts is spelled out; a program
/// gets it as it is, but for line ends, which would make two paths of one.
fn one_line(path: &str, terminal: bool) -> String {
    let path = match terminal {
        true => safe::line(path, Care::Prose),
        false => path.into(),
    };
    path.replace('\n', "\\n") + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_one_line() {
        let table = [
            ("src/a b.rs", true, "src/a b.rs\n"),
            ("a\nb\x1b[2J", true, "a␊b␛[2J\n"),
            ("a\nb\x1b[2J", false, "a\\nb\x1b[2J\n"),
        ];
        for (path, terminal, want) in table {
            assert_eq!(one_line(path, terminal), want);
        }
    }
}
