//! The `halfspace` binary. Everything is in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    halfspace::cli::main(std::env::args_os())
}
