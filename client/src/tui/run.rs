//! The edge of the screen: waits for keys, updates, answers and signals, lets the [`App`] decide,
//! and carries out what it says.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crossterm::event::{Event, EventStream};
use futures_util::StreamExt as _;
use quire_proto::v1::{ClientWorld, PromptMode, SessionServiceCreateRequest};
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::watch,
    task::JoinSet,
    time::{Instant, sleep_until},
};

use super::{
    app::{App, Effect, Input, Leaving, Met, Role, Setup},
    ask::{Subject, ask},
    calls::{Answer, Ticket},
    feed::{Feed, News, Source},
    notify::Notifier,
    terminal::{Screen, require_terminal},
};
use crate::{
    connect::{Connection, Introduction},
    failure::{Exit, Failure},
    link::Link,
    view::View,
};

/// Least time between two pictures while text streams in.
const FRAME: Duration = Duration::from_millis(33);
/// Least time between two pictures while someone types.
const KEY_FRAME: Duration = Duration::from_millis(8);

/// What the screen is given to work with.
#[derive(Clone, Debug)]
pub struct Surroundings {
    /// Made with [`introduction`], and [for a screen](Link::for_screen).
    pub link: Link,
    /// This client's world, for a daemon that has lost the session's.
    pub world: Option<ClientWorld>,
    /// False for `NO_COLOR`.
    pub colour: bool,
}

/// How the screen was left, and what it showed.
#[derive(Debug)]
pub struct Left {
    /// Id of the session.
    pub session: String,
    /// Why.
    pub why: Leaving,
    /// The session as last seen.
    pub view: View,
}

/// Who the screen says it is, when the connection is made.
#[must_use]
pub fn introduction(role: Role) -> Introduction {
    Introduction {
        name: "tui",
        observer: role != Role::Work,
    }
}

/// Makes a session and works in it, beginning with `prompt` if there is one, until the person
/// leaves. The session and its turn go on.
///
/// # Errors
///
/// [`Exit::Usage`] without a terminal, before anything is made; whatever `create` is refused for;
/// [`Exit::Failed`] when the terminal breaks or the session is deleted.
pub async fn start(
    mut surroundings: Surroundings,
    create: SessionServiceCreateRequest,
    prompt: Option<String>,
) -> Result<Left, Failure> {
    require_terminal()?;
    let answer = surroundings
        .link
        .call(async |connection| connection.sessions().create(create.clone()).await)
        .await?;
    let session = answer.into_inner().session.unwrap_or_default();
    let setup = Setup {
        session: session.id,
        role: Role::Work,
        colour: surroundings.colour,
    };
    Stage::open(surroundings, setup).await?.play(prompt).await
}

/// Shows a session, living or past, until the person leaves. `session` is its whole id.
///
/// # Errors
///
/// As for [`start`].
pub async fn attach(
    surroundings: Surroundings,
    session: String,
    role: Role,
) -> Result<Left, Failure> {
    require_terminal()?;
    let setup = Setup {
        session,
        role,
        colour: surroundings.colour,
    };
    Stage::open(surroundings, setup).await?.play(None).await
}

/// Shows a session until its turn has ended and nothing is queued, and gives back how it stands
/// then. The person can leave before that.
///
/// # Errors
///
/// As for [`start`].
pub async fn watch_until_done(
    surroundings: Surroundings,
    session: String,
) -> Result<Left, Failure> {
    attach(surroundings, session, Role::ObserveTurn).await
}

/// Everything the loop waits for and acts on.
struct Stage {
    app: App,
    feed: Feed,
    subject: Subject,
    line: watch::Sender<Connection>,
    answers: JoinSet<(Ticket, Answer)>,
    notifier: Notifier,
}

/// What the loop does after an effect.
enum Next {
    GoOn,
    Leave(Leaving),
}

impl Stage {
    async fn open(surroundings: Surroundings, setup: Setup) -> Result<Self, Failure> {
        let Surroundings { link, world, .. } = surroundings;
        let connection = link.connection().clone();
        let source = Source {
            host: link.host().clone(),
            who: introduction(setup.role),
            session: setup.session.clone(),
        };
        let feed = Feed::open(source, &connection).await?;
        let subject = Subject {
            session: setup.session.clone(),
            world,
        };
        let mut app = App::new(setup);
        app.step(now_ms(), Input::LinkFound(met(&connection)));
        let (line, _) = watch::channel(connection);
        Ok(Self {
            app,
            feed,
            subject,
            line,
            answers: JoinSet::new(),
            notifier: Notifier::here(),
        })
    }

    async fn play(mut self, prompt: Option<String>) -> Result<Left, Failure> {
        let mut signals = Signals::listen()?;
        let mut screen = Screen::open()?;
        if let Some(prompt) = prompt {
            let effects = self.app.say(prompt, PromptMode::Unspecified);
            self.carry_out(effects, &mut screen)?;
        }
        let why = self.until_left(&mut screen, &mut signals).await;
        // The terminal is given back before anything is told.
        drop(screen);
        Ok(Left {
            session: self.subject.session,
            why: why?,
            view: self.app.into_view(),
        })
    }

