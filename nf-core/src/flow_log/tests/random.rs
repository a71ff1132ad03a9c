//! Traffic drawn at random, with windows, ends and changes in between: the records of an interface
//! add up to the packets that came and went by its port.

use std::collections::BTreeMap;
use std::net::IpAddr;

use rand_chacha::ChaCha8Rng;
use rand_core::{Rng, SeedableRng};

use super::*;
use crate::packet::Headers;
use crate::vpc::TrafficDirection;

/// Packets and bytes, by interface, direction, and addresses there.
type Sums = BTreeMap<(&'static str, &'static str, String), (u64, u64)>;

/// The interface behind each port.
const PORTS: [(&str, &str); 3] = [("a", "eni-a"), ("b", "eni-b"), ("c", "eni-c")];

const FIELDS: &str = "interface-id flow-direction protocol pkt-srcaddr pkt-dstaddr \
                      hs-received-srcport packets bytes start end log-status";

struct Run {
    w: World,
    rng: ChaCha8Rng,
    expected: Sums,
    told: Sums,
}

impl Run {
    fn new(seed: u64) -> Self {
        let w = world(&logs());
        let rng = ChaCha8Rng::seed_from_u64(seed);
        Self { w, rng, expected: Sums::new(), told: Sums::new() }
    }

    fn below(&mut self, end: u32) -> u32 {
        self.rng.next_u32() % end
    }

    fn step(&mut self) {
        match self.below(100) {
            0..3 => _ = self.w.pass(Duration::from_secs(1 + u64::from(self.rng.next_u32() % 50))),
            3 => _ = self.w.pass(Duration::from_secs(u64::from(self.rng.next_u32() % 700))),
            4 => {
                self.w.unplug("b");
                self.w.plug("b");
            }
            5 => self.reload(),
            6..10 => self.take(),
            _ => self.packet(),
        }
    }

    /// The same state in another order: nothing may be cut short by it.
    fn reload(&mut self) {
        let extra = format!(
            "[[network_interface]]\nnetwork_interface_id = \"eni-x\"\nsubnet_id = \"subnet-1\"\n\
             private_ip_address = \"10.0.1.{}\"\n",
            30 + self.below(3)
        );
        let at = DOCUMENT.find("[[network_interface]]").unwrap();
        let (before, after) = DOCUMENT.split_at(at);
        self.w.reload(&format!("{before}{extra}{after}{}", logs()));
    }

    fn packet(&mut self) {
        let (from, inside) = match self.below(4) {
            0 => ("a", "10.0.1.10"),
            1 => ("b", "10.0.1.11"),
            2 => ("c", "10.0.1.12"),
            _ => ("wan", "192.0.2.7"),
        };
        let far = match (from, self.below(4)) {
            ("wan", _) => "198.51.100.10",
            (_, 0) => "10.0.1.10",
            // The appliance is where a route to 192.168.0.0/16 leads: not from itself.
            (_, 1) | ("c", 2) => "10.0.1.11",
            (_, 2) => "192.168.4.4",
            _ => "192.0.2.7",
        };
        // Few ports, so that there are answers, and connections are opened anew.
        let [here, there] = [1 + self.below(3), 1 + self.below(3)].map(|port| port as u16);
        let [src, dst]: [IpAddr; 2] = [inside, far].map(|ip| ip.parse().unwrap());
        let payload = vec![0; self.below(300) as usize];
        let flags = [0x02, 0x12, 0x10, 0x11, 0x04][self.below(5) as usize];
        let frame = match self.below(3) {
            0 => Frame::udp((src, here), (dst, there)).payload(payload).build(),
            1 => Frame::tcp((src, here), (dst, there))
                .flags(TcpFlags(flags))
                .payload(payload)
                .build(),
            _ => Frame::echo_request(src, dst, here, 1).payload(payload).build(),
        };
        let frame = addressed(&self.w, from, &frame);
        let sent = self.w.send(from, frame.clone());
        // An error or a reset that the gateway itself answers with comes back by the same port.
        let Some((to, out)) = sent.iter().find(|(to, out)| to != from && out.len() == frame.len())
        else {
            return;
        };
        self.expect(from, "egress", &frame);
        self.expect(&to.clone(), "ingress", &out.clone());
    }

    /// A packet passes the interface behind a port, if there is one.
    fn expect(&mut self, port: &str, direction: &'static str, frame: &[u8]) {
        let Some((_, eni)) = PORTS.iter().find(|(name, _)| *name == port) else { return };
        let headers = Headers::parse(frame).unwrap();
        let ip = headers.ip().unwrap();
        let tuple = ip.tuple().unwrap();
        let addresses =
            format!("{} {} {}", tuple.protocol.number(), tuple.src.ip(), tuple.dst.ip());
        let sum = self.expected.entry((eni, direction, addresses)).or_default();
        sum.0 += 1;
        sum.1 += ip.total_len as u64;
    }

    fn take(&mut self) {
        for (_, line) in self.w.recorded().into_iter().filter(|(log, _)| log == "fl-m") {
            let words: Vec<_> = line.split(' ').collect();
            let [eni, direction, protocol, src, dst, _, packets, bytes, start, end, status] =
                words[..]
            else {
                panic!("{line}");
            };
            let [start, end] = [start, end].map(|it| it.parse::<u64>().unwrap());
            assert!(start <= end && end - start <= 60, "{line}");
            match status {
                "OK" => {}
                "NODATA" => continue,
                _ => panic!("{line}"),
            }
            let (_, eni) = PORTS.iter().find(|(_, it)| *it == eni).unwrap();
            let ways = [TrafficDirection::Egress, TrafficDirection::Ingress];
            let way = ways.iter().find(|it| it.as_str() == direction).unwrap();
            let key = (*eni, way.as_str(), format!("{protocol} {src} {dst}"));
            let sum = self.told.entry(key).or_default();
            sum.0 += packets.parse::<u64>().unwrap();
            sum.1 += bytes.parse::<u64>().unwrap();
        }
    }
}

fn logs() -> String {
    minutely("vpc-1", FIELDS) + &log("t", "vpc-1", "traffic_type = \"REJECT\"")
}

fn run(seed: u64) {
    let mut run = Run::new(seed);
    for _ in 0..2000 {
        run.step();
    }
    // Longer than any flow lives.
    run.w.pass(Duration::from_secs(400));
    run.take();
    assert!(run.expected.len() > 20, "seed {seed}: {:?}", run.expected);
    assert_eq!(run.told, run.expected, "seed {seed}");
    assert_eq!(run.w.engine.flow_logs().flow_count(), 0, "seed {seed}");
}

#[test]
fn records_add_up_to_what_came_and_went() {
    for seed in 0..30 {
        println!("seed {seed}");
        run(seed);
    }
}
