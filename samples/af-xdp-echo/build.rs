//! Compiles the BPF programs.

fn main() {
    bpf_build::compile(&["steer"]);
}
