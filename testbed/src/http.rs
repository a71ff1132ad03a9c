//! The least of HTTP: one GET inside a namespace, for readiness and metrics pages.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use crate::error::Error;
use crate::namespace::Namespace;

/// Longest wait for a connection and for each piece of the answer, if nothing else is said.
const PATIENCE: Duration = Duration::from_secs(5);

/// Largest answer taken.
const MOST: u64 = 64 << 20;

/// An answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    /// The status code.
    pub status: u16,
    /// The body; bytes that are not UTF-8 are replaced.
    pub body: String,
}

/// Fetches `path` from a server, from inside the namespace.
///
/// # Errors
///
/// [`Error::Namespace`] if the namespace cannot be entered or the server cannot be talked to,
/// [`Error::NotHttp`] for an answer without a status line.
pub fn get(namespace: &Namespace, server: SocketAddr, path: &str) -> Result<Response, Error> {
    get_within(PATIENCE, namespace, server, path)
}

/// The same, with at most `patience` for the connection and for each piece of the answer.
///
/// # Errors
///
/// As [`get`].
pub fn get_within(
    patience: Duration,
    namespace: &Namespace,
    server: SocketAddr,
    path: &str,
) -> Result<Response, Error> {
    let url = format!("http://{server}{path}");
    let fetched = namespace.enter(|| -> std::io::Result<Vec<u8>> {
        let mut stream = TcpStream::connect_timeout(&server, patience)?;
        stream.set_read_timeout(Some(patience))?;
        stream.set_write_timeout(Some(patience))?;
        // HTTP/1.0: the server neither chunks the answer nor keeps the connection open after it.
        write!(stream, "GET {path} HTTP/1.0\r\nHost: {server}\r\n\r\n")?;
        let mut answer = Vec::new();
        stream.take(MOST).read_to_end(&mut answer)?;
        Ok(answer)
    })?;
    let answer = fetched.map_err(|source| namespace.failed(&format!("get {url}"), source))?;
    parse(&String::from_utf8_lossy(&answer)).ok_or_else(|| Error::NotHttp {
        url,
        answer: String::from_utf8_lossy(&answer).chars().take(80).collect(),
    })
}

fn parse(answer: &str) -> Option<Response> {
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let mut status_line = head.lines().next()?.split(' ');
    if !status_line.next()?.starts_with("HTTP/1.") {
        return None;
    }
    Some(Response { status: status_line.next()?.parse().ok()?, body: body.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_taken_apart() {
        let answer = "HTTP/1.1 503 Service Unavailable\r\nA: b\r\n\r\nnot yet\r\n\r\nreally";
        let expected = Response { status: 503, body: "not yet\r\n\r\nreally".to_owned() };
        assert_eq!(parse(answer), Some(expected));
    }

    #[test]
    fn what_is_not_http_is_not_taken_for_it() {
        for answer in ["", "SSH-2.0-x\r\n\r\n", "HTTP/1.1 \r\n\r\n", "HTTP/1.1 abc\r\n\r\n"] {
            assert_eq!(parse(answer), None, "{answer:?}");
        }
    }
}
