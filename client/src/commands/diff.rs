//! Show what a session changed.

use quire_proto::v1::item::Kind;

use super::{Done, find_session};
use crate::{
    context::{self, Context},
    link::{Link, Watch},
    output::paint::Paint,
    view::View,
};

/// Show what a session changed, edit by edit, oldest first.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:
  quire diff @last | less -R")]
pub struct Arguments {
    /// Id, unique prefix, title, or @last.
    session: String,
}

/// Carries it out.
///
/// # Errors
///
/// When there is no such session.
pub async fn run(arguments: Arguments, context: &Context) -> Done {
    let mut link = Link::open(&context.host, context.watcher("diff")).await?;
    let session = find_session(&mut link, &arguments.session).await?;
    let mut watch = Watch::from_start(link, session.id);
    while !watch.view().is_synced() {
        for update in watch.next().await? {
            watch.apply(&update);
        }
    }
    let colour = context.ends.stdout && context.ends.colour;
    context::print(changes(watch.view(), Paint { colour }))
}

/// All edits of a session as unified diffs.
pub(super) fn changes(view: &View, paint: Paint) -> String {
    let items = view.items().filter_map(|(_, item)| match item.kind() {
        Some(Kind::FileChange(change)) => Some(&change.files),
        _ => None,
    });
    let files = items.flatten();
    files
        .map(|file| match file.diff.as_str() {
            "" => format!("binary file `{}` changed\n", file.path),
            diff => paint.diff(diff),
        })
        .collect()
}
