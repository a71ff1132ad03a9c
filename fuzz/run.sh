#!/usr/bin/env bash
# Fuzzes every target for FUZZ_SECONDS each (20 if not said), with at most 1 GiB of memory. What is
# found in one run is where the next starts from (fuzz/corpus). Fails if any target crashes, and
# names the input that made it.
set -euo pipefail
cd "$(dirname "$0")"

seconds=${FUZZ_SECONDS:-20}
[[ $seconds =~ ^[1-9][0-9]*$ ]] || {
	echo "FUZZ_SECONDS is '$seconds': say how many whole seconds each target may take" >&2
	exit 2
}

skip() {
	echo "skipped: $*"
	# In CI nothing may be skipped.
	if [[ ${HALFSPACE_REQUIRE_ALL:-} == 1 ]]; then exit 1; fi
	exit 0
}

command -v rustup >/dev/null ||
	skip "fuzzing needs a nightly compiler, and without rustup there is no telling where one is"
nightly=$(rustup toolchain list | sed -n 's/^\(nightly[^ ]*\).*/\1/p')
nightly=${nightly%%$'\n'*}
[[ -n $nightly ]] ||
	skip "fuzzing needs a nightly compiler: rustup toolchain install nightly --profile minimal"

if ! cargo fuzz --version >/dev/null 2>&1; then
	echo "installing cargo-fuzz, which drives libFuzzer: cargo install cargo-fuzz --locked"
	cargo install cargo-fuzz --locked --quiet
fi

logs=target/logs
mkdir -p "$logs"
# The code under test forbids unsafe: the address sanitizer would find nothing and halve the speed.
cargo "+$nightly" fuzz build --sanitizer none

failed=0
for target in $(cargo "+$nightly" fuzz list); do
	log=$logs/$target.log
	if cargo "+$nightly" fuzz run --sanitizer none "$target" -- \
		-max_total_time="$seconds" -max_len=4096 -rss_limit_mb=1024 -timeout=10 >"$log" 2>&1; then
		echo "fuzz $target: $(grep --max-count=1 '^Done' "$log"), none crashed"
		continue
	fi
	failed=1
	echo "fuzz $target: FAILED" >&2
	grep --max-count=1 --after-context=3 "panicked at" "$log" >&2 || tail -n 20 "$log" >&2
	input=$(sed -n 's/.*Test unit written to //p' "$log" | tail -n 1)
	if [[ -n $input ]]; then
		echo "the input is ${input/#"$PWD"/fuzz}; run it again with" >&2
		echo "  cargo +$nightly fuzz run --sanitizer none $target ${input/#"$PWD"/fuzz}" >&2
	fi
	echo "everything it said is in fuzz/$log" >&2
done
exit "$failed"
