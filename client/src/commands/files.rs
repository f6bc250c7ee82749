//! Find files of the workspace.

use quire_proto::v1::WorkspaceServiceFindFilesRequest;

use super::Done;
use crate::{
    context::{self, Context},
    failure::{Exit, Failure},
    world,
};

/// Find files of the workspace by parts of their paths, best first.
#[derive(Debug, clap::Args)]
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
    let connection = context.connect("files").await?;
    let request = WorkspaceServiceFindFilesRequest {
        workspace: world::here(None)?.cwd,
        query: arguments.query,
        limit: arguments.limit,
    };
    let found = connection.workspace().find_files(request).await?;
    let files = found.into_inner().files;
    let lines: String = files
        .iter()
        .map(|file| format!("{}\n", file.path))
        .collect();
    context::print(lines)?;
    if files.is_empty() {
        return Err(Failure::silent(Exit::Failed));
    }
    Ok(())
}
