//! Compiles the BPF programs with clang.

use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, exit};

const PROGRAMS: [&str; 3] = ["generator", "sink", "relay"];

const INSTALL: &str = "apt-get install clang llvm libbpf-dev linux-libc-dev";

fn main() {
    println!("cargo::rerun-if-changed=bpf");
    if let Err(reason) = compile() {
        eprintln!("{reason}");
        exit(1);
    }
}

fn compile() -> Result<(), String> {
    let variable = |name| std::env::var(name).map_err(|error| format!("{name}: {error}"));
    let out = PathBuf::from(variable("OUT_DIR")?);
    // Debian keeps <asm/types.h> below the architecture's name.
    let architecture = variable("CARGO_CFG_TARGET_ARCH")?;
    let headers = format!("/usr/include/{architecture}-linux-gnu");
    for program in PROGRAMS {
        let source = Path::new("bpf").join(program).with_extension("bpf.c");
        let object = out.join(program).with_extension("bpf.o");
        let mut clang = Command::new("clang");
        clang
            .args(["-target", "bpf", "-O2", "-g", "-mcpu=v3", "-Wall", "-Werror"])
            .args(["-I", &headers, "-c"])
            .arg(&source)
            .arg("-o")
            .arg(&object);
        match clang.status() {
            Ok(status) if status.success() => {}
            Ok(_) => {
                return Err(format!(
                    "clang cannot compile {}; if it misses a header: {INSTALL}",
                    source.display()
                ));
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(format!("clang is not installed, the BPF programs need it: {INSTALL}"));
            }
            Err(error) => return Err(format!("cannot run clang: {error}")),
        }
    }
    Ok(())
}
