//! A watcher in a process of its own, which may be stopped, killed at any instant, and started again.
//!
//! Whatever it is shown goes to its journal first: the watch's own messages, each with its length. Started
//! with a journal it goes on from the cursor that this leaves; what the last kill cut off was never had. It is the
//! smallest true client: no daemon is started, nothing drawn.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write as _},
    path::{Path, PathBuf},
    process::ExitCode,
};

use prost::Message as _;
use quire_proto::{
    home::Home as Paths,
    v1::{
        SessionServiceWatchRequest, SessionServiceWatchResponse,
        session_service_client::SessionServiceClient,
    },
};

use crate::{
    home::Home,
    process::{Invocation, Running},
    rpc::dial,
    view::View,
    wait::PATIENCE,
};

/// A journal, and whoever writes it at the time.
pub struct Journal {
    program: PathBuf,
    session: String,
    place: PathBuf,
}

impl Journal {
    /// One of this name in the home's directory for work. `program` is the binary that runs [`main`].
    #[must_use]
    pub fn new(home: &Home, program: &str, session: &str, name: &str) -> Self {
        Self {
            program: program.into(),
            session: session.to_owned(),
            place: home.root().join(name),
        }
    }

    /// Starts a watcher that goes on with this journal and ends with the session's first turn.
    #[must_use]
    pub fn watch(&self, home: &Home) -> Running {
        let watcher: Invocation = home.program(&self.program);
        let words = [self.session.clone(), self.place.display().to_string()];
        // A stream may be as long as a test wants it.
        watcher.args(words).limit(PATIENCE * 20).spawn()
    }

    /// What it was shown so far.
    #[must_use]
    pub fn view(&self) -> View {
        read(&self.place).0
    }
}

/// What a journal holds, and how many of its bytes are whole messages.
fn read(journal: &Path) -> (View, usize) {
    let bytes = fs::read(journal).unwrap_or_default();
    let (mut view, mut rest) = (View::default(), bytes.as_slice());
    let mut whole = 0;
    while let Ok(message) = SessionServiceWatchResponse::decode_length_delimited(&mut rest) {
        whole = bytes.len() - rest.len();
        if let Some(update) = message.update {
            view.apply(update);
        }
    }
    (view, whole)
}

/// The program: `SESSION JOURNAL`, with the home in `QUIRE_HOME`. Fails, with a word, when it was shown
/// something twice or not at all, or when the daemon is gone.
///
/// # Panics
///
/// When it is called in another way.
#[must_use]
pub fn main() -> ExitCode {
    let mut words = std::env::args().skip(1);
    let mut word = || words.next().expect("`SESSION JOURNAL`");
    let (session, place) = (word(), PathBuf::from(word()));
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("the machine has an event queue left");
    let ended = runtime.block_on(follow(session, &place));
    let Err(why) = ended else {
        return ExitCode::SUCCESS;
    };
    // A closed stderr leaves nowhere to complain to.
    let _ = writeln!(io::stderr(), "{why}");
    ExitCode::FAILURE
}

async fn follow(session: String, place: &Path) -> Result<(), String> {
    let (mut view, whole) = read(place);
    let mut journal = opened(place, whole).map_err(|error| error.to_string())?;
    let paths = Paths::find().map_err(|error| error.to_string())?;
    let record = paths.record().map_err(|error| error.to_string())?;
    let wire = dial(&paths, &record).await.ok_or("nobody answers")?;
    let after = view.cursor();
    let request = SessionServiceWatchRequest {
        session,
        after: (after.seq > 0).then_some(after),
        ..SessionServiceWatchRequest::default()
    };
    let updates = SessionServiceClient::new(wire).watch(request).await;
    let mut updates = updates.map_err(|status| status.to_string())?.into_inner();
    while view.turns_ended() == 0 {
        let message = updates.message().await.map_err(|status| status.to_string());
        let message = message?.ok_or("the daemon closed the watch")?;
        let written = journal.write_all(&message.encode_length_delimited_to_vec());
        written.map_err(|error| error.to_string())?;
        view.apply(message.update.ok_or("an update that is none")?);
        if !view.faults.is_empty() {
            return Err(format!("{:#?}", view.faults));
        }
    }
    Ok(())
}

/// The journal, its cut-off end gone, for more.
fn opened(place: &Path, whole: usize) -> io::Result<File> {
    let journal = OpenOptions::new().create(true).append(true).open(place)?;
    journal.set_len(whole as u64)?;
    Ok(journal)
}
