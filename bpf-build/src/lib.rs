//! Compiles the BPF programs of a crate with clang, for its build script.
//!
//! The sources are in the crate's directory `bpf`; `NAME.bpf.c` becomes `NAME.bpf.o` in `OUT_DIR`,
//! for `include_bytes!` to find.

use std::env;
use std::ffi::OsStr;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::Command;

const PACKAGES: &str = "On Debian: apt-get install clang libbpf-dev linux-libc-dev";

/// Compiles these programs, by the variables that cargo sets for build scripts. What goes wrong is
/// told to cargo, which then ends the build with it.
pub fn compile(programs: &[&str]) {
    println!("cargo::rerun-if-changed=bpf");
    println!("cargo::rerun-if-env-changed=CLANG");
    if let Err(message) = compile_all(programs) {
        println!("cargo::error={message}");
    }
}

fn compile_all(programs: &[&str]) -> Result<(), String> {
    let variable = |name| env::var(name).map_err(|why| format!("{name}: {why}"));
    let sources = PathBuf::from(variable("CARGO_MANIFEST_DIR")?).join("bpf");
    let objects = PathBuf::from(variable("OUT_DIR")?);
    let clang = env::var_os("CLANG").unwrap_or_else(|| "clang".into());
    programs.iter().try_for_each(|program| {
        let object = objects.join(format!("{program}.bpf.o"));
        compile_one(&clang, &sources, &format!("{program}.bpf.c"), &object)
    })
}

fn compile_one(clang: &OsStr, sources: &Path, source: &str, object: &Path) -> Result<(), String> {
    let clang_name = clang.display();
    let output = Command::new(clang)
        // Relative paths, so that no machine's directories end up in the debug information.
        .current_dir(sources)
        .args(["-target", "bpf", "-O2", "-g", "-mcpu=v3", "-Wall", "-Wextra", "-Werror"])
        .arg("-fdebug-compilation-dir=.")
        // <asm/types.h> is the host's, whatever the target.
        .arg(format!("-I/usr/include/{}-linux-gnu", env::consts::ARCH))
        .args(["-c", source, "-o"])
        .arg(object)
        .output();
    let output = match output {
        Ok(output) => output,
        Err(error) if error.kind() == ErrorKind::NotFound => {
            return Err(format!("{clang_name} is needed to compile the BPF programs. {PACKAGES}"));
        }
        Err(error) => return Err(format!("cannot run {clang_name}: {error}")),
    };
    if output.status.success() {
        return Ok(());
    }
    let complaint = String::from_utf8_lossy(&output.stderr);
    // Cargo shows the text of an error's first line only.
    for line in complaint.lines() {
        println!("cargo::warning={line}");
    }
    Err(if complaint.contains("file not found") {
        format!("a header that the BPF programs need is missing. {PACKAGES}")
    } else {
        format!("{clang_name} could not compile {source}")
    })
}
