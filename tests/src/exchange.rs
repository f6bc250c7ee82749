//! One bare HTTP exchange over one connection: the mock model's own test, and the baseline that
//! benches compare with.

use std::{
    io::{self, BufRead as _, BufReader, Read as _, Write as _},
    net::TcpStream,
    time::Duration,
};

use serde_json::Value;

/// What came back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// Lines of the head, lower case.
    pub head: Vec<String>,
    /// The body, without its chunks' frames.
    pub body: String,
}

impl Answer {
    /// The text of the answer in the body's events, whatever the wire format.
    #[must_use]
    pub fn text(&self) -> String {
        let events = self
            .body
            .lines()
            .filter_map(|line| line.strip_prefix("data: "));
        let events = events.filter_map(|data| serde_json::from_str::<Value>(data).ok());
        let texts = events.filter_map(|event| {
            let chat = &event["choices"][0]["delta"]["content"];
            let delta = event["type"] == "response.output_text.delta";
            let text = if delta { &event["delta"] } else { chat };
            text.as_str().map(str::to_owned)
        });
        texts.collect()
    }
}

/// Posts `body` to `base_url` + `path` with this bearer token and reads the answer to its end.
///
/// # Errors
///
/// When the connection fails, or ends before the answer does.
pub fn post(base_url: &str, path: &str, key: &str, body: &Value) -> io::Result<Answer> {
    let address = base_url.trim_start_matches("http://");
    let (host, prefix) = address.split_once('/').unwrap_or((address, ""));
    let body = body.to_string();
    let mut socket = TcpStream::connect(host)?;
    socket.set_nodelay(true)?;
    socket.set_read_timeout(Some(Duration::from_secs(30)))?;
    let head = format!(
        "POST /{prefix}{path} HTTP/1.1\r\nhost: {host}\r\nauthorization: Bearer {key}\r\n\
         content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    socket.write_all(head.as_bytes())?;
    read(BufReader::with_capacity(64 * 1024, socket))
}

fn read(mut socket: BufReader<TcpStream>) -> io::Result<Answer> {
    let mut head = Vec::new();
    loop {
        let mut line = String::new();
        socket.read_line(&mut line)?;
        match line.trim_end() {
            "" => break,
            line => head.push(line.to_lowercase()),
        }
    }
    let status = head
        .first()
        .and_then(|line| line.split(' ').nth(1)?.parse().ok());
    let length = |line: &String| line.strip_prefix("content-length: ")?.parse().ok();
    let body = match head.iter().find_map(length) {
        Some(length) => piece(&mut socket, length)?,
        None => chunks(&mut socket)?,
    };
    Ok(Answer {
        status: status.unwrap_or_default(),
        head,
        body: String::from_utf8_lossy(&body).into_owned(),
    })
}

fn chunks(socket: &mut BufReader<TcpStream>) -> io::Result<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let mut line = String::new();
        socket.read_line(&mut line)?;
        let length = usize::from_str_radix(line.trim_end(), 16);
        let length = length.map_err(|_| io::Error::from(io::ErrorKind::UnexpectedEof))?;
        body.extend(piece(socket, length)?);
        piece(socket, 2)?;
        if length == 0 {
            return Ok(body);
        }
    }
}

fn piece(socket: &mut BufReader<TcpStream>, length: usize) -> io::Result<Vec<u8>> {
    let mut piece = vec![0; length];
    socket.read_exact(&mut piece)?;
    Ok(piece)
}