    async fn until_left(
        &mut self,
        screen: &mut Screen,
        signals: &mut Signals,
    ) -> Result<Leaving, Failure> {
        let mut events = EventStream::new();
        let mut pace = Pace::now();
        loop {
            if pace.is_due() {
                screen.draw(&mut self.app)?;
                pace.drawn();
            }
            let due = pace.due(self.app.moves_every_ms());
            let input = tokio::select! {
                biased;
                number = signals.next() => return Ok(Leaving::Signal(number)),
                event = events.next() => {
                    let Some(Ok(event)) = event else {
                        // The terminal is gone, as after a hang-up.
                        return Ok(Leaving::Detached);
                    };
                    pace.want(KEY_FRAME);
                    of_event(event)
                }
                Some(answer) = self.answers.join_next() => {
                    pace.want(KEY_FRAME);
                    Some(of_answer(answer)?)
                }
                news = self.feed.next(|| self.app.view().cursor()) => {
                    pace.want(FRAME);
                    Some(self.of_news(news)?)
                }
                () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => {
                    pace.want(Duration::ZERO);
                    Some(Input::Tick)
                }
            };
            let Some(input) = input else {
                continue;
            };
            if let Input::Focus(false) = input {
                // From now on something may have to be told.
                self.notifier.learn();
            }
            let effects = self.app.step(now_ms(), input);
            if let Next::Leave(why) = self.carry_out(effects, screen)? {
                return Ok(why);
            }
        }
    }

    fn of_news(&mut self, news: News) -> Result<Input, Failure> {
        Ok(match news {
            News::Update(update) => Input::Update(update),
            News::Silent(so_long) => {
                Input::Silent(i64::try_from(so_long.as_millis()).unwrap_or(i64::MAX))
            }
            News::Lost => Input::LinkLost(String::new()),
            News::GivenUp(why) => Input::LinkGivenUp(why),
            News::Found(connection) => {
                let met = met(&connection);
                self.line.send_replace(*connection);
                Input::LinkFound(met)
            }
            News::Over(failure) => return Err(failure),
        })
    }

    fn carry_out(&mut self, effects: Vec<Effect>, screen: &mut Screen) -> Result<Next, Failure> {
        for effect in effects {
            match effect {
                Effect::Call(ticket, call) => {
                    let (line, subject) = (self.line.subscribe(), self.subject.clone());
                    self.answers
                        .spawn(async move { (ticket, ask(line, subject, call).await) });
                }
                Effect::Leave(why) => return Ok(Next::Leave(why)),
                Effect::Suspend => screen.suspend()?,
                Effect::Repaint => screen.forget()?,
                Effect::Reconnect => self.feed.again(self.app.view().cursor()),
                Effect::Notify(text) => screen.tell(&self.notifier.sequence(&text))?,
            }
        }
        Ok(Next::GoOn)
    }
}

fn met(connection: &Connection) -> Met {
    Met {
        me: connection.hello().client_id.clone(),
        pid: connection.pid(),
        notices: connection.notices(),
    }
}

fn of_event(event: Event) -> Option<Input> {
    match event {
        Event::Key(key) => Some(Input::Key(key)),
        Event::Paste(text) => Some(Input::Paste(text)),
        Event::Resize(..) => Some(Input::Tick),
        Event::FocusGained => Some(Input::Focus(true)),
        Event::FocusLost => Some(Input::Focus(false)),
        Event::Mouse(_) => None,
    }
}

fn of_answer(answer: Result<(Ticket, Answer), tokio::task::JoinError>) -> Result<Input, Failure> {
    match answer {
        Ok((ticket, answer)) => Ok(Input::Answered(ticket, answer)),
        Err(crashed) => Err(Failure::new(
            Exit::Failed,
            format!("the client has a bug: {crashed}"),
        )),
    }
}

/// When to draw: at once when nothing was drawn lately, else when the least time has passed.
struct Pace {
    last: Instant,
    /// Least time since the last picture for the next one; `None` when nothing has changed.
    wanted: Option<Duration>,
}

impl Pace {
    fn now() -> Self {
        Self {
            last: Instant::now(),
            wanted: Some(Duration::ZERO),
        }
    }

    fn want(&mut self, after: Duration) {
        self.wanted = Some(self.wanted.map_or(after, |wanted| wanted.min(after)));
    }

    fn is_due(&self) -> bool {
        self.wanted
            .is_some_and(|after| self.last.elapsed() >= after)
    }

    fn due(&self, moves_every_ms: Option<u64>) -> Option<Instant> {
        let moves = moves_every_ms.map(Duration::from_millis);
        let after = self.wanted.into_iter().chain(moves).min()?;
        Some(self.last + after)
    }

    fn drawn(&mut self) {
        self.last = Instant::now();
        self.wanted = None;
    }
}

/// Signals that ask the client to end.
struct Signals {
    term: Signal,
    hangup: Signal,
    interrupt: Signal,
}

impl Signals {
    fn listen() -> Result<Self, Failure> {
        let listen = |kind| {
            signal(kind).map_err(|error| {
                Failure::new(Exit::Failed, format!("cannot listen for signals: {error}"))
            })
        };
        Ok(Self {
            term: listen(SignalKind::terminate())?,
            hangup: listen(SignalKind::hangup())?,
            interrupt: listen(SignalKind::interrupt())?,
        })
    }

    /// Number of the next one.
    async fn next(&mut self) -> i32 {
        let kind = tokio::select! {
            _ = self.term.recv() => SignalKind::terminate(),
            _ = self.hangup.recv() => SignalKind::hangup(),
            _ = self.interrupt.recv() => SignalKind::interrupt(),
        };
        kind.as_raw_value()
    }
}

/// Milliseconds since the Unix epoch.
fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| {
        i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
    })
}
