//! What `connections`, `streams` and `serve` share: the protocol they speak, where their sockets
//! come from, why operations fail, when they are due, and what processor time it all took.

pub mod batch;
pub mod blocks;
pub mod cpu;
pub mod failures;
pub mod message;
pub mod origin;
pub mod payload;
pub mod protocol;
pub mod schedule;
pub mod sources;
pub mod threads;
pub mod ticker;
pub mod timing;
pub mod window;

use std::os::fd::{AsFd, AsRawFd};

use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// Lets this process open as many descriptors as it may: each connection is one, and the usual
/// soft limit of 1,024 is for programs that use select(2). If that is refused, the limit shows as
/// failures of their own kind.
pub fn raise_descriptor_limit() {
    if let Ok((_, hard)) = getrlimit(Resource::RLIMIT_NOFILE) {
        let _ = setrlimit(Resource::RLIMIT_NOFILE, hard, hard);
    }
}

/// What the kernel knows of a TCP connection.
#[derive(Clone, Copy, Debug, Default)]
pub struct TcpInfo {
    /// Segments sent again.
    pub retransmitted: u32,
    /// Bytes that the other side has acknowledged, this connection's SYN not among them.
    pub acknowledged: u64,
}

/// Asks the kernel about a TCP connection; nothing if it will not say.
pub fn tcp_info(socket: &impl AsFd) -> Option<TcpInfo> {
    // SAFETY: a structure of integers, for which zeros are valid; an older kernel fills its front
    // and leaves zeros behind.
    let mut info: libc::tcp_info = unsafe { std::mem::zeroed() };
    let mut length = size_of_val(&info) as libc::socklen_t;
    // SAFETY: the kernel writes at most `length` bytes to `info`, and both outlive the call.
    let result = unsafe {
        libc::getsockopt(
            socket.as_fd().as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_INFO,
            (&raw mut info).cast(),
            &raw mut length,
        )
    };
    (result == 0).then(|| TcpInfo {
        retransmitted: info.tcpi_total_retrans,
        // RFC 4898 counts the SYN as a byte, and so does the kernel.
        acknowledged: info.tcpi_bytes_acked.saturating_sub(1),
    })
}
