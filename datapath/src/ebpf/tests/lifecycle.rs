//! What stays and what goes when processes start, stop, crash and change their minds.

use std::fs;
use std::io;
use std::net::IpAddr;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nf_core::fast_path::PortPolicy;
use nf_core::id::{AdjacencyId, Generation, PortId};
use nf_core::verdict::Punt;

use super::{Bench, adjacency, entries, first_packet, flow, install};
use crate::ebpf::sys::{self, RunInput, Table};
use crate::ebpf::{Ebpf, OpenError, Origin};
use crate::inject::Injector;
use crate::layout::{Control, LAYOUT_VERSION};
use crate::{HookWish, Options};

fn pins(options: &Options, prefix: &str) -> Vec<String> {
    let names = fs::read_dir(&options.pin_dir).unwrap();
    let names = names.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<_> = names.filter(|name| name.starts_with(prefix)).collect();
    names.sort();
    names
}

#[test]
fn a_restart_finds_entries_adjacencies_fence_counts_and_links() {
    let Some(bench) = Bench::new("restart") else { return };
    bench.inside(|| {
        let [p0, p1] = bench.ports;
        let (mut ebpf, origin) = bench.open();
        assert_eq!(origin, Origin::Fresh);
        install(&mut ebpf, p0, 500);
        ebpf.fast_path().set_adjacency(AdjacencyId(5), Some(adjacency(p1)));
        ebpf.fast_path().set_fence(Generation(4));
        ebpf.attach(p0, "p0", HookWish::Tc).unwrap();
        ebpf.attach(p1, "p1", HookWish::Xdp).unwrap();
        let runt = RunInput { data: &[0; 20], ..RunInput::default() };
        sys::run(ebpf.links.links().programs().tc.as_fd(), &runt, &mut []).unwrap();
        let counted = ebpf.statistics().unwrap();
        assert_eq!(counted.packets(), 1);
        let links = pins(&bench.options(), "link-");
        let expected =
            [format!("link-tcx-{p0}"), format!("link-tcx-{p1}"), format!("link-xdp-{p1}")];
        assert_eq!(links, expected);
        drop(ebpf);
        assert_eq!(pins(&bench.options(), "link-"), expected, "links outlive the process");

        let (mut ebpf, origin) = bench.open();
        assert_eq!(origin, Origin::Kept);
        let expected: Vec<_> = (0..500).map(|id| flow(p0, id)).collect();
        assert_eq!(entries(&mut ebpf), expected);
        let adjacencies = ebpf.recover(&mut |_, _| {}).unwrap();
        assert_eq!(adjacencies, [(AdjacencyId(5), adjacency(p1))]);
        assert_eq!(ebpf.statistics().unwrap(), counted);
        assert_eq!(ebpf.tables.maps().control.get(&0).unwrap().unwrap().fence, 4);
        assert_eq!(ebpf.ports(), [p0, p1]);
        assert!(ebpf.links.links().takes_xdp(p1) && !ebpf.links.links().takes_xdp(p0));
        ebpf.uninstall().unwrap();
    });
}

#[test]
fn no_packet_is_missed_while_processes_replace_each_other() {
    let Some(bench) = Bench::new("hitless") else { return };
    let (frames, restarts) = (30_000_u16, 6);
    let (mut ebpf, _) = bench.inside(|| bench.open());
    bench.inside(|| {
        ebpf.attach(bench.ports[0], "p0", HookWish::Tc).unwrap();
        ebpf.fast_path().add_port(bench.ports[0], PortPolicy::default());
    });
    std::thread::scope(|scope| {
        let sender = scope.spawn(|| {
            bench.peer.enter(|| {
                let mut injector = Injector::open().unwrap();
                let q0 = PortId::new(nix::net::if_::if_nametoindex("q0").unwrap()).unwrap();
                for id in 0..frames {
                    injector.queue(q0, first_packet(id));
                    if id % 32 == 31 {
                        injector.flush();
                        std::thread::sleep(Duration::from_micros(200));
                    }
                }
                injector.flush();
                u64::from(frames) - injector.totals().failed()
            })
        });
        let mut received = 0;
        let mut running = Some(ebpf);
        for _ in 0..restarts {
            std::thread::sleep(Duration::from_millis(50));
            let mut old = running.take().unwrap();
            received += old.receive(usize::MAX, &mut |_, _| {}) as u64;
            drop(old);
            running = Some(bench.inside(|| bench.open().0));
        }
        let mut ebpf = running.unwrap();
        let sent = sender.join().unwrap().unwrap();
        received += ebpf.receive(usize::MAX, &mut |_, _| {}) as u64;
        let statistics = ebpf.statistics().unwrap();
        assert_eq!(statistics.packets(), sent, "{statistics:?}");
        let punted = statistics.punted[Punt::Miss as usize];
        assert_eq!(punted, received, "what one process leaves in the ring the next one reads");
        bench.inside(|| ebpf.uninstall().unwrap());
    });
}

