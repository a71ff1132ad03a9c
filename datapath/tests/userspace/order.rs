//! In which order user space is told of frames, and frames leave.

use std::io::Read;

use datapath::Received;
use datapath::userspace::Userspace;
use nf_core::action::{Action, ETHERNET_LEN, Offsets};
use nf_core::fast_path::{Direction, Event, FastPath, TcpEvent, Transmit};
use nf_core::id::AdjacencyId;
use nf_core::tuple::Protocol;
use nf_core::verdict::Punt;
use socket2::{Domain, Socket, Type};

use crate::lab::{Conversation, Lab, wait};
use crate::netns::{can_run, uninterrupted};

const UDP: usize = ETHERNET_LEN + 20;

#[test]
fn what_user_space_sends_leaves_before_the_frames_after_it() {
    if !can_run() {
        return;
    }
    let lab = Lab::new();
    let sides = lab.sides;
    let conversation = Conversation::ipv4(Protocol::Udp);
    let mut userspace = lab.gateway.run(move || sides.open());
    let (client, server) = conversation.udp_sockets(&lab);
    let payloads: Vec<_> = (0..10_u8).map(|number| [number]).collect();
    for payload in &payloads {
        client.send(payload).expect("sent");
    }
    // As the engine does with a flow's first packet.
    let mut admit = |fast_path: &mut dyn FastPath, received: Received<'_>| {
        let Received::Frame { reason: Punt::Miss, meta, frame, .. } = received else { return };
        sides.install(fast_path, &[conversation]);
        let mut frame = frame.to_vec();
        let action = Action { rewrite: conversation.translated(), adjacency: AdjacencyId(0) };
        action.apply(&sides.to_server(), &mut frame, Offsets { transport: UDP }, meta.checksum);
        // RFC 768: zero means that the transmitter generated no checksum.
        frame[UDP + 6..UDP + 8].fill(0);
        fast_path.transmit(Transmit { port: sides.server_port, frame });
    };
    let handled = |userspace: &mut Userspace| {
        let statistics = userspace.statistics();
        statistics.forwarded + statistics.punted[Punt::Miss as usize]
    };
    while handled(&mut userspace) < payloads.len() as u64 {
        wait(&userspace);
        userspace.receive(64, &mut admit);
    }
    for payload in payloads {
        let mut buffer = [0; 10];
        let (received, from) =
            uninterrupted(|| server.recv_from(&mut buffer)).expect("a datagram arrives");
        assert_eq!((&buffer[..received], from), (&payload[..], conversation.external));
    }
    assert_eq!(userspace.statistics().failed_transmits, 0);
}

#[test]
fn a_tcp_event_is_told_when_its_frame_has_left() {
    if !can_run() {
        return;
    }
    let lab = Lab::new();
    let sides = lab.sides;
    let conversation = Conversation::ipv4(Protocol::Tcp);
    let mut userspace = lab.gateway.run(move || sides.open());
    sides.install(&mut userspace, &[conversation]);
    let mut listener = lab.server.listen(libc::ETH_P_IP as u16);
    let _connecting = lab.client.run(move || {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
        socket.bind(&conversation.client.into()).expect("the address is there");
        socket.set_nonblocking(true).expect("a socket can");
        let error = socket.connect(&conversation.server.into()).expect_err("it takes a while");
        assert_eq!(error.raw_os_error(), Some(libc::EINPROGRESS), "{error}");
        socket
    });
    let mut flags = Vec::new();
    while flags.is_empty() {
        wait(&userspace);
        userspace.receive(64, &mut |_, received| {
            // The server, on which no one listens, answers with a reset: not of interest.
            let Received::Event(Event::Tcp(
                event @ TcpEvent { direction: Direction::Forward, .. },
            )) = received
            else {
                return;
            };
            let mut frame = [0; 200];
            let len = uninterrupted(|| listener.read(&mut frame)).expect("the frame has left");
            // 9: the protocol field, 13: the flags.
            assert_eq!(frame[ETHERNET_LEN + 9], Protocol::Tcp.number(), "of {len} bytes");
            assert_eq!(frame[ETHERNET_LEN + 20 + 13], event.flags);
            flags.push(event.flags);
        });
    }
    assert_eq!(flags, [0x02], "a SYN");
}
