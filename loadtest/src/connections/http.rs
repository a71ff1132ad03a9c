//! HTTP/1.1: one and the same GET, and responses read in pieces of any size, of which no body is
//! kept.

use std::io::{self, ErrorKind, Write};

use super::speech::{Complete, Speech};
use crate::sockets::failures::Failure;
use crate::sockets::sources::Sources;

/// Most bytes of a response's head, and of a chunk's.
const MOST_HEAD: usize = 64 * 1024;

/// Most header fields.
const MOST_FIELDS: usize = 96;

/// What is asked, and what must come.
#[derive(Clone, Debug)]
pub struct Http {
    /// The whole request.
    pub request: Vec<u8>,
    /// Bytes that a body must have.
    pub body: Option<u64>,
}

/// A request and its response so far.
#[derive(Debug, Default)]
pub struct Exchange {
    sent: usize,
    response: Response,
}

impl Speech for Http {
    type Exchange = Exchange;

    fn begin(&self, exchange: &mut Exchange, _id: u64, _sequence: u64) {
        exchange.sent = 0;
        exchange.response.clear();
    }

    fn send(&self, exchange: &mut Exchange, mut to: impl Write, _: &mut [u8]) -> io::Result<bool> {
        while exchange.sent < self.request.len() {
            match to.write(&self.request[exchange.sent..]) {
                Ok(taken) => exchange.sent += taken,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(true)
    }

    fn take(
        &self,
        exchange: &mut Exchange,
        bytes: &[u8],
        _: &mut Sources,
    ) -> Result<Option<Complete>, Failure> {
        let complete = exchange.response.take(bytes)?;
        if complete { self.verified(&exchange.response).map(Some) } else { Ok(None) }
    }

    fn close(&self, exchange: &mut Exchange) -> Result<Complete, Failure> {
        if exchange.response.close() {
            self.verified(&exchange.response)
        } else {
            Err(Failure::Closed)
        }
    }
}

impl Http {
    fn verified(&self, response: &Response) -> Result<Complete, Failure> {
        if self.body.is_some_and(|expected| expected != response.body) {
            return Err(Failure::WrongContent);
        }
        Ok(Complete { keeps: response.keeps })
    }
}

/// A response so far.
#[derive(Debug, Default)]
struct Response {
    part: Part,
    /// A head that is not whole yet. Its memory is kept for the connection's next one.
    unread: Vec<u8>,
    body: u64,
    keeps: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Part {
    #[default]
    Head,
    /// So much is left of the body.
    Body(u64),
    /// The body ends with the connection.
    UntilClose,
    /// The line with a chunk's size.
    ChunkSize,
    /// So much is left of a chunk, with the line end behind it.
    Chunk(u64),
    /// Trailer fields, up to an empty line.
    Trailer,
    Complete,
}

impl Response {
    /// Makes ready for the next response.
    fn clear(&mut self) {
        self.part = Part::Head;
        self.unread.clear();
        self.body = 0;
    }

    /// Takes what has come; whether the response is complete now. It
    /// is a [`Failure::WrongStatus`] if that is not 200, and a [`Failure::WrongContent`] if it is
    /// not HTTP, or if more follows than the response.
    fn take(&mut self, mut bytes: &[u8]) -> Result<bool, Failure> {
        while !bytes.is_empty() {
            bytes = match self.part {
                Part::Head => self.head(bytes)?,
                Part::Body(left) => {
                    let (taken, rest) = split(bytes, left);
                    self.body += taken;
                    self.part =
                        if taken == left { Part::Complete } else { Part::Body(left - taken) };
                    rest
                }
                Part::UntilClose => {
                    self.body += bytes.len() as u64;
                    &[]
                }
                Part::ChunkSize => self.chunk_size(bytes)?,
                Part::Chunk(left) => {
                    let (taken, rest) = split(bytes, left);
                    self.part =
                        if taken == left { Part::ChunkSize } else { Part::Chunk(left - taken) };
                    rest
                }
                Part::Trailer => {
                    let (line, rest) = self.line(bytes)?;
                    if line == Some(true) {
                        self.part = Part::Complete;
                    }
                    rest
                }
                // Nothing was asked for that could follow.
                Part::Complete => return Err(Failure::WrongContent),
            };
        }
        Ok(self.part == Part::Complete)
    }

    /// The server has closed; whether the response is complete by that.
    fn close(&mut self) -> bool {
        self.keeps = false;
        self.part == Part::UntilClose
    }

    /// Reads a head; what follows it.
    fn head<'b>(&mut self, bytes: &'b [u8]) -> Result<&'b [u8], Failure> {
        let before = self.unread.len();
        let head = if before == 0 {
            parse(bytes)?
        } else {
            self.unread.extend_from_slice(bytes);
            parse(&self.unread)?
        };
        let Some(head) = head else {
            if before == 0 {
                self.unread.extend_from_slice(bytes);
            }
            return if self.unread.len() > MOST_HEAD {
                Err(Failure::WrongContent)
            } else {
                Ok(&[])
            };
        };
        self.unread.clear();
        self.keeps = head.keeps;
        self.part = head.next;
        // The part that was kept did not hold the whole head, or it would have been read.
        Ok(&bytes[head.length - before..])
    }

    /// Reads a chunk's size, RFC 9112, section 7.1; what follows it.
    fn chunk_size<'b>(&mut self, bytes: &'b [u8]) -> Result<&'b [u8], Failure> {
        let end = bytes.iter().position(|byte| *byte == b'\n').map(|at| at + 1);
        let (now, rest) = bytes.split_at(end.unwrap_or(bytes.len()));
        self.unread.extend_from_slice(now);
        if end.is_none() {
            return if self.unread.len() > MOST_HEAD {
                Err(Failure::WrongContent)
            } else {
                Ok(&[])
            };
        }
        let Ok(httparse::Status::Complete((_, size))) = httparse::parse_chunk_size(&self.unread)
        else {
            return Err(Failure::WrongContent);
        };
        self.unread.clear();
        self.body = self.body.saturating_add(size);
        // Behind the chunk is a line end of two bytes.
        self.part = if size == 0 { Part::Trailer } else { Part::Chunk(size.saturating_add(2)) };
        Ok(rest)
    }

    /// Reads up to the end of a line: whether that was empty, if its end has come; what follows.
    fn line<'b>(&mut self, bytes: &'b [u8]) -> Result<(Option<bool>, &'b [u8]), Failure> {
        let end = bytes.iter().position(|byte| *byte == b'\n').map(|at| at + 1);
        let (now, rest) = bytes.split_at(end.unwrap_or(bytes.len()));
        self.unread.extend_from_slice(now);
        if self.unread.len() > MOST_HEAD {
            return Err(Failure::WrongContent);
        }
        let empty = end.map(|_| matches!(self.unread.as_slice(), b"\r\n" | b"\n"));
        if empty.is_some() {
            self.unread.clear();
        }
        Ok((empty, rest))
    }
}

