#!/usr/bin/env bash
# Builds the container image: one static binary, FROM scratch, without a daemon and without a
# network. Writes target/image/halfspace.oci.tar; docs/container.md says how to run it.
set -euo pipefail
cd "$(dirname "$0")/.."
umask 022

fail() {
	echo "images/build.sh: $*" >&2
	exit 1
}

for program in buildah nm objcopy readelf; do
	command -v "$program" >/dev/null ||
		fail "$program is not installed: run  make image-packages build-packages  and try again"
done

target=${CARGO_TARGET_DIR:-target}
triple=$(rustc -vV | sed -n 's/^host: //p')
out=$target/image
archive=$out/halfspace.oci.tar
binary=$target/$triple/release/halfspace

# `--target`, although it is the host's: only then do the flags spare build scripts and procedural
# macros, which must stay dynamic, and only then do the artefacts stand beside those of an ordinary
# build instead of replacing them. The profile is the ordinary one: without link-time optimisation
# the first build would take a sixth less, and the image would hold another program than the one
# that is measured.
RUSTFLAGS="${RUSTFLAGS:-} -C target-feature=+crt-static" \
	cargo build --release --target "$triple" -p halfspace --bin halfspace

if [[ $archive -nt $binary && $archive -nt images/Containerfile &&
	$archive -nt images/build.sh ]]; then
	echo "$archive is up to date"
	exit 0
fi

# There is no loader and no library in the image.
if readelf --program-headers --wide "$binary" | grep INTERP >/dev/null; then
	fail "$binary asks for a dynamic loader: it is not static"
fi
if readelf --dynamic --wide "$binary" | grep NEEDED >&2; then
	fail "$binary needs the libraries above: it is not static"
fi

# These ask the name service switch, which loads whatever libraries the host configures, and fails
# or crashes where there are none. Addresses are to be parsed instead, and users be numbers.
switch='(getaddrinfo|gethostby(name2?|addr)(_r)?|get(pw|gr)(nam|uid|gid)(_r)?)'
symbols=$(nm "$binary")
[[ -n $symbols ]] || fail "$binary has no symbols, so what it calls cannot be told: do not strip it"
if grep -E " [TtWw] $switch\$" <<<"$symbols" >&2; then
	echo "is linked in, most likely by one of these:" >&2
	nm --demangle "$binary" |
		grep -E 'lookup_host|to_socket_addrs|home_dir|User::from|Group::from' >&2 || true
	fail "$binary asks the name service switch, which a static binary cannot rely on"
fi

# In a storage of its own, which goes with it: the machine's images are none of our business. vfs
# needs no mounts, so it works inside a container too.
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$work"/context/root/{etc,run,var/log}/halfspace "$work"/context/root/sys/fs/bpf "$out"
cp LICENSE "$work/context/root/"
# The symbols stay, for backtraces; line tables are most of the file and stay in the build's own.
objcopy --strip-debug "$binary" "$work/context/root/halfspace"

package=$(cargo pkgid -p halfspace)
version=${package##*[#@]}
buildah=(buildah --root "$work/storage" --runroot "$work/run" --storage-driver vfs)
name=localhost/halfspace:$version
# `--timestamp`: the same binary gives the same image, to the digest.
"${buildah[@]}" build --quiet --isolation chroot --pull-never --format oci \
	--timestamp 0 --identity-label=false \
	--build-arg "VERSION=$version" --tag "$name" --file images/Containerfile "$work/context" >/dev/null
rm -f "$archive"
"${buildah[@]}" push --quiet "$name" "oci-archive:$work/halfspace.oci.tar:$name"
mv "$work/halfspace.oci.tar" "$archive"

echo "$archive: $name, $(du -h "$archive" | cut -f1)"
echo "load it with  podman load --input $archive; docs/container.md says how to run it"
