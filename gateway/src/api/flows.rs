//! A page of the flow table.
//!
//! The worker looks at one page's flows between two batches of packets and no more, however many
//! there are; whoever wants all asks again from where the last page ended.

use std::collections::HashMap;
use std::net::IpAddr;

use nf_core::engine::{Engine, FlowView};
use nf_core::fast_path::Usage;
use nf_core::flow::Phase;
use nf_core::id::{FlowId, PortId};
use nf_core::time::Time;
use nf_core::tuple::{Protocol, Tuple};

use super::error::Error;
use super::types::{Addresses, Flow, FlowPage, FlowQuery, Leg};
use crate::control::Shared;
use crate::functions::Names;
use crate::worker::Worker;

/// Flows looked at for a page of which no size is asked.
const USUAL_LIMIT: usize = 500;

/// Most flows looked at for one page: about a millisecond of the worker's time.
const LARGEST_LIMIT: usize = 1000;

const PROTOCOLS: [Protocol; 4] = [Protocol::Tcp, Protocol::Udp, Protocol::Icmp, Protocol::Icmpv6];

const PHASES: [Phase; 7] = [
    Phase::Opening,
    Phase::Established,
    Phase::Closing,
    Phase::TimeWait,
    Phase::Reset,
    Phase::Datagrams,
    Phase::Stream,
];

/// Which flows are wanted.
#[derive(Clone, Debug, Default)]
struct Filter {
    protocol: Option<Protocol>,
    address: Option<IpAddr>,
    port_name: Option<String>,
    phase: Option<Phase>,
}

pub(super) async fn page(shared: &Shared, query: FlowQuery) -> Result<FlowPage, Error> {
    let limit = query.limit.unwrap_or(USUAL_LIMIT);
    if !(1..=LARGEST_LIMIT).contains(&limit) {
        let message = format!("limit: {limit} is outside 1 to {LARGEST_LIMIT}");
        return Err(Error::invalid("InvalidParameterValue", &message));
    }
    let from = FlowId(query.from);
    let filter = Filter::of(query)?;
    let names = shared.functions.clone();
    let page = move |worker: &mut Worker, now| {
        let Worker { engine, datapath } = worker;
        let (mut views, next) = engine.list_flows(from, limit, datapath.fast_path());
        views.retain(|view| filter.fits(view));
        let ports = PortNames::of(engine, &views);
        let mut flows: Vec<_> =
            views.iter().map(|view| describe(now, view, &ports, &names)).collect();
        flows.retain(|flow| filter.fits_ports(flow));
        FlowPage { flows, next: next.map(|id| id.0) }
    };
    Ok(shared.worker.call(page).await?)
}

impl Filter {
    fn of(query: FlowQuery) -> Result<Self, Error> {
        let FlowQuery { protocol, address, port_name, state, .. } = query;
        let protocol = protocol
            .map(|text| choose("protocol", &text, &PROTOCOLS, Protocol::name))
            .transpose()?;
        let phase = state.map(|text| choose("state", &text, &PHASES, Phase::label)).transpose()?;
        Ok(Self { protocol, address, port_name, phase })
    }

    /// Whether the flow is wanted, as far as its ports are not asked for.
    fn fits(&self, view: &FlowView) -> bool {
        let (inside, outside) = tuples(view);
        self.protocol.is_none_or(|it| it == inside.protocol)
            && self.phase.is_none_or(|it| it == view.phase)
            && self.address.is_none_or(|it| {
                [inside.src, inside.dst, outside.src, outside.dst].iter().any(|at| at.ip() == it)
            })
    }

    fn fits_ports(&self, flow: &Flow) -> bool {
        self.port_name
            .as_ref()
            .is_none_or(|name| flow.forward.port == *name || flow.reverse.port == *name)
    }
}

/// The value of that name, or an error that lists them.
fn choose<T: Copy>(
    parameter: &str,
    text: &str,
    all: &[T],
    name: impl Fn(T) -> &'static str,
) -> Result<T, Error> {
    all.iter().copied().find(|value| name(*value) == text).ok_or_else(|| {
        let names: Vec<_> = all.iter().map(|value| name(*value)).collect();
        let message = format!("{parameter}: `{text}` is none of {}", names.join(", "));
        Error::invalid("InvalidParameterValue", &message)
    })
}

/// What the first packet came in with and left with.
fn tuples(view: &FlowView) -> (Tuple, Tuple) {
    (view.flow.forward.tuple, view.flow.reverse.tuple.reversed())
}

/// Names of the ports that some flows use.
struct PortNames(HashMap<PortId, Box<str>>);

impl PortNames {
    fn of(engine: &Engine, views: &[FlowView]) -> Self {
        let mut names: HashMap<PortId, Box<str>> = views
            .iter()
            .flat_map(|view| [view.flow.forward.port, view.flow.reverse.port])
            .map(|id| (id, id.to_string().into()))
            .collect();
        for port in engine.ports() {
            if let Some(name) = names.get_mut(&port.id) {
                name.clone_from(&port.name);
            }
        }
        Self(names)
    }

    fn get(&self, id: PortId) -> String {
        self.0.get(&id).map(ToString::to_string).unwrap_or_default()
    }
}

fn describe(now: Time, view: &FlowView, ports: &PortNames, names: &Names) -> Flow {
    let (inside, outside) = tuples(view);
    let leg = |port, received: Tuple, sent: Tuple, usage: &Usage| Leg {
        port: ports.get(port),
        received: received.into(),
        sent: sent.into(),
        packets: usage.packets,
        bytes: usage.bytes,
    };
    let FlowView { id, flow, phase, forward, reverse } = view;
    let last_seen = forward.last_seen.resolve(now).max(reverse.last_seen.resolve(now));
    Flow {
        id: id.0,
        protocol: inside.protocol.name().to_owned(),
        state: phase.label().to_owned(),
        forward: leg(flow.forward.port, inside, outside, forward),
        reverse: leg(flow.reverse.port, outside.reversed(), inside.reversed(), reverse),
        functions: names.passed(&flow.claims).map(str::to_owned).collect(),
        since_seconds: now.since(flow.since).as_secs(),
        idle_seconds: now.since(last_seen).as_secs(),
    }
}

impl From<Tuple> for Addresses {
    fn from(tuple: Tuple) -> Self {
        Self { source: tuple.src, destination: tuple.dst }
    }
}
