//! Our own protocol: content that both sides verify, and the address that the server sees.

use std::io::{self, Write};

use super::speech::{Complete, Speech};
use crate::sockets::failures::Failure;
use crate::sockets::message::Message;
use crate::sockets::payload::{Direction, Payload};
use crate::sockets::protocol::{ANSWER_HEAD, Answer, Kind, Request, Status};
use crate::sockets::sources::Sources;

/// How much content goes each way, in bytes without the heads.
#[derive(Clone, Copy, Debug)]
pub struct Halfspace {
    /// Of a request.
    pub request: u64,
    /// Of a response.
    pub response: u64,
}

/// A request and its response so far.
#[derive(Debug)]
pub struct Exchange {
    request: Request,
    message: Message,
    head: [u8; ANSWER_HEAD],
    /// Of head and content.
    received: u64,
}

impl Exchange {
    fn new(id: u64, sequence: u64, length: u64, wanted: u64) -> Self {
        let request = Request { kind: Kind::Exchange, id, sequence, length, wanted };
        let payload = Payload::new(id, sequence, Direction::Request);
        let message = Message::new(&request.encode(), payload, length);
        Self { request, message, head: [0; ANSWER_HEAD], received: 0 }
    }
}

impl Default for Exchange {
    fn default() -> Self {
        Self::new(0, 0, 0, 0)
    }
}

impl Speech for Halfspace {
    type Exchange = Exchange;

    fn begin(&self, exchange: &mut Exchange, id: u64, sequence: u64) {
        *exchange = Exchange::new(id, sequence, self.request, self.response);
    }

    fn send(
        &self,
        exchange: &mut Exchange,
        to: impl Write,
        scratch: &mut [u8],
    ) -> io::Result<bool> {
        exchange.message.send(to, scratch)
    }

    fn take(
        &self,
        exchange: &mut Exchange,
        mut bytes: &[u8],
        sources: &mut Sources,
    ) -> Result<Option<Complete>, Failure> {
        let Exchange { request, head, received, .. } = exchange;
        if *received < ANSWER_HEAD as u64 {
            let got = *received as usize;
            let taken = bytes.len().min(ANSWER_HEAD - got);
            head[got..got + taken].copy_from_slice(&bytes[..taken]);
            *received += taken as u64;
            bytes = &bytes[taken..];
            if *received < ANSWER_HEAD as u64 {
                return Ok(None);
            }
            let answer = Answer::decode(head).ok_or(Failure::WrongContent)?;
            let expected = (request.id, request.sequence, request.wanted, Status::Fine);
            if (answer.id, answer.sequence, answer.length, answer.status) != expected {
                return Err(Failure::WrongContent);
            }
            if !sources.see(answer.client.ip()) {
                return Err(Failure::WrongSource);
            }
        }
        let position = *received - ANSWER_HEAD as u64;
        let payload = Payload::new(request.id, request.sequence, Direction::Response);
        let surplus = bytes.len() as u64 > request.wanted - position;
        if surplus || !payload.matches(position, bytes) {
            return Err(Failure::WrongContent);
        }
        *received += bytes.len() as u64;
        let complete = *received == ANSWER_HEAD as u64 + request.wanted;
        Ok(complete.then_some(Complete { keeps: true }))
    }

    fn close(&self, _: &mut Exchange) -> Result<Complete, Failure> {
        // Every response says how long it is.
        Err(Failure::Closed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn response(change: impl FnOnce(&mut Answer)) -> Vec<u8> {
        let client = "198.51.100.7:40000".parse().unwrap();
        let mut answer = Answer { status: Status::Fine, client, id: 9, sequence: 4, length: 100 };
        change(&mut answer);
        let mut content = vec![0; 100];
        Payload::new(9, 4, Direction::Response).fill(0, &mut content);
        [answer.encode().as_slice(), &content].concat()
    }

    fn verdict(bytes: &[u8], pieces: usize) -> Result<Option<Complete>, Failure> {
        let speech = Halfspace { request: 0, response: 100 };
        let mut exchange = Exchange::default();
        speech.begin(&mut exchange, 9, 4);
        let mut sources = Sources::expecting(&["198.51.100.0/24".parse().unwrap()]);
        let mut last = None;
        for piece in bytes.chunks(pieces) {
            last = speech.take(&mut exchange, piece, &mut sources)?;
        }
        Ok(last)
    }

    #[test]
    fn a_true_response_is_complete_in_pieces_of_any_size() {
        let bytes = response(|_| {});
        for pieces in [1, 47, 48, 49, 1000] {
            assert_eq!(verdict(&bytes, pieces), Ok(Some(Complete { keeps: true })));
            assert_eq!(verdict(&bytes[..bytes.len() - 1], pieces), Ok(None));
        }
    }

    #[test]
    fn a_response_to_another_request_or_with_a_changed_byte_is_wrong_content() {
        let mut flipped = response(|_| {});
        flipped[ANSWER_HEAD + 50] ^= 1;
        let mut longer = response(|_| {});
        longer.push(0);
        for bytes in [
            response(|answer| answer.id = 8),
            response(|answer| answer.sequence = 3),
            response(|answer| answer.length = 99),
            response(|answer| answer.status = Status::Corrupt),
            flipped,
            longer,
        ] {
            for pieces in [1, 1000] {
                assert_eq!(verdict(&bytes, pieces), Err(Failure::WrongContent));
            }
        }
    }

    #[test]
    fn a_client_seen_elsewhere_is_a_wrong_source() {
        let bytes = response(|answer| answer.client = "192.0.2.1:40000".parse().unwrap());
        assert_eq!(verdict(&bytes, 1000), Err(Failure::WrongSource));
    }
}
