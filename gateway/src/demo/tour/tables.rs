//! The tour's two tables: who was seen as whom, and what was sent against what was counted.

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, SocketAddr};

use crate::demo::report::Report;
use crate::demo::tables::Head;

const SOURCES: Head = Head {
    title: "Who was seen as whom",
    columns: &["who asked", "own address", "whom", "connections", "the server saw"],
    figures: &[3],
};

const COUNTS: Head = Head {
    title: "What was sent, and what was counted",
    columns: &["what", "sent", "counted", "metric, halfspace_…"],
    figures: &[1, 2],
};

/// Clients and what a server saw of them.
#[derive(Debug)]
pub(super) struct SourceRow {
    /// Who asked.
    pub clients: String,
    /// Their own address.
    pub own: IpAddr,
    /// Whom they asked.
    pub server: String,
    /// Connections by the address that the server saw.
    seen: BTreeMap<IpAddr, usize>,
    /// Different ports among them.
    ports: usize,
}

impl SourceRow {
    /// From the clients in a server's access log.
    pub(super) fn new(clients: String, own: IpAddr, server: String, log: &[SocketAddr]) -> Self {
        let mut seen = BTreeMap::new();
        for client in log {
            *seen.entry(client.ip()).or_default() += 1;
        }
        let mut ports: Vec<_> = log.to_vec();
        ports.sort_unstable();
        ports.dedup();
        Self { clients, own, server, seen, ports: ports.len() }
    }

    /// Connections in all.
    fn total(&self) -> usize {
        self.seen.values().sum()
    }

    /// Whether every connection came from `address`.
    fn all_from(&self, address: IpAddr) -> bool {
        self.seen.keys().all(|seen| *seen == address)
    }

    /// Whether no two connections had the same address and port.
    pub(super) fn all_distinct(&self) -> bool {
        self.ports == self.total()
    }

    /// Takes it into the table, and checks that it is right.
    pub(super) fn tell(self, report: &mut Report, expected: IpAddr, connections: usize) {
        let name = format!("{} saw {} connections, all from {expected}", self.server, self.total());
        let right = self.total() == connections && self.all_from(expected);
        let instead = format!("expected {connections} from {expected}, found {self}");
        report.tables.add(&SOURCES, self.cells());
        report.holds(name, right, instead);
    }

    fn cells(&self) -> [String; 5] {
        let seen: Vec<_> = self.seen.keys().map(ToString::to_string).collect();
        let ports = if self.ports > 1 { format!(", {} ports", self.ports) } else { String::new() };
        [
            self.clients.clone(),
            self.own.to_string(),
            self.server.clone(),
            self.total().to_string(),
            seen.join(" ") + &ports,
        ]
    }
}

impl fmt::Display for SourceRow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.seen.is_empty() {
            return f.write_str("nobody");
        }
        let seen: Vec<_> = self.seen.iter().map(|(ip, count)| format!("{count} × {ip}")).collect();
        f.write_str(&seen.join(", "))
    }
}

/// A number that was sent, and the metric that should be equal to it.
#[derive(Debug)]
pub(super) struct CountRow {
    /// What was counted.
    pub what: String,
    /// How many there were.
    pub sent: u64,
    /// The metric.
    pub metric: String,
    /// What it says.
    pub counted: u64,
}

impl CountRow {
    /// Takes it into the table, and checks that both numbers are equal.
    pub(super) fn tell(self, report: &mut Report) {
        let name = format!("{}: {} sent, {} counted", self.what, self.sent, self.counted);
        let right = self.sent == self.counted;
        let figures = [self.sent, self.counted].map(|figure| figure.to_string());
        let [sent, counted] = figures;
        report.tables.add(&COUNTS, [self.what, sent, counted, self.metric]);
        report.holds(name, right, "they differ");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(log: &[&str]) -> SourceRow {
        let log: Vec<_> = log.iter().map(|client| client.parse().unwrap()).collect();
        let own = "169.254.100.2".parse().unwrap();
        SourceRow::new("three environments".to_owned(), own, "the website".to_owned(), &log)
    }

    #[test]
    fn a_log_is_summed_up_by_address() {
        let row = row(&["203.0.113.1:1024", "203.0.113.2:1024", "203.0.113.1:1025"]);
        assert_eq!(row.total(), 3);
        assert_eq!(row.to_string(), "2 × 203.0.113.1, 1 × 203.0.113.2");
        assert!(row.all_distinct());
        assert!(!row.all_from("203.0.113.1".parse().unwrap()));
    }

    #[test]
    fn clients_with_one_address_and_port_are_not_distinct() {
        let row = row(&["203.0.113.1:1024", "203.0.113.1:1024"]);
        assert!(row.all_from("203.0.113.1".parse().unwrap()));
        assert!(!row.all_distinct());
    }

    #[test]
    fn the_table_tells_the_addresses_and_how_many_ports() {
        let cells = row(&["203.0.113.1:1024", "203.0.113.1:1025"]).cells();
        assert_eq!(cells[3..], ["2", "203.0.113.1, 2 ports"]);
    }
}