/// What a head says.
struct Head {
    length: usize,
    keeps: bool,
    next: Part,
}

/// Reads a head; nothing if it is not whole.
fn parse(bytes: &[u8]) -> Result<Option<Head>, Failure> {
    let mut fields = [httparse::EMPTY_HEADER; MOST_FIELDS];
    let mut response = httparse::Response::new(&mut fields);
    let length = match response.parse(bytes) {
        Ok(httparse::Status::Complete(length)) => length,
        Ok(httparse::Status::Partial) => return Ok(None),
        Err(_) => return Err(Failure::WrongContent),
    };
    if response.code != Some(200) {
        return Err(Failure::WrongStatus);
    }
    let mut head = Head { length, keeps: response.version == Some(1), next: Part::UntilClose };
    let (mut declared, mut chunked) = (None, false);
    for field in &*response.headers {
        if field.name.eq_ignore_ascii_case("content-length") {
            let text = std::str::from_utf8(field.value).map_err(|_| Failure::WrongContent)?;
            declared = Some(text.trim().parse::<u64>().map_err(|_| Failure::WrongContent)?);
        } else if field.name.eq_ignore_ascii_case("transfer-encoding") {
            chunked = field.value.trim_ascii().eq_ignore_ascii_case(b"chunked");
        } else if field.name.eq_ignore_ascii_case("connection") {
            let value = field.value.trim_ascii();
            head.keeps = (head.keeps || value.eq_ignore_ascii_case(b"keep-alive"))
                && !value.eq_ignore_ascii_case(b"close");
        }
    }
    // RFC 9112, section 6.3: chunks go before a length, and without either the body ends with the
    // connection.
    head.next = match (chunked, declared) {
        (true, _) => Part::ChunkSize,
        (false, Some(0)) => Part::Complete,
        (false, Some(length)) => Part::Body(length),
        (false, None) => Part::UntilClose,
    };
    if head.next == Part::UntilClose {
        head.keeps = false;
    }
    Ok(Some(head))
}

