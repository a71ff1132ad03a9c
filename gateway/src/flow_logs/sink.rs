//! What a file is written by.

use std::io;
use std::path::Path;

/// Makes files and writes them. Every write says where in the file it begins, so that one which
/// failed half-way is simply done again.
pub(super) trait Sink {
    /// A file that was made.
    type File;

    /// Makes a file that must not be there yet.
    async fn create(&self, path: &Path) -> io::Result<Self::File>;

    /// Writes all of `bytes` at `offset`, and gives them back.
    async fn write(
        &self,
        file: &Self::File,
        bytes: Vec<u8>,
        offset: u64,
    ) -> (io::Result<()>, Vec<u8>);

    /// Ends a file.
    async fn close(&self, file: Self::File) -> io::Result<()>;
}
