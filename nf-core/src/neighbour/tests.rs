//! Next hops over time: asked for, known, silent, gone.

use super::*;

const MAC: MacAddr = MacAddr::new([2, 0, 0, 0, 0, 1]);
const OTHER: MacAddr = MacAddr::new([2, 0, 0, 0, 0, 2]);

fn frame(mark: u8) -> Waiting {
    Waiting { frame: vec![mark], segment_size: 0 }
}

struct Fixture {
    table: Neighbours,
    now: Time,
    port: PortId,
    ip: IpAddr,
}

impl Fixture {
    fn new() -> Self {
        Self {
            table: Neighbours::new(4, 1),
            now: Time::from_secs(100),
            port: PortId::new(1).unwrap(),
            ip: "10.0.0.9".parse().unwrap(),
        }
    }

    fn slot(&mut self) -> AdjacencyId {
        self.table.slot(self.now, self.port, NextHop::Ip(self.ip)).unwrap()
    }

    /// Lets `seconds` pass one by one.
    fn pass(&mut self, seconds: u64) -> (Vec<Solicitation>, Vec<Change>) {
        let (mut ask, mut changes) = (Vec::new(), Vec::new());
        for _ in 0..seconds {
            self.now = self.now + Duration::from_secs(1);
            self.table.advance(self.now, &mut ask, &mut changes);
        }
        (ask, changes)
    }
}

#[test]
fn a_next_hop_is_asked_for_three_times_and_then_given_up() {
    let mut f = Fixture::new();
    let slot = f.slot();
    f.table.hold(slot);
    assert_eq!(f.table.enqueue(slot, frame(1)), None);
    let (ask, changes) = f.pass(10);
    let question = Solicitation { port: f.port, target: f.ip, known: None };
    assert_eq!(ask, vec![question; 3]);
    assert_eq!(changes, vec![Change::Failed { slot, waiting: 1 }]);
}

#[test]
fn an_answer_releases_the_waiting_frames_in_order() {
    let mut f = Fixture::new();
    let slot = f.slot();
    f.table.enqueue(slot, frame(1));
    f.table.enqueue(slot, frame(2));
    let change = f.table.learn(f.now, f.port, f.ip, MAC).unwrap();
    let waiting = vec![frame(1), frame(2)];
    assert_eq!(change, Change::Resolved { slot, port: f.port, mac: MAC, waiting });
    assert_eq!(f.table.resolved(slot), Some((f.port, MAC)));
}

#[test]
fn the_queue_is_bounded_and_the_oldest_frame_gives_way() {
    let mut f = Fixture::new();
    let slot = f.slot();
    for n in 0..QUEUE_LEN {
        assert_eq!(f.table.enqueue(slot, frame(n as u8)), None);
    }
    assert_eq!(f.table.enqueue(slot, frame(99)), Some(frame(0)));
}

#[test]
fn a_message_about_an_address_nobody_needs_changes_nothing() {
    let mut f = Fixture::new();
    assert_eq!(f.table.learn(f.now, f.port, f.ip, MAC), None);
    assert!(f.table.is_empty());
}

#[test]
fn a_used_next_hop_that_falls_silent_is_emptied_and_revived_by_need() {
    let mut f = Fixture::new();
    let slot = f.slot();
    f.table.hold(slot);
    f.table.learn(f.now, f.port, f.ip, MAC);
    let (ask, changes) = f.pass(40);
    assert_eq!(ask, vec![Solicitation { port: f.port, target: f.ip, known: Some(MAC) }; 3]);
    assert_eq!(changes, vec![Change::Failed { slot, waiting: 0 }]);
    assert_eq!(f.table.resolved(slot), None);

    assert!(f.table.revive(f.now, slot));
    let (ask, _) = f.pass(1);
    assert_eq!(ask, vec![Solicitation { port: f.port, target: f.ip, known: None }]);
    let change = f.table.learn(f.now, f.port, f.ip, OTHER).unwrap();
    assert_eq!(change, Change::Resolved { slot, port: f.port, mac: OTHER, waiting: Vec::new() });
}

