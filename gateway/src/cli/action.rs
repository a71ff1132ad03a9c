//! `halfspace action`: any action, as JSON.

use std::io::Read as _;

use clap::Args;
use serde_json::Value;

use super::{Error, Gateway, output};
use crate::api::types::Transaction;

/// What is to be done.
#[derive(Args, Debug)]
pub(super) struct Action {
    #[command(flatten)]
    gateway: Gateway,

    /// Carry out several actions as one change, read as JSON from standard input
    #[arg(long, conflicts_with_all = ["name", "parameters"])]
    transaction: bool,

    /// The action
    #[arg(required_unless_present = "transaction")]
    name: Option<String>,

    /// Its parameters, as a JSON object [default: none]
    parameters: Option<String>,
}

impl Action {
    pub(super) async fn execute(&self) -> Result<(), Error> {
        let mut client = self.gateway.connect().await?;
        let Some(name) = &self.name else {
            let mut text = String::new();
            std::io::stdin().read_to_string(&mut text)?;
            let transaction: Transaction = json(&text)?;
            output::json(&client.transact(&transaction).await?)?;
            return Ok(());
        };
        let parameters: Value = json(self.parameters.as_deref().unwrap_or("{}"))?;
        output::json(&client.act_named(name, &parameters).await?)?;
        Ok(())
    }
}

fn json<T: serde::de::DeserializeOwned>(text: &str) -> Result<T, Error> {
    serde_json::from_str(text).map_err(Error::Json)
}
