//! What goes over the API's socket, for the server and the client alike.
//!
//! Times are whole seconds; addresses are texts as the standard library writes them. A field may
//! be added in a later release, so a client of its own should skip those it does not know.

use std::net::{IpAddr, SocketAddr};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::actions::Request;

/// `GET /v1/status`: how the gateway is doing.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// Of the running program.
    pub version: String,
    /// Process id, in the daemon's own PID namespace.
    pub pid: u32,
    /// How long it has been running.
    pub uptime_seconds: u64,
    /// What moves packets.
    pub datapath: DatapathStatus,
    /// The desired state.
    pub resources: ResourcesStatus,
    /// Ports that are attached.
    pub ports: Vec<PortStatus>,
    /// Ports that the desired state wants and there is no interface of.
    pub missing_ports: Vec<String>,
    /// Ports that the desired state wants and that could not be attached.
    pub failed_ports: Vec<FailedPort>,
    /// Environments.
    pub environments: EnvironmentCounts,
    /// Flows.
    pub flows: FlowCounts,
    /// Next hops known or asked for.
    pub neighbours: u64,
    /// NAT gateways.
    pub nat_gateways: Vec<TranslationStatus>,
    /// Lambda bridges.
    pub lambda_bridges: Vec<TranslationStatus>,
    /// Flow logs.
    pub flow_logs: FlowLogsStatus,
}

/// The flow logs, and what they have in common.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FlowLogsStatus {
    /// `uring` or `plain`; nothing before there was a flow log.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub writer: Option<String>,
    /// Why this one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// Where their directories are.
    pub directory: String,
    /// Flows of which some interface is in a flow log.
    pub flows: u64,
    /// Records that are in no file, of whatever log.
    pub lost_records_total: u64,
    /// In the order of the document.
    pub logs: Vec<FlowLogStatus>,
}

/// A flow log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FlowLogStatus {
    /// `fl-…`
    pub flow_log_id: String,
    /// `vpc-…`, `subnet-…` or `eni-…`.
    pub resource_id: String,
    /// `ACCEPT`, `REJECT` or `ALL`.
    pub traffic_type: String,
    /// The longest time that one record is about, in seconds.
    pub max_aggregation_interval: u64,
    /// The directory of its files, below that of all.
    pub log_destination: String,
    /// Records written so far.
    pub records_total: u64,
    /// Bytes written so far.
    pub bytes_total: u64,
    /// Files begun so far.
    pub files_total: u64,
    /// EC2's words: `SUCCESS`, or `FAILED` while files cannot be written.
    pub deliver_logs_status: String,
    /// Why they cannot.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deliver_logs_error_message: Option<String>,
}

/// What moves packets.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DatapathStatus {
    /// `ebpf` or `userspace`.
    pub kind: String,
    /// Why this one.
    pub why: String,
}

/// The desired state.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResourcesStatus {
    /// The document's file.
    pub file: String,
    /// Number of the state in force.
    pub generation: u32,
    /// Whether every flow has been looked at under that state.
    pub settled: bool,
    /// Seconds since the document was last read and found valid.
    pub last_valid_seconds: u64,
    /// What is wrong with the document as it stands, if that is not the state in force.
    pub errors: Vec<String>,
    /// What it allows but hardly means.
    pub warnings: Vec<String>,
}

/// A port that is attached.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PortStatus {
    /// The interface.
    pub name: String,
    /// Its index.
    pub index: u32,
    /// Its MAC address.
    pub mac: String,
    /// The largest IP packet it takes, in bytes.
    pub mtu: u32,
    /// Whether it is up and has a carrier.
    pub up: bool,
    /// What it is for: `uplink-main`, `subnet-blue`, `eni-web`, or `i-web` if nothing is
    /// attached there.
    pub role: String,
    /// The hook it uses.
    pub hook: String,
    /// Why that one.
    pub why: String,
}

/// A port that could not be attached.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FailedPort {
    /// The interface.
    pub name: String,
    /// Why.
    pub error: String,
}

/// How many environments there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct EnvironmentCounts {
    /// Attached.
    pub attached: u64,
    /// Waiting for their bridge.
    pub waiting: u64,
}

/// How many flows there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FlowCounts {
    /// Tracked now.
    pub current: u64,
    /// Most that can be.
    pub capacity: u64,
}

/// A function that leases ports.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TranslationStatus {
    /// `nat-…` or `bridge-…`.
    pub id: String,
    /// Flows so far.
    pub flows_total: u64,
    /// Flows refused because no port was free.
    pub port_allocation_errors_total: u64,
    /// Flows refused because their client had as many ports as it may have, or its share.
    pub client_limit_errors_total: u64,
    /// Flows that ended by being idle.
    pub idle_timeouts_total: u64,
    /// Ports leased now.
    pub leased_ports: u64,
    /// Ports resting before they are leased again.
    pub quarantined_ports: u64,
    /// Ports in stock for flows that the fast path makes itself.
    pub set_aside_ports: u64,
    /// Endpoint-independent mappings now.
    pub mappings: u64,
    /// Clients that hold a port now.
    pub clients: u64,
}

/// Query of `GET /v1/nat-gateways/top`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TopQuery {
    /// Clients and destinations of each gateway, at most 1000; 10 when left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub most: Option<usize>,
}

/// Answer of `GET /v1/nat-gateways/top`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TopList {
    /// In the order of their ids.
    pub nat_gateways: Vec<NatGatewayTop>,
}

