//! The edge of the picker: waits for keys, lists and what the daemon tells meanwhile, lets the [`Picker`]
//! decide, and carries out what it says.
//!
//! Where the daemon tells what happens to sessions the list is live. Where it does not, it is as it was when
//! it was asked for: nothing here asks again and again.

use std::{
    future::{Future, pending},
    pin::Pin,
    time::Duration,
};

use crossterm::event::Event;
use quire_proto::v1::{
    self, DaemonServiceWatchResponse as Told, daemon_service_watch_response::Update,
};
use tokio::{
    task::{JoinError, JoinSet},
    time::{Instant, sleep, sleep_until},
};
use tonic::{Code, Status, Streaming};

use super::{
    draw::draw,
    state::{Effect, Input, Picker, Scope, Wishes},
};
use crate::{
    connect::{Connection, Host, Introduction},
    failure::{Exit, Failure, is_announced, is_lost},
    link::keeps_dying,
    patience::{Death, Patience, Verdict},
    told::HEARTBEAT_MS,
    tui::{
        console::{Console, Sign, now_ms},
        pace::{FRAME, KEY_FRAME, Pace},
    },
};

/// Ages on the screen are told in no finer steps.
const AGES: Duration = Duration::from_secs(30);

/// Most hits of a search that are shown.
const HITS: u32 = 50;

/// Shows the picker until a session is chosen, and gives its id; `None` when the person leaves.
///
/// # Errors
///
/// When the terminal breaks, or no daemon can be had.
pub(in crate::tui) async fn choose(
    console: &mut Console,
    host: &Host,
    who: Introduction,
    connection: Connection,
    wishes: Wishes,
) -> Result<Option<String>, Failure> {
    let (picker, effects) = Picker::new(wishes);
    let mut lobby = Lobby {
        host: host.clone(),
        who,
        picker,
        stream: watch(&connection).await?,
        opened: Instant::now(),
        connection,
        calls: JoinSet::new(),
        patience: Patience::default(),
        looking: None,
    };
    for effect in effects {
        lobby.ask(effect);
    }
    lobby.play(console).await
}

/// Everything the loop waits for and acts on.
struct Lobby {
    host: Host,
    who: Introduction,
    picker: Picker,
    connection: Connection,
    /// What the daemon tells; `None` where it tells nothing.
    stream: Option<Streaming<Told>>,
    /// Since when there is this connection.
    opened: Instant,
    calls: JoinSet<Result<Input, Status>>,
    patience: Patience,
    /// Another daemon that is being looked for.
    looking: Option<Looking>,
}

type Found = Result<(Connection, Option<Streaming<Told>>), Failure>;
type Looking = Pin<Box<dyn Future<Output = Found> + Send>>;

async fn found(looking: &mut Option<Looking>) -> Found {
    match looking {
        Some(looking) => looking.await,
        None => pending().await,
    }
}

/// How a daemon tells what happens; `None` when it can't.
async fn watch(connection: &Connection) -> Result<Option<Streaming<Told>>, Failure> {
    let request = v1::DaemonServiceWatchRequest {
        heartbeat_ms: HEARTBEAT_MS,
    };
    match connection.daemon().watch(request).await {
        Ok(stream) => Ok(Some(stream.into_inner())),
        // One that is gone is met again by the calls.
        Err(status) if status.code() == Code::Unimplemented || is_lost(&status) => Ok(None),
        Err(status) => Err(status.into()),
    }
}

async fn told(stream: &mut Option<Streaming<Told>>) -> Result<Option<Told>, Status> {
    match stream {
        Some(stream) => stream.message().await,
        None => pending().await,
    }
}

impl Lobby {
    async fn play(mut self, console: &mut Console) -> Result<Option<String>, Failure> {
        let mut pace = Pace::now();
        loop {
            if pace.is_due() {
                let picker = &mut self.picker;
                console.screen.paint(|frame| draw(frame, picker))?;
                pace.drawn();
            }
            let due = pace.due(None).unwrap_or_else(|| Instant::now() + AGES);
            let input = tokio::select! {
                biased;
                sign = console.next() => {
                    pace.want(KEY_FRAME);
                    match sign {
                        Sign::Event(event) => of_event(event),
                        Sign::Gone => return Ok(None),
                        Sign::End(_) => return Err(Failure::silent(Exit::Interrupted)),
                        Sign::Continued => {
                            console.screen.retake()?;
                            Some(Input::Tick)
                        }
                    }
                }
                Some(answer) = self.calls.join_next() => {
                    pace.want(KEY_FRAME);
                    self.of_answer(answer)?
                }
                update = told(&mut self.stream) => {
                    pace.want(FRAME);
                    match update {
                        Ok(Some(update)) => of_update(update),
                        Ok(None) => self.lose(None)?,
                        Err(status) => self.lose(Some(&status))?,
                    }
                }
                found = found(&mut self.looking) => {
                    pace.want(FRAME);
                    Some(self.meet(found)?)
                }
                () = sleep_until(due) => {
                    pace.want(Duration::ZERO);
                    Some(Input::Tick)
                }
            };
            let Some(input) = input else {
                continue;
            };
            for effect in self.picker.step(now_ms(), input) {
                match effect {
                    Effect::Choose(session) => return Ok(Some(session)),
                    Effect::Leave => return Ok(None),
                    Effect::Suspend => console.screen.suspend()?,
                    Effect::Repaint => console.screen.forget()?,
                    other => self.ask(other),
                }
            }
        }
    }

