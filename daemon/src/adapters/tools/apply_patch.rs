//! `apply_patch`: edits files as the model wrote it in a patch, all of them or none.
//!
//! Looking at a call plans it against the disk: the preview, the access and the intent show exactly
//! what will be written. Acting commits that plan and nothing else, if no file has changed since. A patch
//! that is based on what the model saw of a file before something else changed it is refused.

mod stale;

use std::path::{Path, PathBuf};

use futures_util::future::BoxFuture;
use quire_proto::v1::{
    Access, ArgumentsKind, FileChange, FileChangeItem, FileIntent, FileOperation, Intent,
    OutcomeStatus, SandboxMode, item,
};
use serde::Deserialize;

use crate::{
    adapters::files::{
        Bounds, CommitError, Expectation, KEPT_FILE, Kept, Plan, PlanError, Problem, Standing,
        commit, finish, plan, standing, sweep,
    },
    ports::tool::{Finished, Live, Place, Prepared, Tool},
    pure::{
        patch::Patch,
        sample::{Call, ToolInput, ToolSpec},
    },
};

use super::{blocking, cut, hidden};

/// The tool.
pub(super) struct ApplyPatch {
    /// Contents that models were shown.
    pub(super) kept: Kept,
}

const DESCRIPTION: &str = "\
Edits files. All of the patch is applied, or none of it. Paths are relative to the working directory.

*** Begin Patch
*** Add File: path/new.txt
+every line of the new file
*** Update File: path/old.txt
*** Move to: path/renamed.txt
@@ a whole line above the change, such as its function's first line
 a line that stays
-a line that goes
+a line that comes
*** Delete File: path/obsolete.txt
*** End Patch

`Move to` and the text after `@@` are optional. Give about three lines of context around a change; \
what stays and goes must fit in one place only, so add context, or several `@@` lines from the \
outside in. Write chunks in the order of the file. A chunk of only `+` lines goes to the end; \
`*** End of File` after a chunk ties it to the end.";

const GRAMMAR: &str = r#"start: begin edit+ end
begin: "*** Begin Patch" LF
end: "*** End Patch" LF?
edit: add | delete | update
add: "*** Add File: " path LF added+
delete: "*** Delete File: " path LF
update: "*** Update File: " path LF (move chunk* | chunk+)
move: "*** Move to: " path LF
chunk: anchor+ line+ eof?
anchor: "@@" (" " /(.+)/)? LF
added: "+" /(.*)/ LF
line: ("+" | "-" | " ") /(.*)/ LF
eof: "*** End of File" LF
path: /(.+)/
%import common.LF
"#;

/// How models write a patch where they must write JSON.
#[derive(Deserialize)]
struct Arguments {
    #[serde(alias = "patch")]
    input: String,
}

impl Tool for ApplyPatch {
    fn spec(&self) -> ToolSpec {
        ToolSpec {
            name: "apply_patch",
            description: DESCRIPTION,
            input: ToolInput::Freeform {
                grammar: GRAMMAR,
                property: "input",
            },
        }
    }

    fn prepare(&self, call: Call, place: Place) -> BoxFuture<'static, Result<Prepared, Finished>> {
        let kept = self.kept.clone();
        Box::pin(blocking(move || prepare(&call, place, kept)))
    }

    fn resume(
        &self,
        call: Call,
        intent: Intent,
        place: Place,
        live: Live,
    ) -> BoxFuture<'static, Finished> {
        let kept = self.kept.clone();
        Box::pin(async move {
            let resumed = blocking(move || resume(&call, &intent, (place, kept), &live)).await;
            resumed.unwrap_or_else(|finished| finished)
        })
    }
}

/// A patch that can be applied, as it was shown.
struct Shown {
    patch: Patch,
    plan: Plan,
    preview: Vec<FileChange>,
    place: Place,
    kept: Kept,
}

