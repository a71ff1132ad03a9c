//! Files through `io_uring`, by the crate tokio-uring. Containers mostly may not use it, and a kernel
//! can have it switched off (`kernel.io_uring_disabled`): so it is tried before it is relied upon.

use std::io;
use std::path::Path;

use tokio_uring::Runtime;
use tokio_uring::fs::{File, OpenOptions};

use super::sink::Sink;

/// Operations under way at once: the writer waits for each.
const ENTRIES: u32 = 8;

pub(super) struct Uring;

/// A ring that has carried out an operation.
///
/// # Errors
///
/// What the kernel says if it has none for this process.
pub(super) fn runtime() -> io::Result<Runtime> {
    let runtime = Runtime::new(tokio_uring::builder().entries(ENTRIES))?;
    runtime.block_on(tokio_uring::no_op())?;
    Ok(runtime)
}

impl Sink for Uring {
    type File = File;

    async fn create(&self, path: &Path) -> io::Result<File> {
        OpenOptions::new().write(true).create_new(true).open(path).await
    }

    async fn write(&self, file: &File, bytes: Vec<u8>, offset: u64) -> (io::Result<()>, Vec<u8>) {
        file.write_all_at(bytes, offset).await
    }

    async fn close(&self, file: File) -> io::Result<()> {
        file.close().await
    }
}