    /// Asks the daemon; the answer comes back as an input.
    fn ask(&mut self, effect: Effect) {
        let connection = self.connection.clone();
        let here = self.picker.wishes.workspace.clone();
        self.calls.spawn(async move {
            match effect {
                Effect::List(scope, page) => list(&connection, scope, here, page).await,
                Effect::Search(query, scope) => search(&connection, query, scope, here).await,
                Effect::Choose(_) | Effect::Leave | Effect::Suspend | Effect::Repaint => {
                    Ok(Input::Tick)
                }
            }
        });
    }

    fn of_answer(
        &mut self,
        answer: Result<Result<Input, Status>, JoinError>,
    ) -> Result<Option<Input>, Failure> {
        match answer {
            Ok(Ok(input)) => Ok(Some(input)),
            Ok(Err(status)) if is_lost(&status) => self.lose(Some(&status)),
            Ok(Err(status)) => Ok(Some(Input::Refused(Failure::from(status).to_string()))),
            Err(crashed) => Err(Failure::new(
                Exit::Failed,
                format!("the client has a bug: {crashed}"),
            )),
        }
    }

    /// The daemon is gone: another is found or started.
    fn lose(&mut self, status: Option<&Status>) -> Result<Option<Input>, Failure> {
        if self.looking.is_some() {
            return Ok(None);
        }
        let death = Death {
            brought_news: false,
            lived: self.opened.elapsed(),
            announced: status.is_some_and(is_announced),
        };
        let Verdict::Again(pause) = self.patience.died(death) else {
            return Err(keeps_dying(&self.host));
        };
        self.stream = None;
        // What was asked of the dead one is asked again.
        self.calls = JoinSet::new();
        let (host, who) = (self.host.clone(), self.who);
        self.looking = Some(Box::pin(async move {
            sleep(pause).await;
            let connection = Connection::open(&host, who).await?;
            let stream = watch(&connection).await?;
            Ok((connection, stream))
        }));
        Ok(Some(Input::Lost))
    }

    fn meet(&mut self, found: Found) -> Result<Input, Failure> {
        self.looking = None;
        (self.connection, self.stream) = found?;
        self.opened = Instant::now();
        Ok(Input::Met)
    }
}

async fn list(
    connection: &Connection,
    scope: Scope,
    here: String,
    page: String,
) -> Result<Input, Status> {
    let request = v1::SessionServiceListRequest {
        include_archived: scope == Scope::WithArchived,
        workspace: if scope == Scope::Here {
            here
        } else {
            String::new()
        },
        page_size: 0,
        page_token: page,
    };
    let listed = connection.sessions().list(request).await?.into_inner();
    Ok(Input::Listed(
        scope,
        listed.sessions,
        listed.next_page_token,
    ))
}

async fn search(
    connection: &Connection,
    query: String,
    scope: Scope,
    here: String,
) -> Result<Input, Status> {
    let request = v1::SessionServiceSearchRequest {
        query: query.clone(),
        limit: HITS,
        include_archived: scope == Scope::WithArchived,
        workspace: if scope == Scope::Here {
            here
        } else {
            String::new()
        },
    };
    match connection.sessions().search(request).await {
        Ok(found) => Ok(Input::Found(query, found.into_inner().hits)),
        Err(status) if status.code() == Code::Unimplemented => Ok(Input::NoSearch),
        // What is half typed may be no query yet.
        Err(status) if status.code() == Code::InvalidArgument => {
            Ok(Input::Found(query, Vec::new()))
        }
        Err(status) => Err(status),
    }
}

fn of_event(event: Event) -> Option<Input> {
    match event {
        Event::Key(key) => Some(Input::Key(key)),
        Event::Paste(text) => Some(Input::Paste(text)),
        Event::Resize(..) => Some(Input::Tick),
        Event::FocusGained | Event::FocusLost | Event::Mouse(_) => None,
    }
}

fn of_update(told: Told) -> Option<Input> {
    match told.update? {
        Update::Session(session) => Some(Input::Changed(Box::new(session))),
        Update::SessionDeleted(id) => Some(Input::Deleted(id)),
        Update::Approval(_)
        | Update::JobEnded(_)
        | Update::Draining(_)
        | Update::Synced(_)
        | Update::Heartbeat(_)
        | Update::Job(_) => None,
    }
}