fn prepare(call: &Call, place: Place, kept: Kept) -> Result<Prepared, Finished> {
    let patch = read(call)?;
    let plan = current(&patch, &place, &kept)?;
    let preview = plan.previews(&place.workspace);
    let intent = intent(&plan)?;
    let access = Access {
        writes: intent.files.iter().map(|file| file.path.clone()).collect(),
        read_only: intent.files.is_empty(),
        ..Access::default()
    };
    let shown = Shown {
        patch,
        plan,
        preview: preview.clone(),
        place,
        kept,
    };
    Ok(Prepared {
        title: title(&shown.patch),
        access,
        intent: (!intent.files.is_empty()).then_some(intent),
        preview,
        act: Box::new(move |live| {
            Box::pin(async move {
                let done = blocking(move || Ok(act(&shown, &live))).await;
                done.unwrap_or_else(|finished| finished)
            })
        }),
    })
}

/// The patch of a call, which is the arguments themselves or one property of them.
fn read(call: &Call) -> Result<Patch, Finished> {
    let text = match (
        call.kind,
        serde_json::from_str::<Arguments>(&call.arguments),
    ) {
        (_, Ok(arguments)) => arguments.input,
        (ArgumentsKind::Json, Err(error)) if call.arguments.trim_start().starts_with('{') => {
            return Err(Finished::failed(format!(
                "wrong arguments ({error}): write {{\"input\":\"*** Begin Patch\\n...\"}}"
            )));
        }
        (_, Err(_)) => call.arguments.clone(),
    };
    Patch::parse(&text)
        .map_err(|error| Finished::failed(format!("The patch was not applied: {error}")))
}

/// The plan of a patch, if it is based on what the files hold now.
fn current(patch: &Patch, place: &Place, kept: &Kept) -> Result<Plan, Finished> {
    let bounds = bounds(place);
    let refuse = |stale: Vec<stale::Stale>| match stale.is_empty() {
        true => Ok(()),
        false => Err(stale::refuse(patch, &stale, place, kept)),
    };
    refuse(stale::replaced(patch, place, &bounds.hidden))?;
    match plan(patch, &bounds) {
        Ok(plan) => refuse(stale::in_plan(&plan, place)).map(|()| plan),
        Err(error) => {
            // News says more than that nothing fits any more.
            if matches!(
                error.problem,
                Problem::Absent | Problem::Misfit(_) | Problem::Unreadable(_)
            ) {
                refuse(stale::on_disk(patch, place, &bounds.hidden))?;
            }
            Err(unplannable(&error))
        }
    }
}

fn bounds(place: &Place) -> Bounds {
    Bounds {
        base: place.cwd.clone(),
        // The policy judges where a patch may write, by the access that is told before.
        roots: None,
        unprotected: place.policy.sandbox() == SandboxMode::FullAccess,
        hidden: hidden(place),
    }
}

fn unplannable(error: &PlanError) -> Finished {
    Finished::failed(format!(
        "The patch was not applied and no file changed. {error}"
    ))
}

fn intent(plan: &Plan) -> Result<Intent, Finished> {
    let files = plan.changes.iter().map(|change| {
        let path = change.path.to_str().ok_or_else(|| {
            let path = change.path.display();
            Finished::failed(format!("`{path}` is not UTF-8: edit it with a command"))
        })?;
        let hash = |hash: Option<[u8; 32]>| hash.map(|hash| hash.to_vec()).unwrap_or_default();
        Ok(FileIntent {
            path: path.to_owned(),
            before: hash(change.expected()),
            after: hash(change.result()),
        })
    });
    Ok(Intent {
        files: files.collect::<Result<_, Finished>>()?,
        ..Intent::default()
    })
}

fn title(patch: &Patch) -> String {
    let mut paths: Vec<&str> = patch.edits.iter().map(|edit| edit.path()).collect();
    paths.dedup();
    match paths[..] {
        [path] => format!("edit {path}"),
        _ => cut(
            &format!("edit {} files: {}", paths.len(), paths.join(", ")),
            120,
        ),
    }
}

fn act(shown: &Shown, live: &Live) -> Finished {
    match commit(&shown.plan.changes, shown.place.umask) {
        Ok(()) => {
            remember(&shown.plan, &shown.kept);
            success(&shown.patch, shown.preview.clone(), live)
        }
        Err(CommitError::Stale(path)) => {
            let stale = stale::since(&shown.plan, &shown.place);
            if stale.is_empty() {
                // It is again as it was.
                return failure(&CommitError::Stale(path));
            }
            stale::refuse(&shown.patch, &stale, &shown.place, &shown.kept)
        }
        Err(error) => failure(&error),
    }
}

