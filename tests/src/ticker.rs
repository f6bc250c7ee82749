//! A model whose every word is the time at which it was said, so that whoever hears a word knows how
//! long it was under way.

use std::{
    io::{self, BufRead as _, BufReader, Read as _, Write as _},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, LazyLock,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use serde_json::json;

/// Bytes of a word.
pub const WORD: usize = 13;

/// When the clock of all tickers in this process began.
static BEGAN: LazyLock<Instant> = LazyLock::new(Instant::now);

/// How long ago a word was said; `None` when it is none.
#[must_use]
pub fn age(word: &[u8]) -> Option<Duration> {
    let said: u64 = std::str::from_utf8(word).ok()?.trim().parse().ok()?;
    Some(BEGAN.elapsed().saturating_sub(Duration::from_micros(said)))
}

/// A model that speaks at a steady pace, in the format of Chat Completions. Dropping it ends it.
pub struct Ticker {
    address: SocketAddr,
    stopping: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Ticker {
    /// Answers every request with so many words, one each `pace`.
    ///
    /// # Panics
    ///
    /// When no loopback port is free.
    #[must_use]
    pub fn saying(words: u32, pace: Duration) -> Self {
        LazyLock::force(&BEGAN);
        let listener =
            TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a loopback port is free");
        let address = listener
            .local_addr()
            .expect("a bound socket has an address");
        let stopping = Arc::new(AtomicBool::new(false));
        let stop = Arc::clone(&stopping);
        let thread = thread::spawn(move || {
            for socket in listener.incoming().flatten() {
                if stop.load(Ordering::SeqCst) {
                    return;
                }
                // One that leaves early has heard enough.
                thread::spawn(move || speak(&socket, words, pace).ok());
            }
        });
        Self {
            address,
            stopping,
            thread: Some(thread),
        }
    }

    /// What a configuration names as `base_url`.
    #[must_use]
    pub fn base_url(&self) -> String {
        format!("http://{}/v1", self.address)
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        self.stopping.store(true, Ordering::SeqCst);
        // Wakes the thread; if that fails, the listener is gone already.
        let _wake = TcpStream::connect(self.address);
        if let Some(thread) = self.thread.take() {
            // It has nothing to tell.
            let _ended = thread.join();
        }
    }
}

fn speak(mut socket: &TcpStream, words: u32, pace: Duration) -> io::Result<()> {
    read_request(socket)?;
    socket.set_nodelay(true)?;
    let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n";
    socket.write_all(head.as_bytes())?;
    let began = Instant::now();
    for nth in 0..words {
        thread::sleep((pace * nth).saturating_sub(began.elapsed()));
        let word = format!("{:0width$} ", BEGAN.elapsed().as_micros(), width = WORD - 1);
        let choice = json!({"index": 0, "delta": {"role": "assistant", "content": word}});
        socket.write_all(event(&choice).as_bytes())?;
    }
    let end = json!({"index": 0, "delta": {}, "finish_reason": "stop"});
    socket.write_all((event(&end) + "data: [DONE]\n\n").as_bytes())
}

fn event(choice: &serde_json::Value) -> String {
    let chunk = json!({
        "id": "tick",
        "object": "chat.completion.chunk",
        "created": 0,
        "model": "ticker",
        "choices": [choice],
    });
    format!("data: {chunk}\n\n")
}

fn read_request(socket: &TcpStream) -> io::Result<()> {
    let mut reader = BufReader::new(socket);
    let mut length = 0;
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 || line == "\r\n" {
            break;
        }
        if let Some((name, value)) = line.split_once(':')
            && name.eq_ignore_ascii_case("content-length")
        {
            length = value.trim().parse().map_err(io::Error::other)?;
        }
    }
    io::copy(&mut reader.take(length), &mut io::sink())?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_have_their_width_and_tell_their_age() {
        let ticker = Ticker::saying(3, Duration::from_millis(1));
        let mut socket = TcpStream::connect(ticker.address).unwrap();
        let request = "POST /v1/chat/completions HTTP/1.1\r\nContent-Length: 2\r\n\r\n{}";
        socket.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        socket.read_to_string(&mut answer).unwrap();
        let words: Vec<&str> = answer
            .split("\"content\":\"")
            .skip(1)
            .map(|rest| rest.split('"').next().unwrap())
            .collect();
        assert_eq!(words.len(), 3);
        for word in words {
            assert_eq!(word.len(), WORD);
            assert!(age(word.as_bytes()).is_some());
        }
        assert!(age(b"no time at all").is_none());
    }
}