#[test]
fn a_second_process_is_refused_and_told_who_is_first() {
    let Some(bench) = Bench::new("second") else { return };
    bench.inside(|| {
        let (ebpf, _) = bench.open();
        let error = Ebpf::open(&bench.options()).unwrap_err();
        let OpenError::Busy { holder, .. } = &error else { panic!("{error}") };
        assert!(holder.starts_with(&format!("process {} (", std::process::id())), "{holder}");
        let automatic = Options { kind: crate::Kind::Auto, ..bench.options() };
        let refused = crate::Datapath::open(&automatic);
        assert!(matches!(refused, Err(crate::OpenError::Ebpf(OpenError::Busy { .. }))));
        drop(ebpf);
        bench.open().0.uninstall().unwrap();
    });
}

#[test]
fn another_table_size_keeps_the_entries() {
    let Some(bench) = Bench::new("resize") else { return };
    bench.inside(|| {
        let port = bench.ports[0];
        let (mut ebpf, _) = bench.open();
        install(&mut ebpf, port, 3000);
        ebpf.attach(port, "p0", HookWish::Tc).unwrap();
        drop(ebpf);

        let larger =
            Options { flows: 10_000, ipv6_flows: 10_000, ring_bytes: 1 << 21, ..bench.options() };
        let (mut ebpf, origin) = Ebpf::open(&larger).unwrap();
        assert_eq!(origin, Origin::Resized { lost: 0 });
        let expected: Vec<_> = (0..3000).map(|id| flow(port, id)).collect();
        assert_eq!(entries(&mut ebpf), expected);
        assert!(pins(&larger, "").iter().all(|name| !name.ends_with("-new")));
        // What the linked program sees is the new table: it holds more than the old one could.
        install(&mut ebpf, port, 12_000);
        assert_eq!(entries(&mut ebpf).len(), 12_000);
        drop(ebpf);

        // Of 4,000 IPv6 entries 2,000 fit, of 8,000 IPv4 entries likewise.
        let smaller = Options { flows: 1000, ipv6_flows: 1000, ..larger };
        let (mut ebpf, origin) = Ebpf::open(&smaller).unwrap();
        assert_eq!(origin, Origin::Resized { lost: 8000 });
        assert_eq!(entries(&mut ebpf).len(), 4000);
        ebpf.uninstall().unwrap();
    });
}

#[test]
fn maps_of_another_layout_are_not_read() {
    let Some(bench) = Bench::new("foreign") else { return };
    bench.inside(|| {
        let port = bench.ports[0];
        let (mut ebpf, _) = bench.open();
        install(&mut ebpf, port, 10);
        ebpf.attach(port, "p0", HookWish::Tc).unwrap();
        let control = Control { layout_version: 99, fence: 0 };
        ebpf.tables.maps().control.set(&0, &control).unwrap();
        drop(ebpf);

        let (mut ebpf, origin) = bench.open();
        assert_eq!(
            origin.to_string(),
            format!(
                "new maps; those of an earlier process cannot be read: they have layout version \
                 99, this is {LAYOUT_VERSION}"
            )
        );
        assert_eq!(entries(&mut ebpf), []);
        // The link stays, on the new program.
        assert_eq!(ebpf.ports(), [port]);
        drop(ebpf);

        fs::remove_file(bench.options().pin_dir.join("own6")).unwrap();
        let (ebpf, origin) = bench.open();
        assert_eq!(origin, Origin::Foreign { why: "the map own6 is missing".to_owned() });
        drop(ebpf);
        assert_eq!(bench.open().1, Origin::Kept);
        bench.open().0.uninstall().unwrap();
    });
}

#[test]
fn the_link_of_an_interface_that_is_gone_is_removed() {
    let Some(bench) = Bench::new("stale") else { return };
    bench.inside(|| {
        let [p0, p1] = bench.ports;
        let (mut ebpf, _) = bench.open();
        ebpf.attach(p0, "p0", HookWish::Tc).unwrap();
        ebpf.attach(p1, "p1", HookWish::Xdp).unwrap();
        drop(ebpf);
        bench.gateway.ip(["link delete p1"]).unwrap();
        let (mut ebpf, _) = bench.open();
        assert_eq!(ebpf.ports(), [p0]);
        assert_eq!(pins(&bench.options(), "link-"), [format!("link-tcx-{p0}")]);
        // The same while the process runs.
        bench.gateway.ip(["link delete p0"]).unwrap();
        ebpf.detach(p0);
        assert!(pins(&bench.options(), "link-").is_empty());
        ebpf.uninstall().unwrap();
    });
}

