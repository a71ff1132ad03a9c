//! `halfspace instance`: instances.

use std::io;
use std::net::Ipv4Addr;

use clap::{Args, Subcommand};
use nf_core::vpc::document::InstancePort;

use super::{Ask, Error, output, tag, tag_specifications};
use crate::actions::instance::{
    DescribeInstances, InstanceDescription, InstanceNetworkInterfaceSpecification, Placement,
    RunInstances, StartInstances, StateChange, StopInstances, TerminateInstances,
};
use crate::actions::tags::Tag;

/// What is to be done.
#[derive(Debug, Subcommand)]
pub(super) enum Instance {
    /// Make a running instance known, with its primary network interface
    #[command(after_help = "\
The gateway neither starts nor stops what an instance stands for: a virtual machine, a container.
It is told of the Linux interfaces that lead there, one for each network interface the instance may
have.

Examples:
  halfspace instance run --port tap0 --subnet subnet-a
  halfspace instance run --id i-web --port web0 --port web1:1 --subnet subnet-a --group sg-web
  halfspace instance run --port tap0 --eni eni-web")]
    Run(Run),

    /// Forget instances; interfaces that go with them go
    #[command(after_help = "\
Examples:
  halfspace instance terminate i-web")]
    Terminate(Several),

    /// Stop instances: no packet reaches them, and they keep their interfaces
    #[command(after_help = "\
Examples:
  halfspace instance stop i-web")]
    Stop(Several),

    /// Start stopped instances
    #[command(after_help = "\
Examples:
  halfspace instance start i-web")]
    Start(Several),

    /// List instances
    #[command(after_help = "\
Examples:
  halfspace instance list
  halfspace instance list --json | jq '.instances[].network_interfaces'")]
    List(Ask),
}

#[derive(Args, Debug)]
pub(super) struct Run {
    #[command(flatten)]
    ask: Ask,

    /// Its id [default: dealt out]
    #[arg(long)]
    id: Option<String>,

    /// A Linux interface that leads to it, and the device index it serves [default: 0]; may be given
    /// several times
    #[arg(long = "port", value_name = "INTERFACE[:INDEX]", value_parser = port)]
    ports: Vec<InstancePort>,

    /// The subnet of a primary network interface to make
    #[arg(long, value_name = "ID", required_unless_present = "eni")]
    subnet: Option<String>,

    /// Its private address [default: the lowest free one]
    #[arg(long, value_name = "ADDRESS", requires = "subnet")]
    private_ip: Option<Ipv4Addr>,

    /// A security group of it; may be given several times
    #[arg(long = "group", value_name = "ID", requires = "subnet")]
    groups: Vec<String>,

    /// A network interface that is there, as the primary one
    #[arg(long, value_name = "ID", conflicts_with = "subnet")]
    eni: Option<String>,

    /// The zone it is in [default: its subnet's]
    #[arg(long)]
    zone: Option<String>,

    /// A label; may be given several times
    #[arg(long = "tag", value_name = "KEY=VALUE", value_parser = tag)]
    tags: Vec<Tag>,
}

#[derive(Args, Debug)]
pub(super) struct Several {
    #[command(flatten)]
    ask: Ask,

    /// The instances
    #[arg(required = true)]
    ids: Vec<String>,
}

fn port(text: &str) -> Result<InstancePort, String> {
    let (name, index) = text.split_once(':').unwrap_or((text, "0"));
    let device_index = index.parse().map_err(|_| format!("`{index}` is not a device index"))?;
    Ok(InstancePort { name: name.into(), device_index, network_card_index: 0 })
}

impl Instance {
    pub(super) async fn execute(&self) -> Result<(), Error> {
        match self {
            Self::Run(run) => run.execute().await,
            Self::Terminate(Several { ask, ids }) => {
                let request = TerminateInstances { instance_ids: ids.clone() };
                ask.act(&request, |done| told(&done.terminating_instances)).await
            }
            Self::Stop(Several { ask, ids }) => {
                let request = StopInstances { instance_ids: ids.clone() };
                ask.act(&request, |done| told(&done.stopping_instances)).await
            }
            Self::Start(Several { ask, ids }) => {
                let request = StartInstances { instance_ids: ids.clone() };
                ask.act(&request, |done| told(&done.starting_instances)).await
            }
            Self::List(ask) => {
                ask.act(&DescribeInstances::default(), |told| list(&told.instances)).await
            }
        }
    }
}

impl Run {
    async fn execute(&self) -> Result<(), Error> {
        let primary = InstanceNetworkInterfaceSpecification {
            network_interface_id: self.eni.clone(),
            subnet_id: self.subnet.clone(),
            private_ip_address: self.private_ip,
            groups: self.groups.clone(),
            ..InstanceNetworkInterfaceSpecification::default()
        };
        let zone = self.zone.clone();
        let request = RunInstances {
            instance_id: self.id.clone(),
            placement: zone.map(|availability_zone| Placement { availability_zone }),
            ports: self.ports.clone(),
            network_cards: Vec::new(),
            network_interfaces: vec![primary],
            tag_specifications: tag_specifications("instance", &self.tags),
        };
        self.ask.act(&request, |run| run.instances.iter().try_for_each(running)).await
    }
}

fn running(instance: &InstanceDescription) -> io::Result<()> {
    let interfaces = instance.network_interfaces.iter();
    let interfaces: Vec<_> = interfaces.map(|it| it.network_interface_id.as_str()).collect();
    let address = output::optional(instance.private_ip_address.map(|it| format!(" {it}")));
    let (id, interfaces) = (&instance.instance_id, interfaces.join(" "));
    output::line(format_args!("running {id}{address} with {interfaces}"))
}

fn told(changes: &[StateChange]) -> io::Result<()> {
    changes.iter().try_for_each(|it| {
        let (was, is) = (&it.previous_state.name, &it.current_state.name);
        output::line(format_args!("{}: {was} -> {is}", it.instance_id))
    })
}

fn list(instances: &[InstanceDescription]) -> io::Result<()> {
    let mut table =
        output::table(&["INSTANCE", "STATE", "ZONE", "PRIVATE IP", "NETWORK INTERFACES", "PORTS"]);
    for it in instances {
        let interfaces = it.network_interfaces.iter();
        let interfaces: Vec<_> = interfaces.map(|it| it.network_interface_id.as_str()).collect();
        let ports = it.ports.iter().map(|port| {
            let missing = if port.present { "" } else { " (missing)" };
            format!("{}{missing}", port.name)
        });
        table.add_row([
            it.instance_id.clone(),
            it.state.name.clone(),
            it.placement.availability_zone.clone(),
            output::optional(it.private_ip_address),
            interfaces.join(" "),
            ports.collect::<Vec<_>>().join(" "),
        ]);
    }
    output::print(&table)
}
