//! When records are made, and that they add up.

use super::*;

const FIELDS: &str = "srcport packets bytes start end log-status";

/// Seconds since the beginning, as records write them.
fn second(seconds: u64) -> u64 {
    BEGIN + seconds
}

#[test]
fn windows_close_at_whole_minutes_and_each_tells_what_is_new() {
    let mut w = world(&minutely("eni-b", FIELDS));
    let frame = udp("10.0.1.10:7", "10.0.1.11:2");
    pass(&mut w, "a", &frame, "b");
    until(&mut w, 15);
    pass(&mut w, "a", &frame, "b");
    until(&mut w, 19);
    assert_eq!(lines(&mut w), Vec::<String>::new(), "the window is open");
    until(&mut w, 20);
    assert_eq!(lines(&mut w), [format!("7 2 80 {} {} OK", second(0), second(15))]);
    until(&mut w, 50);
    pass(&mut w, "a", &frame, "b");
    until(&mut w, 80);
    assert_eq!(lines(&mut w), [format!("7 1 40 {} {} OK", second(20), second(50))]);
    until(&mut w, 140);
    assert_eq!(lines(&mut w), [format!("- - - {} {} NODATA", second(80), second(140))]);
}

#[test]
fn a_log_of_ten_minutes_has_windows_of_its_own() {
    let ten = log("t", "vpc-1", "log_format = \"${packets} ${start} ${end} ${log-status}\"");
    let one = minutely("eni-b", "packets");
    let mut w = world(&format!("{ten}{one}"));
    let frame = udp("10.0.1.10:7", "10.0.1.11:2");
    let mut counted = 0;
    for minute in 0..3 {
        until(&mut w, 10 + 50 * minute);
        pass(&mut w, "a", &frame, "b");
        until(&mut w, 20 + 60 * minute);
        let minutely: Vec<_> = w.recorded();
        assert_eq!(minutely, [("fl-m".to_owned(), "1".to_owned())], "{minute}");
        counted += 1;
    }
    assert_eq!(counted, 3);
    until(&mut w, 160);
    pass(&mut w, "a", &frame, "b");
    until(&mut w, 199);
    assert_eq!(w.recorded(), []);
    until(&mut w, 200);
    let of_ten: Vec<_> = w.recorded().into_iter().filter(|(id, _)| id == "fl-t").collect();
    let line = |text: String| ("fl-t".to_owned(), text);
    assert_eq!(
        of_ten,
        [
            line(format!("4 {} {} OK", second(10), second(160))),
            line(format!("4 {} {} OK", second(10), second(160))),
            line(format!("- {} {} NODATA", second(0), second(200))),
            line(format!("- {} {} NODATA", second(0), second(200))),
        ],
        "of both ends, and of the two that saw nothing"
    );
}

#[test]
fn a_flow_that_ends_tells_what_is_left_at_once() {
    let mut w = world(&minutely("eni-b", FIELDS));
    let frame = udp("10.0.1.10:7", "10.0.1.11:2");
    pass(&mut w, "a", &frame, "b");
    until(&mut w, 100);
    pass(&mut w, "a", &frame, "b");
    let mut told = lines(&mut w);
    w.unplug("b");
    told.extend(lines(&mut w));
    assert_eq!(
        told,
        [
            format!("7 1 40 {} {} OK", second(0), second(0)),
            format!("- - - {} {} NODATA", second(20), second(80)),
            format!("7 1 40 {} {} OK", second(100), second(100)),
        ]
    );
    assert_eq!(w.engine.flow_logs().flow_count(), 0);
    until(&mut w, 140);
    assert_eq!(lines(&mut w), Vec::<String>::new(), "there was data, it is told");
}

#[test]
fn a_flow_is_looked_at_only_where_something_is_logged() {
    let mut w = world(&minutely("eni-b", FIELDS));
    pass(&mut w, "a", &udp("10.0.1.10:7", "192.0.2.7:2"), "wan");
    assert_eq!(w.engine.flow_logs().flow_count(), 0);
    pass(&mut w, "a", &udp("10.0.1.10:7", "10.0.1.11:2"), "b");
    assert_eq!(w.engine.flow_logs().flow_count(), 1);
}

#[test]
fn without_a_flow_log_nothing_is_kept_and_nothing_is_due() {
    let mut w = world("");
    pass(&mut w, "a", &udp("10.0.1.10:7", "10.0.1.11:2"), "b");
    until(&mut w, 150);
    let ledger = w.engine.flow_logs();
    assert!(!ledger.is_active());
    assert_eq!((ledger.flow_count(), ledger.queued()), (0, 0));
    assert_eq!(ledger.counters(), &crate::flow_log::Counters::default());
    let World { engine, path, now, .. } = &mut w;
    assert_eq!(engine.flow_count(), 0);
    // Of the neighbours, none of a window.
    let due = engine.advance(*now, path);
    assert!(due.is_none_or(|due| due > *now), "{due:?}");
}

#[test]
fn a_log_of_accepted_traffic_alone_is_told_of_that() {
    let accept = minutely("eni-b", "action packets log-status");
    let mut w = world(&accept.replace("log_format", "traffic_type = \"ACCEPT\"\nlog_format"));
    pass(&mut w, "a", &udp("10.0.1.10:7", "10.0.1.11:2"), "b");
    until(&mut w, 20);
    assert_eq!(lines(&mut w), ["ACCEPT 1 OK"]);

    let reject = minutely("eni-b", "action packets log-status");
    let mut w = world(&reject.replace("log_format", "traffic_type = \"REJECT\"\nlog_format"));
    pass(&mut w, "a", &udp("10.0.1.10:7", "10.0.1.11:2"), "b");
    assert_eq!(w.engine.flow_logs().flow_count(), 0, "nobody wants it");
    until(&mut w, 20);
    assert_eq!(lines(&mut w), ["- - NODATA"]);
}

#[test]
fn a_process_that_ends_closes_its_windows_early() {
    let ten = log("t", "eni-b", "log_format = \"${packets} ${start} ${end} ${log-status}\"");
    let mut w = world(&format!("{ten}{}", minutely("eni-b", "packets")));
    pass(&mut w, "a", &udp("10.0.1.10:7", "10.0.1.11:2"), "b");
    until(&mut w, 5);
    let World { engine, path, now, .. } = &mut w;
    engine.flow_logs_mut().close_early(*now);
    let mut calls = 1;
    while engine.continue_flow_logs(*now, path) {
        calls += 1;
        assert!(calls < 100);
    }
    let expected =
        [("fl-m", "1".to_owned()), ("fl-t", format!("1 {} {} OK", second(0), second(0)))];
    assert_eq!(w.recorded(), expected.map(|(id, line)| (id.to_owned(), line)));
}

#[test]
fn when_the_clock_is_set_the_window_goes_on_and_the_next_ends_by_the_new_time() {
    let mut w = world(&minutely("eni-b", "start end log-status"));
    until(&mut w, 10);
    // Half a minute ahead.
    w.engine.flow_logs_mut().set_wall_clock(w.now, SHOWN + Duration::from_secs(40));
    until(&mut w, 20);
    assert_eq!(lines(&mut w), [format!("{} {} NODATA", second(30), second(50))]);
    until(&mut w, 49);
    assert_eq!(lines(&mut w), Vec::<String>::new());
    until(&mut w, 50);
    assert_eq!(lines(&mut w), [format!("{} {} NODATA", second(50), second(80))]);
}
