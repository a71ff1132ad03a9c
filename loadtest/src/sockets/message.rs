//! A message on its way out: head and content, over as many writes as the socket takes.

use std::io::{self, Write};

use super::payload::Payload;
use super::protocol::ANSWER_HEAD;

/// A head and the content behind it; no copy of the content is kept.
#[derive(Clone, Copy, Debug)]
pub struct Message {
    head: [u8; ANSWER_HEAD],
    head_length: u8,
    payload: Payload,
    /// Head and content.
    length: u64,
    sent: u64,
}

impl Message {
    /// A message of `head`, at most as long as an answer's, and `content` bytes of `payload`.
    pub fn new(head: &[u8], payload: Payload, content: u64) -> Self {
        let mut room = [0; ANSWER_HEAD];
        let length = head.len().min(ANSWER_HEAD);
        room[..length].copy_from_slice(&head[..length]);
        Self {
            head: room,
            head_length: length as u8,
            payload,
            length: length as u64 + content,
            sent: 0,
        }
    }

    /// Writes until all is out, which is true, or the socket takes no more, which is false.
    /// `scratch` is where the content is made, at least as long as a head.
    ///
    /// # Errors
    ///
    /// What the kernel says.
    pub fn send(&mut self, mut to: impl Write, scratch: &mut [u8]) -> io::Result<bool> {
        while self.sent < self.length {
            let wanted =
                scratch.len().min(usize::try_from(self.length - self.sent).unwrap_or(usize::MAX));
            self.fill(&mut scratch[..wanted]);
            match to.write(&scratch[..wanted]) {
                Ok(taken) => self.sent += taken as u64,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(true)
    }

    /// The message from where it stands.
    fn fill(&self, out: &mut [u8]) {
        let head = &self.head[..usize::from(self.head_length)];
        let left = head.get(self.sent as usize..).unwrap_or_default();
        let left = &left[..left.len().min(out.len())];
        let (for_head, for_content) = out.split_at_mut(left.len());
        for_head.copy_from_slice(left);
        let position = self.sent.saturating_sub(head.len() as u64);
        self.payload.fill(position, for_content);
    }
}

#[cfg(test)]
mod tests {
    use super::super::payload::Direction;
    use super::*;

    /// Takes at most so many bytes in a write, and nothing in every other one.
    struct Narrow {
        got: Vec<u8>,
        width: usize,
        turn: bool,
    }

    impl Write for Narrow {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.turn = !self.turn;
            if self.turn {
                return Err(io::ErrorKind::WouldBlock.into());
            }
            let taken = bytes.len().min(self.width);
            self.got.extend_from_slice(&bytes[..taken]);
            Ok(taken)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn head_and_content_arrive_in_order_through_any_socket() {
        let payload = Payload::new(1, 2, Direction::Response);
        let mut content = vec![0; 200_000];
        payload.fill(0, &mut content);
        let expected = [b"the head of a message".as_slice(), &content].concat();
        for width in [7, 1000, 100_000] {
            let mut message = Message::new(b"the head of a message", payload, 200_000);
            let mut to = Narrow { got: Vec::new(), width, turn: false };
            let mut scratch = [0; 4096];
            while !message.send(&mut to, &mut scratch).unwrap() {}
            assert!(to.got == expected, "width {width}");
        }
    }
}
