//! Puts the routes on a socket.

use std::{
    io,
    net::{SocketAddr, TcpListener},
    time::Duration,
};

use actix_web::{
    App, HttpServer,
    dev::ServerHandle,
    middleware::{Compress, from_fn},
    web::{self, Data, PathConfig, PayloadConfig, ServiceConfig},
};
use bytes::Bytes;
use listbackup_engine::{Error, ErrorKind};
use tokio::task::JoinHandle;
use utoipa_swagger_ui::{Config, SwaggerUi};

use crate::{
    body::BODY_BYTES_MAX,
    compression, gate,
    key_scopes::KeyScope,
    openapi::document,
    problem::Problem,
    routes::{Route, served},
    state::AppState,
};

/// A client that does not finish its headers within this time is cut off.
const HEADERS_TIMEOUT: Duration = Duration::from_secs(10);
/// Answers under way get this long after a stop.
const SHUTDOWN_SECONDS: u64 = 10;

/// The OpenAPI document as it is sent.
#[derive(Clone)]
pub struct OpenApiJson(pub Bytes);

/// Mounts the routes of the services that the settings name, and the answers to everything else.
pub fn configure(state: AppState) -> impl FnOnce(&mut ServiceConfig) {
    move |config| {
        let routes = served(&state.settings.services);
        let json = document(&routes, &state.settings).to_json().unwrap_or_default();
        config
            .app_data(Data::new(OpenApiJson(Bytes::from(json))))
            .app_data(Data::new(state))
            .app_data(PayloadConfig::new(BODY_BYTES_MAX))
            // An id that cannot be one is an id of nothing.
            .app_data(PathConfig::default().error_handler(|_, _| Problem::not_found().into()))
            .configure(|config| mount(config, routes))
            .service(web::redirect("/system/docs", "/system/docs/"))
            .service(SwaggerUi::new("/system/docs/{_:.*}").config(Config::from("/system/openapi.json")))
            .default_service(web::route().to(gate::no_such_route).wrap(from_fn(gate::finish)));
    }
}

/// One resource a path, with all its methods, so that a wrong method is told from a wrong path.
fn mount(config: &mut ServiceConfig, routes: Vec<Route>) {
    let mut by_path: Vec<(&'static str, Vec<Route>)> = Vec::new();
    for route in routes {
        match by_path.iter_mut().find(|(path, _)| *path == route.path) {
            Some((_, same_path)) => same_path.push(route),
            None => by_path.push((route.path, vec![route])),
        }
    }
    for (path, routes) in by_path {
        let allowed = routes.iter().map(|route| route.method.as_str()).collect::<Vec<_>>().join(", ");
        let refuse = move || {
            let allowed = allowed.clone();
            async move { gate::no_such_method(&allowed).await }
        };
        let mut resource = web::resource(path).default_service(web::route().to(refuse));
        for route in routes {
            let (guard, scope) = (route.guard, KeyScope::of(route.service, &route.method));
            let admit = from_fn(move |request, next| gate::admit(guard, scope, request, next));
            resource = resource.route((route.handler)().wrap(admit));
        }
        config.service(resource.wrap(from_fn(gate::finish)));
    }
}

/// A server that listens.
pub struct RunningServer {
    /// Where.
    pub address: SocketAddr,
    state: AppState,
    handle: ServerHandle,
    task: JoinHandle<io::Result<()>>,
}

impl RunningServer {
    /// From now on it says that it is not ready, so that whoever hands out requests hands them to others.
    pub fn turn_away(&self) {
        self.state.stopping.cancel();
    }

    /// Ends: no new connections, streams are closed, answers under way are finished.
    ///
    /// # Errors
    /// What ended the server before.
    pub async fn stop(self) -> io::Result<()> {
        self.turn_away();
        self.state.closing.cancel();
        self.handle.stop(true).await;
        self.task.await.map_err(io::Error::other)?
    }
}

/// Serves on a socket that listens, until stopped.
///
/// # Errors
/// When the socket has no address.
pub fn serve(state: AppState, listener: TcpListener) -> io::Result<RunningServer> {
    let address = listener.local_addr()?;
    let shared = state.clone();
    let app = move || {
        App::new()
            .wrap(from_fn(compression::spare_small))
            .wrap(Compress::default())
            .wrap(from_fn(compression::unmark))
            .configure(configure(shared.clone()))
    };
    let server = HttpServer::new(app)
        .client_request_timeout(HEADERS_TIMEOUT)
        // An answer's head and body may leave apart: with Nagle's algorithm the second waits 40 ms for whoever acknowledges late.
        .tcp_nodelay(true)
        .shutdown_timeout(SHUTDOWN_SECONDS)
        .disable_signals()
        .listen(listener)?
        .run();
    let handle = server.handle();
    Ok(RunningServer { address, state, handle, task: tokio::spawn(server) })
}

/// The error of an address that cannot be listened on.
pub fn unusable(address: SocketAddr, error: &std::io::Error) -> Error {
    Error::new(ErrorKind::Conflict, format!("the address cannot be used: {error}; choose another with --listen"))
        .with("address", address)
}
