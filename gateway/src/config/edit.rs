//! Writing a changed document back into the file it was read from.
//!
//! The resource document is the only place where the desired state is kept, and people keep it too:
//! with comments, in their own order, under version control. So what a program changes is put into
//! their text as they would have done it. The text is never written anew from the document; only
//! where the two documents differ is something replaced, and the rest stays to the byte.
//!
//! - A key whose value has changed gets the new one in its place. A key that now says what leaving
//!   it out would say goes, with the comments directly above it. Keys that are written out although
//!   they need not be stay.
//! - A new element follows the one before it or, if it is the first of its kind, comes at the end. It
//!   says only what it has to.
//! - An element that is gone takes its lines along and the comments that touch them. A comment that
//!   an empty line separates from it is about more than this one, and stays.

mod defaults;
mod extent;
mod lines;
mod patch;
mod sequence;
mod splices;
mod steps;
mod style;

use nf_core::vpc::Document;
use toml::Table;

/// Why a change cannot be written into a text.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Nothing can be changed in it.
    #[error("the text is not TOML: {0}")]
    Syntax(#[from] toml_edit::TomlError),
    /// Such as a number above 2⁶³ - 1.
    #[error("the document has a value that TOML cannot express: {0}")]
    Value(#[from] toml::ser::Error),
    /// The result would have said something else than the new document, so there is none.
    #[error(
        "the text does not say what the old document says: read it again and repeat the change"
    )]
    Mismatch,
}

/// `text`, which says `old`, changed so that it says `new`.
///
/// # Errors
///
/// [`Error`]. What is returned says `new`: that has been read from it.
pub fn edit(text: &str, old: &Document, new: &Document) -> Result<String, Error> {
    let (mut old, mut new_tree) = (Table::try_from(old)?, Table::try_from(new)?);
    defaults::leave_out(&mut old, &mut new_tree);
    let edited = edit_tree(text, &old, &new_tree)?;
    match toml::from_str::<Document>(&edited) {
        Ok(said) if said == *new => Ok(edited),
        _ => Err(Error::Mismatch),
    }
}

fn edit_tree(text: &str, old: &Table, new: &Table) -> Result<String, toml_edit::TomlError> {
    let structure = toml_edit::Document::parse(text)?;
    Ok(patch::patch(text, structure.as_table(), old, new))
}

#[cfg(test)]
mod tests;
