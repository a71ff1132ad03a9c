//! What is written down of an attached environment, so that the next process attaches it again.
//!
//! One small file each, written beside its final name and then renamed: whoever reads the
//! directory sees a whole record or none. Nothing is synced to the disk. After a crash of the
//! machine the interfaces are gone as well, and with them the reason for the records.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::EnvironmentId;
use crate::links::Link;

/// An attached environment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Record {
    /// Its id, which is the file's name too.
    pub environment_id: EnvironmentId,
    /// The bridge it is behind.
    pub lambda_bridge_id: String,
    /// Its interface.
    pub port: String,
    /// The interface's index. A new interface under the old name is another environment's.
    pub interface_index: u32,
}

impl Record {
    pub(super) fn new(environment_id: EnvironmentId, bridge: &str, link: &Link) -> Self {
        Self {
            environment_id,
            lambda_bridge_id: bridge.to_owned(),
            port: link.name.to_string(),
            interface_index: link.id.get(),
        }
    }

    /// Whether this is the environment's interface.
    pub(super) fn is_of(&self, link: &Link) -> bool {
        self.port == *link.name && self.interface_index == link.id.get()
    }

    pub(super) fn write(&self, directory: &Path) -> io::Result<()> {
        let beside = directory.join(format!("{}{UNFINISHED}", self.environment_id));
        fs::write(&beside, serde_json::to_vec(self)?)?;
        fs::rename(&beside, path(directory, &self.environment_id))
            .inspect_err(|_| drop(fs::remove_file(&beside)))
    }
}

/// What a record's file name ends with.
const FINISHED: &str = ".json";

/// What the name of one that is being written ends with. It is nobody's record, whatever the id.
const UNFINISHED: &str = ".new";

pub(super) fn path(directory: &Path, id: &EnvironmentId) -> PathBuf {
    directory.join(format!("{id}{FINISHED}"))
}

/// Removes a record; one that is not there is as good as removed.
pub(super) fn remove(directory: &Path, id: &EnvironmentId) -> io::Result<()> {
    match fs::remove_file(path(directory, id)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Every record, by id; the directory is made if it is not there. What is not a record is told and
/// removed: left in place, it would be told of at every start.
pub(super) fn read_all(directory: &Path) -> io::Result<Vec<Record>> {
    fs::create_dir_all(directory)?;
    let mut records = Vec::new();
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        match read(&path) {
            Ok(record) => records.push(record),
            Err(error) => {
                tracing::warn!(path = %path.display(), %error, "not an environment's record");
                fs::remove_file(&path)?;
            }
        }
    }
    records.sort_by(|a, b| a.environment_id.cmp(&b.environment_id));
    Ok(records)
}

fn read(path: &Path) -> io::Result<Record> {
    let record: Record = serde_json::from_slice(&fs::read(path)?)?;
    let expected = format!("{}{FINISHED}", record.environment_id);
    if path.file_name().is_none_or(|name| name != expected.as_str()) {
        return Err(io::Error::other(format!("it should be named {expected}")));
    }
    Ok(record)
}

#[cfg(test)]
mod tests {
    use nf_core::id::PortId;
    use nf_core::packet::MacAddr;

    use super::*;

    fn link(id: u32, name: &str) -> Link {
        let id = PortId::new(id).unwrap();
        Link { id, name: name.into(), mac: MacAddr::default(), mtu: 1500, up: true }
    }

    fn record(id: &str, link: &Link) -> Record {
        Record::new(id.parse().unwrap(), "bridge-a", link)
    }

    #[test]
    fn records_are_read_back_and_removed() {
        let directory = tempfile::tempdir().unwrap();
        let two = [record("a", &link(4, "tap4")), record("b", &link(5, "tap5"))];
        for record in two.iter().rev() {
            record.write(directory.path()).unwrap();
        }
        assert_eq!(read_all(directory.path()).unwrap(), two);

        remove(directory.path(), &two[0].environment_id).unwrap();
        remove(directory.path(), &two[0].environment_id).unwrap();
        assert_eq!(read_all(directory.path()).unwrap(), two[1..]);
    }

    #[test]
    fn what_is_not_a_record_is_removed_and_the_rest_is_read() {
        let directory = tempfile::tempdir().unwrap();
        let good = record("good", &link(4, "tap4"));
        good.write(directory.path()).unwrap();
        fs::write(directory.path().join("torn.json"), b"{\"environment_id\":").unwrap();
        fs::write(directory.path().join("half.json.new"), b"").unwrap();
        fs::copy(path(directory.path(), &good.environment_id), directory.path().join("other.json"))
            .unwrap();

        assert_eq!(read_all(directory.path()).unwrap(), [good]);
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_new_interface_under_the_old_name_is_another_environments() {
        let record = record("a", &link(4, "tap4"));
        assert!(record.is_of(&link(4, "tap4")));
        assert!(!record.is_of(&link(9, "tap4")));
        assert!(!record.is_of(&link(4, "tap5")));
    }
}
