//! Errors as the API answers them: an HTTP status, and a code and message in the body.

use ::datapath::AttachError;
use axum::Json;
use axum::extract::rejection::{JsonRejection, QueryRejection};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use nf_core::engine::EnvironmentError;

use super::types::{ErrorBody, ErrorDetail};
use crate::actions::Refusal;
use crate::environments;
use crate::worker;

/// An answer that is no success.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Error {
    status: StatusCode,
    code: &'static str,
    message: String,
}

impl Error {
    pub(super) fn invalid(code: &'static str, message: &impl ToString) -> Self {
        Self { status: StatusCode::BAD_REQUEST, code, message: message.to_string() }
    }

    pub(super) fn no_such_path(path: &str) -> Self {
        let message = format!("{path} is not a path of this API");
        Self { status: StatusCode::NOT_FOUND, code: "InvalidAction", message }
    }

    pub(super) fn method_not_allowed() -> Self {
        let message = "this path does not take that method".to_owned();
        Self { status: StatusCode::METHOD_NOT_ALLOWED, code: "InvalidAction", message }
    }

    pub(super) fn internal(message: &impl ToString) -> Self {
        let status = StatusCode::INTERNAL_SERVER_ERROR;
        Self { status, code: "InternalError", message: message.to_string() }
    }
}

impl IntoResponse for Error {
    fn into_response(self) -> Response {
        let error = ErrorDetail { code: self.code.to_owned(), message: self.message };
        (self.status, Json(ErrorBody { error })).into_response()
    }
}

impl From<worker::Stopped> for Error {
    fn from(stopped: worker::Stopped) -> Self {
        Self {
            status: StatusCode::SERVICE_UNAVAILABLE,
            code: "Unavailable",
            message: stopped.to_string(),
        }
    }
}

/// EC2 answers all that the caller can do something about with one status; what the gateway cannot
/// do is another matter.
impl From<Refusal> for Error {
    fn from(Refusal { code, message }: Refusal) -> Self {
        let status = match code {
            "InternalError" => StatusCode::INTERNAL_SERVER_ERROR,
            // EC2's own, the only other one that it has.
            "DryRunOperation" => StatusCode::PRECONDITION_FAILED,
            _ => StatusCode::BAD_REQUEST,
        };
        Self { status, code, message }
    }
}

impl From<environments::Error> for Error {
    fn from(error: environments::Error) -> Self {
        use environments::Error as E;
        let (status, code) = match &error {
            E::NotFound(_) => (StatusCode::NOT_FOUND, "InvalidEnvironmentID.NotFound"),
            E::Busy(_) => (StatusCode::CONFLICT, "IncorrectState"),
            E::Refused(EnvironmentError::NoBridge(_)) => {
                (StatusCode::NOT_FOUND, "InvalidLambdaBridgeID.NotFound")
            }
            E::Refused(EnvironmentError::Exists(_)) => {
                (StatusCode::CONFLICT, "InvalidEnvironmentID.Duplicate")
            }
            E::Refused(EnvironmentError::PortInUse(_)) | E::Attach(AttachError::Served { .. }) => {
                (StatusCode::CONFLICT, "InvalidPort.InUse")
            }
            E::NoInterface(_) | E::Attach(AttachError::NoInterface { .. }) => {
                (StatusCode::NOT_FOUND, "InvalidPort.NotFound")
            }
            E::Attach(AttachError::NotEthernet { .. }) => {
                (StatusCode::BAD_REQUEST, "InvalidPort.Type")
            }
            E::Stopped(stopped) => return (*stopped).into(),
            E::Attach(AttachError::System { .. }) | E::Record { .. } | E::Links(_) => {
                return Self::internal(&error);
            }
        };
        Self { status, code, message: error.to_string() }
    }
}

impl From<JsonRejection> for Error {
    fn from(rejection: JsonRejection) -> Self {
        Self {
            status: rejection.status(),
            code: "InvalidParameterValue",
            message: rejection.body_text(),
        }
    }
}

impl From<QueryRejection> for Error {
    fn from(rejection: QueryRejection) -> Self {
        Self::invalid("InvalidParameterValue", &rejection.body_text())
    }
}
