//! What can be asked of a running gateway: EC2's actions on the resource document.
//!
//! There is one desired state, and it is the document. An action takes it, changes it, and says
//! what came of it; nothing here reads or writes a file, looks at a clock or draws randomness. Who
//! calls ([`crate::resources`]) brings the document and the time, and writes the document back, all
//! of it or nothing.
//!
//! Names of actions, parameters, fields and error codes are EC2's, and so are the shapes of
//! parameters and answers; names of parameters and fields are in `snake_case`, as in the document.
//! What EC2 does not have says so.
//!
//! | file | idea |
//! | --- | --- |
//! | `draft` | a document that is being changed, and what it says |
//! | `resource` | finding what a parameter names |
//! | `room` | free addresses and prefixes |
//! | `ids` | ids for what is made |
//! | `refusal` | why an action is not carried out |
//! | `list` | every action by its name |
//! | `perform` | one action or several, as one change |
//! | the others | the actions of one kind of resource |

pub mod address;
mod draft;
mod ids;
pub mod instance;
pub mod internet_gateway;
mod list;
pub mod nat_gateway;
pub mod network_interface;
mod perform;
pub mod prefix_list;
mod refusal;
mod resource;
mod room;
pub mod route_table;
pub mod security_group;
pub mod subnet;
pub mod tags;
pub mod vpc;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

pub use draft::{Changed, Draft, Present, View};
pub use ids::IdSource;
pub use list::{Known, find};
pub use perform::{Request, perform};
pub use refusal::Refusal;

use draft::Edit;

/// One action: its parameters are the fields.
pub trait Action: Serialize + DeserializeOwned {
    /// Its name, `CreateNetworkInterface`.
    const NAME: &'static str;

    /// What it answers.
    type Answer: Serialize + DeserializeOwned;
}

/// An action that only asks.
pub trait Query: Action {
    /// The answer.
    ///
    /// # Errors
    ///
    /// What is asked about does not exist.
    fn answer(&self, view: &View<'_>) -> Result<Self::Answer, Refusal>;
}

/// An action that changes the document.
pub trait Change: Action {
    /// Changes it and answers.
    ///
    /// # Errors
    ///
    /// EC2 or the document does not allow it. The draft is of no more use then.
    fn apply(&self, draft: &mut Draft) -> Result<Self::Answer, Refusal>;
}

/// The answer of actions that have nothing to tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Return {
    /// `true`: it is done.
    #[serde(rename = "return")]
    pub done: bool,
}

impl Return {
    const TRUE: Self = Self { done: true };
}

/// A new value for an attribute, in EC2's shape.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AttributeValue<T> {
    /// The value.
    pub value: T,
}

impl<T> From<T> for AttributeValue<T> {
    fn from(value: T) -> Self {
        Self { value }
    }
}

#[cfg(test)]
mod tests;