/// Keeps what was written: the model knows it, and a later change of it may be shown as a diff.
fn remember(plan: &Plan, kept: &Kept) {
    let small = |bytes: &&Vec<u8>| bytes.len() <= KEPT_FILE;
    for change in &plan.changes {
        if let Some(bytes) = change.after.as_ref().filter(small)
            && let Some(name) = change.result()
        {
            kept.keep(name, bytes);
        }
    }
}

fn success(patch: &Patch, files: Vec<FileChange>, live: &Live) -> Finished {
    let mut finished = Finished::succeeded(patch.success());
    if !files.is_empty() {
        finished.items.push(item::Kind::FileChange(FileChangeItem {
            files,
            call: live.item.get(),
        }));
    }
    finished
}

fn failure(error: &CommitError) -> Finished {
    let status = match error {
        CommitError::Stale(_) | CommitError::Refused { .. } => OutcomeStatus::Failed,
        CommitError::Torn { .. } => OutcomeStatus::Unknown,
    };
    Finished::with_status(status, format!("The patch was not applied: {error}"))
}

/// Ends a call that an earlier daemon had begun, by what the files hold now.
fn resume(
    call: &Call,
    intent: &Intent,
    (place, kept): (Place, Kept),
    live: &Live,
) -> Result<Finished, Finished> {
    let patch = read(call)?;
    let expected = expectations(intent);
    match standing(&expected) {
        Standing::Done => {
            sweep(&expected);
            Ok(success(&patch, written(&expected, &place.workspace), live))
        }
        Standing::NotDone => {
            // The files are what the intent names, and that is what the model knew.
            let plan = plan(&patch, &bounds(&place)).map_err(|error| unplannable(&error))?;
            if self::intent(&plan)?.files != intent.files {
                return Err(Finished::failed(
                    "The patch was not applied and no file changed: what it names means other files now",
                ));
            }
            let shown = Shown {
                preview: plan.previews(&place.workspace),
                patch,
                plan,
                place,
                kept,
            };
            Ok(act(&shown, live))
        }
        Standing::Partly {
            done,
            open,
            unclear,
        } => {
            if unclear.is_empty() && matches!(finish(&expected, place.umask), Ok(true)) {
                sweep(&expected);
                return Ok(success(&patch, written(&expected, &place.workspace), live));
            }
            Ok(Finished::with_status(
                OutcomeStatus::Unknown,
                format!(
                    "Quire was stopped while it applied this patch. Changed as asked: {}. Not changed: {}. \
                     Neither, perhaps by something else: {}. Read these files before you go on.",
                    names(&done),
                    names(&open),
                    names(&unclear)
                ),
            ))
        }
    }
}

fn expectations(intent: &Intent) -> Vec<Expectation> {
    let files = intent.files.iter().map(|file| Expectation {
        path: PathBuf::from(&file.path),
        before: file.before.as_slice().try_into().ok(),
        after: file.after.as_slice().try_into().ok(),
    });
    files.collect()
}

/// The files as they are told when the old contents, and so the diffs, are gone.
fn written(expected: &[Expectation], workspace: &Path) -> Vec<FileChange> {
    let files = expected.iter().map(|file| {
        let path = file.path.strip_prefix(workspace).unwrap_or(&file.path);
        let operation = match (file.before, file.after) {
            (None, _) => FileOperation::Added,
            (Some(_), Some(_)) => FileOperation::Modified,
            (Some(_), None) => FileOperation::Deleted,
        };
        FileChange {
            path: path.to_string_lossy().into_owned(),
            operation: operation.into(),
            ..FileChange::default()
        }
    });
    files.collect()
}

fn names(paths: &[PathBuf]) -> String {
    if paths.is_empty() {
        return "none".to_owned();
    }
    let names: Vec<String> = paths
        .iter()
        .map(|path| format!("`{}`", path.display()))
        .collect();
    names.join(", ")
}
