//! Actions on a running gateway: what they change is in force, and in the file.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, chown};

use halfspace::actions::Request;
use halfspace::api::client::Error;
use halfspace::api::types::{ErrorBody, Transaction};
use nix::sys::signal::Signal;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::daemon::{Daemon, RESOURCES, code};

/// Two instances on `env0` to `env3`, each with its primary interface, and addresses to allocate.
const INSTANCES: &str = r#"
# A comment that has to stay.
[[public_ipv4_pool]]
public_ipv4_pool_id = "ipv4pool-ec2-a"
pool_cidr_blocks = ["203.0.113.32/30"]

[[instance]]
instance_id = "i-one" # The first.
port = [{ name = "env0" }, { name = "env1", device_index = 1 }]

[[instance]]
instance_id = "i-two"
port = [{ name = "env2" }, { name = "env3", device_index = 1 }]

[[subnet]]
subnet_id = "subnet-eni"
vpc_id = "vpc-a"
cidr_block = "10.0.2.0/24"
route_table_id = "rtb-public"

[[network_interface]]
network_interface_id = "eni-one"
subnet_id = "subnet-eni"
private_ip_address = "10.0.2.10"
attachment = { instance_id = "i-one", device_index = 0 }

[[network_interface]]
network_interface_id = "eni-two"
subnet_id = "subnet-eni"
private_ip_address = "10.0.2.11"
attachment = { instance_id = "i-two", device_index = 0 }

[[security_group]]
group_id = "sg-web"
group_name = "web"
vpc_id = "vpc-a"
"#;

pub fn document() -> String {
    format!("{RESOURCES}{INSTANCES}")
}

pub fn start(label: &str) -> Option<Daemon> {
    Daemon::start_on(label, 4, &document())
}

impl Daemon {
    #[expect(clippy::needless_pass_by_value, reason = "parameters are made for the call")]
    fn act(&self, action: &str, parameters: Value) -> Result<Value, Error> {
        self.ask(async |mut client| client.act_named(action, &parameters).await)
    }

    #[track_caller]
    fn done(&self, action: &str, parameters: Value) -> Value {
        let done = self.act(action, parameters);
        done.unwrap_or_else(|error| panic!("{action}: {error}\n{}", self.log()))
    }

    fn interface(&self, id: &str) -> Value {
        let one = json!({ "network_interface_ids": [id] });
        self.done("DescribeNetworkInterfaces", one)["network_interfaces"][0].take()
    }

    fn generation(&self) -> u32 {
        self.ask(async |mut client| client.status().await).unwrap().resources.generation
    }

    /// What each port is for.
    fn role(&self, port: &str) -> String {
        let status = self.ask(async |mut client| client.status().await).unwrap();
        let port = status.ports.into_iter().find(|it| it.name == port);
        port.map(|it| it.role).unwrap_or_default()
    }
}

