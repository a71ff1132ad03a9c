//! What becomes of the file, and every way in which nothing does.

use std::os::unix::fs::symlink;

use caps::{CapSet, Capability};
use halfspace_testbed::{Requirement, ready};
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::unistd::Uid;
use tempfile::TempDir;

use super::*;

const OLD: &str = "[[vpc]]\nvpc_id = \"vpc-a\"\ncidr_block = \"10.0.0.0/16\"\n";
const NEW: &str = "[[vpc]]\nvpc_id = \"vpc-b\"\ncidr_block = \"10.0.0.0/16\"\n";

/// A directory with the old document in it.
fn directory() -> (TempDir, Store) {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("resources.toml");
    fs::write(&file, OLD).unwrap();
    (directory, Store::new(file))
}

fn names(directory: &TempDir) -> Vec<String> {
    let entries = fs::read_dir(directory.path()).unwrap();
    let mut names: Vec<_> =
        entries.map(|it| it.unwrap().file_name().into_string().unwrap()).collect();
    names.sort_unstable();
    names
}

fn content(store: &Store) -> String {
    fs::read_to_string(store.file()).unwrap()
}

/// Runs `work` on a thread of its own, whose rights and mounts may change: they end with it.
fn apart<R: Send>(work: impl FnOnce() -> R + Send) -> R {
    std::thread::scope(|scope| scope.spawn(work).join().expect("the test goes on"))
}

/// The error of writing in mounts that `change` has changed for nobody else.
fn error_among_mounts(store: &Store, change: impl FnOnce() -> nix::Result<()> + Send) -> Error {
    apart(|| {
        unshare(CloneFlags::CLONE_NEWNS).unwrap();
        let private = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
        mount(None::<&str>, "/", None::<&str>, private, None::<&str>).unwrap();
        change().unwrap();
        let read = store.read().unwrap();
        store.write(&read, NEW).unwrap_err()
    })
}

#[test]
fn a_document_is_replaced_by_another_and_nothing_else_is_left() {
    let (directory, store) = directory();
    let read = store.read().unwrap();
    assert_eq!(read.text(), OLD);
    assert_eq!(read.document().vpc[0].vpc_id.to_string(), "vpc-a");
    store.write(&read, NEW).unwrap();
    assert_eq!(store.read().unwrap().text(), NEW);
    assert_eq!(names(&directory), ["resources.toml"]);
}

#[test]
fn whoever_has_the_old_file_open_still_sees_the_whole_of_it() {
    let (_directory, store) = directory();
    let mut open = File::open(store.file()).unwrap();
    store.write(&store.read().unwrap(), NEW).unwrap();
    assert_eq!(io::read_to_string(&mut open).unwrap(), OLD);
}

#[test]
fn a_symbolic_link_stays_and_what_it_leads_to_is_replaced() {
    let (directory, target) = directory();
    let elsewhere = tempfile::tempdir().unwrap();
    let link = elsewhere.path().join("link.toml");
    symlink(target.file(), &link).unwrap();
    let second = elsewhere.path().join("second.toml");
    symlink("link.toml", &second).unwrap();

    let store = Store::new(second.clone());
    store.write(&store.read().unwrap(), NEW).unwrap();
    assert_eq!(fs::read_link(&link).unwrap(), target.file());
    assert_eq!(fs::read_link(&second).unwrap(), Path::new("link.toml"));
    assert!(fs::symlink_metadata(target.file()).unwrap().is_file());
    assert_eq!(content(&target), NEW);
    assert_eq!(names(&directory), ["resources.toml"]);
    assert_eq!(names(&elsewhere), ["link.toml", "second.toml"]);
}

#[test]
fn the_mode_is_kept() {
    let (_directory, store) = directory();
    for mode in [0o600, 0o664, 0o444] {
        fs::set_permissions(store.file(), fs::Permissions::from_mode(mode)).unwrap();
        let read = store.read().unwrap();
        store.write(&read, &format!("{}\n", read.text())).unwrap();
        assert_eq!(fs::metadata(store.file()).unwrap().mode() & 0o7777, mode);
    }
}

#[test]
fn the_owner_is_kept_or_the_file_is() {
    if !ready(&[Requirement::Root]) {
        return;
    }
    let (directory, store) = directory();
    fs::set_permissions(store.file(), fs::Permissions::from_mode(0o640)).unwrap();
    std::os::unix::fs::chown(store.file(), Some(1234), Some(2345)).unwrap();
    store.write(&store.read().unwrap(), NEW).unwrap();
    let new = fs::metadata(store.file()).unwrap();
    assert_eq!((new.uid(), new.gid(), new.mode() & 0o7777), (1234, 2345, 0o640));

    // As the running gateway, which has given this right up.
    let error = apart(|| {
        caps::drop(None, CapSet::Effective, Capability::CAP_CHOWN).unwrap();
        store.write(&store.read().unwrap(), OLD).unwrap_err()
    });
    assert!(error.to_string().ends_with("give the file to the gateway's user"), "{error}");
    assert_eq!(content(&store), NEW);
    assert_eq!(names(&directory), ["resources.toml"]);
}

