//! Datagrams by the batch: one system call for up to 64 of them, which is what makes a single core
//! send and count hundreds of thousands a second.

use std::io;
use std::mem::zeroed;
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd};
use std::ptr::null_mut;

use socket2::{SockAddr, SockAddrStorage};

/// Most datagrams of one system call.
pub const BATCH: usize = 64;

/// Buffers for datagrams of one size, sent on a connected socket.
#[derive(Debug)]
pub struct Outbox {
    buffers: Vec<u8>,
    size: usize,
}

/// Buffers for datagrams to be received, and who sent them.
#[derive(Debug)]
pub struct Inbox {
    buffers: Vec<u8>,
    size: usize,
    lengths: [usize; BATCH],
    senders: Vec<SockAddr>,
}

impl Outbox {
    /// Buffers for datagrams of `size` bytes, which must not be zero.
    pub fn new(size: usize) -> Self {
        Self { buffers: vec![0; size * BATCH], size }
    }

    /// The buffers, to be filled.
    pub fn buffers(&mut self) -> impl Iterator<Item = &mut [u8]> {
        self.buffers.chunks_exact_mut(self.size)
    }

    /// Sends the first `count` buffers; how many went out.
    ///
    /// # Errors
    ///
    /// What the kernel says, if not even the first went out.
    pub fn send(&mut self, socket: impl AsFd, count: usize) -> io::Result<usize> {
        let mut vectors = self.vectors();
        // SAFETY: a header of zeros is valid: it has no address, no buffers and no control data.
        let mut headers: [libc::mmsghdr; BATCH] = unsafe { zeroed() };
        for (header, vector) in headers.iter_mut().zip(&mut vectors) {
            header.msg_hdr.msg_iov = vector;
            header.msg_hdr.msg_iovlen = 1;
        }
        // SAFETY: as many headers as said, each with one vector into `self.buffers`; both outlive
        // the call.
        let sent = unsafe {
            libc::sendmmsg(
                socket.as_fd().as_raw_fd(),
                headers.as_mut_ptr(),
                count.min(BATCH) as libc::c_uint,
                0,
            )
        };
        usize::try_from(sent).map_err(|_| io::Error::last_os_error())
    }

    fn vectors(&mut self) -> [libc::iovec; BATCH] {
        vectors(&mut self.buffers, self.size)
    }
}

impl Inbox {
    /// Buffers for datagrams of up to `size` bytes, which must not be zero; longer ones are cut.
    pub fn new(size: usize) -> Self {
        Self {
            buffers: vec![0; size * BATCH],
            size,
            lengths: [0; BATCH],
            senders: Vec::with_capacity(BATCH),
        }
    }

    /// Receives what is there, at most a batch; how many.
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::WouldBlock`] if there is nothing, or what else the kernel says.
    pub fn receive(&mut self, socket: impl AsFd) -> io::Result<usize> {
        let mut vectors = vectors(&mut self.buffers, self.size);
        let mut names = std::array::from_fn::<_, BATCH, _>(|_| SockAddrStorage::zeroed());
        // SAFETY: a header of zeros is valid: it has no address, no buffers and no control data.
        let mut headers: [libc::mmsghdr; BATCH] = unsafe { zeroed() };
        for ((header, vector), name) in headers.iter_mut().zip(&mut vectors).zip(&mut names) {
            header.msg_hdr.msg_iov = vector;
            header.msg_hdr.msg_iovlen = 1;
            header.msg_hdr.msg_namelen = name.size_of();
            header.msg_hdr.msg_name = std::ptr::from_mut(name).cast();
        }
        // SAFETY: as many headers as said, each with one vector into `self.buffers` and a name of
        // the size said; all outlive the call.
        let received = unsafe {
            libc::recvmmsg(
                socket.as_fd().as_raw_fd(),
                headers.as_mut_ptr(),
                BATCH as libc::c_uint,
                libc::MSG_DONTWAIT,
                null_mut(),
            )
        };
        let received = usize::try_from(received).map_err(|_| io::Error::last_os_error())?;
        self.senders.clear();
        for (index, (header, name)) in headers.iter().zip(names).take(received).enumerate() {
            self.lengths[index] = (header.msg_len as usize).min(self.size);
            // SAFETY: the kernel has written an address of that length, or the length is zero.
            self.senders.push(unsafe { SockAddr::new(name, header.msg_hdr.msg_namelen) });
        }
        Ok(received)
    }

    /// The datagrams of the last call, with their senders.
    pub fn received(&self) -> impl Iterator<Item = (&[u8], SocketAddr)> {
        let buffers = self.buffers.chunks_exact(self.size).zip(self.lengths);
        buffers
            .zip(&self.senders)
            .filter_map(|((buffer, length), sender)| Some((&buffer[..length], sender.as_socket()?)))
    }
}

fn vectors(buffers: &mut [u8], size: usize) -> [libc::iovec; BATCH] {
    let mut vectors = [libc::iovec { iov_base: null_mut(), iov_len: 0 }; BATCH];
    for (vector, buffer) in vectors.iter_mut().zip(buffers.chunks_exact_mut(size)) {
        vector.iov_base = buffer.as_mut_ptr().cast();
        vector.iov_len = buffer.len();
    }
    vectors
}

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;

    use super::*;

    #[test]
    fn a_batch_arrives_whole_with_its_sender() {
        for address in ["127.0.0.1:0", "[::1]:0"] {
            let receiver = UdpSocket::bind(address).unwrap();
            let sender = UdpSocket::bind(address).unwrap();
            sender.connect(receiver.local_addr().unwrap()).unwrap();
            let mut outbox = Outbox::new(100);
            for (number, buffer) in outbox.buffers().enumerate() {
                buffer.fill(number as u8);
            }
            assert_eq!(outbox.send(&sender, 40).unwrap(), 40);

            let mut inbox = Inbox::new(64);
            assert_eq!(inbox.receive(&receiver).unwrap(), 40);
            let datagrams: Vec<_> = inbox.received().collect();
            assert_eq!(datagrams.len(), 40);
            for (number, (bytes, from)) in datagrams.into_iter().enumerate() {
                assert_eq!(bytes, [number as u8; 64], "cut to the size of the buffer");
                assert_eq!(from, sender.local_addr().unwrap());
            }
            let empty = inbox.receive(&receiver).unwrap_err();
            assert_eq!(empty.kind(), io::ErrorKind::WouldBlock);
        }
    }
}
