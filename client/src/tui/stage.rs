//! One session on the screen: waits for keys, updates and answers, lets the [`App`] decide, and carries out
//! what it says.

use std::time::Duration;

use crossterm::event::Event;
use quire_proto::v1::{ClientWorld, PromptMode};
use tokio::{
    sync::watch,
    task::JoinSet,
    time::{Instant, sleep_until, timeout_at},
};

use super::{
    app::{App, Effect, Input, Leaving, Met, Setup},
    ask::{Subject, ask},
    calls::{Answer, Call, Ticket},
    console::{Console, Sign, now_ms},
    draw::draw,
    feed::{Feed, News, Source},
    notify::Notifier,
    pace::{FRAME, KEY_FRAME, Pace},
    run::introduction,
    terminal::Screen,
};
use crate::{
    connect::{Connection, Host},
    failure::{Exit, Failure},
    view::View,
};

/// How long something that was said last may take to arrive once the screen has been left.
const ARRIVES_WITHIN: Duration = Duration::from_secs(5);

/// Everything the loop waits for and acts on.
pub(super) struct Stage {
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
    /// Begins to watch the session over this connection to the daemon of `host`. `world` is this
    /// client's, for a daemon that has lost the session's.
    ///
    /// # Errors
    ///
    /// Whatever keeps the watch from beginning.
    pub(super) async fn open(
        host: &Host,
        connection: Connection,
        world: Option<ClientWorld>,
        setup: Setup,
    ) -> Result<Self, Failure> {
        let source = Source {
            host: host.clone(),
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

    /// Says something to the agent, as if it had been typed.
    pub(super) fn say(&mut self, prompt: String) {
        for effect in self.app.say(prompt, PromptMode::Unspecified) {
            if let Effect::Call(ticket, call) = effect {
                self.begin(ticket, call);
            }
        }
    }

    /// Shows the session until it is left, and says why.
    ///
    /// # Errors
    ///
    /// When the terminal breaks or the session is gone.
    pub(super) async fn play(&mut self, console: &mut Console) -> Result<Leaving, Failure> {
        let mut pace = Pace::now();
        loop {
            if pace.is_due() {
                let app = &mut self.app;
                console.screen.paint(|frame| {
                    app.prepare(frame.area());
                    draw(frame, app);
                })?;
                pace.drawn();
            }
            let due = pace.due(self.app.moves_every_ms());
            let input = tokio::select! {
                biased;
                sign = console.next() => {
                    pace.want(KEY_FRAME);
                    match sign {
                        Sign::Event(event) => of_event(event),
                        Sign::Gone => return Ok(Leaving::Detached),
                        Sign::End(number) => return Ok(Leaving::Signal(number)),
                        Sign::Continued => {
                            console.screen.retake()?;
                            Some(Input::Tick)
                        }
                    }
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
            if let Next::Leave(why) = self.carry_out(effects, &mut console.screen)? {
                return Ok(why);
            }
        }
    }

    /// Lets what was said last arrive, and gives back what the session showed and what has not arrived.
    pub(super) async fn leave(mut self) -> (View, Vec<String>) {
        let deadline = Instant::now() + ARRIVES_WITHIN;
        while self.app.is_linked() && self.app.is_sending() {
            match timeout_at(deadline, self.answers.join_next()).await {
                Ok(Some(Ok((ticket, answer)))) => {
                    self.app.step(now_ms(), Input::Answered(ticket, answer));
                }
                Ok(Some(Err(_)) | None) | Err(_) => break,
            }
        }
        self.app.into_parts()
    }

    /// Takes what is being written out.
    pub(super) fn take_written(&mut self) -> String {
        self.app.take_written()
    }

    /// Writes this into the composer.
    pub(super) fn write(&mut self, text: &str) {
        self.app.step(now_ms(), Input::Paste(text.to_owned()));
    }

    /// Tells the person what went wrong elsewhere.
    pub(super) fn tell(&mut self, why: String) {
        self.app.fail(why);
    }

    /// Where the session works.
    pub(super) fn workspace(&self) -> String {
        self.app.view().session().workspace.clone()
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

    fn begin(&mut self, ticket: Ticket, call: Call) {
        let (line, subject) = (self.line.subscribe(), self.subject.clone());
        let asked = async move { (ticket, ask(line, subject, call).await) };
        self.answers.spawn(asked);
    }

    fn carry_out(&mut self, effects: Vec<Effect>, screen: &mut Screen) -> Result<Next, Failure> {
        for effect in effects {
            match effect {
                Effect::Call(ticket, call) => self.begin(ticket, call),
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
