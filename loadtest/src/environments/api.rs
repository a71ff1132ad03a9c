//! The least of a client for the gateway's API: HTTP on a Unix socket, one connection that is kept,
//! one request at a time.
//!
//! It is the load generator's own on purpose. A client shared with the gateway would agree with
//! its mistakes; and the caller's threads block on an answer anyway.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value, json};

/// How long one answer may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// Largest answer taken, in bytes: a listing of ten thousand environments is about one megabyte.
const MOST: usize = 64 << 20;

/// Headers of an answer; the gateway sends three.
const MOST_HEADERS: usize = 32;

/// Why a request was not answered with success.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    /// Nobody listens on the socket.
    #[error(
        "cannot reach the gateway at {}: {source}: is this its socket (--api)?", socket.display()
    )]
    Unreachable {
        /// The socket.
        socket: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The connection broke before the answer was complete, or it is not HTTP: whether the request
    /// took effect is not known.
    #[error("the gateway did not answer: {0}")]
    NoAnswer(String),
    /// The gateway refused.
    #[error("the gateway refused: {message} ({code})")]
    Refused {
        /// Its code, such as `InvalidPort.InUse`.
        code: String,
        /// A sentence for people.
        message: String,
    },
}

impl ApiError {
    /// A short name, to count by.
    pub fn reason(&self) -> String {
        match self {
            Self::Unreachable { .. } => "gateway unreachable".to_owned(),
            Self::NoAnswer(_) => "no answer from the API".to_owned(),
            Self::Refused { code, .. } => format!("refused: {code}"),
        }
    }
}

/// One connection, opened when it is needed and again after it broke.
#[derive(Debug)]
pub struct Client {
    socket: PathBuf,
    stream: Option<UnixStream>,
}

impl Client {
    /// A client of the gateway whose socket this is.
    pub fn new(socket: &Path) -> Self {
        Self { socket: socket.to_owned(), stream: None }
    }

    /// Attaches an environment whose id is the name of its interface.
    ///
    /// # Errors
    ///
    /// [`ApiError`].
    pub fn attach(&mut self, bridge: &str, port: &str) -> Result<(), ApiError> {
        let request = json!({ "lambda_bridge_id": bridge, "port": port });
        let answer = self.ask("POST", "/v1/environments", Some(&request))?;
        // It has to be the one that was asked for, or whatever is measured next is another's.
        if answer["environment_id"] == port && answer["state"] == "attached" {
            Ok(())
        } else {
            Err(ApiError::NoAnswer(format!("{port} was to be attached, but it says {answer}")))
        }
    }

    /// Detaches an environment.
    ///
    /// # Errors
    ///
    /// [`ApiError`].
    pub fn detach(&mut self, id: &str) -> Result<(), ApiError> {
        self.ask("DELETE", &format!("/v1/environments/{id}"), None).map(drop)
    }

    /// All environments by id, with their state.
    ///
    /// # Errors
    ///
    /// [`ApiError`].
    pub fn environments(&mut self) -> Result<BTreeMap<String, String>, ApiError> {
        let answer = self.ask("GET", "/v1/environments", None)?;
        let text = |entry: &Value, key: &str| entry[key].as_str().map(str::to_owned);
        let entries = answer["environments"].as_array().map(Vec::as_slice).unwrap_or_default();
        entries
            .iter()
            .map(|entry| Some((text(entry, "environment_id")?, text(entry, "state")?)))
            .collect::<Option<_>>()
            .ok_or_else(|| ApiError::NoAnswer(format!("no list of environments: {answer}")))
    }

    /// Any other question; the answer is JSON.
    ///
    /// # Errors
    ///
    /// [`ApiError`].
    pub fn get(&mut self, path: &str) -> Result<Value, ApiError> {
        self.ask("GET", path, None)
    }

    fn ask(&mut self, method: &str, path: &str, body: Option<&Value>) -> Result<Value, ApiError> {
        let mut stream = match self.stream.take() {
            Some(stream) => stream,
            None => self.connect()?,
        };
        let answer = exchange(&mut stream, method, path, body)
            .map_err(|error| ApiError::NoAnswer(error.to_string()))?;
        // A connection that failed midway is not used again; this one has not.
        self.stream = Some(stream);
        let content: Value = if answer.body.is_empty() {
            Value::Null
        } else {
            serde_json::from_slice(&answer.body)
                .map_err(|error| ApiError::NoAnswer(format!("what came is not JSON: {error}")))?
        };
        if (200..300).contains(&answer.status) {
            return Ok(content);
        }
        let text = |key: &str| content["error"][key].as_str().map(str::to_owned);
        Err(ApiError::Refused {
            code: text("code").unwrap_or_else(|| answer.status.to_string()),
            message: text("message").unwrap_or_default(),
        })
    }

