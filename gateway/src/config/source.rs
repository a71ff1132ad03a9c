//! A configuration file's text, and the lines of places in it.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

use super::Diagnostic;

/// Larger than any document that a person or generator means; a path to a device stops here.
const MAX_BYTES: u64 = 64 << 20;

/// The text of a file.
#[derive(Debug)]
pub(super) struct Source {
    name: String,
    text: String,
}

impl Source {
    /// Reads a file.
    ///
    /// # Errors
    ///
    /// It cannot be opened or read, is larger than [`MAX_BYTES`], or is not UTF-8.
    pub(super) fn read(file: &Path) -> Result<Self, Diagnostic> {
        let bytes = read_bytes(file)
            .map_err(|error| Diagnostic::of(file.display().to_string(), "", explain(&error)))?;
        Self::decode(file, bytes)
    }

    /// The text of a file that has been read with [`read_bytes`].
    ///
    /// # Errors
    ///
    /// It is larger than [`MAX_BYTES`] or not UTF-8.
    pub(super) fn decode(file: &Path, bytes: Vec<u8>) -> Result<Self, Diagnostic> {
        let name = file.display().to_string();
        if bytes.len() as u64 > MAX_BYTES {
            return Err(Diagnostic::of(name, "", format!("larger than {} MiB", MAX_BYTES >> 20)));
        }
        match String::from_utf8(bytes) {
            Ok(text) => Ok(Self { name, text }),
            Err(error) => {
                let valid = error.utf8_error().valid_up_to();
                let before = String::from_utf8_lossy(&error.as_bytes()[..valid]).into_owned();
                let source = Self { name, text: before };
                Err(source.diagnostic(valid, "", "not UTF-8 from here on"))
            }
        }
    }

    /// A text that is already there.
    #[cfg(test)]
    pub(super) fn of(name: &str, text: &str) -> Self {
        Self { name: name.to_owned(), text: text.to_owned() }
    }

    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// What is wrong at a byte of the text.
    pub(super) fn diagnostic(
        &self,
        offset: usize,
        path: impl Into<String>,
        message: impl Into<String>,
    ) -> Diagnostic {
        let (line, column) = self.position(offset);
        Diagnostic {
            file: self.name.clone(),
            line: Some(line),
            column: Some(column),
            path: path.into(),
            message: message.into(),
            code: None,
        }
    }

    /// Line and column in characters, both from 1, of a byte of the text.
    fn position(&self, offset: usize) -> (usize, usize) {
        let before = &self.text[..self.text.floor_char_boundary(offset)];
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
        (line, column)
    }
}

/// The bytes of a file, up to one more than [`MAX_BYTES`].
///
/// # Errors
///
/// It cannot be opened or read.
pub(super) fn read_bytes(file: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(file)?.take(MAX_BYTES + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn explain(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => "no such file: check the path".to_owned(),
        io::ErrorKind::PermissionDenied => "may not be read by this user".to_owned(),
        _ => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_counts_lines_and_characters_from_one() {
        let source = Source::of("x", "ab\ncdé\nf");
        for (offset, position) in
            [(0, (1, 1)), (2, (1, 3)), (3, (2, 1)), (5, (2, 3)), (6, (2, 3)), (7, (2, 4))]
        {
            assert_eq!(source.position(offset), position, "{offset}");
        }
        assert_eq!(source.position(8), (3, 1));
        assert_eq!(source.position(1000), (3, 2), "past the end is the end");
    }

    #[test]
    fn a_file_that_cannot_be_read_says_why() {
        let directory = tempfile::tempdir().expect("temporary directory");
        let missing = directory.path().join("none.toml");
        let error = Source::read(&missing).expect_err("there is none");
        assert_eq!(
            error.to_string(),
            format!("{}: no such file: check the path", missing.display())
        );
        let binary = directory.path().join("binary.toml");
        std::fs::write(&binary, b"a = 1\nb = \"\xff\"\n").expect("temporary file");
        let error = Source::read(&binary).expect_err("not text");
        assert_eq!((error.line, error.column), (Some(2), Some(6)));
    }

    #[test]
    fn a_file_without_an_end_is_not_read_for_ever() {
        let error = Source::read(Path::new("/dev/zero")).expect_err("too large");
        assert_eq!(error.to_string(), "/dev/zero: larger than 64 MiB");
    }
}
