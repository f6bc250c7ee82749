//! The way in and out of the screen, and from one session to another.

use quire_proto::v1::{ClientWorld, SessionServiceCreateRequest};

use super::{
    app::{Leaving, Role, Setup},
    console::Console,
    picker::{self, Wishes},
    stage::Stage,
    terminal::require_terminal,
};
use crate::{
    connect::{Connection, Host, Introduction},
    failure::Failure,
    link::Link,
    view::View,
};

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
    /// Id of the session that was shown last.
    pub session: String,
    /// Why.
    pub why: Leaving,
    /// The session as last seen.
    pub view: View,
    /// What was said and, as far as anyone knows, never arrived.
    pub unsent: Vec<String>,
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
/// [`Exit::Usage`](crate::failure::Exit::Usage) without a terminal, before anything is made; whatever
/// `create` is refused for; [`Exit::Failed`](crate::failure::Exit::Failed) when the terminal breaks or the
/// session is deleted.
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
    let mut walk = Walk::new(surroundings, Role::Work);
    let mut stage = walk.enter(session.id.clone()).await?;
    if let Some(prompt) = prompt {
        stage.say(prompt);
    }
    let console = Console::open()?;
    walk.on(console, session.id, stage).await
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
    let mut walk = Walk::new(surroundings, role);
    let stage = walk.enter(session.clone()).await?;
    let console = Console::open()?;
    walk.on(console, session, stage).await
}

/// Lets the person choose a session, and shows it as [`attach`] does. `None` when they choose none.
///
/// # Errors
///
/// As for [`start`].
pub async fn choose(
    surroundings: Surroundings,
    workspace: String,
    role: Role,
) -> Result<Option<Left>, Failure> {
    require_terminal()?;
    let mut walk = Walk::new(surroundings, role);
    let mut console = Console::open()?;
    let Some(session) = walk.pick(&mut console, workspace, None).await? else {
        return Ok(None);
    };
    let stage = walk.enter(session.clone()).await?;
    walk.on(console, session, stage).await.map(Some)
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

/// The way through sessions.
struct Walk {
    host: Host,
    /// The first connection; each further session gets one of its own.
    connection: Option<Connection>,
    world: Option<ClientWorld>,
    colour: bool,
    role: Role,
}

impl Walk {
    fn new(surroundings: Surroundings, role: Role) -> Self {
        let link = surroundings.link;
        Self {
            host: link.host().clone(),
            connection: Some(link.connection().clone()),
            world: surroundings.world,
            colour: surroundings.colour,
            role,
        }
    }

    async fn connection(&mut self) -> Result<Connection, Failure> {
        match self.connection.take() {
            Some(first) => Ok(first),
            None => Connection::open(&self.host, introduction(self.role)).await,
        }
    }

    /// Begins to watch a session.
    async fn enter(&mut self, session: String) -> Result<Stage, Failure> {
        let setup = Setup {
            session,
            role: self.role,
            pid: std::process::id(),
            colour: self.colour,
        };
        let connection = self.connection().await?;
        Stage::open(&self.host, connection, self.world.clone(), setup).await
    }

    /// Lets the person choose a session; `from` is the one they come from.
    async fn pick(
        &mut self,
        console: &mut Console,
        workspace: String,
        from: Option<String>,
    ) -> Result<Option<String>, Failure> {
        let wishes = Wishes {
            workspace,
            from,
            colour: self.colour,
        };
        let who = introduction(self.role);
        let connection = self.connection().await?;
        let chosen = picker::choose(console, &self.host, who, connection.clone(), wishes).await;
        if let Ok(Some(_)) = &chosen {
            // It may have broken meanwhile; the next one is made for the session.
            self.connection = None;
        }
        chosen
    }

    /// Shows the session on the stage, then those that the person goes on to.
    async fn on(
        mut self,
        mut console: Console,
        mut session: String,
        mut stage: Stage,
    ) -> Result<Left, Failure> {
        let mut unsent = Vec::new();
        loop {
            let why = stage.play(&mut console).await?;
            let next = match &why {
                Leaving::Switched(to) => to.clone(),
                Leaving::Choosing => {
                    let workspace = stage.workspace();
                    let from = Some(session.clone());
                    match self.pick(&mut console, workspace, from).await {
                        Ok(chosen) => chosen.unwrap_or_else(|| session.clone()),
                        Err(failure) if failure.message().is_none() => return Err(failure),
                        Err(failure) => {
                            stage.tell(failure.to_string());
                            session.clone()
                        }
                    }
                }
                Leaving::Detached | Leaving::TurnEnded | Leaving::Signal(_) => {
                    // The terminal is given back before anything is told.
                    drop(console);
                    let (view, last) = stage.leave().await;
                    unsent.extend(last);
                    return Ok(Left {
                        session,
                        why,
                        view,
                        unsent,
                    });
                }
            };
            if next == session {
                continue;
            }
            match self.enter(next.clone()).await {
                Ok(mut entered) => {
                    // What has been written since the way was asked for is for where it leads.
                    entered.write(&stage.take_written());
                    let (_, last) = std::mem::replace(&mut stage, entered).leave().await;
                    unsent.extend(last);
                    session = next;
                }
                Err(failure) => stage.tell(failure.to_string()),
            }
        }
    }
}
