//! The worker's end.

use super::*;

/// Batches that the writer's end has now.
fn received(receiver: &mut mpsc::Receiver<Batch>) -> usize {
    std::iter::from_fn(|| receiver.try_recv().ok()).map(|batch| batch.records.len()).sum()
}

/// Makes records of so many flows, and leaves them in the engine.
fn make(bench: &mut Bench, flows: u16) {
    let mac = MacAddr::new([2, 0, 0, 0, 0, 0x0a]);
    for n in 0..flows {
        let frame = Frame::udp(([10, 0, 1, 10], n + 1), ([10, 0, 1, 11], 53));
        let frame = frame.macs(mac, bench.world.mac("a")).build();
        assert_eq!(bench.world.send("a", frame).len(), 1);
    }
    bench.world.unplug("b");
    bench.world.plug("b");
}

#[test]
fn a_writer_that_takes_nothing_keeps_nobody_waiting() {
    let mut bench = Bench::new("");
    let (sender, mut receiver) = mpsc::channel(2);
    let mut feed = Feed::new(sender);
    for _ in 0..3 {
        make(&mut bench, 2048);
    }
    let now = bench.world.now;
    feed.turn(&mut bench.world.engine, now);
    assert_eq!(bench.world.engine.flow_logs().queued(), 3 * 2048 - 2 * 1024);
    feed.turn(&mut bench.world.engine, now);
    assert_eq!(bench.world.engine.flow_logs().queued(), 3 * 2048 - 2 * 1024, "no room");
    let mut taken = 0;
    while bench.world.engine.flow_logs().queued() > 0 {
        taken += received(&mut receiver);
        feed.turn(&mut bench.world.engine, now);
    }
    taken += received(&mut receiver);
    assert_eq!(taken, 3 * 2048);
}

#[test]
fn a_few_records_wait_a_second_for_more() {
    let mut bench = Bench::new("");
    let (sender, mut receiver) = mpsc::channel(2);
    let mut feed = Feed::new(sender);
    make(&mut bench, 5);
    let now = bench.world.now;
    feed.turn(&mut bench.world.engine, now);
    assert_eq!(received(&mut receiver), 0);
    feed.turn(&mut bench.world.engine, now + Duration::from_secs(1));
    assert_eq!(received(&mut receiver), 5);
}

#[test]
fn a_worker_that_stops_tells_of_the_flows_that_there_are() {
    let mut bench = Bench::new("");
    let mac = MacAddr::new([2, 0, 0, 0, 0, 0x0a]);
    let (sender, mut receiver) = mpsc::channel(2);
    let mut feed = Feed::new(sender);
    for n in 0..3000 {
        let frame = Frame::udp(([10, 0, 1, 10], n + 1), ([10, 0, 1, 11], 53));
        let frame = frame.macs(mac, bench.world.mac("a")).build();
        assert_eq!(bench.world.send("a", frame).len(), 1);
    }
    // More than there is room for: it goes on as somebody takes them.
    let taker = std::thread::spawn(move || {
        let mut taken = 0;
        while let Some(batch) = receiver.blocking_recv() {
            taken += batch.records.len();
        }
        taken
    });
    let World { engine, path, now, .. } = &mut bench.world;
    feed.finish(engine, path, *now);
    drop(feed);
    // Of a window that something passed in nothing else is told.
    assert_eq!(taker.join().unwrap(), 3000);
    assert_eq!(bench.world.engine.flow_count(), 3000, "they go on");
}

#[test]
fn a_worker_that_stops_does_not_wait_for_a_writer_that_is_gone() {
    let mut bench = Bench::new("");
    let (sender, receiver) = mpsc::channel(2);
    let mut feed = Feed::new(sender);
    make(&mut bench, 5);
    drop(receiver);
    let World { engine, path, now, .. } = &mut bench.world;
    feed.finish(engine, path, *now);
    assert_eq!(bench.world.engine.flow_logs().queued(), 5);
}
