//! Hooks on ports, and what each leaves to the other.

use std::os::fd::AsFd;
use std::time::Duration;

use nf_core::action::Action;
use nf_core::fast_path::{Entry, PortPolicy};
use nf_core::id::{AdjacencyId, PortId};
use nf_core::tuple::{FlowKey, Protocol, Tuple};
use nf_core::verdict::Punt;

use super::{Bench, adjacency, first_packet, flow};
use crate::ebpf::Ebpf;
use crate::ebpf::sys::{self, RunInput};
use crate::inject::Injector;
use crate::{AttachError, Hook, HookWish, Options};

#[test]
fn xdp_leaves_what_goes_out_of_a_port_without_xdp_to_tc() {
    const PASS: u32 = 2;
    const REDIRECT: u32 = 4;

    let Some(bench) = Bench::new("leave") else { return };
    bench.inside(|| {
        let [p0, p1] = bench.ports;
        let (mut ebpf, _) = bench.open();
        assert_eq!(ebpf.attach(p0, "p0", HookWish::Xdp).unwrap().hook, Hook::Xdp);
        assert_eq!(ebpf.attach(p1, "p1", HookWish::Auto).unwrap().hook, Hook::Tc);
        let tuple = Tuple {
            protocol: Protocol::Udp,
            src: "10.0.0.1:7".parse().unwrap(),
            dst: "10.0.0.2:53".parse().unwrap(),
        };
        let (_, entry) = flow(p0, 1);
        let entry = Entry { action: Action { rewrite: tuple, ..entry.action }, ..entry };
        ebpf.fast_path().install(&FlowKey { port: p0, tuple }, &entry);
        ebpf.fast_path().set_adjacency(AdjacencyId(5), Some(adjacency(p1)));
        ebpf.fast_path().flush();
        let frame = first_packet(7);
        let mut context = [0; 24];
        context[4..8].copy_from_slice(&(frame.len() as u32).to_ne_bytes());
        context[12..16].copy_from_slice(&p0.get().to_ne_bytes());
        let input = RunInput { data: &frame, context: &context, ..RunInput::default() };
        let run = |ebpf: &Ebpf| {
            let links = ebpf.links.links();
            let program = links.programs().xdp.as_fd();
            sys::run(program, &input, &mut []).unwrap().result
        };
        assert_eq!(run(&ebpf), PASS);
        assert_eq!(ebpf.statistics().unwrap().packets(), 0, "tc will count it");
        // The port's adjacencies follow its hook.
        ebpf.attach(p1, "p1", HookWish::Xdp).unwrap();
        assert_eq!(run(&ebpf), REDIRECT);
        assert_eq!(ebpf.statistics().unwrap().forwarded, 1);
        ebpf.attach(p1, "p1", HookWish::Tc).unwrap();
        assert_eq!(run(&ebpf), PASS);
        ebpf.uninstall().unwrap();
    });
}

#[test]
fn what_goes_up_from_a_shared_port_is_counted_once_under_xdp_as_well() {
    let Some(bench) = Bench::new("shared") else { return };
    let (mut ebpf, _) = bench.inside(|| bench.open());
    let p0 = bench.ports[0];
    bench.inside(|| {
        assert_eq!(ebpf.attach(p0, "p0", HookWish::Xdp).unwrap().hook, Hook::Xdp);
        ebpf.fast_path().add_port(p0, PortPolicy { share_with_host: true });
        ebpf.fast_path().set_own_address("10.0.0.2".parse().unwrap(), true);
    });
    let arp = [&[0xff; 6][..], &[2, 0, 0, 0, 0, 2, 0x08, 0x06], &[0; 46]].concat();
    let mut for_the_host = first_packet(1);
    for_the_host[33] = 77;
    bench
        .peer
        .enter(|| {
            let mut injector = Injector::open().unwrap();
            let q0 = PortId::new(nix::net::if_::if_nametoindex("q0").unwrap()).unwrap();
            for frame in [&arp, &for_the_host, &first_packet(1)] {
                (0..10).for_each(|_| injector.queue(q0, frame.clone()));
            }
            assert_eq!(injector.flush().failed(), 0);
        })
        .unwrap();
    let counted = || ebpf.statistics().unwrap();
    let all = || counted().packets() >= 30;
    halfspace_testbed::wait_until(Duration::from_secs(5), "30 packets", all).unwrap();
    let statistics = counted();
    let punted = statistics.punted[Punt::Miss as usize];
    assert_eq!((statistics.tapped, statistics.passed, punted), (10, 10, 10));
    assert_eq!(statistics.packets(), 30);
    assert_eq!(ebpf.receive(usize::MAX, &mut |_, _| {}), 20);
    bench.inside(|| ebpf.uninstall().unwrap());
}

#[test]
fn a_port_of_another_gateway_is_refused() {
    let Some(bench) = Bench::new("served") else { return };
    bench.inside(|| {
        let (mut first, _) = bench.open();
        first.attach(bench.ports[0], "p0", HookWish::Tc).unwrap();
        let elsewhere = bench.options().pin_dir.with_file_name("another");
        let options = Options { pin_dir: elsewhere, ..bench.options() };
        let (mut second, _) = Ebpf::open(&options).unwrap();
        let refused = second.attach(bench.ports[0], "p0", HookWish::Tc);
        assert!(matches!(refused, Err(AttachError::Served { .. })), "{refused:?}");
        // A process that goes while the other waits is waited for.
        std::thread::scope(|scope| {
            scope.spawn(|| {
                std::thread::sleep(Duration::from_millis(200));
                first.uninstall().unwrap();
            });
            second.attach(bench.ports[0], "p0", HookWish::Tc).unwrap();
        });
        second.uninstall().unwrap();
    });
}

#[test]
fn a_port_is_attached_by_what_it_is() {
    let Some(bench) = Bench::new("attach") else { return };
    bench.inside(|| {
        let (mut ebpf, _) = bench.open();
        let [p0, p1] = bench.ports;
        let attached = ebpf.attach(p0, "p0", HookWish::Auto).unwrap();
        assert_eq!(attached.hook, Hook::Tc);
        assert_eq!(attached.why, "veth carries super-packets and partial checksums");
        let attached = ebpf.attach(p0, "p0", HookWish::XdpGeneric).unwrap();
        assert_eq!(attached.hook, Hook::XdpGeneric);
        assert!(matches!(
            ebpf.attach(p1, "p0", HookWish::Auto),
            Err(AttachError::NoInterface { .. })
        ));
        let lo = PortId::new(1).unwrap();
        assert!(matches!(
            ebpf.attach(lo, "lo", HookWish::Auto),
            Err(AttachError::NotEthernet { hardware_type: 772, .. })
        ));
        // A packet larger than a page keeps XDP out of the driver: tc it is, and why is said.
        bench.gateway.ip(["link set p1 mtu 9000"]).unwrap();
        bench.peer.ip(["link set q1 mtu 9000"]).unwrap();
        let attached = ebpf.attach(p1, "p1", HookWish::Xdp).unwrap();
        assert_eq!(attached.hook, Hook::Tc);
        assert!(attached.why.starts_with("XDP cannot be attached: "), "{}", attached.why);
        ebpf.uninstall().unwrap();
    });
}
