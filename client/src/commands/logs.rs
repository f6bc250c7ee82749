//! Print what happened in a session.

use super::{Done, find_session};
use crate::{
    context::{self, Context},
    link::{Link, Watch},
    output::{
        Fold, Printed,
        json::Json,
        paint::Paint,
        plain::{Plain, Target},
    },
};

/// Print what happened in a session.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  quire logs @last | less
  quire logs -f build --json | jq .type")]
pub struct Arguments {
    /// Id, unique prefix, title, or @last.
    session: String,
    /// Go on as things happen, until interrupted; a dead daemon is brought back.
    #[arg(long, short)]
    follow: bool,
    /// JSON lines, as `quire exec --json` prints them.
    #[arg(long)]
    json: bool,
}

/// Carries it out.
///
/// # Errors
///
/// When there is no such session, or the daemon cannot be kept alive.
pub async fn run(arguments: Arguments, context: &Context) -> Done {
    let mut link = Link::open(&context.host, context.watcher("logs")).await?;
    let session = find_session(&mut link, &arguments.session).await?;
    let mut printed = Printed::default();
    let mut fold: Box<dyn Fold> = if arguments.json {
        Json::thread(&session.id, &mut printed);
        Box::new(Json::default())
    } else {
        let colour = context.ends.stdout && context.ends.colour;
        let paint = Paint { colour };
        Box::new(Plain::new(Target::Transcript, paint, paint))
    };
    let mut watch = Watch::from_start(link, session.id).telling_silence(!arguments.json);
    while arguments.follow || !watch.view().is_synced() {
        for update in watch.next().await? {
            let changes = watch.apply(&update);
            fold.changed(watch.view(), &changes, &mut printed);
        }
        context::write_out(&std::mem::take(&mut printed))?;
    }
    Ok(())
}
