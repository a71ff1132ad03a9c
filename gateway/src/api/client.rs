//! The API's client, as the command line uses it.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use http_body_util::{BodyExt as _, Full};
use hyper::body::Bytes;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::header::{CONTENT_TYPE, HOST};
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::net::UnixStream;
use tokio::time::timeout;

use super::types::{
    Answers, AttachRequest, Environment, EnvironmentList, ErrorBody, FlowPage, FlowQuery, Status,
    TargetList, TopList, TopQuery, Transaction,
};
use crate::actions::Action;

/// How long the daemon may take for one answer. Its worker answers between two batches of packets.
const PATIENCE: Duration = Duration::from_secs(10);

/// Why there is no answer, or not the one that was wanted.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Nobody is there.
    #[error("cannot reach the gateway at {socket}: {error}{}", hint(.error))]
    Unreachable {
        /// The socket.
        socket: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// The connection broke, or what came is not HTTP.
    #[error("the gateway at {socket} did not answer: {why}")]
    NoAnswer {
        /// The socket.
        socket: PathBuf,
        /// Why.
        why: String,
    },
    /// The gateway refused.
    #[error("{message} ({code})")]
    Refused {
        /// A code for programs.
        code: String,
        /// A sentence for people.
        message: String,
    },
    /// An answer of another release.
    #[error("the gateway's answer cannot be understood, is it of another release? {0}")]
    Answer(#[from] serde_json::Error),
}

fn hint(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => {
            ". Is `halfspace run` running, and is this its socket (--socket, HALFSPACE_SOCKET)?"
        }
        io::ErrorKind::PermissionDenied => ". Only its owner and their group may use it",
        _ => "",
    }
}

/// One connection to a gateway.
#[derive(Debug)]
pub struct Client {
    socket: PathBuf,
    requests: SendRequest<Full<Bytes>>,
}

impl Client {
    /// Connects.
    ///
    /// # Errors
    ///
    /// [`Error::Unreachable`], [`Error::NoAnswer`].
    pub async fn connect(socket: &Path) -> Result<Self, Error> {
        let stream = UnixStream::connect(socket)
            .await
            .map_err(|error| Error::Unreachable { socket: socket.to_owned(), error })?;
        let (requests, connection) = handshake(TokioIo::new(stream)).await.map_err(|error| {
            Error::NoAnswer { socket: socket.to_owned(), why: error.to_string() }
        })?;
        // Whatever breaks the connection shows in the request that waits for it.
        tokio::spawn(connection);
        Ok(Self { socket: socket.to_owned(), requests })
    }

    /// How the gateway is doing.
    ///
    /// # Errors
    ///
    /// [`Error`]
    pub async fn status(&mut self) -> Result<Status, Error> {
        self.get("/v1/status").await
    }

    /// One page of the flow table.
    ///
    /// # Errors
    ///
    /// [`Error`]
    pub async fn flows(&mut self, query: &FlowQuery) -> Result<FlowPage, Error> {
        self.get(&format!("/v1/flows?{}", query_string(query)?)).await
    }

    /// All targets.
    ///
    /// # Errors
    ///
    /// [`Error`]
    pub async fn targets(&mut self) -> Result<TargetList, Error> {
        self.get("/v1/targets").await
    }

    /// Who holds the ports of NAT gateways.
    ///
    /// # Errors
    ///
    /// [`Error`]
    pub async fn top(&mut self, query: &TopQuery) -> Result<TopList, Error> {
        self.get(&format!("/v1/nat-gateways/top?{}", query_string(query)?)).await
    }

    /// All environments.
    ///
    /// # Errors
    ///
    /// [`Error`]
    pub async fn environments(&mut self) -> Result<EnvironmentList, Error> {
        self.get("/v1/environments").await
    }

    /// Attaches an environment.
    ///
    /// # Errors
    ///
    /// [`Error`]
    pub async fn attach(&mut self, request: &AttachRequest) -> Result<Environment, Error> {
        let body = self.send(Method::POST, "/v1/environments", Some(request)).await?;
        Ok(serde_json::from_slice(&body)?)
    }

