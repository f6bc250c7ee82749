//! The edge of the screen over all sessions: waits for keys, for what happens, and for the clock.

use std::time::Duration;

use crossterm::event::{Event, EventStream};
use futures_util::StreamExt as _;
use quire_proto::v1::TurnServiceInterruptRequest;
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::mpsc,
    task::{AbortHandle, JoinSet},
    time::{Instant, interval, sleep_until},
};

use super::{
    app::{App, Effect},
    draw::draw,
};
use crate::{
    commands::{ps::now_ms, request_id},
    connect::{Connection, Host, Introduction},
    context::Ends,
    failure::{Exit, Failure},
    link::{Link, Overlook, Sight},
    reach,
    tui::{self, Leaving, Role, Surroundings, terminal::Screen},
    world,
};

/// Between two pictures of the same: ages grow.
const TICK: Duration = Duration::from_secs(1);

/// Least time between two pictures.
const FRAME: Duration = Duration::from_millis(33);

/// Shows all sessions of the daemon of `host` until the person leaves.
///
/// # Errors
///
/// [`Exit::Usage`] without a terminal, [`Exit::Failed`] when it breaks, [`Exit::NoDaemon`] when no
/// daemon can be kept alive.
pub async fn live(host: Host, who: Introduction, ends: Ends) -> Result<(), Failure> {
    tui::require_terminal()?;
    let connection = Connection::open(&host, who).await?;
    let mut stage = Stage {
        app: App::new(ends.colour),
        connection: connection.clone(),
        overlook: Sights::of(Overlook::new(host.clone(), who, connection)),
        calls: JoinSet::new(),
    };
    loop {
        let mut screen = Screen::open()?;
        let left = stage.until_left(&mut screen).await;
        // The terminal is given back before anything is told.
        drop(screen);
        match left? {
            None => return Ok(()),
            Some(session) => {
                if let Err(failure) = attach(&host, session, ends).await? {
                    stage.app.say(failure.to_string());
                }
            }
        }
    }
}

/// What the screen waits for and acts on.
struct Stage {
    app: App,
    /// The newest one.
    connection: Connection,
    overlook: Sights,
    calls: JoinSet<String>,
}

impl Stage {
    /// Returns with a session to attach to, or `None` to leave.
    async fn until_left(&mut self, screen: &mut Screen) -> Result<Option<String>, Failure> {
        let mut events = EventStream::new();
        let mut signals = Signals::listen()?;
        let mut clock = interval(TICK);
        let mut drawn: Option<Instant> = None;
        let mut stale = true;
        loop {
            let due = drawn.map_or_else(Instant::now, |drawn| drawn + FRAME);
            tokio::select! {
                biased;
                () = sleep_until(due), if stale => {
                    screen.paint(|frame| draw(frame, &mut self.app, now_ms()))?;
                    drawn = Some(Instant::now());
                    stale = false;
                    continue;
                }
                () = signals.next() => return Err(Failure::silent(Exit::Interrupted)),
                event = events.next() => {
                    let effect = match event {
                        Some(Ok(Event::Key(key))) => self.app.press(key),
                        Some(Ok(_)) => None,
                        // The terminal is gone, as after a hang-up.
                        Some(Err(_)) | None => return Ok(None),
                    };
                    match effect {
                        Some(Effect::Quit) => return Ok(None),
                        Some(Effect::Attach(session)) => return Ok(Some(session)),
                        Some(Effect::Interrupt(session, turn)) => self.interrupt(session, turn),
                        Some(Effect::Suspend) => screen.suspend()?,
                        Some(Effect::Repaint) => screen.forget()?,
                        None => {}
                    }
                }
                sight = self.overlook.next() => self.take(sight?),
                Some(Ok(word)) = self.calls.join_next() => self.app.say(word),
                _ = clock.tick() => {}
            }
            stale = true;
        }
    }

    fn take(&mut self, sight: Sight) {
        match sight {
            Sight::Begins(connection) => {
                self.connection = *connection;
                self.app.begins();
            }
            Sight::Updates(updates) => self.app.apply(&updates),
            Sight::Silent(so_long) => {
                self.app.say(reach::silence(self.connection.pid(), so_long));
            }
            Sight::Lost => self.app.lost(),
        }
    }

    fn interrupt(&mut self, session: String, turn: u64) {
        let connection = self.connection.clone();
        let request = TurnServiceInterruptRequest {
            request_id: request_id(),
            session: session.clone(),
            expected_turn: turn,
        };
        self.calls.spawn(async move {
            match connection.turns().interrupt(request).await {
                Ok(_) => format!("turn {turn} of {session} was interrupted"),
                Err(status) => Failure::from(status).to_string(),
            }
        });
    }
}

/// Opens one session as `quire attach` does. What keeps it from opening is the inner error, what ends
/// all the outer one.
async fn attach(host: &Host, session: String, ends: Ends) -> Result<Result<(), Failure>, Failure> {
    let opening = async {
        let link = Link::for_screen(host, tui::introduction(Role::Work)).await?;
        let surroundings = Surroundings {
            link,
            world: Some(world::here(None)?),
            colour: ends.colour,
        };
        tui::attach(surroundings, session, Role::Work).await
    };
    match opening.await {
        Ok(left) => match (left.why, left.unsent.first()) {
            (Leaving::Signal(_), _) => Err(Failure::silent(Exit::Interrupted)),
            (_, Some(text)) => {
                let text = format!("the daemon has not taken this any more: {text}");
                Ok(Err(Failure::new(Exit::Failed, text)))
            }
            _ => Ok(Ok(())),
        },
        Err(failure) => Ok(Err(failure)),
    }
}

/// Signals that ask the client to end.
struct Signals([Signal; 3]);

impl Signals {
    fn listen() -> Result<Self, Failure> {
        let listen = |kind| {
            signal(kind).map_err(|error| {
                Failure::new(Exit::Failed, format!("cannot listen for signals: {error}"))
            })
        };
        Ok(Self([
            listen(SignalKind::terminate())?,
            listen(SignalKind::hangup())?,
            listen(SignalKind::interrupt())?,
        ]))
    }

    async fn next(&mut self) {
        let Self([term, hangup, interrupt]) = self;
        tokio::select! {
            _ = term.recv() => {}
            _ = hangup.recv() => {}
            _ = interrupt.recv() => {}
        }
    }
}

/// The watch, on a task of its own: connecting anew takes its time, and must not be begun again with each
/// key. Ends with this.
struct Sights {
    sights: mpsc::Receiver<Result<Sight, Failure>>,
    task: AbortHandle,
}

impl Sights {
    fn of(mut overlook: Overlook) -> Self {
        // Nothing is kept beyond one: the rest waits at the daemon, where it is overtaken.
        let (told, sights) = mpsc::channel(1);
        let task = tokio::spawn(async move {
            loop {
                let sight = overlook.next().await;
                let over = sight.is_err();
                if told.send(sight).await.is_err() || over {
                    return;
                }
            }
        });
        Self {
            sights,
            task: task.abort_handle(),
        }
    }

    async fn next(&mut self) -> Result<Sight, Failure> {
        match self.sights.recv().await {
            Some(sight) => sight,
            None => Err(Failure::new(Exit::Failed, "the watch broke")),
        }
    }
}

impl Drop for Sights {
    fn drop(&mut self) {
        self.task.abort();
    }
}