#[test]
fn what_an_action_changes_is_in_force_and_in_the_file_when_it_answers() {
    let Some(daemon) = start("actions-force") else { return };
    assert_eq!((daemon.generation(), daemon.role("env3").as_str()), (1, "i-two"));
    let made = daemon.done(
        "CreateNetworkInterface",
        json!({ "subnet_id": "subnet-eni", "description": "made at run time" }),
    );
    let eni = made["network_interface"]["network_interface_id"].as_str().unwrap();
    assert_eq!(made["network_interface"]["private_ip_address"], "10.0.2.4");
    assert_eq!(daemon.generation(), 2);
    assert!(daemon.resources().contains(&format!("network_interface_id = \"{eni}\"")));

    let to = json!({ "network_interface_id": eni, "instance_id": "i-two", "device_index": 1 });
    let attached = daemon.done("AttachNetworkInterface", to);
    assert_eq!((daemon.generation(), daemon.role("env3").as_str()), (3, eni));
    let status = |field: &str| daemon.interface(eni)[field].clone();
    assert_eq!((status("status"), status("port")), (json!("in-use"), json!("env3")));

    let allocated = daemon.done("AllocateAddress", json!({}));
    assert_eq!(allocated["public_ip"], "203.0.113.32");
    let allocation = &allocated["allocation_id"];
    let associate = json!({ "allocation_id": allocation, "network_interface_id": eni });
    daemon.done("AssociateAddress", associate);
    assert_eq!(status("association")["public_ip"], "203.0.113.32");

    let to = json!({ "network_interface_id": eni, "instance_id": "i-one", "device_index": 1 });
    daemon.done("MoveNetworkInterface", to);
    assert_eq!([daemon.role("env1").as_str(), daemon.role("env3").as_str()], [eni, "i-two"]);
    let old = json!({ "attachment_id": attached["attachment_id"] });
    assert_eq!(code(daemon.act("DetachNetworkInterface", old)), "InvalidAttachmentID.NotFound");
    let now = json!({ "attachment_id": status("attachment")["attachment_id"] });
    daemon.done("DetachNetworkInterface", now);
    assert_eq!(daemon.role("env1"), "i-one");
    daemon.done("DeleteNetworkInterface", json!({ "network_interface_id": eni }));
    daemon.done("ReleaseAddress", json!({ "allocation_id": allocation }));
    assert_eq!(daemon.resources(), document(), "what came and went has left no trace");
}

#[test]
fn what_nobody_touched_of_the_file_stays_as_it_is() {
    let Some(daemon) = start("actions-text") else { return };
    let tags = json!([{ "key": "Name", "value": "first" }]);
    let before = daemon.generation();
    daemon.done("CreateTags", json!({ "resources": ["i-one"], "tags": tags }));
    let text = daemon.resources();
    for kept in ["# A comment that has to stay.\n", "instance_id = \"i-one\" # The first.\n"] {
        assert!(text.contains(kept), "{text}");
    }
    let added: Vec<_> =
        text.lines().filter(|line| !document().lines().any(|it| it == *line)).collect();
    assert_eq!(added, ["tags = { Name = \"first\" }"]);
    let told = daemon.done("DescribeInstances", json!({ "instance_ids": ["i-one"] }));
    assert_eq!(told["instances"][0]["tags"], tags);
    assert_eq!(daemon.generation(), before, "no packet depends on a tag");
}

#[test]
fn changes_survive_a_restart() {
    let Some(mut daemon) = start("actions-restart") else { return };
    let made = daemon.done("CreateNetworkInterface", json!({ "subnet_id": "subnet-eni" }));
    let id = made["network_interface"]["network_interface_id"].as_str().unwrap();
    daemon.stop();
    daemon.start_again();
    assert_eq!(daemon.interface(id), made["network_interface"]);
}

#[test]
fn a_change_by_hand_and_one_by_the_api_are_both_kept() {
    let Some(daemon) = start("actions-hand") else { return };
    for number in 100..105 {
        let by_hand = format!(
            "\n[[subnet]]\nsubnet_id = \"subnet-{number}\"\nvpc_id = \"vpc-a\"\n\
             cidr_block = \"10.0.{number}.0/24\"\n"
        );
        daemon.write_resources(&format!("{}{by_hand}", daemon.resources()));
        // At once, before the file is read on the beat.
        let wanted = json!({ "subnet_id": format!("subnet-{number}") });
        let made = daemon.done("CreateNetworkInterface", wanted);
        let address = &made["network_interface"]["private_ip_address"];
        assert_eq!(*address, format!("10.0.{number}.4").as_str());
    }
    let told = daemon.done("DescribeSubnets", json!({}));
    assert_eq!(told["subnets"].as_array().unwrap().len(), 3 + 5);
    let told = daemon.done("DescribeNetworkInterfaces", json!({}));
    let own = told["network_interfaces"].as_array().unwrap().iter();
    assert_eq!(own.filter(|it| it["requester_managed"] == false).count(), 2 + 5);
}

