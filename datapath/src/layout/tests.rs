//! The layout against the compiled object's own type information (BTF), and the codec against
//! itself and the reference action.

use std::collections::BTreeMap;
use std::mem::offset_of;

use nf_core::verdict::{FastDrop, Punt};

use super::template::{LotSlot, MadeRecord, TemplateKey, TemplateValue};
use super::*;
use crate::ebpf::object::{OBJECT, Sizes};

mod btf;

/// Compares a structure's size, and each member's name and offset, with the C side's.
macro_rules! assert_layout {
    ($btf:expr, $c:literal, $rust:ty, $($field:ident),+) => {
        let members = BTreeMap::from([$((stringify!($field).to_owned(), offset_of!($rust, $field))),+]);
        let expected = btf::Struct { size: size_of::<$rust>(), members };
        assert_eq!($btf.structs.get($c), Some(&expected), "struct {}", $c);
    };
}

#[test]
fn every_structure_has_the_layout_that_the_compiled_object_has() {
    let btf = btf::Btf::of(OBJECT);
    assert_layout!(btf, "flow_key4", FlowKey4, saddr, daddr, sport, dport, scope_protocol);
    assert_layout!(btf, "flow_key6", FlowKey6, saddr, daddr, sport, dport, scope_protocol);
    assert_layout!(btf, "rewrite", Rewrite, sport, dport, address_delta, port_delta);
    assert_layout!(
        btf,
        "flow_state",
        FlowState,
        adjacency,
        generation,
        flow,
        last_seen,
        packets,
        bytes,
        tcp_flags,
        meter,
        flags,
        src_mac
    );
    assert_layout!(btf, "meter", MeterValue, packets, bytes);
    assert_layout!(btf, "flow_value4", FlowValue4, saddr, daddr, rewrite, state);
    assert_layout!(btf, "flow_value6", FlowValue6, saddr, daddr, rewrite, state);
    assert_layout!(btf, "adjacency", AdjacencySlot, ifindex, dst_mac, src_mac, mtu, xdp, reserved);
    assert_layout!(btf, "port", PortSettings, flags);
    assert_layout!(btf, "control", Control, layout_version, fence);
    assert_layout!(
        btf,
        "record_head",
        RecordHead,
        kind,
        reason,
        tcp_flags,
        reserved,
        ifindex,
        flow,
        length,
        segment_size
    );
    assert_layout!(btf, "restamp_key", RestampKey, is_ipv6, key);
}

#[test]
fn templates_stocks_and_their_records_have_the_layout_that_the_compiled_object_has() {
    use nf_core::fast_path::StockId;

    use crate::ebpf::stocks::Ring;

    let btf = btf::Btf::of(OBJECT);
    assert_layout!(btf, "template_key", TemplateKey, saddr, daddr, scope_protocol, dport, reserved);
    assert_layout!(
        btf,
        "template",
        TemplateValue,
        saddr,
        reverse_port,
        forward_adjacency,
        reverse_adjacency,
        generation,
        stock,
        address_delta,
        src_mac,
        flags,
        back_mac,
        forward_meter,
        reverse_meter
    );
    assert_layout!(btf, "lot", LotSlot, flow, port, reserved);
    assert_layout!(btf, "stock", Ring, head, tail, lots);
    assert_layout!(
        btf,
        "made_record",
        MadeRecord,
        head,
        key,
        saddr,
        sport,
        src_mac,
        reverse_port,
        forward_adjacency,
        reverse_adjacency,
        generation,
        stock,
        flags,
        back_mac,
        forward_meter,
        reverse_meter
    );
    let shapes = crate::ebpf::object::map_shapes(Sizes { entries4: 2, entries6: 2, ring: 1 << 18 });
    let shapes = shapes.unwrap();
    assert_eq!(shapes["stocks"].max_entries as usize, StockId::COUNT);
    assert_eq!(shapes["templates"].max_entries as usize, nf_core::fast_path::MOST_TEMPLATES);
}

