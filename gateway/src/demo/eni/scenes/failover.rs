//! The interface moves to the standby while it is in use, and back, by edits of the document.

use crate::demo::eni::Stage;
use crate::demo::eni::handover::Handover;
use crate::demo::eni::plan::{self, WEB1, WEB2};
use crate::demo::error::Error;

pub(super) fn play(stage: &mut Stage) -> Result<(), Error> {
    for (from, to) in [(WEB1, WEB2), (WEB2, WEB1)] {
        stage.report.scene(&format!("Failover: `instance_id = \"{}\"` in the document", to.id));
        let handover = Handover { how: "an edit of the document", from, to };
        handover.perform(stage, |daemon| {
            daemon.rewrite_resources(&plan::resource_document(Some(to)))
        })?;
    }
    Ok(())
}