#[test]
fn many_at_once_take_turns() {
    const CALLERS: usize = 24;
    let Some(daemon) = start("actions-turns") else { return };
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let addresses = runtime.block_on(async {
        let mut callers = JoinSet::new();
        for _ in 0..CALLERS {
            let socket = daemon.socket();
            callers.spawn(async move {
                let mut client = halfspace::api::client::Client::connect(&socket).await?;
                let wanted = json!({ "subnet_id": "subnet-eni" });
                let made = client.act_named("CreateNetworkInterface", &wanted).await?;
                Ok::<_, Error>(made["network_interface"]["private_ip_address"].to_string())
            });
        }
        callers.join_all().await
    });
    let mut addresses: Vec<_> = addresses.into_iter().collect::<Result<_, _>>().unwrap();
    addresses.sort_unstable();
    addresses.dedup();
    assert_eq!(addresses.len(), CALLERS);
    assert_eq!(daemon.resources().matches("[[network_interface]]").count(), 2 + CALLERS);
    assert_eq!(daemon.generation(), 1 + CALLERS as u32);
}

/// What the issue of these resources lists as bad input, and whatever else is refused for reasons
/// that only a running gateway has.
#[test]
fn every_rule_that_is_broken_has_ec2s_code_and_changes_nothing() {
    let Some(daemon) = start("actions-refused") else { return };
    daemon.done("AllocateAddress", json!({ "allocation_id": "eipalloc-x" }));
    let associate = |eni: &str| {
        json!({
            "allocation_id": "eipalloc-x", "network_interface_id": eni,
            "allow_reassociation": false,
        })
    };
    daemon.done("AssociateAddress", associate("eni-one"));
    daemon.done(
        "CreateNetworkInterface",
        json!({
            "subnet_id": "subnet-eni", "network_interface_id": "eni-free", "groups": ["sg-web"],
            "ipv4_prefixes": [{ "ipv4_prefix": "10.0.2.64/28" }],
        }),
    );
    for number in 0..5 {
        let name = format!("g{number}");
        let group = json!({
            "group_id": format!("sg-{name}"), "group_name": name, "description": "",
            "vpc_id": "vpc-a",
        });
        daemon.done("CreateSecurityGroup", group);
    }
    let primary = daemon.interface("eni-one")["attachment"]["attachment_id"].clone();
    let (text, generation) = (daemon.resources(), daemon.generation());
    for (action, parameters, wanted) in [
        ("DetachNetworkInterface", json!({ "attachment_id": primary }), "OperationNotPermitted"),
        ("AssociateAddress", associate("eni-free"), "Resource.AlreadyAssociated"),
        (
            "CreateNetworkInterface",
            json!({ "subnet_id": "subnet-eni", "private_ip_address": "10.0.3.1" }),
            "InvalidParameterValue",
        ),
        (
            "DeleteNetworkInterface",
            json!({ "network_interface_id": "eni-one" }),
            "InvalidNetworkInterface.InUse",
        ),
        (
            "AssignPrivateIpAddresses",
            json!({ "network_interface_id": "eni-one", "ipv4_prefixes": ["10.0.2.64/28"] }),
            "InvalidIPAddress.InUse",
        ),
        (
            "ModifyNetworkInterfaceAttribute",
            json!({ "network_interface_id": "eni-one", "groups": ["sg-none"] }),
            "InvalidGroup.NotFound",
        ),
        ("DeleteSecurityGroup", json!({ "group_id": "sg-web" }), "DependencyViolation"),
        (
            "ModifyNetworkInterfaceAttribute",
            json!({
                "network_interface_id": "eni-one",
                "groups": ["sg-web", "sg-g0", "sg-g1", "sg-g2", "sg-g3", "sg-g4"],
            }),
            "SecurityGroupsPerInterfaceLimitExceeded",
        ),
        ("ReleaseAddress", json!({ "allocation_id": "eipalloc-x" }), "InvalidIPAddress.InUse"),
        ("DeleteSubnet", json!({ "subnet_id": "subnet-eni" }), "DependencyViolation"),
        ("NoSuchAction", json!({}), "InvalidAction"),
        ("CreateNetworkInterface", json!({ "colour": "red" }), "UnknownParameter"),
        (
            "CreateNetworkInterface",
            json!({ "subnet_id": "subnet-eni", "dry_run": true }),
            "DryRunOperation",
        ),
        ("DescribeSubnets", json!({ "dry_run": 1 }), "InvalidParameterValue"),
    ] {
        let result = daemon.act(action, parameters.clone());
        assert_eq!(code(result), wanted, "{action} {parameters}");
        assert_eq!(daemon.resources(), text, "{action} {parameters}");
    }
    assert_eq!(daemon.generation(), generation);
    let (status, answer) =
        daemon.raw("POST", "/v1/actions/DescribeSubnets", r#"{ "dry_run": true }"#);
    assert_eq!(status, 412, "{answer}");
    let (status, answer) = daemon.raw("POST", "/v1/actions/DescribeSubnets", "");
    assert_eq!(status, 200, "no parameters need no body: {answer}");
    let (status, answer) = daemon.raw("POST", "/v1/actions/DeleteSubnet", "{");
    assert_eq!(status, 400, "{answer}");
    let ErrorBody { error } = serde_json::from_str(&answer).unwrap();
    assert_eq!(error.code, "InvalidParameterValue");
}

#[test]
fn a_transaction_is_one_generation_or_none() {
    let Some(daemon) = start("actions-several") else { return };
    let request =
        |action: &str, parameters: Value| Request { action: action.to_owned(), parameters };
    let create = || {
        request(
            "CreateNetworkInterface",
            json!({ "subnet_id": "subnet-eni", "network_interface_id": "eni-new" }),
        )
    };
    let attach = |index: u16| {
        request(
            "AttachNetworkInterface",
            json!({
                "network_interface_id": "eni-new", "instance_id": "i-one", "device_index": index,
            }),
        )
    };
    let transact = |actions: Vec<Request>, dry_run: bool| {
        let transaction = Transaction { actions, dry_run };
        daemon.ask(async |mut client| client.transact(&transaction).await)
    };
    let refused = transact(vec![create(), attach(1), attach(1)], false);
    assert!(refused.as_ref().unwrap_err().to_string().starts_with("actions[2]: "), "{refused:?}");
    assert_eq!(code(refused), "InvalidNetworkInterface.InUse");
    assert_eq!(code(transact(vec![create(), attach(1)], true)), "DryRunOperation");
    assert_eq!(code(transact(vec![], false)), "MissingParameter");
    assert_eq!((daemon.resources(), daemon.generation()), (document(), 1));

    let answers = transact(vec![create(), attach(1)], false).unwrap().answers;
    assert_eq!(answers.len(), 2);
    assert_eq!((daemon.generation(), daemon.role("env1").as_str()), (2, "eni-new"));
}

#[test]
fn an_invalid_document_is_told_of_and_left_alone() {
    let Some(daemon) = start("actions-invalid") else { return };
    let invalid =
        document().replace("cidr_block = \"10.0.2.0/24\"", "cidr_block = \"10.9.0.0/24\"");
    daemon.write_resources(&invalid);
    let refused = daemon.act("CreateNetworkInterface", json!({ "subnet_id": "subnet-eni" }));
    let told = refused.as_ref().unwrap_err().to_string();
    for part in ["resources.toml:", "cidr_block", "InvalidSubnet.Range"] {
        assert!(told.contains(part), "{part}: {told}");
    }
    assert_eq!(code(refused), "IncorrectState");
    assert_eq!(daemon.resources(), invalid);
    let told = daemon.done("DescribeSubnets", json!({ "subnet_ids": ["subnet-eni"] }));
    assert_eq!(told["subnets"][0]["cidr_block"], "10.0.2.0/24", "the state in force");
    daemon.write_resources(&document());
    daemon.done("CreateNetworkInterface", json!({ "subnet_id": "subnet-eni" }));
}

#[test]
fn a_document_that_may_not_be_written_is_changed_by_whoever_may() {
    let Some(daemon) = start("actions-permission") else { return };
    let directory = daemon.resources_file().parent().unwrap().to_owned();
    // The gateway is root, and has given up the right to write where root may not.
    fs::set_permissions(&directory, fs::Permissions::from_mode(0o755)).unwrap();
    chown(&directory, Some(12_345), None).unwrap();
    let refused = daemon.act("CreateNetworkInterface", json!({ "subnet_id": "subnet-eni" }));
    let told = refused.as_ref().unwrap_err().to_string();
    assert!(told.contains("resources.toml may not be replaced by this user"), "{told}");
    assert_eq!(code(refused), "OperationNotPermitted");
    assert_eq!((daemon.resources(), daemon.generation()), (document(), 1));
    let dry = json!({ "subnet_id": "subnet-eni", "dry_run": true });
    assert_eq!(code(daemon.act("CreateNetworkInterface", dry)), "DryRunOperation");
    chown(&directory, Some(0), None).unwrap();
    daemon.done("CreateNetworkInterface", json!({ "subnet_id": "subnet-eni" }));
}

#[test]
fn an_interface_is_available_while_its_port_is_gone() {
    let Some(daemon) = start("actions-port") else { return };
    let status = || {
        let eni = daemon.interface("eni-one");
        (eni["status"].clone(), eni["attachment"]["status"].clone())
    };
    let served = (json!("in-use"), json!("attached"));
    assert_eq!(status(), served);
    daemon.namespace.ip(["link delete env0"]).unwrap();
    daemon.eventually("the interface to be available", || {
        status() == (json!("available"), json!("detached"))
    });
    daemon.namespace.ip(["link add env0 type veth peer name env0-far"]).unwrap();
    daemon.eventually("the interface to be in use again", || status() == served);
}

#[test]
fn an_instance_is_served_through_a_port_that_was_made_a_moment_ago() {
    let Some(daemon) = start("actions-run") else { return };
    daemon.namespace.ip(["link add new0 type veth peer name new0-far"]).unwrap();
    let run = daemon.done(
        "RunInstances",
        json!({
            "instance_id": "i-new", "ports": [{ "name": "new0" }],
            "network_interfaces": [{ "device_index": 0, "subnet_id": "subnet-eni" }],
        }),
    );
    let interface = &run["instances"][0]["network_interfaces"][0];
    assert_eq!(interface["status"], "in-use");
    assert_eq!(daemon.role("new0"), interface["network_interface_id"].as_str().unwrap());
    daemon.done("StopInstances", json!({ "instance_ids": ["i-new"] }));
    assert_eq!(daemon.role("new0"), "i-new");
    daemon.done("StartInstances", json!({ "instance_ids": ["i-new"] }));
    assert_eq!(daemon.role("new0"), interface["network_interface_id"].as_str().unwrap());
    daemon.done("TerminateInstances", json!({ "instance_ids": ["i-new"] }));
    assert_eq!(daemon.role("new0"), "");
    assert_eq!(daemon.resources(), document());
}

#[test]
fn a_change_by_hand_under_way_is_followed_as_ever() {
    let Some(daemon) = start("actions-follow") else { return };
    daemon.done("CreateNetworkInterface", json!({ "subnet_id": "subnet-eni" }));
    daemon.write_resources(&document());
    daemon.signal(Signal::SIGHUP);
    daemon.eventually("the interface to be gone", || daemon.generation() == 3);
    let told = daemon.done("DescribeNetworkInterfaces", json!({}));
    let own = told["network_interfaces"].as_array().unwrap().iter();
    assert_eq!(own.filter(|it| it["requester_managed"] == false).count(), 2);
    assert!(fs::metadata(daemon.resources_file()).is_ok());
}
