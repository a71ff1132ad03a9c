//! The test frame and the plan of flows: the twin of `bpf/frame.h` and of what
//! `bpf/generator.bpf.c` derives from a flow's number.

use std::net::Ipv4Addr;

/// Smallest frame in bytes, Ethernet header included, check sequence not.
pub const MIN_FRAME: u32 = 60;

/// Which flows the generator sends, one frame of each in turn: flow `i` goes from client
/// `i % clients` to server `i % servers`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Number of flows, at most 64,512 for each client: that many ports it has.
    pub flows: u32,
    /// Number of client addresses, from `first_client` on.
    pub clients: u32,
    /// Address of the first client.
    pub first_client: Ipv4Addr,
    /// Number of server addresses, from `first_server` on.
    pub servers: u32,
    /// Address of the first server.
    pub first_server: Ipv4Addr,
    /// UDP port of all servers.
    pub server_port: u16,
    /// Frame size in bytes, from [`MIN_FRAME`] to 1514.
    pub frame_size: u32,
    /// MAC address that the frames come from.
    pub source_mac: [u8; 6],
    /// MAC address of the gateway.
    pub destination_mac: [u8; 6],
}

#[cfg(test)]
mod tests {
    /// 1024 to 65535: the system ports (RFC 6335) are left out.
    const PORTS: u32 = 65536 - 1024;

    /// The prime that client ports are permuted with.
    const PORT_STEP: u32 = 39989;

    #[test]
    fn a_client_uses_every_port_once_before_it_uses_one_twice() {
        let mut seen = vec![false; PORTS as usize];
        for n in 0..PORTS {
            // As the generator's program computes it, in 32 bits.
            let port = n.wrapping_mul(PORT_STEP) % PORTS;
            assert!(!std::mem::replace(&mut seen[port as usize], true), "flow {n}");
        }
    }
}