/// At most `left` bytes of the front: how many, and the rest.
fn split(bytes: &[u8], left: u64) -> (u64, &[u8]) {
    let taken = bytes.len().min(usize::try_from(left).unwrap_or(usize::MAX));
    (taken as u64, &bytes[taken..])
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether it is complete, in pieces of every size, which must not matter.
    fn read(text: &str) -> Result<(bool, u64, bool), Failure> {
        let results: Vec<_> = (1..=text.len())
            .map(|size| {
                let mut response = Response::default();
                let mut complete = false;
                for piece in text.as_bytes().chunks(size) {
                    complete = response.take(piece)?;
                }
                Ok((complete, response.body, response.keeps))
            })
            .collect();
        let first = results[0];
        assert!(results.iter().all(|result| *result == first), "{text:?}: {results:?}");
        first
    }

    #[test]
    fn a_body_ends_where_its_length_says() {
        let head = "HTTP/1.1 200 OK\r\nServer: x\r\nContent-Length: 5\r\n\r\n";
        assert_eq!(read(&format!("{head}hello")), Ok((true, 5, true)));
        assert_eq!(read(&format!("{head}hell")), Ok((false, 4, true)));
        assert_eq!(read(&format!("{head}hello!")), Err(Failure::WrongContent));
        assert_eq!(read("HTTP/1.1 200 OK\r\ncontent-length:0\r\n\r\n"), Ok((true, 0, true)));
    }

    #[test]
    fn chunks_add_up_to_the_body() {
        let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
        let whole = format!("{head}4\r\nwiki\r\n1a;x=y\r\nabcdefghijklmnopqrstuvwxyz\r\n0\r\n\r\n");
        assert_eq!(read(&whole), Ok((true, 30, true)));
        assert_eq!(read(&whole[..whole.len() - 2]), Ok((false, 30, true)));
        assert_eq!(read(&format!("{head}0\r\nA: b\r\n\r\n")), Ok((true, 0, true)));
        assert_eq!(read(&format!("{head}xyz\r\n")), Err(Failure::WrongContent));
    }

    #[test]
    fn without_a_length_the_end_of_the_connection_is_the_end_of_the_body() {
        let mut response = Response::default();
        assert_eq!(response.take(b"HTTP/1.0 200 OK\r\n\r\nabc"), Ok(false));
        assert!(response.close());
        assert_eq!((response.body, response.keeps), (3, false));
        let mut cut = Response::default();
        assert_eq!(cut.take(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nab"), Ok(false));
        assert!(!cut.close(), "a body that was cut is not complete");
    }

    #[test]
    fn other_statuses_and_other_protocols_are_told_apart() {
        let text = "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n";
        assert_eq!(read(text), Err(Failure::WrongStatus));
        assert_eq!(read("SSH-2.0-OpenSSH_9.2\r\n"), Err(Failure::WrongContent));
        let text = "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n";
        assert_eq!(read(text), Err(Failure::WrongContent));
    }

    #[test]
    fn whether_the_connection_is_kept_is_as_the_server_says() {
        let text =
            |version, field| format!("HTTP/1.{version} 200 OK\r\nContent-Length: 0\r\n{field}\r\n");
        let keeps = |version, field| read(&text(version, field)).unwrap().2;
        assert!(keeps(1, ""));
        assert!(!keeps(1, "Connection: close\r\n"));
        assert!(!keeps(0, ""));
        assert!(keeps(0, "Connection: keep-alive\r\n"));
    }

    #[test]
    fn a_head_without_end_is_refused_before_it_fills_the_memory() {
        let mut response = Response::default();
        let line = b"HTTP/1.1 200 OK\r\nX: ".to_vec();
        assert_eq!(response.take(&line), Ok(false));
        let endless = (0..1000).find_map(|_| response.take(&[b'a'; 1000]).err());
        assert_eq!(endless, Some(Failure::WrongContent));
    }
}