    /// Detaches an environment.
    ///
    /// # Errors
    ///
    /// [`Error`]
    pub async fn detach(&mut self, id: &str) -> Result<(), Error> {
        let path = format!("/v1/environments/{}", percent_encoded(id));
        self.send(Method::DELETE, &path, None::<&()>).await.map(drop)
    }

    /// Has an action carried out.
    ///
    /// # Errors
    ///
    /// [`Error`]
    pub async fn act<A: Action>(&mut self, action: &A) -> Result<A::Answer, Error> {
        let path = format!("/v1/actions/{}", A::NAME);
        let body = self.send(Method::POST, &path, Some(action)).await?;
        Ok(serde_json::from_slice(&body)?)
    }

    /// Has an action carried out that is named at run time.
    ///
    /// # Errors
    ///
    /// [`Error`]
    pub async fn act_named(&mut self, name: &str, parameters: &Value) -> Result<Value, Error> {
        let path = format!("/v1/actions/{}", percent_encoded(name));
        let body = self.send(Method::POST, &path, Some(parameters)).await?;
        Ok(serde_json::from_slice(&body)?)
    }

    /// Has several actions carried out as one change.
    ///
    /// # Errors
    ///
    /// [`Error`]
    pub async fn transact(&mut self, transaction: &Transaction) -> Result<Answers, Error> {
        let body = self.send(Method::POST, "/v1/actions", Some(transaction)).await?;
        Ok(serde_json::from_slice(&body)?)
    }

    async fn get<T: DeserializeOwned>(&mut self, path: &str) -> Result<T, Error> {
        let body = self.send(Method::GET, path, None::<&()>).await?;
        Ok(serde_json::from_slice(&body)?)
    }

    async fn send(
        &mut self,
        method: Method,
        path: &str,
        body: Option<&impl Serialize>,
    ) -> Result<Bytes, Error> {
        let body = body.map(serde_json::to_vec).transpose()?.unwrap_or_default();
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(HOST, "halfspace")
            .header(CONTENT_TYPE, "application/json")
            .body(Full::from(body))
            .map_err(|error| self.no_answer(&error))?;
        let answer = async {
            self.requests.ready().await?;
            let response = self.requests.send_request(request).await?;
            let status = response.status();
            Ok::<_, hyper::Error>((status, response.into_body().collect().await?.to_bytes()))
        };
        let answered = timeout(PATIENCE, answer).await;
        let (status, body) = answered
            .map_err(|_| self.no_answer(&format!("nothing came within {PATIENCE:?}")))?
            .map_err(|error| self.no_answer(&error))?;
        if status.is_success() { Ok(body) } else { Err(refusal(status, &body)) }
    }

    fn no_answer(&self, why: &impl ToString) -> Error {
        Error::NoAnswer { socket: self.socket.clone(), why: why.to_string() }
    }
}

fn refusal(status: StatusCode, body: &[u8]) -> Error {
    match serde_json::from_slice(body) {
        Ok(ErrorBody { error }) => Error::Refused { code: error.code, message: error.message },
        Err(_) => Error::Refused {
            code: status.as_u16().to_string(),
            message: format!("the gateway answered {status}"),
        },
    }
}

/// A query, as its JSON form spells the parameters: all are texts or numbers.
fn query_string(query: &impl Serialize) -> Result<String, serde_json::Error> {
    let serde_json::Value::Object(parameters) = serde_json::to_value(query)? else {
        return Ok(String::new());
    };
    let pairs = parameters.iter().map(|(name, value)| {
        let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        format!("{name}={}", percent_encoded(&text))
    });
    Ok(pairs.collect::<Vec<_>>().join("&"))
}

/// RFC 3986 2.3: all but the unreserved characters are encoded.
fn percent_encoded(text: &str) -> String {
    use std::fmt::Write as _;

    let mut encoded = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            encoded.push(byte.into());
        } else {
            // Writing to a string cannot fail.
            let _ = write!(encoded, "%{byte:02X}");
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_has_only_what_is_asked_for() {
        let query = FlowQuery {
            from: 7,
            address: "2001:db8::1".parse().ok(),
            port_name: Some("eth0&x=1".to_owned()),
            ..FlowQuery::default()
        };
        assert_eq!(
            query_string(&query).unwrap(),
            "address=2001%3Adb8%3A%3A1&from=7&port_name=eth0%26x%3D1"
        );
    }
}
