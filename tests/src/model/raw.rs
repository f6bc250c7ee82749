//! A server that says the same bytes to whoever connects, and no HTTP if the bytes are none.

use std::{
    io::{Read as _, Write as _},
    net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

/// A running server. Dropping it ends it.
pub struct RawServer {
    address: SocketAddr,
    connections: Arc<AtomicUsize>,
    stopping: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl RawServer {
    /// Answers every connection with these bytes once something was sent on it, and closes it.
    ///
    /// # Panics
    ///
    /// When no loopback port is free.
    #[must_use]
    pub fn saying(answer: &'static [u8]) -> Self {
        let listener =
            TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a loopback port is free");
        let address = listener
            .local_addr()
            .expect("a bound socket has an address");
        let (connections, stopping) = (Arc::default(), Arc::new(AtomicBool::new(false)));
        let (count, stop) = (Arc::clone(&connections), Arc::clone(&stopping));
        let thread = thread::spawn(move || {
            for socket in listener.incoming().flatten() {
                if stop.load(Ordering::SeqCst) {
                    return;
                }
                AtomicUsize::fetch_add(&count, 1, Ordering::SeqCst);
                say(socket, answer);
            }
        });
        Self {
            address,
            connections,
            stopping,
            thread: Some(thread),
        }
    }

    /// What a configuration names as `base_url`.
    #[must_use]
    pub fn base_url(&self) -> String {
        format!("http://{}/v1", self.address)
    }

    /// Connections so far.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

impl Drop for RawServer {
    fn drop(&mut self) {
        self.stopping.store(true, Ordering::SeqCst);
        // Wakes the thread; if that fails, the listener is gone already.
        let _ = TcpStream::connect(self.address);
        self.thread.take().map(JoinHandle::join);
    }
}

/// A loopback port on which nobody listens.
///
/// # Panics
///
/// When no loopback port is free.
#[must_use]
pub fn closed_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a loopback port is free");
    let address = listener
        .local_addr()
        .expect("a bound socket has an address");
    address.port()
}

fn say(mut socket: TcpStream, answer: &[u8]) {
    // Whatever goes wrong here is what the client under test has to cope with.
    let _ = socket.set_read_timeout(Some(Duration::from_secs(5)));
    let _ = socket.read(&mut [0; 64 * 1024]);
    let _ = socket.write_all(answer);
    let _ = socket.shutdown(Shutdown::Write);
}
