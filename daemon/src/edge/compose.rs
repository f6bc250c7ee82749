//! Puts a daemon together: adapters behind the ports, sessions over them, services over those.

use std::{
    collections::HashSet,
    env,
    path::PathBuf,
    sync::Arc,
    time::{Duration, SystemTime},
};

use futures_util::future::BoxFuture;
use quire_proto::{
    id::SessionId,
    v1::{MissingLayer, SandboxReport},
};

use super::{
    lifecycle::{Engine, Served, Start},
    registry::{Registry, Sessions},
    server::Services,
    settings::Settings,
};
use crate::{
    adapters::{
        briefing,
        config::{Flags, Places},
        configured::Configured,
        jobs::{Jobs, Walk},
        notify,
        rules::add_rule,
        store::{Listing, Store},
        tools,
        worlds::Worlds,
    },
    ports::tool::Place,
    pure::prompt,
    session::{Notify, SaveRule, World, board::Board, letterbox::Letterbox},
};

/// Opens what a daemon serves. What an earlier daemon left unfinished goes on at once.
///
/// # Errors
///
/// One sentence: what keeps the daemon from serving.
pub(super) async fn open(start: Start) -> Result<Served, String> {
    let models = Configured::new(Places::of(&start.home));
    let settings = models.load(&env::temp_dir(), &Default::default(), &Flags::default());
    // A fault in the file is told to each client that makes a session; it must not keep the daemon
    // from showing the sessions there are.
    let (daemon, limits, bounds) = settings
        .map(|loaded| {
            let config = loaded.config;
            (config.daemon, config.limits, config.jobs)
        })
        .unwrap_or_default();
    let jobs = Jobs::new(
        start.home.jobs(),
        sandbox_program()?,
        private(&start),
        bounds,
    );
    adopt(&jobs, &start.store).await;
    let sandbox = sandbox_report(&jobs).await;
    let world = World {
        store: start.store.clone(),
        growing: start.home.growing(),
        worlds: Worlds::new(start.home.worlds()),
        models: Arc::new(models.clone()),
        tools: Arc::from(tools::all(&jobs)),
        jobs: Arc::new(jobs.clone()),
        letterbox: Letterbox::default(),
        briefing: briefing_of(&start),
        save_rule: saver(&start),
        notify: notifier(&models),
        board: Board::default(),
        instructions: Arc::from(prompt::instructions()),
        max_samples: limits.max_requests,
    };
    sweep(&world.worlds, &start.store);
    let sessions: Sessions = Registry::new(world);
    sessions
        .recover()
        .await
        .map_err(|error| error.to_string())?;
    start.store.keep_index();
    let services = Services::new(
        sessions.clone(),
        Settings::new(models),
        jobs,
        sandbox,
        start,
    );
    Ok(Served {
        routes: services.routes(),
        engine: Arc::new(Working(sessions)),
        idle_exit: Duration::from_secs(60 * daemon.idle_exit_minutes),
    })
}

/// Removes, beside all else, what is kept of the worlds of sessions that are gone.
fn sweep(worlds: &Worlds, store: &Store) {
    // Looked for now: a session that is made from here on is not among them.
    let kept = worlds.kept();
    // It took the place of a damaged store, so a session that is missing may come back.
    if kept.is_empty() || store.health().borrow().may_lack_sessions() {
        return;
    }
    let (worlds, store) = (worlds.clone(), store.clone());
    tokio::spawn(async move {
        for id in kept {
            if matches!(store.session(&id).await, Ok(None)) {
                worlds.forget(&id).await;
            }
        }
    });
}

/// Finds what earlier daemons left running.
async fn adopt(jobs: &Jobs, store: &Store) {
    let walk = jobs.walk().await;
    let known = sessions_of(&walk, store).await;
    walk.settle(known.as_ref()).await;
}

