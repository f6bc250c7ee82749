//! The tools the model may use, one a file.
//!
//! A new tool is a file here and a line in [`all`]. Arguments are what a model wrote: whatever is
//! wrong with them becomes an outcome that says what to write instead.

mod apply_patch;
mod exec;
mod list_files;
mod read_file;
mod search;
mod update_plan;

#[cfg(test)]
mod tests;

use std::{
    env,
    path::{Path, PathBuf},
    sync::Arc,
};

use futures_util::future::BoxFuture;
use quire_proto::v1::{Access, OutcomeStatus, SandboxMode};
use serde::de::DeserializeOwned;

use crate::{
    ports::tool::{Act, Finished, Live, Place, Prepared, Tool},
    pure::sample::Call,
};

use super::{
    files::{Hidden, Kept, resolve},
    jobs::Jobs,
};

/// Most bytes of text that one call gives the model.
const SHOWN_BYTES: usize = 40_000;

/// All tools, in the order the model is offered them.
#[must_use]
pub fn all(jobs: &Jobs) -> Vec<Arc<dyn Tool>> {
    let mut tools = exec::all(jobs);
    tools.extend(on_files());
    tools
}

/// The tools that need nothing but files.
fn on_files() -> Vec<Arc<dyn Tool>> {
    let kept = Kept::default();
    vec![
        Arc::new(apply_patch::ApplyPatch { kept: kept.clone() }),
        Arc::new(read_file::ReadFile { kept }),
        Arc::new(list_files::ListFiles),
        Arc::new(search::Search),
        Arc::new(update_plan::UpdatePlan),
    ]
}

/// Reads a call's JSON arguments. `example` shows the model how to write them.
fn arguments<T: DeserializeOwned>(call: &Call, example: &str) -> Result<T, Finished> {
    let text = match call.arguments.trim() {
        "" => "{}",
        text => text,
    };
    serde_json::from_str(text)
        .map_err(|error| Finished::failed(format!("wrong arguments ({error}): write {example}")))
}

/// What the policy of `place` hides from tools.
fn hidden(place: &Place) -> Hidden {
    if place.policy.sandbox() == SandboxMode::FullAccess {
        return Hidden::default();
    }
    let theirs = place.environment.get("HOME").map(PathBuf::from);
    let homes: Vec<PathBuf> = theirs.into_iter().chain(env::home_dir()).collect();
    Hidden::new(&homes, &place.policy.hidden)
}

/// The file that `path` means, unless it is hidden.
fn readable(place: &Place, path: &str) -> Result<PathBuf, Finished> {
    let found = resolve(&place.cwd, Path::new(path))
        .map_err(|error| Finished::failed(format!("cannot look at `{path}`: {error}")))?;
    let hidden = hidden(place);
    if hidden.hides(&found.file) || hidden.hides(&found.entry) {
        // Nobody was asked and nobody said no: to the tool the file is not there.
        return Err(Finished::failed(format!(
            "`{path}` is hidden by the policy"
        )));
    }
    Ok(found.file)
}

/// A call that only reads `path`.
fn reading(title: String, path: &Path, act: Act) -> Prepared {
    Prepared {
        title,
        access: Access {
            reads: vec![path.to_string_lossy().into_owned()],
            read_only: true,
            ..Access::default()
        },
        intent: None,
        preview: Vec::new(),
        act,
    }
}

/// Runs `work` where it may block.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Finished> + Send + 'static,
) -> Result<T, Finished> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(_panicked_or_stopped) => Err(Finished::with_status(
            OutcomeStatus::Unknown,
            "the tool stopped unexpectedly",
        )),
    }
}

/// An act that is nothing but `work`.
fn blocking_act(work: impl FnOnce() -> Finished + Send + 'static) -> Act {
    Box::new(|_live| {
        Box::pin(async {
            let done = blocking(|| Ok(work())).await;
            done.unwrap_or_else(|finished| finished)
        })
    })
}

/// Does a call that changes nothing once more, for a daemon that finds it begun.
fn repeat(
    prepared: BoxFuture<'static, Result<Prepared, Finished>>,
    live: Live,
) -> BoxFuture<'static, Finished> {
    Box::pin(async {
        match prepared.await {
            Ok(prepared) => (prepared.act)(live).await,
            Err(finished) => finished,
        }
    })
}

/// The path as the model is best told: relative to where its own relative paths start.
fn shown(path: &Path, base: &Path) -> String {
    match path.strip_prefix(base) {
        Ok(relative) if !relative.as_os_str().is_empty() => relative.to_string_lossy().into_owned(),
        _ => path.to_string_lossy().into_owned(),
    }
}

/// `text` cut to `most` characters, with a note of how many are left out.
fn cut(text: &str, most: usize) -> String {
    match text.char_indices().nth(most) {
        Some((end, _)) => {
            let rest = text[end..].chars().count();
            format!("{} [{rest} more characters]", &text[..end])
        }
        None => text.to_owned(),
    }
}
