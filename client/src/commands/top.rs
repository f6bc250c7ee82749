//! All sessions and jobs, live.

use super::{Done, ps::now_ms};
use crate::{
    connect::Connection,
    context::{self, Context},
    link::{Overlook, Sight},
    reach,
    told::{Told, say},
    top::{self, Overview},
};

/// Show all sessions and jobs, live: what runs, what it costs, and who is needed.
///
/// Those that wait for a person come first. Enter opens the selected session and comes back from it, `i`
/// interrupts its turn, `/` filters, `q` leaves. Where there is no terminal one table is printed instead.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  quire top
  quire top --once
  quire top --json | jq -r 'select(.type == \"approval\") | .title'")]
pub struct Arguments {
    /// One table, and no more.
    #[arg(long)]
    once: bool,
    /// A JSON line for each change; with `--once` only for what there is.
    #[arg(long)]
    json: bool,
}

/// Carries it out.
///
/// # Errors
///
/// When no daemon can be had or kept alive.
pub async fn run(arguments: Arguments, context: &Context) -> Done {
    let Arguments { once, json } = arguments;
    if !once && !json && context.ends.stdin && context.ends.stdout {
        let who = context.who("top");
        return top::live(context.host.clone(), who, context.ends).await;
    }
    let who = context.watcher("top");
    let connection = Connection::open(&context.host, who).await?;
    let overlook = Overlook::new(context.host.clone(), who, connection);
    if json {
        return lines(overlook, once).await;
    }
    table(overlook).await
}

/// Prints each update, until nobody reads them; with `once` until all there is was told.
async fn lines(mut overlook: Overlook, once: bool) -> Done {
    let mut meeting = Meeting::default();
    loop {
        let Some(updates) = meeting.of(overlook.next().await?) else {
            continue;
        };
        let lines: String = updates.iter().filter_map(top::json_line).collect();
        context::print(lines)?;
        if once && updates.iter().any(is_synced) {
            return Ok(());
        }
    }
}

async fn table(mut overlook: Overlook) -> Done {
    let mut meeting = Meeting::default();
    let mut overview = Overview::default();
    while !overview.is_synced() {
        let sight = overlook.next().await?;
        if matches!(sight, Sight::Begins(_)) {
            overview = Overview::default();
        }
        for update in meeting.of(sight).unwrap_or_default() {
            overview.apply(&update);
        }
    }
    context::print(top::table_of(&overview, now_ms()))
}

type Update = quire_proto::v1::daemon_service_watch_response::Update;

fn is_synced(update: &Update) -> bool {
    matches!(update, Update::Synced(_))
}

/// The daemon that is watched, as far as people are told of it.
#[derive(Default)]
struct Meeting {
    told: Told,
    pid: u32,
}

impl Meeting {
    /// The updates in what was seen; the rest is told on standard error.
    fn of(&mut self, sight: Sight) -> Option<Vec<Update>> {
        match sight {
            Sight::Updates(updates) => return Some(updates),
            Sight::Begins(connection) => {
                self.pid = connection.pid();
                self.told.tell(connection.notices());
            }
            Sight::Silent(so_long) => say(&reach::silence(self.pid, so_long)),
            Sight::Lost => {}
        }
        None
    }
}
