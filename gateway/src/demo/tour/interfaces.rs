//! What the kernel itself counts on the interfaces of a namespace.

use halfspace_testbed::Namespace;
use serde::Deserialize;

use crate::demo::error::Error;

/// A link, as `ip -json -stats` shows it.
#[derive(Debug, Deserialize)]
struct Link {
    ifname: String,
    stats64: Statistics,
}

#[derive(Debug, Deserialize)]
struct Statistics {
    rx: Received,
}

#[derive(Debug, Deserialize)]
struct Received {
    packets: u64,
}

/// Packets that all interfaces but the loopback have received so far.
pub(super) fn received(namespace: &Namespace) -> Result<u64, Error> {
    let command = ["ip", "-json", "-stats", "link", "show"];
    let links: Vec<Link> = serde_json::from_str(&namespace.run(command)?.stdout)
        .map_err(|source| Error::Answer { command: command.join(" "), source })?;
    let packets = links.iter().filter(|it| it.ifname != "lo").map(|it| it.stats64.rx.packets);
    Ok(packets.sum())
}