#[test]
fn a_lot_is_packed_as_the_structure_stands_in_memory() {
    use nf_core::fast_path::Lot;
    use nf_core::id::FlowId;

    let lot = Lot { flow: FlowId(0x0102_0304), port: 0x0506 };
    let slot = LotSlot { flow: 0x0102_0304, port: [5, 6], reserved: 0 };
    assert_eq!(LotSlot::pack(lot).to_ne_bytes(), bytes_of(&slot));
    assert_eq!(LotSlot::unpack(LotSlot::pack(lot)), lot);
}

#[test]
fn every_verdict_has_the_number_that_the_compiled_object_has() {
    let btf = btf::Btf::of(OBJECT);
    let verdicts = &btf.enums["verdict"];
    assert_eq!(verdicts["VERDICT_FORWARD"], slot::FORWARD);
    assert_eq!(verdicts["VERDICT_PASS"], slot::PASS);
    assert_eq!(verdicts["VERDICT_TAP"], slot::TAP);
    assert_eq!(verdicts["LOST_EVENT"], slot::LOST_EVENT);
    assert_eq!(verdicts["VERDICT_PUNT"], slot::PUNT);
    assert_eq!(verdicts["VERDICT_DROP"], slot::DROP);
    for reason in Punt::ALL {
        let name = format!("PUNT_{}", reason.label().to_uppercase());
        assert_eq!(verdicts.get(&name), Some(&(slot::PUNT + *reason as u32)), "{name}");
    }
    for reason in FastDrop::ALL {
        let name = format!("DROP_{}", reason.label().to_uppercase());
        assert_eq!(verdicts.get(&name), Some(&(slot::DROP + *reason as u32)), "{name}");
    }
    let count = |prefix| verdicts.keys().filter(|name| name.starts_with(prefix)).count();
    assert_eq!(count("PUNT_"), Punt::ALL.len());
    assert_eq!(count("DROP_"), FastDrop::ALL.len());
}

fn key(port: u32, protocol: Protocol, src: &str, dst: &str) -> FlowKey {
    let tuple = Tuple { protocol, src: src.parse().unwrap(), dst: dst.parse().unwrap() };
    FlowKey { port: PortId::new(port).unwrap(), tuple }
}

fn entry(rewrite: Tuple) -> Entry {
    Entry {
        action: Action { rewrite, adjacency: AdjacencyId(77) },
        generation: Generation(u32::MAX),
        flow: FlowId(0x7fff_fffe),
        direction: Direction::Reverse,
        src_mac: Some(MacAddr::new([2, 0, 0, 0, 0, 9])),
        tracking: Tracking { source: false, destination: true },
        meter: MeterId(4095),
        usage: Usage {
            last_seen: Tick(0x0102_0304),
            packets: u64::from(u32::MAX) + 5,
            bytes: 1 << 50,
            tcp_flags: 3,
        },
    }
}

#[test]
fn an_ipv4_entry_survives_the_way_through_the_kernels_form() {
    let key = key(PortId::MAX, Protocol::Tcp, "10.0.0.5:40000", "198.51.100.7:443");
    let entry = entry(Tuple { src: "203.0.113.9:1024".parse().unwrap(), ..key.tuple });
    let Some(Item::V4(raw_key, value)) = encode(&key, &entry) else { panic!("not IPv4") };
    assert_eq!(raw_key.saddr, [10, 0, 0, 5]);
    assert_eq!(raw_key.dport, [0x01, 0xbb]);
    assert_eq!(raw_key.scope_protocol, PortId::MAX << 8 | 6);
    assert_eq!(raw_key.decode(), Some(key));
    assert_eq!(value.state.flow, 0xffff_fffe);
    assert_eq!((value.state.flags, value.state.src_mac), (2, [2, 0, 0, 0, 0, 9]));
    assert_eq!(value.decode(&key), entry);
}

#[test]
fn an_ipv6_echo_entry_survives_the_way_through_the_kernels_form() {
    let key = key(3, Protocol::Icmpv6, "[2001:db8::5]:77", "[2001:db8:1::1]:0");
    let entry = entry(Tuple { src: "[2001:db8:ffff::9]:1024".parse().unwrap(), ..key.tuple });
    let Some(Item::V6(raw_key, value)) = encode(&key, &entry) else { panic!("not IPv6") };
    assert_eq!(raw_key.decode(), Some(key));
    assert_eq!(value.decode(&key), entry);
    // 1024 - 77, and nothing for the port that an echo does not have.
    assert_eq!(u16::from_be_bytes(value.rewrite.port_delta), 1024 - 77);
}

