use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream, UdpSocket};
use std::time::Duration;

use super::*;
use crate::sockets::payload::{Direction, Payload};
use crate::sockets::protocol::{
    ANSWER_HEAD, Answer, COUNTS, DATAGRAM_HEAD, Datagram, DatagramKind, FlowCounts, Kind, Request,
    Status,
};

const LIMIT: Duration = Duration::from_secs(10);

fn start(limits: Limits) -> (Server, SocketAddr) {
    let server = Server::start(&["127.0.0.1:0".parse().unwrap()], limits).unwrap();
    let address = server.addresses()[0];
    (server, address)
}

fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(LIMIT)).unwrap();
    stream
}

fn request(kind: Kind, sequence: u64, length: u64, wanted: u64) -> Vec<u8> {
    let mut bytes = Request { kind, id: 77, sequence, length, wanted }.encode().to_vec();
    let mut content = vec![0; length as usize];
    Payload::new(77, sequence, Direction::Request).fill(0, &mut content);
    bytes.extend(content);
    bytes
}

fn answer(stream: &mut TcpStream) -> (Answer, Vec<u8>) {
    let mut head = [0; ANSWER_HEAD];
    stream.read_exact(&mut head).unwrap();
    let answer = Answer::decode(&head).unwrap();
    let mut content = vec![0; answer.length as usize];
    stream.read_exact(&mut content).unwrap();
    (answer, content)
}

#[test]
fn requests_are_answered_with_content_and_the_clients_address() {
    let (server, address) = start(Limits::default());
    let mut stream = connect(address);
    for (sequence, length, wanted) in [(0, 0, 0), (1, 10, 300_000), (2, 300_000, 10)] {
        stream.write_all(&request(Kind::Exchange, sequence, length, wanted)).unwrap();
        let (answer, content) = answer(&mut stream);
        assert_eq!((answer.id, answer.sequence, answer.length), (77, sequence, wanted));
        assert_eq!(answer.client, stream.local_addr().unwrap());
        assert_eq!(answer.status, Status::Fine);
        assert!(Payload::new(77, sequence, Direction::Response).matches(0, &content));
    }
    drop(stream);
    let counts = server.stop().unwrap();
    assert_eq!((counts.connections, counts.requests, counts.corrupt), (1, 3, 0));
    assert_eq!(counts.bytes_received, 3 * 40 + 300_010);
}

#[test]
fn a_request_that_was_changed_on_its_way_is_answered_as_corrupt() {
    let (server, address) = start(Limits::default());
    let mut stream = connect(address);
    let mut bytes = request(Kind::Exchange, 0, 100, 20);
    bytes[90] ^= 1;
    stream.write_all(&bytes).unwrap();
    assert_eq!(answer(&mut stream).0.status, Status::Corrupt);
    let counts = server.stop().unwrap();
    assert_eq!(counts.corrupt, 1);
    assert_eq!(counts.complaints().len(), 1);
}

#[test]
fn whoever_does_not_speak_the_protocol_is_closed() {
    let (server, address) = start(Limits::default());
    let two_at_once = [request(Kind::Exchange, 0, 0, 0), request(Kind::Exchange, 1, 0, 0)].concat();
    let endless = request(Kind::Exchange, 0, 0, u64::MAX);
    let http = b"GET / HTTP/1.1\r\nHost: somewhere.example\r\n\r\n".to_vec();
    for bytes in [two_at_once, endless, http] {
        let mut stream = connect(address);
        stream.write_all(&bytes).unwrap();
        // The end or a reset, but no answer.
        assert_eq!(stream.read(&mut [0; 100]).unwrap_or(0), 0);
    }
    assert_eq!(server.stop().unwrap().protocol_errors, 3);
}

#[test]
fn connections_beyond_the_limit_and_idle_ones_are_closed() {
    let (server, address) =
        start(Limits { most: 1, idle: Duration::from_millis(200), ..Limits::default() });
    let mut first = connect(address);
    first.write_all(&request(Kind::Exchange, 0, 0, 0)).unwrap();
    answer(&mut first);
    assert_eq!(connect(address).read(&mut [0; 1]).unwrap_or(0), 0, "one too many");
    assert_eq!(first.read(&mut [0; 1]).unwrap(), 0, "idle for too long");
    let counts = server.stop().unwrap();
    assert_eq!((counts.connections, counts.connections_turned_away), (1, 1));
    assert_eq!(counts.connections_idle, 1);
}

#[test]
fn a_sink_tells_what_it_got_and_whether_it_was_right() {
    use crate::sockets::blocks::BlockBuffer;

    let (server, address) = start(Limits::default());
    let mut buffer = BlockBuffer::default();
    for (id, status) in [(77, Status::Fine), (78, Status::Corrupt)] {
        let mut stream = connect(address);
        stream.write_all(&request(Kind::Sink, 0, 0, 0)).unwrap();
        stream.write_all(&buffer.from(id, 0)[..100_000]).unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        let mut head = [0; ANSWER_HEAD];
        stream.read_exact(&mut head).unwrap();
        let answer = Answer::decode(&head).unwrap();
        assert_eq!((answer.status, answer.length), (status, 100_000), "stream of {id}");
    }
    assert_eq!(server.stop().unwrap().corrupt, 1);
}

#[test]
fn datagrams_are_counted_by_flow_and_told_to_a_question_as_long_as_the_answer() {
    let (server, address) = start(Limits::default());
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(LIMIT)).unwrap();
    socket.connect(address).unwrap();
    let datagram = |sequence, content: &[u8]| {
        let head = Datagram { kind: DatagramKind::Data, id: 5, sequence }.encode();
        socket.send(&[head.as_slice(), content].concat()).unwrap();
    };
    let mut content = [0; 50];
    Payload::DATAGRAM.fill(0, &mut content);
    for sequence in [0, 1, 3, 2, 2] {
        datagram(sequence, &content);
    }
    datagram(4, &[0; 50]);
    socket.send(b"something else").unwrap();

    let mut question = Datagram { kind: DatagramKind::Query, id: 5, sequence: 0 }.encode().to_vec();
    socket.send(&question).unwrap();
    question.resize(DATAGRAM_HEAD + COUNTS, 0);
    socket.send(&question).unwrap();
    let mut answer = [0; 200];
    let length = socket.recv(&mut answer).unwrap();
    assert_eq!(length, question.len());
    let (client, counts) = FlowCounts::decode(&answer[DATAGRAM_HEAD..length]).unwrap();
    assert_eq!(client, socket.local_addr().unwrap());
    let expected =
        FlowCounts { received: 4, bytes: 4 * 74, reordered: 1, duplicated: 1, corrupt: 1 };
    assert_eq!(counts, expected);
    let counts = server.stop().unwrap();
    assert_eq!((counts.datagrams, counts.datagrams_corrupt), (6, 1));
    assert_eq!(counts.datagrams_foreign, 2, "the stranger, and the question that was too short");
}
