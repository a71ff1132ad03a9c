//! The control API: HTTP and JSON on a Unix socket that only the owner and their group may use.
//!
//! | path | |
//! | --- | --- |
//! | `GET /v1/status` | how the gateway is doing |
//! | `GET /v1/flows` | a page of the flow table, see [`types::FlowQuery`] |
//! | `GET /v1/targets` | targets of the load balancers and their health |
//! | `GET /v1/nat-gateways/top` | who holds the ports of NAT gateways, see [`types::TopQuery`] |
//! | `GET /v1/environments` | environments |
//! | `POST /v1/environments` | attaches one, see [`types::AttachRequest`]; 201 |
//! | `DELETE /v1/environments/{id}` | detaches one; 204 |
//! | `POST /v1/actions/{action}` | one of EC2's actions, see [`crate::actions`] |
//! | `POST /v1/actions` | several as one change, see [`types::Transaction`] |
//!
//! Every error has a body, see [`types::ErrorBody`]. `docs/api.md` has all actions.
//!
//! | file | idea |
//! | --- | --- |
//! | `types` | what goes over the socket |
//! | `socket` | the socket itself: stale ones, modes |
//! | `status`, `flows`, `top` | the answers that take some making |
//! | `action` | actions on the resource document |
//! | `error` | errors as answers |
//! | `client` | the other side |

mod action;
pub mod client;
mod error;
mod flows;
pub mod socket;
mod status;
pub(crate) mod top;
pub mod types;

use std::sync::Arc;

use axum::extract::rejection::{JsonRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use axum::http::{StatusCode, Uri};
use axum::routing::{delete, get, post};
use axum::{Json, Router};
use nf_core::vpc::id::BridgeId;
use nlb::Nlb;

use crate::control::Shared;
use crate::environments::EnvironmentId;
use error::Error;
use types::{
    AttachRequest, Environment, EnvironmentList, FlowPage, FlowQuery, Status, Target, TargetList,
    TopList, TopQuery,
};

/// The API over what the control side shares.
pub fn router(shared: Arc<Shared>) -> Router {
    Router::new()
        .route("/v1/status", get(get_status))
        .route("/v1/flows", get(get_flows))
        .route("/v1/targets", get(get_targets))
        .route("/v1/nat-gateways/top", get(get_top))
        .route("/v1/environments", get(list_environments).post(attach_environment))
        .route("/v1/environments/{id}", delete(detach_environment))
        .route("/v1/actions", post(action::several))
        .route("/v1/actions/{action}", post(action::one))
        .fallback(async |uri: Uri| Error::no_such_path(uri.path()))
        .method_not_allowed_fallback(async || Error::method_not_allowed())
        .with_state(shared)
}

async fn get_status(State(shared): State<Arc<Shared>>) -> Result<Json<Status>, Error> {
    Ok(Json(status::status(&shared).await?))
}

async fn get_flows(
    State(shared): State<Arc<Shared>>,
    query: Result<Query<FlowQuery>, QueryRejection>,
) -> Result<Json<FlowPage>, Error> {
    let Query(query) = query?;
    Ok(Json(flows::page(&shared, query).await?))
}

async fn get_targets(State(shared): State<Arc<Shared>>) -> Result<Json<TargetList>, Error> {
    let targets = |nlb: &Nlb| nlb.targets();
    let views = shared
        .worker
        .call(move |worker, _| worker.engine.function_as().map_or_else(Vec::new, targets))
        .await?;
    let targets = views.into_iter().map(|view| Target {
        target_group: view.group.to_string(),
        target: view.target,
        state: view.state.as_str().to_owned(),
        active_flows: view.active_flows,
        flows_total: view.flows_total,
    });
    Ok(Json(TargetList { targets: targets.collect() }))
}

async fn get_top(
    State(shared): State<Arc<Shared>>,
    query: Result<Query<TopQuery>, QueryRejection>,
) -> Result<Json<TopList>, Error> {
    let Query(query) = query?;
    Ok(Json(top::top(&shared, &query).await?))
}

async fn list_environments(State(shared): State<Arc<Shared>>) -> Json<EnvironmentList> {
    let environments = shared.environments.list().into_iter().map(Environment::from).collect();
    Json(EnvironmentList { environments })
}

async fn attach_environment(
    State(shared): State<Arc<Shared>>,
    request: Result<Json<AttachRequest>, JsonRejection>,
) -> Result<(StatusCode, Json<Environment>), Error> {
    let Json(AttachRequest { environment_id, lambda_bridge_id, port }) = request?;
    let id: EnvironmentId = environment_id
        .as_ref()
        .unwrap_or(&port)
        .parse()
        .map_err(|error| Error::invalid("InvalidEnvironmentID.Malformed", &error))?;
    let bridge: BridgeId = lambda_bridge_id
        .parse()
        .map_err(|error| Error::invalid("InvalidLambdaBridgeID.Malformed", &error))?;
    // A task of its own: a client that hangs up midway must not leave half an environment.
    let attaching = tokio::spawn(async move {
        let bridge = bridge.to_string().into();
        shared.environments.attach(&shared.worker, id, bridge, port.into()).await
    });
    let environment = attaching.await.map_err(|error| Error::internal(&error))??;
    Ok((StatusCode::CREATED, Json(environment.into())))
}

async fn detach_environment(
    State(shared): State<Arc<Shared>>,
    Path(id): Path<String>,
) -> Result<StatusCode, Error> {
    let id: EnvironmentId =
        id.parse().map_err(|error| Error::invalid("InvalidEnvironmentID.Malformed", &error))?;
    // As above.
    let detaching =
        tokio::spawn(async move { shared.environments.detach(&shared.worker, &id).await });
    detaching.await.map_err(|error| Error::internal(&error))??;
    Ok(StatusCode::NO_CONTENT)
}

impl From<crate::environments::Environment> for Environment {
    fn from(environment: crate::environments::Environment) -> Self {
        let state = if environment.link.is_some() { "attached" } else { "waiting" };
        Self {
            environment_id: environment.id.to_string(),
            lambda_bridge_id: environment.bridge.into(),
            port: environment.port.into(),
            state: state.to_owned(),
        }
    }
}