/// Who holds the ports of a NAT gateway.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NatGatewayTop {
    /// `nat-…`
    pub nat_gateway_id: String,
    /// The biggest first.
    pub clients: Vec<ClientPorts>,
    /// The biggest first.
    pub destinations: Vec<DestinationPorts>,
    /// Destinations toward which flows got no port.
    pub refused: Vec<RefusedFlows>,
}

/// A client and what it holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClientPorts {
    /// The interface that its packets come in by.
    pub port: String,
    /// The environment there, if it is one's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub environment_id: Option<String>,
    /// Its address there.
    pub address: IpAddr,
    /// Ports of the gateway that it holds.
    pub ports: u32,
}

/// A destination and what is taken toward it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DestinationPorts {
    /// `tcp`, `udp`, `icmp`, `icmpv6`
    pub protocol: String,
    /// The address that the ports are of, before an internet gateway makes an Elastic IP address of
    /// it.
    pub external_address: IpAddr,
    /// Nothing where a port is for all destinations: the gateway's mapping is endpoint-independent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub destination: Option<SocketAddr>,
    /// Ports that are taken, those included that rest or are in stock.
    pub ports: u32,
    /// Who has the most of them, where there are more than 512.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub biggest_client: Option<ClientPorts>,
}

/// Flows that got no port.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefusedFlows {
    /// Nothing of destinations past the 64th, which are counted together.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub protocol: Option<String>,
    /// Where to; nothing of the same.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub destination: Option<SocketAddr>,
    /// How many.
    pub flows_total: u64,
}

/// Query of `GET /v1/flows`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct FlowQuery {
    /// The flow number to begin with: 0, or the last page's `next`.
    pub from: u32,
    /// Flows to look at, at most 1000; the page has fewer if some do not match.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<usize>,
    /// Only of this protocol: `tcp`, `udp`, `icmp`, `icmpv6`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub protocol: Option<String>,
    /// Only with this IP address somewhere, before or after translation.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub address: Option<IpAddr>,
    /// Only over this interface.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub port_name: Option<String>,
    /// Only in this state: `opening`, `established`, `closing`, `time_wait`, `reset`, `datagrams`,
    /// `stream`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state: Option<String>,
}

/// `GET /v1/flows`: one page of the flow table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FlowPage {
    /// Flows that match, by their number.
    pub flows: Vec<Flow>,
    /// Where the next page begins, unless this is the last. A page may be empty and not the last.
    pub next: Option<u32>,
}

/// One tracked conversation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Flow {
    /// Its number in the flow table, free for another flow once this one has ended.
    pub id: u32,
    /// `tcp`, `udp`, `icmp` or `icmpv6`.
    pub protocol: String,
    /// Where it stands in its life.
    pub state: String,
    /// The way the first packet went.
    pub forward: Leg,
    /// The way back.
    pub reverse: Leg,
    /// Functions on its way, in their order: `nat`, `nlb`, `lambda_bridge`.
    pub functions: Vec<String>,
    /// How long ago it began, or was taken over by this process.
    pub since_seconds: u64,
    /// How long ago its last packet went through.
    pub idle_seconds: u64,
}

/// One direction of a flow. Of ICMP echo, the port number of the side that asks is the echo
/// identifier, the other's is 0.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Leg {
    /// The interface that packets come in by; its index if the interface is gone.
    pub port: String,
    /// The addresses they come in with.
    pub received: Addresses,
    /// The addresses they leave with.
    pub sent: Addresses,
    /// Packets so far.
    pub packets: u64,
    /// Bytes of IP packets so far.
    pub bytes: u64,
}

/// Source and destination.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Addresses {
    /// Where packets come from.
    pub source: SocketAddr,
    /// Where they go.
    pub destination: SocketAddr,
}

/// Body of `POST /v1/environments`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AttachRequest {
    /// The environment's id; left out: the interface's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub environment_id: Option<String>,
    /// The bridge to attach it to.
    pub lambda_bridge_id: String,
    /// Its interface, in the gateway's network namespace.
    pub port: String,
}

/// `GET /v1/environments`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EnvironmentList {
    /// By id.
    pub environments: Vec<Environment>,
}

/// One environment; also what `POST /v1/environments` answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Environment {
    /// Its id.
    pub environment_id: String,
    /// The bridge it is behind.
    pub lambda_bridge_id: String,
    /// Its interface.
    pub port: String,
    /// `attached`, or `waiting` while the resource document has no such bridge.
    pub state: String,
}

/// `GET /v1/targets`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TargetList {
    /// By group and address.
    pub targets: Vec<Target>,
}

/// One target of a target group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Target {
    /// Its group.
    pub target_group: String,
    /// Address and port.
    pub target: SocketAddr,
    /// `initial`, `healthy`, `unhealthy` or `unused`, `ELBv2`'s words.
    pub state: String,
    /// Flows it has now.
    pub active_flows: u64,
    /// Flows it was ever given.
    pub flows_total: u64,
}

/// Body of `POST /v1/actions`: several actions as one change of the document, all of them or none.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Transaction {
    /// What is to be done, one after the other.
    pub actions: Vec<Request>,
    /// Whether only to say if it could be done.
    #[serde(default)]
    pub dry_run: bool,
}

/// What the actions of a [`Transaction`] answer, in their order.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Answers {
    /// One for each.
    pub answers: Vec<Value>,
}

/// Body of every answer that is no success.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorBody {
    /// What went wrong.
    pub error: ErrorDetail,
}

/// What went wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorDetail {
    /// A code for programs, in EC2's manner: `InvalidEnvironmentID.NotFound`.
    pub code: String,
    /// A sentence for people.
    pub message: String,
}
