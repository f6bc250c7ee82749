//! From a call's path to the one who answers it, past the token.
//!
//! tonic's own routes bring a whole web framework; the paths here are `/package.Service/Method` and
//! nothing else.

use std::{
    collections::HashMap,
    convert::Infallible,
    fmt,
    sync::Arc,
    task::{Context, Poll},
};

use futures_util::future::BoxFuture;
use tonic::{
    Code, Status,
    body::Body,
    codegen::{
        Service,
        http::{Request, Response},
    },
    server::NamedService,
};

use super::{bare, identity::Token, peers::Peer};
use crate::edge::status::refuse;

type Answer = BoxFuture<'static, Result<Response<Body>, Infallible>>;

/// Calls that need no token: they tell nothing about anyone's work.
const OPEN: [&str; 3] = [
    "grpc.health.v1.Health",
    "grpc.reflection.v1.ServerReflection",
    "grpc.reflection.v1alpha.ServerReflection",
];

/// The gRPC services by name.
#[derive(Clone, Default)]
pub struct Routes(HashMap<&'static str, Arc<dyn Route>>);

impl Routes {
    /// None yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a generated gRPC server, such as `SessionServiceServer::new(sessions)`.
    #[must_use]
    pub fn add_service<S>(mut self, server: S) -> Self
    where
        S: NamedService + Route,
    {
        self.0.insert(S::NAME, Arc::new(server));
        self
    }

    /// Asks for the token before anything but the [`OPEN`] ones.
    pub(super) fn guarded_by(self, token: Token) -> Guarded {
        Guarded(Arc::new((self, token)))
    }
}

impl fmt::Debug for Routes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

/// One gRPC service. Implemented by every generated server.
pub trait Route: Send + Sync + 'static {
    /// Answers one call.
    fn answer(&self, request: Request<Body>) -> Answer;
}

impl<S> Route for S
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible>,
    S: Clone + Send + Sync + 'static,
    S::Future: Send + 'static,
{
    fn answer(&self, request: Request<Body>) -> Answer {
        // Generated servers are always ready, and clone by counting references.
        Box::pin(self.clone().call(request))
    }
}

/// Of a path that leads to nothing.
pub(super) fn no_such_method(path: &str) -> Status {
    let message = format!("this daemon has no method `{path}`");
    refuse(Code::Unimplemented, "NO_SUCH_METHOD", message)
}

/// [`Routes`] behind the token.
#[derive(Clone, Debug)]
pub(super) struct Guarded(Arc<(Routes, Token)>);

impl Service<Request<Body>> for Guarded {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Answer;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Answer {
        let (routes, token) = &*self.0;
        let path = request.uri().path();
        let name = path.split('/').nth(1).unwrap_or_default();
        if !OPEN.contains(&name) {
            if let Err(status) = token.check(request.headers()) {
                return Box::pin(async move { Ok(status.into_http()) });
            }
            if let Some(peer) = request.extensions().get::<Peer>() {
                peer.showed_token();
            }
        }
        if let Some(route) = routes.0.get(name) {
            let path = path.to_owned();
            let answer = route.answer(request);
            return Box::pin(async move { Ok(bare::reasoned(answer.await?, &path)) });
        }
        let status = no_such_method(path);
        Box::pin(async move { Ok(status.into_http()) })
    }
}
