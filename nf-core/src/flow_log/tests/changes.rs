//! New desired states and new processes under flows that are logged.

use super::*;

fn frame() -> Vec<u8> {
    udp("10.0.1.10:7", "10.0.1.11:2")
}

#[test]
fn a_log_tells_what_comes_after_it_was_made() {
    let mut w = world("");
    pass(&mut w, "a", &frame(), "b");
    pass(&mut w, "a", &frame(), "b");
    w.reload(&format!("{DOCUMENT}{}", minutely("eni-b", "packets start")));
    pass(&mut w, "a", &frame(), "b");
    until(&mut w, 20);
    assert_eq!(lines(&mut w), [format!("1 {BEGIN}")]);
}

#[test]
fn a_log_that_goes_tells_what_came_before_and_leaves_nothing_behind() {
    let mut w = world(&minutely("eni-b", "packets"));
    pass(&mut w, "a", &frame(), "b");
    w.reload(DOCUMENT);
    assert_eq!(lines(&mut w), ["1"]);
    pass(&mut w, "a", &frame(), "b");
    assert!(!w.engine.flow_logs().is_active());
    until(&mut w, 90);
    assert_eq!(lines(&mut w), Vec::<String>::new());
}

#[test]
fn a_state_that_says_the_same_in_another_order_loses_no_count() {
    let logs = minutely("eni-b", "interface-id packets");
    let mut w = world(&logs);
    pass(&mut w, "a", &frame(), "b");
    // Every index is another's now.
    let (before, b) = DOCUMENT.split_at(DOCUMENT.find("[[network_interface]]").unwrap());
    let extra = r#"
        [[network_interface]]
        network_interface_id = "eni-first"
        subnet_id = "subnet-1"
        private_ip_address = "10.0.1.30"
    "#;
    w.reload(&format!("{before}{extra}{b}{logs}"));
    assert_eq!(lines(&mut w), Vec::<String>::new(), "nothing was cut short");
    pass(&mut w, "a", &frame(), "b");
    until(&mut w, 20);
    assert_eq!(lines(&mut w), ["eni-b 2"]);
}

#[test]
fn an_interface_that_goes_tells_what_it_saw() {
    let logs = minutely("vpc-1", "interface-id packets");
    let mut w = world(&logs);
    pass(&mut w, "a", &frame(), "b");
    let another = DOCUMENT.replace("eni-b", "eni-d").replace("10.0.1.11", "10.0.1.13");
    w.reload(&format!("{another}{logs}"));
    assert_eq!(w.engine.flow_count(), 0);
    assert_eq!(lines(&mut w), ["eni-a 1", "eni-b 1"]);
    until(&mut w, 20);
    let mut told = lines(&mut w);
    told.sort();
    assert_eq!(
        told,
        ["eni-c -", "eni-d -", "eni-web -"],
        "the one that is gone tells nothing more"
    );
}

#[test]
fn a_second_log_of_another_interval_begins_with_what_comes_then() {
    let one = minutely("eni-b", "packets");
    let mut w = world(&one);
    pass(&mut w, "a", &frame(), "b");
    w.reload(&format!("{DOCUMENT}{one}{}", log("t", "eni-b", "log_format = \"${packets}\"")));
    assert_eq!(w.recorded(), [("fl-m".to_owned(), "1".to_owned())], "told before the change");
    pass(&mut w, "a", &frame(), "b");
    until(&mut w, 201);
    let of_ten: Vec<_> = w.recorded().into_iter().filter(|(id, _)| id == "fl-t").collect();
    assert_eq!(of_ten, [("fl-t".to_owned(), "1".to_owned())]);
}

#[test]
fn another_process_begins_where_the_counters_stand_and_says_that_something_is_left_out() {
    let mut w = world(&minutely("eni-b", "packets log-status"));
    pass(&mut w, "a", &frame(), "b");
    pass(&mut w, "a", &frame(), "b");
    assert_eq!(w.restart(), 1);
    w.engine.flow_logs_mut().set_wall_clock(w.now, SHOWN);
    pass(&mut w, "a", &frame(), "b");
    w.pass(Duration::from_mins(1));
    assert_eq!(lines(&mut w), ["1 OK", "- SKIPDATA"]);
    pass(&mut w, "a", &frame(), "b");
    w.pass(Duration::from_mins(1));
    assert_eq!(lines(&mut w), ["1 OK"]);
}
