//! Connections: who is at the other end, and how many there are.
//!
//! When there are as many as there may be, the one that has shown no token for longest makes room for the
//! next: whoever only connects keeps nobody out.

use std::{
    collections::VecDeque,
    fmt, io,
    pin::Pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use futures_util::{
    stream::{self, Stream},
    task::AtomicWaker,
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{UnixListener, UnixStream},
    time::sleep,
};
use tonic::transport::server::Connected;

/// How long nobody is accepted after the system had no descriptor or memory for a connection.
const EXHAUSTED: Duration = Duration::from_millis(100);

/// Connections that may be open at once; half of the descriptors that a process usually may have.
const CONNECTIONS_MAX: usize = 512;

/// What may wait for the end of one connection.
const LAST_MAX: usize = 256;

/// The process at the other end of a connection, as the kernel knows it. In the extensions of every
/// request.
#[derive(Clone, Debug)]
pub struct Peer {
    /// Its process id when it connected; `None` where the kernel does not tell.
    pub pid: Option<u32>,
    connection: Arc<Counted>,
}

impl Peer {
    /// It has shown the token.
    pub(super) fn showed_token(&self) {
        self.connection.known.store(true, Ordering::Relaxed);
    }

    /// Calls `last` when the connection and all its calls are over. False, and it is never called, when
    /// as many wait for that as may.
    #[must_use]
    pub fn at_end(&self, last: impl FnOnce() + Send + 'static) -> bool {
        let mut waiting = self.connection.at_end();
        let has_room = waiting.len() < LAST_MAX;
        if has_room {
            waiting.push(Box::new(last));
        }
        has_room
    }
}

/// Who sent `request`.
#[must_use]
pub fn peer<T>(request: &tonic::Request<T>) -> Option<Peer> {
    request.extensions().get().cloned()
}

/// Counts open connections.
#[derive(Clone, Debug, Default)]
pub struct Connections(Arc<Crowd>);

#[derive(Debug, Default)]
struct Crowd {
    open: AtomicUsize,
    /// Those that have shown no token when they were last looked at, the oldest first.
    strangers: Mutex<VecDeque<Weak<Counted>>>,
}

impl Connections {
    /// Open connections now.
    #[must_use]
    pub fn open(&self) -> usize {
        self.0.open.load(Ordering::Relaxed)
    }

    /// Counts one more. `None` when there is no room for it, because all have shown the token.
    fn admit(&self, most: usize) -> Option<Arc<Counted>> {
        let mut strangers = self.strangers();
        strangers.retain(|one| one.upgrade().is_some_and(|one| !one.is_known()));
        if self.open() >= most {
            strangers.pop_front()?.upgrade()?.evict();
        }
        self.0.open.fetch_add(1, Ordering::Relaxed);
        let counted = Arc::new(Counted {
            connections: self.clone(),
            known: AtomicBool::new(false),
            evicted: AtomicBool::new(false),
            reads: AtomicWaker::new(),
            at_end: Mutex::default(),
        });
        strangers.push_back(Arc::downgrade(&counted));
        Some(counted)
    }

    fn strangers(&self) -> MutexGuard<'_, VecDeque<Weak<Counted>>> {
        // Nothing under the lock can leave the list half changed.
        self.0
            .strangers
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// One connection, counted while it lives.
struct Counted {
    connections: Connections,
    /// It has shown the token.
    known: AtomicBool,
    /// It must make room.
    evicted: AtomicBool,
    /// Who waits for what it sends.
    reads: AtomicWaker,
    at_end: Mutex<Vec<Last>>,
}

impl Counted {
    fn is_known(&self) -> bool {
        self.known.load(Ordering::Relaxed)
    }

    /// Ends the connection: it reads as if the other end had closed it.
    fn evict(&self) {
        self.evicted.store(true, Ordering::Release);
        self.reads.wake();
    }

    /// Whether it was told to end; if not yet, `cx` is woken when it is.
    fn is_evicted(&self, cx: &Context<'_>) -> bool {
        self.reads.register(cx.waker());
        self.evicted.load(Ordering::Acquire)
    }
}

type Last = Box<dyn FnOnce() + Send>;

impl Counted {
    fn at_end(&self) -> MutexGuard<'_, Vec<Last>> {
        // A push can't leave the list half changed.
        self.at_end.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Counted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Counted")
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.connections.0.open.fetch_sub(1, Ordering::Relaxed);
        let last = std::mem::take(&mut *self.at_end());
        last.into_iter().for_each(|last| last());
    }
}

/// Accepts this user's processes and nobody else's. Never ends and never fails.
pub(super) fn accept(
    listener: UnixListener,
    connections: Connections,
) -> impl Stream<Item = io::Result<Connection>> {
    stream::unfold((listener, connections), |(listener, connections)| async {
        loop {
            match listener.accept().await {
                Ok((stream, _)) => {
                    let Some(pid) = identify(&stream) else {
                        continue;
                    };
                    let Some(connection) = connections.admit(CONNECTIONS_MAX) else {
                        tracing::warn!(?pid, "refused a connection: there are too many");
                        continue;
                    };
                    let peer = Peer { pid, connection };
                    let connection = Connection { stream, peer };
                    return Some((Ok(connection), (listener, connections)));
                }
                Err(error) => {
                    // The connection stays acceptable, so accepting again at once would spin.
                    tracing::warn!(%error, "cannot accept a connection");
                    sleep(EXHAUSTED).await;
                }
            }
        }
    })
}

/// Its process id, where the kernel tells; `None` for a peer that is refused.
fn identify(stream: &UnixStream) -> Option<Option<u32>> {
    let credentials = match stream.peer_cred() {
        Ok(credentials) => credentials,
        Err(error) => {
            tracing::warn!(%error, "refused a connection of unknown origin");
            return None;
        }
    };
    if credentials.uid() != rustix::process::geteuid().as_raw() {
        tracing::warn!(
            uid = credentials.uid(),
            "refused a connection of another user"
        );
        return None;
    }
    let pid = credentials.pid().and_then(|pid| u32::try_from(pid).ok());
    Some(pid)
}

/// A connection of this user's.
#[derive(Debug)]
pub(super) struct Connection {
    stream: UnixStream,
    peer: Peer,
}

impl Connected for Connection {
    type ConnectInfo = Peer;

    fn connect_info(&self) -> Peer {
        self.peer.clone()
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.peer.connection.is_evicted(cx) {
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, pieces)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use futures_util::StreamExt as _;

    use super::*;

    #[tokio::test]
    async fn a_peer_is_named_and_counted_while_it_is_there() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("socket");
        let connections = Connections::default();
        let listener = UnixListener::bind(&path).unwrap();
        let mut accepted = Box::pin(accept(listener, connections.clone()));
        let _client = UnixStream::connect(&path).await.unwrap();
        let connection = accepted.next().await.unwrap().unwrap();
        assert_eq!(connection.connect_info().pid, Some(std::process::id()));
        assert_eq!(connections.open(), 1);
        let (told, over) = std::sync::mpsc::channel();
        let peer = connection.connect_info();
        let tell = || {
            let told = told.clone();
            peer.at_end(move || told.send(()).unwrap())
        };
        let taken = (0..=LAST_MAX).filter(|_| tell()).count();
        assert_eq!(taken, LAST_MAX);
        assert!(over.try_recv().is_err());
        drop((connection, peer));
        assert_eq!(over.try_iter().count(), LAST_MAX);
        assert_eq!(connections.open(), 0);
    }

    #[test]
    fn strangers_make_room_and_the_known_stay() {
        let connections = Connections::default();
        let known = connections.admit(3).unwrap();
        known.known.store(true, Ordering::Relaxed);
        let strangers = [(); 2].map(|()| connections.admit(3).unwrap());
        let evicted = |one: &Arc<Counted>| one.evicted.load(Ordering::Relaxed);
        let next = connections.admit(3).unwrap();
        assert_eq!(strangers.each_ref().map(evicted), [true, false]);
        drop(strangers);
        next.known.store(true, Ordering::Relaxed);
        let last = connections.admit(3).unwrap();
        last.known.store(true, Ordering::Relaxed);
        assert!(connections.admit(3).is_none(), "everyone is known");
        assert!(!evicted(&known) && connections.open() == 3);
    }
}
