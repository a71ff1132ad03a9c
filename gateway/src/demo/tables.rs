//! The two tables at the end: who was seen as whom, and what was sent against what was counted.

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, SocketAddr};

use comfy_table::{CellAlignment, Table, presets};

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
    pub(super) fn total(&self) -> usize {
        self.seen.values().sum()
    }

    /// Whether every connection came from `address`.
    pub(super) fn all_from(&self, address: IpAddr) -> bool {
        self.seen.keys().all(|seen| *seen == address)
    }

    /// Whether no two connections had the same address and port.
    pub(super) fn all_distinct(&self) -> bool {
        self.ports == self.total()
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

/// Who was seen as whom.
pub(super) fn sources(rows: &[SourceRow]) -> Table {
    let mut table = table(["who asked", "own address", "whom", "connections", "the server saw"]);
    for row in rows {
        let seen: Vec<_> = row.seen.keys().map(ToString::to_string).collect();
        let ports = if row.ports > 1 { format!(", {} ports", row.ports) } else { String::new() };
        table.add_row([
            row.clients.clone(),
            row.own.to_string(),
            row.server.clone(),
            row.total().to_string(),
            seen.join(" ") + &ports,
        ]);
    }
    right(&mut table, 3);
    table
}

/// What was sent against what was counted.
pub(super) fn counts(rows: &[CountRow]) -> Table {
    let mut table = table(["what", "sent", "counted", "metric, halfspace_…"]);
    for row in rows {
        table.add_row([
            row.what.clone(),
            row.sent.to_string(),
            row.counted.to_string(),
            row.metric.clone(),
        ]);
    }
    right(&mut table, 1);
    right(&mut table, 2);
    table
}

fn table<const N: usize>(header: [&str; N]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::UTF8_FULL_CONDENSED).set_header(header);
    table
}

/// Figures line up on the right.
fn right(table: &mut Table, column: usize) {
    if let Some(column) = table.column_mut(column) {
        column.set_cell_alignment(CellAlignment::Right);
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
    fn figures_line_up_and_the_ports_are_told() {
        let one = row(&["203.0.113.1:1024", "203.0.113.1:1025"]);
        let table = sources(&[one]).to_string();
        let line = table.lines().nth(3).unwrap();
        assert!(line.contains("┆           2 ┆ 203.0.113.1, 2 ports"), "{table}");
    }
}