/// The sessions of what was found that there still are. `None` when the store can't tell: it does not
/// answer, or it took the place of one that was damaged, so that sessions may be missing.
async fn sessions_of(walk: &Walk, store: &Store) -> Option<HashSet<SessionId>> {
    let any = Listing {
        include_archived: true,
        ..Listing::newest(1)
    };
    let incomplete = store.health().borrow().may_lack_sessions();
    if incomplete || store.sessions(any).await.ok()?.is_empty() {
        return None;
    }
    let mut known = HashSet::new();
    for id in walk.sessions() {
        if store.session(&id).await.ok()?.is_some() {
            known.insert(id);
        }
    }
    Some(known)
}

/// What works behind the services.
struct Working(Sessions);

impl Engine for Working {
    fn busy(&self) -> bool {
        self.0.load().is_working()
    }

    fn retire(&self) -> bool {
        self.0.retire()
    }

    fn drain(&self) -> BoxFuture<'static, ()> {
        // Every event is on its way to the store before anything is done about it, so there is
        // nothing to settle: the next daemon goes on from the log.
        self.0.close();
        Box::pin(std::future::ready(()))
    }
}

/// The `quire-sandbox` program: beside this one, unless `QUIRE_SANDBOX` says otherwise.
fn sandbox_program() -> Result<PathBuf, String> {
    if let Some(program) = env::var_os("QUIRE_SANDBOX").filter(|program| !program.is_empty()) {
        return Ok(PathBuf::from(program));
    }
    let own = env::current_exe().map_err(|error| format!("cannot find my own program: {error}"))?;
    let program = own.with_file_name("quire-sandbox");
    if program.is_file() {
        return Ok(program);
    }
    Err(format!(
        "`{}` is missing: install it beside quired, or set QUIRE_SANDBOX",
        program.display()
    ))
}

/// What no confined command may see: Quire's own state and socket.
fn private(start: &Start) -> Vec<PathBuf> {
    let socket = start.instance.socket.parent().map(PathBuf::from);
    [start.home.state().to_owned()]
        .into_iter()
        .chain(socket)
        .collect()
}

async fn sandbox_report(jobs: &Jobs) -> SandboxReport {
    let program = jobs.program().to_owned();
    let probed = tokio::task::spawn_blocking(move || quire_sandbox::probe::probe(&program)).await;
    let report = match probed {
        Ok(Ok(report)) => report,
        Ok(Err(error)) => {
            tracing::warn!(%error, "the sandbox cannot be probed");
            return SandboxReport::default();
        }
        Err(_panicked) => return SandboxReport::default(),
    };
    let missing = report.missing.into_iter().map(|missing| MissingLayer {
        name: missing.layer.to_string(),
        meaning: missing.meaning,
        remedy: missing.remedy,
    });
    SandboxReport {
        layers: report.held,
        missing: missing.collect(),
    }
}

fn briefing_of(start: &Start) -> Arc<dyn Fn(Place) -> BoxFuture<'static, String> + Send + Sync> {
    let directory = briefing::directory(&start.home.config_file());
    Arc::new(move |place| {
        let directory = directory.clone();
        Box::pin(async move {
            let written =
                tokio::task::spawn_blocking(move || briefing::write(&directory, &place, &today()));
            written.await.unwrap_or_default()
        })
    })
}

fn saver(start: &Start) -> SaveRule {
    let file = start.home.config_file();
    Arc::new(move |rule| add_rule(&file, rule))
}

/// Tells the program that `notify` names at that moment in the user's own configuration: no
/// repository may name one.
fn notifier(models: &Configured) -> Notify {
    let models = models.clone();
    let programs = notify::Programs::default();
    Arc::new(move |news| {
        let (models, programs) = (models.clone(), programs.clone());
        // Files are read, which must not hold up the session.
        tokio::task::spawn_blocking(move || {
            let loaded = models.load(&env::temp_dir(), &Default::default(), &Flags::default());
            match loaded.map(|loaded| loaded.config.notify) {
                Ok(Some(command)) => programs.run(&command, news),
                Ok(None) => {}
                Err(problems) => tracing::warn!(%problems, "nobody is notified"),
            }
        });
    })
}

fn today() -> String {
    let since = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    briefing::date(i64::try_from(since.as_secs() / 86_400).unwrap_or_default())
}
