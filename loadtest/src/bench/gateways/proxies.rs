//! Proxies as load balancers: they end each connection and open another to a target.

use std::fmt::Write as _;
use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use halfspace_testbed::Testbed;

use super::documents::BALANCER;
use super::{Gateway, exactly, kernel};
use crate::bench::core::cores;
use crate::bench::ends::{SERVICE_PORT, TARGETS};
use crate::bench::topology::{GATEWAY_INSIDE, Topology};
use crate::error::Error;

/// How long a proxy may take to listen.
const START_LIMIT: Duration = Duration::from_secs(10);

/// Where Debian puts what nginx loads when it is told to.
const NGINX_STREAM: &str = "/usr/lib/nginx/modules/ngx_stream_module.so";

/// Most connections of a proxy at a time: many times what clients have, and few enough for the
/// descriptors that a process usually may have.
const CONNECTIONS: u32 = 4096;

/// `HAProxy` in TCP mode. Tuned as its management guide and configuration manual say: a thread for
/// each core, no logs, data spliced between the two connections of a client where that pays, the
/// segments of a connection's start saved, all ports for its own connections.
///
/// # Errors
///
/// [`Error::Testbed`] with its own words if it does not start.
pub fn haproxy(bed: &Testbed, topology: &Topology) -> Result<Gateway, Error> {
    let mut servers = String::new();
    for (number, target) in TARGETS.iter().enumerate() {
        // Writing to a String does not fail.
        let _ = writeln!(servers, "\tserver target{number} {target}:{SERVICE_PORT} check inter 5s");
    }
    let threads = cores();
    let configuration = format!(
        "global\n\
         \tnbthread {threads}\n\
         \tmaxconn {CONNECTIONS}\n\
         defaults\n\
         \tmode tcp\n\
         \tmaxconn {CONNECTIONS}\n\
         \tbacklog 65535\n\
         \toption splice-auto\n\
         \toption tcp-smart-accept\n\
         \toption tcp-smart-connect\n\
         \ttimeout connect 5s\n\
         \ttimeout client 60s\n\
         \ttimeout server 60s\n\
         listen balancer\n\
         \tbind {BALANCER}:{SERVICE_PORT}\n\
         \tbalance roundrobin\n\
         {servers}"
    );
    let path = write(bed.dir(), "haproxy", &configuration)?;
    let mut command = topology.gateway().command("haproxy");
    // In the foreground.
    command.arg("-db").arg("-f").arg(path);
    let tuned = format!(
        "nbthread {threads}, maxconn {CONNECTIONS}, splice-auto, tcp-smart-accept, \
         tcp-smart-connect, no logs"
    );
    start(topology, command, tuned)
}

/// nginx's stream module. Tuned as its documentation says: a worker for each core, each with a
/// listening socket of its own, no logs, all ports for its own connections.
///
/// # Errors
///
/// [`Error::Missing`] if there is no such module, [`Error::Testbed`] with its own words if it does
/// not start.
pub fn nginx(bed: &Testbed, topology: &Topology) -> Result<Gateway, Error> {
    if !Path::new(NGINX_STREAM).is_file() {
        let why = "nginx has no stream module: apt-get install libnginx-mod-stream";
        return Err(Error::Missing(why.to_owned()));
    }
    let targets = TARGETS.map(|target| format!("server {target}:{SERVICE_PORT};")).join(" ");
    let workers = cores();
    let configuration = format!(
        "load_module {NGINX_STREAM};\n\
         daemon off;\n\
         user root;\n\
         worker_processes {workers};\n\
         worker_cpu_affinity auto;\n\
         worker_rlimit_nofile {};\n\
         pid nginx.pid;\n\
         error_log stderr crit;\n\
         events {{ worker_connections {CONNECTIONS}; multi_accept on; }}\n\
         stream {{\n\
         \taccess_log off;\n\
         \tupstream targets {{ {targets} }}\n\
         \tserver {{\n\
         \t\tlisten {BALANCER}:{SERVICE_PORT} reuseport backlog=65535;\n\
         \t\tproxy_pass targets;\n\
         \t}}\n\
         }}\n",
        2 * CONNECTIONS
    );
    let path = write(bed.dir(), "nginx", &configuration)?;
    let mut command = topology.gateway().command("nginx");
    // Before it has read its configuration it logs to a place of the distribution's.
    command.arg("-p").arg(bed.dir()).args(["-e", "stderr"]).arg("-c").arg(path);
    let tuned = format!(
        "worker_processes {workers}, worker_cpu_affinity auto, worker_connections {CONNECTIONS}, \
         multi_accept, reuseport, no logs"
    );
    start(topology, command, tuned)
}

