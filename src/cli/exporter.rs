//! Answers Prometheus over HTTP: `GET /metrics`, for `serve --metrics`.
//!
//! It is a client of the daemon like any other, in the daemon's process: what is told is what `perilune metrics` tells, and a
//! scraper that hangs holds up nobody. It listens on loopback, unless it is said that anybody may read.

use std::convert::Infallible;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::commands::metrics;
use super::exposition;
use crate::client::Gate;
use crate::workflow::{Kind, Refusal};

/// Scrapers that are answered at the same time; more wait.
const AT_ONCE: usize = 8;
/// How long a scraper may take to ask: what Prometheus itself gives a scrape by default.
const PATIENCE: Duration = Duration::from_secs(10);
/// Between two tries to accept, where the system has no room for a connection.
const BREATH: Duration = Duration::from_millis(100);

/// Who may read metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// Programs of this machine.
    Loopback,
    /// Whoever reaches the address.
    Anybody,
}

/// Reads `9377`, `localhost:9377` or `127.0.0.1:9377`.
pub fn parse_address(text: &str) -> Result<SocketAddr, String> {
    let here = |port| SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port);
    let port = text.strip_prefix("localhost:").unwrap_or(text);
    if let Ok(port) = port.parse() {
        return Ok(here(port));
    }
    text.parse().map_err(|_| "write a port, or an address and a port, such as 127.0.0.1:9377".to_owned())
}

/// Takes the address, so that nobody else can.
pub fn bind(address: SocketAddr, reach: Reach) -> Result<TcpListener, Refusal> {
    if !address.ip().is_loopback() {
        if reach == Reach::Loopback {
            let message = format!("{address} can be reached from other machines, and metrics have no password");
            return Err(Refusal::new(Kind::Usage, message, "use 127.0.0.1, or say --metrics-from-anywhere as well"));
        }
        tracing::warn!("whoever reaches {address} can read what this machine's GPUs, sets and queue do: metrics have no password");
    }
    let failed =
        |e: io::Error| Refusal::new(Kind::Failed, format!("{address} cannot be listened on: {e}"), "choose another port for --metrics");
    let listener = TcpListener::bind(address).map_err(failed)?;
    listener.set_nonblocking(true).map_err(failed)?;
    Ok(listener)
}

/// Answers on a thread of its own until the process ends.
pub fn start(listener: TcpListener, gate: Gate) {
    let started = std::thread::Builder::new().name("metrics".to_owned()).spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        match runtime {
            Ok(runtime) => runtime.block_on(accept(listener, gate)),
            Err(error) => tracing::error!("no metrics: the system refused: {error}"),
        }
    });
    if let Err(error) = started {
        tracing::error!("no metrics: the system refused a thread: {error}");
    }
}

async fn accept(listener: TcpListener, gate: Gate) {
    let listener = match tokio::net::TcpListener::from_std(listener) {
        Ok(listener) => listener,
        Err(error) => return tracing::error!("no metrics: {error}"),
    };
    if let Ok(address) = listener.local_addr() {
        tracing::info!("metrics at http://{address}/metrics");
    }
    let (gate, room) = (Arc::new(gate), Arc::new(Semaphore::new(AT_ONCE)));
    loop {
        // The semaphore is never closed.
        let Ok(place) = room.clone().acquire_owned().await else { return };
        let socket = match listener.accept().await {
            Ok((socket, _)) => socket,
            Err(error) => {
                tracing::debug!("a scraper could not be let in: {error}");
                tokio::time::sleep(BREATH).await;
                continue;
            }
        };
        let gate = gate.clone();
        tokio::spawn(async move {
            let _place = place;
            let service = service_fn(|request| answer(request, &gate));
            let mut http = http1::Builder::new();
            http.timer(TokioTimer::new()).header_read_timeout(PATIENCE).keep_alive(false);
            if let Ok(Err(error)) = timeout(PATIENCE * 3, http.serve_connection(TokioIo::new(socket), service)).await {
                tracing::debug!("a scraper left: {error}");
            }
        });
    }
}

async fn answer(request: Request<Incoming>, gate: &Gate) -> Result<Response<Full<Bytes>>, Infallible> {
    let plain = "text/plain; charset=utf-8";
    Ok(match (request.method(), request.uri().path()) {
        (&Method::GET, "/metrics") => match timeout(PATIENCE, page(gate)).await {
            Ok(Ok(text)) => respond(StatusCode::OK, exposition::CONTENT_TYPE, text),
            Ok(Err(refusal)) => respond(StatusCode::SERVICE_UNAVAILABLE, plain, format!("{}\n", refusal.message)),
            Err(_) => respond(StatusCode::SERVICE_UNAVAILABLE, plain, "the daemon is silent\n".to_owned()),
        },
        (&Method::GET, "/") => respond(StatusCode::OK, plain, "perilune: metrics are at /metrics\n".to_owned()),
        (&Method::GET, _) => respond(StatusCode::NOT_FOUND, plain, "there is /metrics only\n".to_owned()),
        _ => respond(StatusCode::METHOD_NOT_ALLOWED, plain, "metrics are read with GET\n".to_owned()),
    })
}

async fn page(gate: &Gate) -> Result<String, Refusal> {
    exposition::text(&*metrics::ask(gate).await?)
}

fn respond(status: StatusCode, kind: &'static str, text: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(text)));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_alone_is_this_machine() {
        for (text, expected) in
            [("9377", "127.0.0.1:9377"), ("localhost:9377", "127.0.0.1:9377"), ("[::1]:80", "[::1]:80"), ("0.0.0.0:1", "0.0.0.0:1")]
        {
            assert_eq!(parse_address(text), Ok(expected.parse().unwrap()), "{text}");
        }
        for bad in ["", "box:9377", "127.0.0.1", "70000"] {
            assert!(parse_address(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn other_machines_read_only_where_it_is_said() {
        let anywhere = "0.0.0.0:0".parse().unwrap();
        assert_eq!(bind(anywhere, Reach::Loopback).unwrap_err().kind, Kind::Usage);
        assert!(bind(anywhere, Reach::Anybody).is_ok());
        assert!(bind("127.0.0.1:0".parse().unwrap(), Reach::Loopback).is_ok());
    }
}
