//! Compiles the BPF programs with clang.

use std::env;
use std::io::ErrorKind;
use std::path::PathBuf;
use std::process::Command;

const PACKAGES: &str = "On Debian: apt-get install clang libbpf-dev linux-libc-dev";

fn main() {
    println!("cargo::rerun-if-changed=bpf");
    println!("cargo::rerun-if-env-changed=CLANG");
    if let Err(message) = compile() {
        println!("cargo::error={message}");
    }
}

fn compile() -> Result<(), String> {
    let variable = |name| env::var(name).map_err(|why| format!("{name}: {why}"));
    let source_dir = PathBuf::from(variable("CARGO_MANIFEST_DIR")?).join("bpf");
    let object = PathBuf::from(variable("OUT_DIR")?).join("halfspace.bpf.o");
    let clang = env::var("CLANG").unwrap_or_else(|_| "clang".to_owned());
    let output = Command::new(&clang)
        // Relative paths, so that no machine's directories end up in the debug information.
        .current_dir(&source_dir)
        .args(["-target", "bpf", "-O2", "-g", "-mcpu=v3", "-Wall", "-Wextra", "-Werror"])
        .arg("-fdebug-compilation-dir=.")
        // <asm/types.h> is the host's, whatever the target.
        .arg(format!("-I/usr/include/{}-linux-gnu", env::consts::ARCH))
        .args(["-c", "halfspace.bpf.c", "-o"])
        .arg(&object)
        .output();
    let output = match output {
        Ok(output) => output,
        Err(error) if error.kind() == ErrorKind::NotFound => {
            return Err(format!("{clang} is needed to compile the BPF programs. {PACKAGES}"));
        }
        Err(error) => return Err(format!("cannot run {clang}: {error}")),
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
        format!("{clang} could not compile the BPF programs")
    })
}
