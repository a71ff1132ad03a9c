//! `halfspace flows`: the flow table, page by page.

use std::io;
use std::net::IpAddr;

use clap::Args;
use comfy_table::Table;

use super::{Error, Gateway, output};
use crate::api::types::{Flow, FlowQuery};

/// Flows that a page of the API looks at: most answers are small, none keeps the worker long.
const PAGE: usize = 1000;

/// Which flows are listed.
#[derive(Args, Debug)]
pub(super) struct Flows {
    #[command(flatten)]
    gateway: Gateway,

    /// Only of this protocol
    #[arg(long, value_parser = ["tcp", "udp", "icmp", "icmpv6"])]
    protocol: Option<String>,

    /// Only with this IP address, before or after translation
    #[arg(long)]
    address: Option<IpAddr>,

    /// Only over this interface
    #[arg(long, value_name = "INTERFACE")]
    port_name: Option<String>,

    /// Only in this state
    #[arg(
        long,
        value_parser = ["opening", "established", "closing", "time_wait", "reset", "datagrams"]
    )]
    state: Option<String>,

    /// At most this many
    #[arg(long, value_name = "COUNT")]
    limit: Option<usize>,

    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl Flows {
    pub(super) async fn execute(&self) -> Result<(), Error> {
        let mut client = self.gateway.connect().await?;
        let mut query = FlowQuery {
            from: 0,
            limit: Some(PAGE),
            protocol: self.protocol.clone(),
            address: self.address,
            port_name: self.port_name.clone(),
            state: self.state.clone(),
        };
        let mut left = self.limit.unwrap_or(usize::MAX);
        let mut listing = Listing::begin(self.json)?;
        while left > 0 {
            let mut page = client.flows(&query).await?;
            page.flows.truncate(left);
            left -= page.flows.len();
            listing.page(&page.flows)?;
            match page.next {
                Some(next) => query.from = next,
                None => break,
            }
        }
        listing.end()?;
        Ok(())
    }
}

/// Prints page by page: a million flows are not kept until the last has come. As JSON it is one
/// object all the same, with a flow on each line.
struct Listing {
    json: bool,
    /// Nothing yet.
    empty: bool,
}

impl Listing {
    fn begin(json: bool) -> io::Result<Self> {
        if json {
            output::text("{\"flows\": [")?;
        }
        Ok(Self { json, empty: true })
    }

    fn page(&mut self, flows: &[Flow]) -> io::Result<()> {
        if self.json {
            for flow in flows {
                let separator = if self.empty { "\n" } else { ",\n" };
                output::text(format_args!("{separator}{}", serde_json::to_string(flow)?))?;
                self.empty = false;
            }
            return Ok(());
        }
        if flows.is_empty() && !self.empty {
            return Ok(());
        }
        // The headings stand above the first page only.
        let rows = table(flows);
        let headings = usize::from(!self.empty);
        self.empty = false;
        rows.lines().skip(headings).try_for_each(|row| output::line(row.trim_end()))
    }

    fn end(self) -> io::Result<()> {
        if self.json { output::line("\n]}") } else { Ok(()) }
    }
}

fn table(flows: &[Flow]) -> Table {
    let mut table = output::table(&[
        "ID",
        "PROTOCOL",
        "STATE",
        "IN",
        "SOURCE",
        "DESTINATION",
        "OUT",
        "NEW SOURCE",
        "NEW DESTINATION",
        "SENT",
        "RECEIVED",
        "IDLE",
        "VIA",
    ]);
    output::align_right(&mut table, &[0, 9, 10, 11]);
    for flow in flows {
        let (there, back) = (&flow.forward, &flow.reverse);
        table.add_row([
            flow.id.to_string(),
            flow.protocol.clone(),
            flow.state.clone(),
            there.port.clone(),
            there.received.source.to_string(),
            there.received.destination.to_string(),
            back.port.clone(),
            there.sent.source.to_string(),
            there.sent.destination.to_string(),
            output::bytes(there.bytes),
            output::bytes(back.bytes),
            output::seconds(flow.idle_seconds),
            flow.functions.join(" "),
        ]);
    }
    table
}