#[test]
fn an_entry_that_holds_nobody_to_a_mac_address_comes_back_so() {
    let key = key(3, Protocol::Udp, "10.0.0.5:1", "10.0.0.6:2");
    let entry = Entry { src_mac: None, tracking: Tracking::BOTH, ..entry(key.tuple) };
    let Some(Item::V4(_, value)) = encode(&key, &entry) else { panic!("not IPv4") };
    assert_eq!((value.state.flags, value.state.src_mac), (3, [0; 6]));
    assert_eq!(value.decode(&key), entry);
}

#[test]
fn entries_of_translated_packets_are_in_the_wide_table_and_survive_the_way_through() {
    use super::translated::{FLOW_KEY_IPV4, FLOW_TRANSLATED};

    let there = key(3, Protocol::Icmpv6, "[2001:db8::5]:77", "[64:ff9b::c000:221]:0");
    let back = key(4, Protocol::Icmp, "192.0.2.33:0", "203.0.113.9:1024");
    let way = entry(back.tuple.reversed());
    let Some(Item::V6(raw_key, value)) = encode(&there, &way) else { panic!("not wide") };
    assert_eq!(raw_key.scope_protocol, 3 << 8 | 0x3a);
    assert_eq!(value.state.flags, FLOW_TRANSLATED | 2);
    assert_eq!(value.saddr, [203, 0, 113, 9, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    assert_eq!((raw_key.decode(), value.decode(&there)), (Some(there), way));
    // All that ICMPv6's checksum covers of the pseudo-header goes, but for the length.
    let gone = delta(&[&raw_key.saddr[..], &raw_key.daddr, &[0, 58]].concat(), &[]);
    assert_eq!(value.rewrite.address_delta, gone);

    let answer = entry(there.tuple.reversed());
    let Some(Item::V6(raw_key, value)) = encode(&back, &answer) else { panic!("not wide") };
    assert_eq!(raw_key.saddr, [192, 0, 2, 33, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    assert_eq!(raw_key.scope_protocol, 4 << 8 | FLOW_KEY_IPV4 | 1);
    assert_eq!((raw_key.decode(), value.decode(&back)), (Some(back), answer));
    // And the same comes.
    let [come, gone] = [value.rewrite.address_delta, gone].map(u16::from_be_bytes);
    assert_eq!(come, !gone);
    let Some(Key::V4(narrow)) = encode_key(&back) else { panic!("not IPv4") };
    assert_eq!(FlowKey6::from(&narrow), raw_key);
}

#[test]
fn a_difference_is_new_less_old_in_ones_complement() {
    assert_eq!(delta(&[0x12, 0x34], &[0x12, 0x35]), [0, 1]);
    // -1 is the complement of 1.
    assert_eq!(delta(&[0x12, 0x35], &[0x12, 0x34]), [0xff, 0xfe]);
    // Carries run around: ffff is one of the two zeros.
    assert_eq!(delta(&[0xff, 0xff, 0, 1], &[0, 0, 0, 1]), [0xff, 0xff]);
}

#[test]
fn a_key_of_mixed_families_is_none() {
    let key = key(1, Protocol::Udp, "10.0.0.1:1", "[2001:db8::1]:2");
    assert_eq!(encode_key(&key), None);
    assert_eq!(encode(&key, &entry(key.tuple)), None);
}

#[test]
fn a_key_that_no_gateway_makes_decodes_to_none() {
    let good = FlowKey4 { scope_protocol: 0x0511, ..FlowKey4::default() };
    assert!(good.decode().is_some());
    assert_eq!(FlowKey4 { scope_protocol: 0x11, ..good }.decode(), None, "no port");
    assert_eq!(FlowKey4 { scope_protocol: 0x052f, ..good }.decode(), None, "GRE");
}

#[test]
fn a_record_too_short_for_a_head_is_none() {
    let record = [RECORD_TCP; 20];
    assert!(RecordHead::split(&record).is_some());
    assert!(RecordHead::split(&record[..19]).is_none());
}
