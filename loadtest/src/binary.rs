//! The `halfspace` that a subcommand starts.

use std::path::{Path, PathBuf};

use crate::error::Error;

/// The one that was named, in an option or in the environment, or else what lies beside our own
/// executable. Whether it is there is seen when it is started.
///
/// # Errors
///
/// [`Error::System`] if our own executable cannot be found.
pub fn find(named: Option<&Path>) -> Result<PathBuf, Error> {
    if let Some(named) = named {
        return Ok(named.to_owned());
    }
    if let Some(named) = std::env::var_os("HALFSPACE") {
        return Ok(named.into());
    }
    let own = std::env::current_exe()
        .map_err(|source| Error::System { action: "find our own executable", source })?;
    Ok(own.with_file_name("halfspace"))
}
