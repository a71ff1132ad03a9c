//! What is shown, one file a scene, in their order.
//!
//! Scenes build on each other: a later one finds the environments that an earlier one attached,
//! and the one on counters adds up what all before it have sent.

mod balancer;
mod bulk;
mod crash;
mod environments;
mod ledger;
mod tenants;

use super::Stage;
use crate::demo::error::Error;

/// Plays all scenes. What is wrong is in the report; an error is what keeps the rest from being
/// shown.
pub(super) fn play(stage: &mut Stage) -> Result<(), Error> {
    let scenes = [
        tenants::play,
        environments::play,
        balancer::play,
        bulk::play,
        ledger::play,
        // Last, because counters of the process begin anew with it.
        crash::play,
    ];
    for scene in scenes {
        stage.go_on()?;
        scene(stage)?;
    }
    Ok(())
}