#[test]
fn what_a_new_process_does_not_claim_is_removed() {
    let Some(bench) = Bench::new("claims") else { return };
    bench.inside(|| {
        let [p0, p1] = bench.ports;
        let own: [IpAddr; 2] = ["192.0.2.1".parse().unwrap(), "2001:db8::1".parse().unwrap()];
        let (mut ebpf, _) = bench.open();
        for (port, name) in [(p0, "p0"), (p1, "p1")] {
            ebpf.attach(port, name, HookWish::Tc).unwrap();
            ebpf.fast_path().add_port(port, PortPolicy { share_with_host: true });
        }
        for address in own {
            ebpf.fast_path().set_own_address(address, true);
        }
        drop(ebpf);

        let (mut ebpf, _) = bench.open();
        ebpf.attach(p1, "p1", HookWish::Tc).unwrap();
        ebpf.fast_path().add_port(p1, PortPolicy { share_with_host: true });
        ebpf.fast_path().set_own_address(own[1], true);
        assert_eq!(ebpf.ports(), [p0, p1], "nothing goes before it is known to be unclaimed");
        ebpf.finish_recovery();
        assert_eq!(ebpf.ports(), [p1]);
        let maps = ebpf.tables.maps();
        assert_eq!(maps.ports.get(&p0.get()).unwrap(), None);
        assert!(maps.ports.get(&p1.get()).unwrap().is_some());
        assert_eq!(maps.own4.get(&[192, 0, 2, 1]).unwrap(), None);
        let IpAddr::V6(kept) = own[1] else { unreachable!() };
        assert_eq!(maps.own6.get(&kept.octets()).unwrap(), Some(1));
        ebpf.uninstall().unwrap();
    });
}

#[test]
fn a_data_path_can_move_to_the_thread_that_works_with_it() {
    const fn is_send<T: Send>() {}
    is_send::<crate::Datapath>();
}

#[test]
fn uninstalling_leaves_nothing() {
    let Some(bench) = Bench::new("uninstall") else { return };
    bench.inside(|| {
        let (mut ebpf, _) = bench.open();
        ebpf.attach(bench.ports[0], "p0", HookWish::Xdp).unwrap();
        let dir = bench.options().pin_dir;
        let map = Table::<u32, Control>::new(sys::open_pinned(&dir.join("control")).unwrap());
        assert!(map.is_ok());
        ebpf.uninstall().unwrap();
        assert!(!dir.exists());
        let shown = bench.gateway.run(["ip", "-details", "link", "show", "p0"]).unwrap();
        assert!(!shown.stdout.contains("xdp"), "{}", shown.stdout);
    });
}

#[test]
fn a_bpf_file_system_is_mounted_where_one_usually_is() {
    use nix::mount::{MntFlags, MsFlags, mount, umount2};
    use nix::sched::{CloneFlags, unshare};

    let Some(bench) = Bench::new("mount") else { return };
    bench.inside(|| {
        // A mount namespace of this thread's own: the machine's stays as it is.
        unshare(CloneFlags::CLONE_NEWNS).unwrap();
        let private = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
        mount(None::<&Path>, "/", None::<&Path>, private, None::<&Path>).unwrap();
        while umount2("/sys/fs/bpf", MntFlags::MNT_DETACH).is_ok() {}
        let pin_dir = PathBuf::from("/sys/fs/bpf/halfspace-test/one");
        let options = Options { pin_dir: pin_dir.clone(), ..bench.options() };
        let (ebpf, _) = Ebpf::open(&options).unwrap();
        assert!(pin_dir.join("flows4").exists());
        ebpf.uninstall().unwrap();
        let elsewhere = Options { pin_dir: PathBuf::from("/tmp/halfspace-test"), ..options };
        assert!(matches!(Ebpf::open(&elsewhere), Err(OpenError::NoBpffs { .. })));
        let error: io::Error = fs::metadata("/tmp/halfspace-test").unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
    });
}

#[test]
fn links_that_are_to_go_stay_if_their_port_is_attached_before_they_have() {
    let Some(bench) = Bench::new("leaving") else { return };
    bench.inside(|| {
        let (mut ebpf, _) = bench.open();
        let port = bench.ports[0];
        let linker = ebpf.linker();
        ebpf.attach(port, "p0", HookWish::Tc).unwrap();
        ebpf.let_go(port);
        ebpf.attach(port, "p0", HookWish::Tc).unwrap();
        linker.unlink(port);
        assert_eq!(ebpf.ports(), [port]);
        ebpf.let_go(port);
        linker.unlink(port);
        assert_eq!(ebpf.ports(), []);
        ebpf.uninstall().unwrap();
    });
}