#[test]
fn an_unused_next_hop_is_forgotten_without_a_question() {
    let mut f = Fixture::new();
    let slot = f.slot();
    f.table.learn(f.now, f.port, f.ip, MAC);
    let (ask, changes) = f.pass(31);
    assert_eq!(ask, vec![]);
    assert_eq!(changes, vec![Change::Failed { slot, waiting: 0 }]);
    assert!(f.table.is_empty());
}

#[test]
fn a_flood_of_messages_costs_no_memory() {
    let mut f = Fixture::new();
    let slot = f.slot();
    f.table.hold(slot);
    for n in 0..10_000 {
        f.table.learn(f.now, f.port, f.ip, if n % 2 == 0 { MAC } else { OTHER });
        f.pass(0);
    }
    assert!(f.table.timers.len() <= 2, "{}", f.table.timers.len());
    f.pass(29);
    f.table.learn(f.now, f.port, f.ip, MAC);
    assert_eq!(f.pass(29), (vec![], vec![]), "the last message is trusted for as long as any");
    assert_eq!(f.pass(1).0.len(), 1);
}

#[test]
fn a_next_hop_that_failed_goes_with_its_last_user() {
    let mut f = Fixture::new();
    let slot = f.slot();
    f.table.hold(slot);
    f.pass(10);
    f.table.let_go(slot);
    f.pass(40);
    assert!(f.table.is_empty());
}

#[test]
fn a_next_hop_that_failed_takes_nothing_to_wait_until_it_is_asked_for_again() {
    let mut f = Fixture::new();
    let slot = f.slot();
    f.table.hold(slot);
    f.pass(4);
    assert!(!f.table.revive(f.now, slot));
    assert_eq!(f.table.enqueue(slot, frame(1)), Some(frame(1)));
    f.pass(1);
    assert!(f.table.revive(f.now, slot));
    assert_eq!(f.table.enqueue(slot, frame(2)), None);
    assert_eq!(f.pass(4).1, vec![Change::Failed { slot, waiting: 1 }]);
}

#[test]
fn a_fixed_next_hop_without_users_goes_when_it_is_next_looked_at() {
    let mut f = Fixture::new();
    let slot = f.table.slot(f.now, f.port, NextHop::Mac(MAC)).unwrap();
    f.table.hold(slot);
    f.pass(100);
    assert_eq!(f.table.resolved(slot), Some((f.port, MAC)));
    f.table.let_go(slot);
    f.pass(30);
    assert!(f.table.is_empty());
}

#[test]
fn slots_that_are_kept_free_are_not_given_out_until_they_are_open() {
    let mut f = Fixture::new();
    f.table.keep_free(AdjacencyId(2));
    assert_eq!(f.slot(), AdjacencyId(2));
    let hop = NextHop::Mac(MAC);
    let restored = f.table.restore(f.now, AdjacencyId(1), f.port, hop, MAC);
    assert_eq!(restored, Ok(AdjacencyId(1)));
    f.table.open_gaps();
    let hop = NextHop::Mac(OTHER);
    assert_eq!(f.table.slot(f.now, f.port, hop), Ok(AdjacencyId(0)));
}

#[test]
fn a_full_table_refuses_and_a_removed_port_makes_room() {
    let mut f = Fixture::new();
    for n in 0..4 {
        f.table.slot(f.now, f.port, NextHop::Mac(MacAddr::new([2, 0, 0, 0, 1, n]))).unwrap();
    }
    assert_eq!(f.table.slot(f.now, f.port, NextHop::Ip(f.ip)), Err(Full));
    let mut changes = Vec::new();
    f.table.remove_port(f.now, f.port, &mut changes);
    assert_eq!(changes.len(), 4);
    f.slot();
}
