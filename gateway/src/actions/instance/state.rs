//! Stopping, starting and terminating instances.

use nf_core::vpc::InstanceState;
use nf_core::vpc::document::Instance;
use serde::{Deserialize, Serialize};

use super::State;
use crate::actions::network_interface::delete;
use crate::actions::resource::place;
use crate::actions::{Action, Change, Draft, Edit, Refusal};

/// What became of an instance.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StateChange {
    /// `i-…`
    pub instance_id: String,
    /// Its state now.
    pub current_state: State,
    /// Its state before.
    pub previous_state: State,
}

macro_rules! requests {
    ($($(#[$doc:meta])* $name:ident, $answer:ident, $changes:ident, $one:expr;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Debug, Serialize, Deserialize)]
        #[serde(deny_unknown_fields)]
        pub struct $name {
            /// The instances.
            pub instance_ids: Vec<String>,
        }

        /// What became of each.
        #[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
        pub struct $answer {
            /// In the order of the request.
            pub $changes: Vec<StateChange>,
        }

        impl Action for $name {
            const NAME: &'static str = stringify!($name);
            type Answer = $answer;
        }

        impl Change for $name {
            fn apply(&self, draft: &mut Draft) -> Result<$answer, Refusal> {
                let one: fn(&mut Edit<'_>, &str) -> Result<StateChange, Refusal> = $one;
                draft.edit(|edit| {
                    if self.instance_ids.is_empty() {
                        return Err(Refusal::missing("say which: instance_ids"));
                    }
                    let changes = self.instance_ids.iter().map(|id| one(edit, id));
                    Ok($answer { $changes: changes.collect::<Result<_, _>>()? })
                })
            }
        }
    )*};
}

requests! {
    /// Stops instances: they keep their interfaces, and no packet reaches them.
    StopInstances, Stopping, stopping_instances, |edit, id| set(edit, id, InstanceState::Stopped);
    /// Starts stopped instances.
    StartInstances, Starting, starting_instances, |edit, id| set(edit, id, InstanceState::Running);
    /// Forgets instances. Interfaces with `delete_on_termination` go with them, the others are
    /// attached to nothing afterwards.
    TerminateInstances, Terminating, terminating_instances, terminate;
}

fn set(edit: &mut Edit<'_>, id: &str, state: InstanceState) -> Result<StateChange, Refusal> {
    let place = place::<Instance>(edit.document, id)?;
    let instance = &mut edit.document.instance[place];
    let previous = std::mem::replace(&mut instance.state, state);
    Ok(StateChange {
        instance_id: instance.instance_id.to_string(),
        current_state: state.into(),
        previous_state: previous.into(),
    })
}

fn terminate(edit: &mut Edit<'_>, id: &str) -> Result<StateChange, Refusal> {
    let place = place::<Instance>(edit.document, id)?;
    let instance = edit.document.instance.remove(place);
    // From the last one, so that the places of those before it stay what they are.
    for place in (0..edit.document.network_interface.len()).rev() {
        let interface = &mut edit.document.network_interface[place];
        let at = interface.attachment.take_if(|at| at.instance_id == instance.instance_id);
        if at.is_some_and(|at| at.delete_on_termination) {
            delete(edit.document, place);
        }
    }
    Ok(StateChange {
        instance_id: instance.instance_id.to_string(),
        current_state: State::terminated(),
        previous_state: instance.state.into(),
    })
}
