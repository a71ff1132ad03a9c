//! The interface moves to the standby while it is in use, and back, in each of the ways that there
//! are.

use crate::demo::daemon::Daemon;
use crate::demo::eni::Stage;
use crate::demo::eni::handover::Handover;
use crate::demo::eni::plan::{self, DEVICE_INDEX, FLOATING, Instance, WEB1, WEB2};
use crate::demo::error::Error;

/// A way to do it: what it is called, what is typed, and what does it.
struct Way {
    how: &'static str,
    typed: fn(Instance) -> String,
    act: fn(&Daemon, Instance) -> Result<(), Error>,
}

const MOVE: Way = Way {
    how: "a move",
    typed: |to| {
        format!("halfspace eni move {FLOATING} --instance {} --device-index {DEVICE_INDEX}", to.id)
    },
    act: |daemon, to| put(daemon, "move", to),
};

const TWO_CALLS: Way = Way {
    how: "two calls",
    typed: |to| format!("halfspace eni detach {FLOATING}, eni attach … --instance {}", to.id),
    act: |daemon, to| {
        daemon.interface(&["detach", FLOATING])?;
        put(daemon, "attach", to)
    },
};

const EDIT: Way = Way {
    how: "an edit of the document",
    typed: |to| format!("`instance_id = \"{}\"` in the document", to.id),
    act: |daemon, to| daemon.rewrite_resources(&plan::resource_document(Some(to))),
};

/// `halfspace eni` with a command that puts the interface at its place of an instance.
fn put(daemon: &Daemon, command: &str, to: Instance) -> Result<(), Error> {
    let index = DEVICE_INDEX.to_string();
    daemon.interface(&[command, FLOATING, "--instance", to.id, "--device-index", &index])
}

pub(super) fn play(stage: &mut Stage) -> Result<(), Error> {
    let there_and_back = [(WEB1, WEB2), (WEB2, WEB1)].into_iter().cycle();
    for (Way { how, typed, act }, (from, to)) in
        [MOVE, TWO_CALLS, EDIT, MOVE].into_iter().zip(there_and_back)
    {
        stage.report.scene(&format!("Failover by {how}: {}", typed(to)));
        Handover { how, from, to }.perform(stage, |daemon| act(daemon, to))?;
    }
    Ok(())
}
