//! What is spoken on a connection: how a request goes out, and when a response is complete and
//! right.

use std::fmt::Debug;
use std::io::{self, Write};

use crate::sockets::failures::Failure;
use crate::sockets::sources::Sources;

/// A response that has come to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Complete {
    /// Whether the connection can be used again.
    pub keeps: bool,
}

/// A protocol of requests and responses. Nothing in it allocates for each request.
pub trait Speech: Clone + Debug + Send {
    /// A request and its response so far.
    type Exchange: Debug + Default + Send;

    /// Begins request `sequence` on connection `id`.
    fn begin(&self, exchange: &mut Self::Exchange, id: u64, sequence: u64);

    /// Sends of the request what the socket takes; whether that was all.
    ///
    /// # Errors
    ///
    /// What the kernel says.
    fn send(
        &self,
        exchange: &mut Self::Exchange,
        to: impl Write,
        scratch: &mut [u8],
    ) -> io::Result<bool>;

    /// Takes of the response what has come; what it was, if it is complete now.
    ///
    /// # Errors
    ///
    /// How the response is wrong.
    fn take(
        &self,
        exchange: &mut Self::Exchange,
        bytes: &[u8],
        sources: &mut Sources,
    ) -> Result<Option<Complete>, Failure>;

    /// The server has closed; what the response was, if it is complete by that.
    ///
    /// # Errors
    ///
    /// [`Failure::Closed`] if it is not.
    fn close(&self, exchange: &mut Self::Exchange) -> Result<Complete, Failure>;
}
