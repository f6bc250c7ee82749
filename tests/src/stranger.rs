//! A client that speaks HTTP/2 well and gRPC as it likes: any path, any headers, any bytes.

use bytes::Bytes;
use h2::{RecvStream, client::SendRequest};
use quire_proto::TOKEN_KEY;
use tokio::{net::UnixStream, runtime::Runtime, task::JoinHandle, time::timeout};
use tonic::{
    Code, Status,
    codegen::http::{HeaderMap, Request},
};
use tonic_types::StatusExt as _;

use crate::{home::Home, wait::PATIENCE};

/// How a call ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The code; `Ok` for a stream of answers that began.
    pub code: Code,
    /// Reason of the error, empty when there is none.
    pub reason: String,
}

/// One connection to a home's daemon. Dropping it leaves.
pub struct Stranger {
    runtime: Runtime,
    sending: SendRequest<Bytes>,
    driving: JoinHandle<()>,
    token: String,
}

impl Stranger {
    /// Connects.
    ///
    /// # Panics
    ///
    /// When there is no daemon to connect to.
    #[must_use]
    pub fn connect(home: &Home) -> Self {
        let record = home.record().expect("a daemon has a record");
        let token = home.paths().token().expect("a daemon has a token");
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("the machine has an event queue left");
        let (sending, driving) = runtime.block_on(async {
            let socket = UnixStream::connect(record.socket).await;
            let socket = socket.expect("the daemon listens");
            let (sending, connection) = h2::client::handshake(socket)
                .await
                .expect("the daemon speaks HTTP/2");
            // How a connection ended is seen in its calls.
            let driving = tokio::spawn(async move { drop(connection.await) });
            (sending, driving)
        });
        Self {
            runtime,
            sending,
            driving,
            token,
        }
    }

    /// Calls `Service/Method` of the schema with the daemon's token, further headers, and this body.
    ///
    /// # Errors
    ///
    /// When stream or connection break.
    ///
    /// # Panics
    ///
    /// When no answer comes in time.
    pub fn call(
        &self,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> Result<Answer, h2::Error> {
        let address = format!("http://localhost/quire.v1.{path}");
        let mut request = Request::post(address)
            .header("content-type", "application/grpc")
            .header("te", "trailers")
            .header(TOKEN_KEY, &self.token);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(()).expect("names and values are plain");
        let asking = ask(self.sending.clone(), request, body.into());
        let answer = self
            .runtime
            .block_on(async { timeout(PATIENCE, asking).await });
        answer.unwrap_or_else(|_| panic!("{path} is not answered"))
    }
}

impl Drop for Stranger {
    fn drop(&mut self) {
        self.driving.abort();
    }
}

async fn ask(
    sending: SendRequest<Bytes>,
    request: Request<()>,
    body: Bytes,
) -> Result<Answer, h2::Error> {
    let mut sending = sending.ready().await?;
    let (response, mut stream) = sending.send_request(request, false)?;
    // The library keeps what there is no room for yet. A daemon that has refused already takes no more.
    let _ = stream.send_data(body, true);
    let response = response.await?;
    let Some(answer) = told(response.headers()) else {
        return rest(response.into_body()).await;
    };
    Ok(answer)
}

/// The end of an answer that began. One that goes on is left.
async fn rest(mut body: RecvStream) -> Result<Answer, h2::Error> {
    let began = Answer {
        code: Code::Ok,
        reason: String::new(),
    };
    if let Some(piece) = body.data().await {
        piece?;
        return Ok(began);
    }
    let trailers = body.trailers().await?;
    Ok(trailers.as_ref().and_then(told).unwrap_or(began))
}

fn told(headers: &HeaderMap) -> Option<Answer> {
    let status = Status::from_header_map(headers)?;
    let info = status.get_error_details().error_info().cloned();
    Some(Answer {
        code: status.code(),
        reason: info.map_or_else(String::new, |info| info.reason),
    })
}

/// One message as gRPC frames it.
#[must_use]
pub fn message(compressed: bool, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len()).unwrap_or(u32::MAX);
    let mut message = vec![u8::from(compressed)];
    message.extend(length.to_be_bytes());
    message.extend_from_slice(body);
    message
}
