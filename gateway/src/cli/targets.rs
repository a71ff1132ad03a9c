//! `halfspace targets`.

use super::{Ask, Error, output};

pub(super) async fn execute(how: &Ask) -> Result<(), Error> {
    let list = how.gateway.connect().await?.targets().await?;
    if how.json {
        output::json(&list)?;
        return Ok(());
    }
    let mut table =
        output::table(&["TARGET GROUP", "TARGET", "STATE", "ACTIVE FLOWS", "FLOWS SO FAR"]);
    output::align_right(&mut table, &[3, 4]);
    for it in &list.targets {
        table.add_row([
            it.target_group.clone(),
            it.target.to_string(),
            it.state.clone(),
            it.active_flows.to_string(),
            it.flows_total.to_string(),
        ]);
    }
    output::print(&table)?;
    Ok(())
}