/// Gives the gateway its addresses, and starts the proxy on one of them.
fn start(topology: &Topology, command: Command, tuned: String) -> Result<Gateway, Error> {
    // Both guides: all ports, and those of closed connections as soon as that is safe.
    const TUNED: [(&str, &str); 2] =
        [("net.ipv4.ip_local_port_range", "1024 65535"), ("net.ipv4.tcp_tw_reuse", "1")];

    kernel::host(topology)?;
    let gateway = topology.gateway();
    gateway.sysctl(TUNED)?;
    let mut process = gateway.spawn_command(command)?;
    let address = SocketAddr::new(BALANCER.into(), SERVICE_PORT);
    gateway.enter(|| process.wait_ready(START_LIMIT, || TcpStream::connect(address).is_ok()))??;
    let mut notes = vec![tuned];
    notes.extend(TUNED.map(|(name, value)| format!("{name} = {value}")));
    Ok(Gateway::proxy(exactly(GATEWAY_INSIDE), notes, process))
}

fn write(dir: &Path, name: &str, text: &str) -> Result<PathBuf, Error> {
    let path = dir.join(name).with_extension("conf");
    let failed = |source| Error::File { action: "write", path: path.clone(), source };
    fs::write(&path, text).map_err(failed)?;
    Ok(path)
}

#[cfg(test)]
mod tests {
    use std::io::ErrorKind;
    use std::net::{IpAddr, TcpListener};

    use halfspace_testbed::{Requirement, ready, wait_until};
    use socket2::{Domain, Socket, Type};

    use super::*;
    use crate::bench::ends::route;
    use crate::bench::topology::FIRST_IN_WORLD;

    /// Connections made.
    const CONNECTED: usize = 30;

    type SetUp = fn(&Testbed, &Topology) -> Result<Gateway, Error>;

    /// The clients that have connected so far.
    fn clients(target: &TcpListener) -> Vec<IpAddr> {
        target.set_nonblocking(true).unwrap();
        let mut clients = Vec::new();
        loop {
            match target.accept() {
                Ok((_, client)) => clients.push(client.ip()),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return clients,
                Err(error) => panic!("{error}"),
            }
        }
    }

    #[test]
    fn every_target_gets_its_share_and_sees_the_clients_that_it_should_see() {
        if !ready(&[
            Requirement::Root,
            Requirement::Program("ip"),
            Requirement::Program("ethtool"),
            Requirement::Program("nft"),
            Requirement::Program("haproxy"),
            Requirement::Program("nginx"),
        ]) {
            return;
        }
        let proxy = IpAddr::V4(GATEWAY_INSIDE);
        let contenders: [(SetUp, IpAddr); 3] =
            [(haproxy, proxy), (nginx, proxy), (kernel::dnat, FIRST_IN_WORLD.into())];
        for (number, (set_up, seen)) in contenders.into_iter().enumerate() {
            let bed = Testbed::new("proxies").unwrap();
            let topology = Topology::lay(&bed, "test", 1).unwrap();
            route(&topology).unwrap();
            let listen = || TARGETS.map(|it| TcpListener::bind((it, SERVICE_PORT)).unwrap());
            let targets = topology.hosts.enter(listen).unwrap();
            let gateway = set_up(&bed, &topology).unwrap();
            // A proxy itself checks its targets, or was asked whether it listens.
            for target in &targets {
                clients(target);
            }
            let connect = || {
                let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
                socket.bind(&SocketAddr::new(FIRST_IN_WORLD.into(), 0).into())?;
                socket.connect(&SocketAddr::new(BALANCER.into(), SERVICE_PORT).into())?;
                // A proxy that saves segments waits for the first data.
                socket.send(b"x").map(|_| socket)
            };
            let connected: Vec<_> = topology
                .world
                .enter(|| (0..CONNECTED).map(|_| connect()).collect::<Result<_, _>>().unwrap())
                .unwrap();
            let mut arrived = [0; TARGETS.len()];
            wait_until(START_LIMIT, "all connections", || {
                for (target, arrived) in targets.iter().zip(&mut arrived) {
                    let clients = clients(target);
                    assert!(clients.iter().all(|it| *it == seen), "{number}: {clients:?}");
                    *arrived += clients.len();
                }
                // HAProxy's checks of its targets count too.
                arrived.iter().sum::<usize>() >= CONNECTED
            })
            .unwrap();
            assert!(arrived.iter().all(|it| *it >= CONNECTED / 6), "{number}: {arrived:?}");
            drop((connected, gateway));
        }
    }
}
