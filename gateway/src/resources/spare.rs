//! What reading a large document took and nobody needs any more goes back to the system: the tree of
//! a text takes some twenty times its size, and the C library would keep it for the next one.

use crate::config::ResourceFile;

/// The text of a document, in bytes, for which it is worth the search for free pages.
const LARGE: usize = 1 << 20;

/// Gives back what reading this document has left over.
pub(super) fn give_back(read: &ResourceFile) {
    if read.text().len() < LARGE {
        return;
    }
    #[cfg(target_env = "gnu")]
    // SAFETY: it touches no memory that is in use, and may be called at any time by any thread.
    unsafe {
        libc::malloc_trim(0);
    }
}
