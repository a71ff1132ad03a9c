//! Network namespaces for these tests: made by the test, gone with it.

use std::fs::File;
use std::io;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use nf_core::id::PortId;
use nix::sched::{CloneFlags, setns};
use socket2::{Domain, Socket, Type};

static NEXT: AtomicU32 = AtomicU32::new(0);

/// Whether the test can run; says why not.
pub fn can_run() -> bool {
    if nix::unistd::geteuid().is_root() {
        return true;
    }
    let reason = "skipped: making network namespaces needs root";
    assert!(std::env::var_os("HALFSPACE_REQUIRE_ALL").is_none_or(|v| v != "1"), "{reason}");
    eprintln!("{reason}");
    false
}

/// A network namespace that is deleted, with all its interfaces, when this is dropped.
pub struct Netns {
    name: String,
}

impl Netns {
    pub fn new(role: &str) -> Self {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("hs-us-{}-{number}-{role}", std::process::id());
        ip(&["netns", "add", &name]);
        let netns = Self { name };
        netns.ip(&["link", "set", "lo", "up"]);
        netns
    }

    /// Runs `ip` in the namespace.
    pub fn ip(&self, arguments: &[&str]) {
        ip(&[&["-n", &self.name], arguments].concat());
    }

    /// Joins this namespace and another by a veth pair; both ends are up, with these MACs.
    pub fn veth(&self, end: (&str, &str), peer_netns: &Self, peer: (&str, &str)) {
        #[rustfmt::skip]
        self.ip(&[
            "link", "add", end.0, "address", end.1, "type", "veth",
            "peer", "name", peer.0, "address", peer.1, "netns", &peer_netns.name,
        ]);
        for (netns, end) in [(self, end.0), (peer_netns, peer.0)] {
            // Without link-local addresses the stacks send nothing of their own accord.
            netns.ip(&["link", "set", end, "addrgenmode", "none", "up"]);
        }
    }

    /// Runs a function on a thread of its own inside the namespace.
    pub fn spawn<T: Send + 'static>(
        &self,
        run: impl FnOnce() -> T + Send + 'static,
    ) -> JoinHandle<T> {
        let file = File::open(format!("/run/netns/{}", self.name)).expect("the namespace exists");
        thread::spawn(move || {
            setns(file, CloneFlags::CLONE_NEWNET).expect("root may enter a namespace");
            run()
        })
    }

    /// As [`Self::spawn`], and waits for the result.
    pub fn run<T: Send + 'static>(&self, run: impl FnOnce() -> T + Send + 'static) -> T {
        self.spawn(run).join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }

    /// A packet socket that hears every frame of one ether type (host byte order).
    pub fn listen(&self, ether_type: u16) -> Socket {
        self.run(move || {
            // `socket(2)` wants it in network byte order.
            let protocol = i32::from(ether_type.to_be()).into();
            let socket = Socket::new(Domain::PACKET, Type::RAW, Some(protocol)).expect("root may");
            socket.set_read_timeout(Some(Duration::from_secs(5))).expect("a time-out");
            socket
        })
    }

    /// The index of an interface in the namespace.
    pub fn port(&self, interface: &'static str) -> PortId {
        self.run(move || {
            let index = nix::net::if_::if_nametoindex(interface).expect("the interface exists");
            PortId::new(index).expect("a small index")
        })
    }
}

impl Drop for Netns {
    fn drop(&mut self) {
        // Also while a failed test unwinds: no assertion here.
        let _ = Command::new("ip").args(["netns", "delete", &self.name]).status();
    }
}

/// Repeats a call that a signal interrupted: sockets with a time-out are not restarted by the
/// kernel, nor by the standard library.
pub fn uninterrupted<T>(mut call: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    loop {
        match call() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}

fn ip(arguments: &[&str]) {
    let output = Command::new("ip").args(arguments).output().expect("iproute2 is installed");
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "ip {}: {complaint}", arguments.join(" "));
}
