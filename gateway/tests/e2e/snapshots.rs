//! The resource document changes under traffic: what it still permits goes on, what it does not
//! ends at once, and a document with a mistake changes nothing.

use std::io::ErrorKind;
use std::time::Duration;

use halfspace_testbed::programs::Echo;
use serde_json::json;

use crate::harness::{Datapath, Family, Office, converse, eventually};

on_each_datapath!(
    a_change_ends_the_flows_it_forbids_and_no_others,
    a_change_is_noticed_without_a_signal,
    an_invalid_document_changes_nothing_and_is_told_of,
);

fn a_change_ends_the_flows_it_forbids_and_no_others(datapath: Datapath) {
    let office = Office::open("change-policy", datapath);
    let mut servers = Vec::new();
    let mut streams = Vec::new();
    for family in Family::BOTH {
        for (server, goes_on) in [(family.server_at(7), true), (family.other_server_at(7), false)] {
            servers.push(Echo::start(&office.internet, server).unwrap());
            let mut stream = converse(&office.client, server).unwrap();
            stream.echo("before").unwrap();
            streams.push((stream, goes_on));
        }
    }
    let before = office.gateway.flows();
    assert_eq!(before.len(), 4);

    office.gateway.change_resources(&Office::without_the_other_server());

    assert_eq!(office.gateway.count("halfspace_flows_ended_total", &[("how", "policy")]), 2);
    assert_eq!(office.gateway.count("halfspace_flows_revalidated_total", &[]), 2);
    for flow in office.gateway.flows() {
        let was = before.iter().find(|it| it.id == flow.id).unwrap();
        assert_eq!(
            (was.forward.received, was.forward.sent),
            (flow.forward.received, flow.forward.sent)
        );
        assert!(flow.forward.packets >= was.forward.packets, "its counts go on");
    }
    let dropped = office.gateway.engine_drops("blackhole");
    for (stream, goes_on) in &mut streams {
        if *goes_on {
            stream.echo("after").unwrap();
        } else {
            stream.be_patient_for(Duration::from_millis(300));
            assert_eq!(stream.echo("?").unwrap_err().kind(), ErrorKind::WouldBlock);
        }
    }
    assert!(office.gateway.engine_drops("blackhole") >= dropped + 2);
    for family in Family::BOTH {
        converse(&office.client, family.server_at(7)).unwrap();
        let error = converse(&office.client, family.other_server_at(7)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TimedOut);
    }
    // Given back, it is reached again.
    office.gateway.change_resources(&Office::resources("", ""));
    for family in Family::BOTH {
        converse(&office.client, family.other_server_at(7)).unwrap();
    }
}

fn a_change_is_noticed_without_a_signal(datapath: Datapath) {
    let office = Office::open("change-beat", datapath);
    let before = office.gateway.generation();
    // A comment is no change.
    let commented = format!("# The same.\n{}", Office::resources("", ""));
    let read = |gateway: &crate::harness::Gateway| {
        gateway.count("halfspace_config_reads_total", &[("result", "valid")])
    };
    office.gateway.write_resources(&commented);
    let reads = read(&office.gateway);
    eventually("two more readings", || read(&office.gateway) >= reads + 2);
    assert_eq!(office.gateway.generation(), before);

    office.gateway.write_resources(&Office::resources("udp_idle_timeout_seconds = 60", ""));
    eventually("another generation", || office.gateway.generation() != before);
}

fn an_invalid_document_changes_nothing_and_is_told_of(datapath: Datapath) {
    let office = Office::open("change-wrong", datapath);
    let echoes = Family::BOTH.map(|it| Echo::start(&office.internet, it.server_at(7)).unwrap());
    let mut streams = Family::BOTH.map(|it| converse(&office.client, it.server_at(7)).unwrap());
    let before = office.gateway.generation();
    let valid = || office.gateway.count("halfspace_config_valid", &[]);
    assert_eq!(valid(), 1);

    for (document, message) in [
        ("[[vpc]]\nvpc_id = 5\n".to_owned(), "vpc[0].vpc_id"),
        (Office::resources("colour = \"red\"", ""), "unknown field `colour`"),
        (Office::resources("", "").replace("10.0.0.0/24", "10.0.1.0/24"), "InvalidSubnet.Conflict"),
        ("not toml at all".to_owned(), "resources.toml:1:"),
    ] {
        office.gateway.write_resources(&document);
        office.gateway.hang_up();
        eventually("the mistake to be told of", || {
            office.gateway.status()["resources"]["errors"].to_string().contains(message)
        });
        assert_eq!(valid(), 0);
        assert_eq!(office.gateway.generation(), before);
        office.gateway.wait_for_log(message);
        office.gateway.wait_for_log("the old state stays in force");
        for stream in &mut streams {
            stream.echo("undisturbed").unwrap();
        }
        for family in Family::BOTH {
            converse(&office.client, family.server_at(7)).unwrap();
        }
    }
    office.gateway.write_resources(&Office::resources("", ""));
    office.gateway.hang_up();
    eventually("the document to be valid again", || valid() == 1);
    assert_eq!(office.gateway.status()["resources"]["errors"], json!([]));
    assert_eq!(office.gateway.generation(), before, "nothing has changed");
    drop(echoes);
}
