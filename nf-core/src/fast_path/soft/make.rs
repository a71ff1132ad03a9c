//! Flows made by templates, as `datapath/bpf/template.h` makes them.

use std::collections::VecDeque;

use super::parse::Parsed;
use super::{STATE_FLAGS, SoftFastPath};
use crate::action::{Action, ETHERNET_LEN};
use crate::fast_path::{Class, Direction, Entry, Event, Made, Template, Usage};
use crate::packet::{TcpFlags, checksum};
use crate::tuple::{FlowKey, Protocol};

impl SoftFastPath {
    /// Makes the flow of a packet that has none, if there is a template for it.
    pub(super) fn make_flow(&mut self, key: &FlowKey, parsed: &Parsed, frame: &[u8]) {
        let class = Class::of(key);
        let Some(template) = class.and_then(|class| self.templates.get(&class)).copied() else {
            return;
        };
        if !may_open(&template, parsed, frame) {
            return;
        }
        let stock = self.stocks.get_mut(&template.stock);
        let Some(lot) = stock.and_then(VecDeque::pop_front) else { return };
        let mut made = Made { lot, forward: *key, template, is_made: false };
        let reverse = made.reverse();
        made.is_made = reverse != *key && !self.entries.contains_key(&reverse);
        if made.is_made {
            let half = |direction, rewrite, adjacency| Entry {
                action: Action { rewrite, adjacency },
                generation: template.generation,
                flow: lot.flow,
                direction,
                src_mac: template.held_mac(direction),
                tracking: template.tracking,
                meter: template.meters[direction as usize],
                usage: Usage { last_seen: self.now, ..Usage::default() },
            };
            let back = half(Direction::Reverse, key.tuple.reversed(), template.reverse_out);
            let there = half(Direction::Forward, made.outcome(), template.forward_out);
            self.entries.insert(reverse, back);
            self.entries.insert(*key, there);
        }
        self.events.push(Event::Made(made));
    }
}

/// Whether a packet can be the first of a flow, by all that user space would look at and the class
/// does not tell. What is in doubt goes up.
fn may_open(template: &Template, parsed: &Parsed, frame: &[u8]) -> bool {
    const OPTIONLESS: std::ops::Range<usize> = ETHERNET_LEN..ETHERNET_LEN + 20;

    let opens = parsed.tuple.protocol == Protocol::Udp
        || parsed.tcp_flags & (STATE_FLAGS | TcpFlags::ACK.0) == TcpFlags::SYN.0;
    let is_optionless = parsed.transport == OPTIONLESS.end;
    let header = frame.get(OPTIONLESS).unwrap_or_default();
    opens
        && frame.get(6..12) == Some(template.src_mac.as_bytes())
        && parsed.ttl > 1
        && is_optionless
        && checksum::fold(checksum::sum(header)) == 0xffff
}
