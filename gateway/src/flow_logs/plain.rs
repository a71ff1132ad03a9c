//! Files by the system calls that every kernel allows. The writer's thread waits for each.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use super::sink::Sink;

pub(super) struct Plain;

impl Sink for Plain {
    type File = File;

    async fn create(&self, path: &Path) -> io::Result<File> {
        File::create_new(path)
    }

    async fn write(&self, file: &File, bytes: Vec<u8>, offset: u64) -> (io::Result<()>, Vec<u8>) {
        (file.write_all_at(&bytes, offset), bytes)
    }

    async fn close(&self, file: File) -> io::Result<()> {
        drop(file);
        Ok(())
    }
}
