//! Why an action is not carried out, in EC2's words.

use nf_core::vpc::id::ResourceId;
use nf_core::vpc::{Invalid, InvalidKind};

/// Why an action is not carried out. Nothing has changed then.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message} ({code})")]
pub struct Refusal {
    /// EC2's error code: `InvalidSubnetID.NotFound`.
    pub code: &'static str,
    /// A sentence that says what to do.
    pub message: String,
}

impl Refusal {
    /// A refusal under any code.
    #[must_use]
    pub fn new(code: &'static str, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }

    /// A parameter whose value is wrong.
    pub(super) fn value(message: impl Into<String>) -> Self {
        Self::new("InvalidParameterValue", message)
    }

    /// Parameters that exclude each other.
    pub(super) fn combination(message: impl Into<String>) -> Self {
        Self::new("InvalidParameterCombination", message)
    }

    /// A parameter that is not there.
    pub(super) fn missing(message: impl Into<String>) -> Self {
        Self::new("MissingParameter", message)
    }

    /// Something that may not be done at all.
    pub(super) fn not_permitted(message: impl Into<String>) -> Self {
        Self::new("OperationNotPermitted", message)
    }

    /// Something that others depend on.
    pub(super) fn dependency(message: impl Into<String>) -> Self {
        Self::new("DependencyViolation", message)
    }

    /// An id that names nothing.
    pub(super) fn not_found<I: ResourceId>(id: &I) -> Self {
        Self::new(I::NOT_FOUND, format!("{} `{id}` does not exist", I::NOUN))
    }

    /// What a document that an action has made does not allow. One thing is told: the others may
    /// follow from it.
    pub(super) fn of_document(invalid: &[Invalid]) -> Self {
        let first = invalid.first().map(|it| &it.kind);
        first.map_or_else(|| Self::new("InternalError", "the document is not valid"), Self::from)
    }
}

impl From<&InvalidKind> for Refusal {
    fn from(kind: &InvalidKind) -> Self {
        Self::new(kind.code(), kind.to_string())
    }
}