    fn connect(&self) -> Result<UnixStream, ApiError> {
        let connected = || {
            let stream = UnixStream::connect(&self.socket)?;
            stream.set_read_timeout(Some(PATIENCE))?;
            stream.set_write_timeout(Some(PATIENCE))?;
            Ok(stream)
        };
        connected().map_err(|source| ApiError::Unreachable { socket: self.socket.clone(), source })
    }
}

#[derive(Debug)]
struct Answer {
    status: u16,
    body: Vec<u8>,
}

fn exchange<S: Read + Write>(
    stream: &mut S,
    method: &str,
    path: &str,
    body: Option<&Value>,
) -> io::Result<Answer> {
    let body = body.map(Value::to_string).unwrap_or_default();
    let request = format!(
        "{method} {path} HTTP/1.1\r\nHost: gateway\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(request.as_bytes())?;
    let mut received = Vec::new();
    loop {
        let mut piece = [0; 16384];
        let length = stream.read(&mut piece)?;
        if length == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        received.extend_from_slice(&piece[..length]);
        if let Some(answer) = parse(&received)? {
            return Ok(answer);
        }
        if received.len() > MOST {
            return Err(io::Error::other("the answer is too long"));
        }
    }
}

/// The answer, once all of it is there.
fn parse(received: &[u8]) -> io::Result<Option<Answer>> {
    let mut headers = [httparse::EMPTY_HEADER; MOST_HEADERS];
    let mut response = httparse::Response::new(&mut headers);
    let httparse::Status::Complete(start) = response.parse(received).map_err(io::Error::other)?
    else {
        return Ok(None);
    };
    // Always there once the status line is complete.
    let status = response.code.unwrap_or_default();
    let length = response.headers.iter().find(|it| it.name.eq_ignore_ascii_case("content-length"));
    let length = match length {
        Some(length) => std::str::from_utf8(length.value)
            .ok()
            .and_then(|text| text.trim().parse::<usize>().ok())
            .ok_or_else(|| io::Error::other("the answer's length is no number"))?,
        // RFC 9112 6.3: a 204 has no content.
        None if status == 204 => 0,
        None => return Err(io::Error::other("the answer does not tell its length")),
    };
    let end = start.saturating_add(length);
    match received.len() {
        there if there < end => Ok(None),
        there if there > end => Err(io::Error::other("more came than was asked for")),
        _ => Ok(Some(Answer { status, body: received[start..].to_vec() })),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_complete_with_its_last_byte_and_not_before() {
        let whole = b"HTTP/1.1 201 Created\r\nContent-Length: 7\r\n\r\n{\"a\":1}";
        for end in 0..whole.len() {
            assert!(parse(&whole[..end]).unwrap().is_none(), "{end}");
        }
        let answer = parse(whole).unwrap().unwrap();
        assert_eq!((answer.status, answer.body.as_slice()), (201, b"{\"a\":1}".as_slice()));

        let answer = parse(b"HTTP/1.1 204 No Content\r\ndate: x\r\n\r\n").unwrap().unwrap();
        assert_eq!((answer.status, answer.body.len()), (204, 0));
    }

    #[test]
    fn what_is_no_answer_is_refused() {
        for bad in [
            b"SSH-2.0-x\r\n\r\n".as_slice(),
            b"HTTP/1.1 200 OK\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n",
            b"HTTP/1.1 204 No Content\r\n\r\nmore",
        ] {
            assert!(parse(bad).is_err(), "{}", String::from_utf8_lossy(bad));
        }
    }

    #[test]
    fn nobody_at_the_socket_is_unreachable_and_named() {
        let error = Client::new(Path::new("/nowhere/api.sock")).environments().unwrap_err();
        assert_eq!(error.reason(), "gateway unreachable");
        assert!(error.to_string().contains("/nowhere/api.sock"), "{error}");
    }
}
