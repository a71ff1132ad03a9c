//! `halfspace uninstall`: removing what a stopped gateway left in the kernel.

use std::io;
use std::path::PathBuf;

use ::datapath::{Datapath, Kind, OpenError, Options};

use crate::config::NodeConfig;
use crate::run::datapath_options;

use super::output;

/// Why it could not be removed.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    #[error(transparent)]
    Open(#[from] OpenError),
    #[error("cannot remove all of {path}: {error}")]
    Remove { path: PathBuf, error: io::Error },
}

pub(super) fn execute(config: &NodeConfig) -> Result<(), super::Error> {
    // Whatever the configuration says now: what is there was left by a gateway on eBPF.
    let options = Options { kind: Kind::Ebpf, ..datapath_options(config) };
    let path = &options.pin_dir;
    if !path.exists() {
        output::line(format_args!("nothing to remove: there is no {}", path.display()))?;
        return Ok(());
    }
    let (datapath, _) = Datapath::open(&options).map_err(Error::from)?;
    datapath.uninstall().map_err(|error| Error::Remove { path: path.clone(), error })?;
    output::line(format_args!("removed {}", path.display()))?;
    Ok(())
}
