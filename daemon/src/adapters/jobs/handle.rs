//! One job that runs: what may be asked of it.

use std::path::{Path, PathBuf};

use quire_proto::id::{JobId, SessionId};
use quire_sandbox::{
    report::Report,
    spec::Size,
    wire::{Order, Request},
};
use tokio::{io::AsyncWriteExt, sync::watch};

use super::{
    Ended, Follow, JobError, connect,
    connection::{Connection, Progress},
};

/// Most bytes in one request to write; far below what a frame may hold.
const PART: usize = 1 << 20;

/// One job that was running when it was last looked at. Cheap to clone; dropping it does nothing to
/// the job.
#[derive(Clone, Debug)]
pub struct Job {
    pub(super) id: JobId,
    pub(super) session: SessionId,
    /// The keeper's process; 0 when it is not known.
    pub(super) pid: u32,
    pub(super) directory: PathBuf,
    pub(super) connection: Connection,
}

impl Job {
    /// Its name.
    #[must_use]
    pub fn id(&self) -> &JobId {
        &self.id
    }

    /// The session it was started for.
    #[must_use]
    pub fn session(&self) -> &SessionId {
        &self.session
    }

    /// The process of its keeper; 0 when it is not known.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// What confines it, once that is known.
    #[must_use]
    pub fn report(&self) -> Option<Report> {
        let progress = self.connection.progress();
        let progress = progress.borrow();
        progress.started.as_ref().map(|it| it.report.clone())
    }

    /// Whether a request with an id is carried out once however often it is sent. A keeper that an
    /// earlier version of Quire started knows no ids.
    #[must_use]
    pub fn knows_ids(&self) -> bool {
        self.connection.knows_ids()
    }

    /// Bytes of output written so far, as far as this daemon has heard.
    #[must_use]
    pub fn output_bytes(&self) -> u64 {
        self.connection.progress().borrow().bytes
    }

    /// How it ended, if it has.
    #[must_use]
    pub fn ended(&self) -> Option<Ended> {
        self.connection.progress().borrow().ended.clone()
    }

    /// Reads its output from byte `offset` on, as it comes, until it has ended.
    #[must_use]
    pub fn follow(&self, offset: u64) -> Follow {
        Follow::new(self.directory.clone(), offset, self.connection.progress())
    }

    /// Returns when nothing of it is left.
    pub async fn wait_exit(&self) -> Ended {
        self.connection.ended().await
    }

    /// Writes to its standard input, once for each `id`. Returns when the keeper holds the bytes.
    ///
    /// # Errors
    ///
    /// [`JobError::Denied`] when its input is closed; [`JobError::Gone`].
    pub async fn write(&self, id: Option<&str>, bytes: &[u8]) -> Result<(), JobError> {
        for (number, part) in bytes.chunks(PART).enumerate() {
            let id = id.map(|id| format!("{id}/{number}"));
            let request = Request::Write(part.to_vec());
            self.connection.ask(&request, id.as_deref()).await?;
        }
        Ok(())
    }

    /// Ends its standard input, after what was written before.
    ///
    /// # Errors
    ///
    /// [`JobError::Gone`].
    pub async fn close_stdin(&self) -> Result<(), JobError> {
        self.order(Order::CloseStdin, None).await
    }

    /// Sets the size of its terminal.
    ///
    /// # Errors
    ///
    /// [`JobError::Denied`] when it has none; [`JobError::Gone`].
    pub async fn resize(&self, size: Size) -> Result<(), JobError> {
        self.order(Order::Resize(size), None).await
    }

    /// Sends a signal to all of its processes, once for each `id`.
    ///
    /// # Errors
    ///
    /// [`JobError::Denied`] when there is no such signal; [`JobError::Gone`].
    pub async fn signal(&self, id: Option<&str>, signal: i32) -> Result<(), JobError> {
        self.order(Order::Signal(signal), id).await
    }

    async fn order(&self, order: Order, id: Option<&str>) -> Result<(), JobError> {
        self.connection.ask(&Request::Order(order), id).await
    }

    /// Ends it: SIGTERM, after five seconds SIGKILL. Returns when nothing of it is left.
    pub async fn stop(&self) -> Ended {
        stop(&self.directory, &self.connection).await
    }
}

/// Reads the output of a job that has ended, or that runs on meanwhile, from byte `offset` up to
/// what there is now.
#[must_use]
pub fn snapshot(directory: PathBuf, offset: u64) -> Follow {
    let (_, progress) = watch::channel(Progress {
        ended: Some(Ended::Unknown),
        ..Progress::default()
    });
    Follow::new(directory, offset, progress)
}

/// Ends a job; returns when nothing of it is left.
pub(super) async fn stop(directory: &Path, connection: &Connection) -> Ended {
    // On a connection of its own: the other one may be held up by input nobody reads. One that
    // can't be made is that of a job that is about to end.
    let asked = async {
        let mut stream = connect(directory).await?;
        stream
            .write_all(&Request::Order(Order::Stop).encode())
            .await?;
        std::io::Result::Ok(stream)
    };
    let _open = asked.await;
    connection.ended().await
}