#[test]
fn a_file_that_has_changed_since_it_was_read_is_left_alone() {
    let (directory, store) = directory();
    let read = store.read().unwrap();
    let other = format!("# By hand.\n{OLD}");
    fs::write(store.file(), &other).unwrap();
    assert!(matches!(store.write(&read, NEW), Err(Error::Changed(file)) if file == store.file()));
    assert_eq!(content(&store), other);
    assert_eq!(names(&directory), ["resources.toml"]);

    store.write(&store.read().unwrap(), NEW).unwrap();
    assert_eq!(content(&store), NEW);
}

#[test]
fn a_file_that_is_not_there_is_not_made() {
    let (directory, store) = directory();
    let read = store.read().unwrap();
    fs::remove_file(store.file()).unwrap();
    assert!(matches!(store.read(), Err(Error::Vanished(_))));
    assert!(matches!(store.write(&read, NEW), Err(Error::Vanished(_))));
    assert_eq!(names(&directory), [""; 0]);
}

#[test]
fn an_invalid_document_is_told_of_line_by_line() {
    let (_directory, store) = directory();
    fs::write(store.file(), "[[vpc]]\nvpc_id = 1\n\n[[vpn]]\n").unwrap();
    let error = store.read().unwrap_err();
    let Error::Invalid(diagnostics) = &error else { panic!("{error}") };
    let lines: Vec<_> = diagnostics.iter().map(|it| it.line).collect();
    assert_eq!(lines, [Some(2), Some(4)]);
    assert!(error.to_string().contains("resources.toml:4:3: vpn: unknown field"), "{error}");

    fs::write(store.file(), b"# \xff\n").unwrap();
    let error = store.read().unwrap_err();
    assert!(error.to_string().ends_with(":1:3: not UTF-8 from here on"), "{error}");
}

#[test]
fn a_directory_that_may_not_be_written_to_is_told_of() {
    let (directory, store) = directory();
    let mode = |mode| fs::set_permissions(directory.path(), fs::Permissions::from_mode(mode));
    mode(0o555).unwrap();
    let error = apart(|| {
        if Uid::effective().is_root() {
            caps::drop(None, CapSet::Effective, Capability::CAP_DAC_OVERRIDE).unwrap();
        }
        store.write(&store.read().unwrap(), NEW).unwrap_err()
    });
    mode(0o755).unwrap();
    assert!(matches!(error, Error::Permission { action: "replaced", .. }), "{error}");
    assert_eq!(content(&store), OLD);
}

#[test]
fn a_file_that_may_not_be_read_is_told_of() {
    let (_directory, store) = directory();
    fs::set_permissions(store.file(), fs::Permissions::from_mode(0o000)).unwrap();
    let error = apart(|| {
        if Uid::effective().is_root() {
            for right in [Capability::CAP_DAC_OVERRIDE, Capability::CAP_DAC_READ_SEARCH] {
                caps::drop(None, CapSet::Effective, right).unwrap();
            }
        }
        store.read().unwrap_err()
    });
    assert!(matches!(error, Error::Permission { action: "read", .. }), "{error}");
}

#[test]
fn a_read_only_file_system_is_told_of() {
    if !ready(&[Requirement::Root]) {
        return;
    }
    let (directory, store) = directory();
    let error = error_among_mounts(&store, || {
        let path = directory.path();
        mount(Some(path), path, None::<&str>, MsFlags::MS_BIND, None::<&str>)?;
        let read_only = MsFlags::MS_BIND | MsFlags::MS_REMOUNT | MsFlags::MS_RDONLY;
        mount(None::<&str>, path, None::<&str>, read_only, None::<&str>)
    });
    assert!(matches!(error, Error::ReadOnly(_)), "{error}");
    assert_eq!(content(&store), OLD);
}

#[test]
fn a_file_that_is_a_mount_of_its_own_is_told_of() {
    if !ready(&[Requirement::Root]) {
        return;
    }
    let (directory, store) = directory();
    let error = error_among_mounts(&store, || {
        mount(Some(store.file()), store.file(), None::<&str>, MsFlags::MS_BIND, None::<&str>)
    });
    assert!(matches!(error, Error::MountPoint(_)), "{error}");
    assert_eq!(content(&store), OLD);
    assert_eq!(names(&directory), ["resources.toml"]);
}

#[test]
fn a_directory_in_the_place_of_the_file_is_told_of() {
    let (_directory, store) = directory();
    fs::remove_file(store.file()).unwrap();
    fs::create_dir(store.file()).unwrap();
    let error = store.read().unwrap_err();
    assert!(matches!(error, Error::Io { action: "read", .. }), "{error}");
}
