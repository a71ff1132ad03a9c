//! `halfspace env`: attach, detach, list.

use clap::{Args, Subcommand};

use super::{Ask, Error, Gateway, output};
use crate::api::types::AttachRequest;

/// What is to be done.
#[derive(Debug, Subcommand)]
pub(super) enum Environment {
    /// Attach an environment's interface to a bridge
    #[command(after_help = "\
The interface (a tap device, or the gateway's end of a veth) has to be in the gateway's network
namespace. All environments may use the same addresses and the same MAC address inside. Attached
environments are attached again after a restart of the gateway, and detached by themselves when
their interface vanishes.

Examples:
  halfspace env attach --bridge bridge-blue --port tap42
  halfspace env attach --bridge bridge-blue --port tap42 vm-0f3a")]
    Attach(Attach),

    /// Detach an environment; its flows end
    #[command(after_help = "\
Examples:
  halfspace env detach vm-0f3a")]
    Detach(Detach),

    /// List environments
    #[command(after_help = "\
Examples:
  halfspace env list
  halfspace env list --json | jq -r '.environments[].environment_id'")]
    List(Ask),
}

#[derive(Args, Debug)]
pub(super) struct Attach {
    #[command(flatten)]
    gateway: Gateway,

    /// Bridge to attach it to, from the resource document
    #[arg(long, value_name = "ID")]
    bridge: String,

    /// Its interface
    #[arg(long, value_name = "INTERFACE")]
    port: String,

    /// Its id: 1 to 64 letters, digits, dots, underscores or hyphens [default: the interface's
    /// name]
    id: Option<String>,

    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Args, Debug)]
pub(super) struct Detach {
    #[command(flatten)]
    gateway: Gateway,

    /// Its id
    id: String,
}

impl Environment {
    pub(super) async fn execute(&self) -> Result<(), Error> {
        match self {
            Self::Attach(attach) => attach.execute().await,
            Self::Detach(Detach { gateway, id }) => {
                gateway.connect().await?.detach(id).await?;
                output::line(format_args!("detached {id}"))?;
                Ok(())
            }
            Self::List(how) => list(how).await,
        }
    }
}

impl Attach {
    async fn execute(&self) -> Result<(), Error> {
        let request = AttachRequest {
            environment_id: self.id.clone(),
            lambda_bridge_id: self.bridge.clone(),
            port: self.port.clone(),
        };
        let attached = self.gateway.connect().await?.attach(&request).await?;
        if self.json {
            output::json(&attached)?;
        } else {
            output::line(format_args!(
                "attached {} to {} on {}",
                attached.environment_id, attached.lambda_bridge_id, attached.port
            ))?;
        }
        Ok(())
    }
}

async fn list(how: &Ask) -> Result<(), Error> {
    let list = how.gateway.connect().await?.environments().await?;
    if how.json {
        output::json(&list)?;
        return Ok(());
    }
    let mut table = output::table(&["ENVIRONMENT", "BRIDGE", "PORT", "STATE"]);
    for it in &list.environments {
        table.add_row([&it.environment_id, &it.lambda_bridge_id, &it.port, &it.state]);
    }
    output::print(&table)?;
    Ok(())
}
