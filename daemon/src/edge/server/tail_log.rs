//! The end of the daemon's log, and what is added to it.

use std::{collections::VecDeque, path::PathBuf, time::Duration};

use futures_util::{Stream, stream};
use quire_proto::v1::DaemonServiceTailLogResponse;
use tokio::{
    fs::File,
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncSeekExt as _, BufReader},
    time::sleep,
};
use tonic::{Code, Status};

use crate::edge::status::refuse;

/// Bytes of the file looked at for its last lines.
const LOOKED_AT: i64 = 1 << 20;

/// Between two looks at a log that is followed. Log files tell nobody that they grew.
const LOOK: Duration = Duration::from_secs(1);

struct Tail {
    path: PathBuf,
    lines: usize,
    follow: bool,
    ready: VecDeque<String>,
    reader: Option<BufReader<File>>,
}

/// The last `lines` of the log, then, with `follow`, each new one.
pub(super) fn tail(
    path: PathBuf,
    lines: usize,
    follow: bool,
) -> impl Stream<Item = Result<DaemonServiceTailLogResponse, Status>> {
    let tail = Tail {
        path,
        lines,
        follow,
        ready: VecDeque::new(),
        reader: None,
    };
    stream::try_unfold(tail, |mut tail| async {
        let line = tail.next().await.map_err(|error| {
            refuse(
                Code::Internal,
                "LOG",
                format!("cannot read `{}`: {error}", tail.path.display()),
            )
        })?;
        Ok(line.map(|line| (DaemonServiceTailLogResponse { line }, tail)))
    })
}

impl Tail {
    async fn next(&mut self) -> std::io::Result<Option<String>> {
        if self.reader.is_none() {
            self.open().await?;
        }
        loop {
            if let Some(line) = self.ready.pop_front() {
                return Ok(Some(line));
            }
            let Some(reader) = self.reader.as_mut().filter(|_| self.follow) else {
                return Ok(None);
            };
            let mut line = String::new();
            if reader.read_line(&mut line).await? > 0 {
                return Ok(Some(line.trim_end().to_owned()));
            }
            sleep(LOOK).await;
            self.reopen_if_rotated().await?;
        }
    }

    async fn open(&mut self) -> std::io::Result<()> {
        let mut file = File::open(&self.path).await?;
        let size = i64::try_from(file.metadata().await?.len()).unwrap_or(i64::MAX);
        file.seek(std::io::SeekFrom::End(-size.min(LOOKED_AT)))
            .await?;
        let mut end = Vec::new();
        file.read_to_end(&mut end).await?;
        let end = String::from_utf8_lossy(&end);
        let skipped = end.lines().count().saturating_sub(self.lines);
        self.ready = end.lines().skip(skipped).map(str::to_owned).collect();
        self.reader = Some(BufReader::new(file));
        Ok(())
    }

    async fn reopen_if_rotated(&mut self) -> std::io::Result<()> {
        let Some(reader) = &mut self.reader else {
            return Ok(());
        };
        let size = tokio::fs::metadata(&self.path).await?.len();
        if size < reader.stream_position().await? {
            self.reader = Some(BufReader::new(File::open(&self.path).await?));
        }
        Ok(())
    }
}
