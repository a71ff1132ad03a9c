//! What the gateway tells monitoring: `/metrics`, `/healthz`, `/readyz`.
//!
//! Nothing is counted here. Engine, data path and control side count for themselves; a scrape
//! takes one `sample` of them all, on the worker between two batches of packets, and a fresh
//! `page` is made of it. So a resource that is gone from the document is gone from the page, and
//! between scrapes there is nothing to keep up but the rates that peaks are told of.
//!
//! | file | idea |
//! | --- | --- |
//! | `sample` | everything that is told, at one moment |
//! | `page` | names, help texts and labels |
//! | `translation` | the same of the functions that lease ports |
//! | `traffic` | what NAT gateways carry, as CloudWatch has it |
//! | `process` | the process itself, as `/proc` tells of it |

mod page;
mod process;
mod sample;
mod traffic;
mod translation;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use tokio::time::timeout;

use crate::control::Shared;
use crate::worker::Stopped;
use traffic::Peaks;

/// How long a healthy worker may take for a job.
const PATIENCE: Duration = Duration::from_secs(1);

/// Of the text format.
const CONTENT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The pages over what the control side shares, and a task that looks at rates as long as there is a
/// worker.
pub fn router(shared: Arc<Shared>) -> Router {
    let peaks = Arc::new(Peaks::default());
    let (noting, followed) = (peaks.clone(), shared.clone());
    tokio::spawn(async move { noting.follow(&followed).await });
    Router::new()
        .route("/metrics", get(move |state| metrics(state, peaks)))
        .route("/healthz", get(healthy))
        .route("/readyz", get(ready))
        .with_state(shared)
}

async fn metrics(State(shared): State<Arc<Shared>>, peaks: Arc<Peaks>) -> Response {
    match sample::take(&shared, &peaks).await {
        Ok(sample) => ([(CONTENT_TYPE, CONTENT)], page::render(&sample)).into_response(),
        Err(stopped) => unavailable(stopped),
    }
}

async fn healthy(State(shared): State<Arc<Shared>>) -> Response {
    match timeout(PATIENCE, shared.worker.call(|_, _| ())).await {
        Ok(Ok(())) => "ok\n".into_response(),
        Ok(Err(stopped)) => unavailable(stopped),
        Err(_) => unavailable("the packet worker does not answer"),
    }
}

async fn ready(State(shared): State<Arc<Shared>>) -> Response {
    match timeout(PATIENCE, shared.unready()).await {
        Ok(Ok(None)) => "ready\n".into_response(),
        Ok(Ok(Some(why))) => unavailable(why),
        Ok(Err(Stopped)) => unavailable(Stopped),
        Err(_) => unavailable("the packet worker does not answer"),
    }
}

fn unavailable(why: impl std::fmt::Display) -> Response {
    (StatusCode::SERVICE_UNAVAILABLE, format!("{why}\n")).into_response()
}
