//! Actions on the resource document.
//!
//! What only asks is answered from what the control side last published; whatever changes the
//! document takes its turn with the follower.

use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Path, State};
use serde_json::Value;

use super::error::Error;
use super::types::{Answers, Transaction};
use crate::actions::{Known, Refusal, Request, find};
use crate::control::Shared;

/// The parameter that every action has: EC2's `DryRun`.
const DRY_RUN: &str = "dry_run";

pub(super) async fn one(
    State(shared): State<Arc<Shared>>,
    Path(action): Path<String>,
    body: Bytes,
) -> Result<Json<Value>, Error> {
    let mut parameters = if body.is_empty() { Value::Null } else { read(&body)? };
    let dry_run = match parameters.as_object_mut().and_then(|it| it.remove(DRY_RUN)) {
        None => false,
        Some(Value::Bool(dry_run)) => dry_run,
        Some(_) => {
            return Err(Error::invalid("InvalidParameterValue", &"dry_run: expected a boolean"));
        }
    };
    if let Known::Query(answer) = find(&action)?
        && !dry_run
    {
        let report = shared.report.load();
        return Ok(Json(report.tell(|view| answer(parameters, view))?));
    }
    let mut answers = shared.change(vec![Request { action, parameters }], dry_run).await??;
    Ok(Json(answers.pop().unwrap_or_default()))
}

pub(super) async fn several(
    State(shared): State<Arc<Shared>>,
    body: Bytes,
) -> Result<Json<Answers>, Error> {
    let Transaction { actions, dry_run } = read(&body)?;
    if actions.is_empty() {
        return Err(Refusal::new("MissingParameter", "say what is to be done: actions").into());
    }
    Ok(Json(Answers { answers: shared.change(actions, dry_run).await?? }))
}

fn read<T: serde::de::DeserializeOwned>(body: &[u8]) -> Result<T, Error> {
    serde_json::from_slice(body).map_err(|error| {
        Error::invalid("InvalidParameterValue", &format!("not as it is to be: {error}"))
    })
}
