#!/bin/bash
# test-guest.sh - the integration tests again in a Debian guest with systemd, pure cgroup v2 and AppArmor. The tests' bundle needs the
# Swift libraries, which are shared read-only with the guest. FILTER=regex picks; SKIFF_GUEST=DIR is the guest's folder.
set -euo pipefail
cd "$(dirname "$0")/.."
[ "$(id -u)" = 0 ] || { echo "test-guest: making the guest needs root" >&2; exit 1; }
guest=${SKIFF_GUEST:-/var/cache/skiff-guest}
[ "$(cat "$guest/made-by" 2>/dev/null)" = "$(sha256sum <Scripts/guest/make-guest.sh)" ] || Scripts/guest/make-guest.sh "$guest"
swift build -c release --build-tests --enable-index-store
Scripts/build.sh skiff skiffd skiff-runtime
share=$(mktemp -d /tmp/skiff-guest.XXXXXX)
trap 'rm -rf "$share"' EXIT
mkdir -p "$share/bin" "$share/lib" "$share/source/Tests" "$share/source/docs"
cp bin/skiff bin/skiffd bin/skiff-runtime "$share/bin/"
cp .build/release/skiffPackageTests.xctest "$share/"
cp -r Tests/Support Tests/Integration "$share/source/Tests/"
# what `make install` puts in place
cp -r Scripts Packaging "$share/source/"
cp -r docs/man "$share/source/docs/"
printf '%s' "$PWD" >"$share/checkout"
# the test bundle's libraries (Swift's and C's), with its loader: the guest has no toolchain and another glibc
ldd "$share/skiffPackageTests.xctest" | awk '$3 ~ /^\// {print $3}' | while read -r library; do
  case $library in */ld-linux*|*/libc.so*|*/libm.so*|*/libpthread*|*/libdl*|*/librt*) ;; *) cp -L "$library" "$share/lib/" ;; esac
done
cat >"$share/go.sh" <<'G'
set -u
mkdir -p /opt/skiff && cp -r /share/bin /share/lib /share/source /share/skiffPackageTests.xctest /opt/skiff/
ln -s ../bin /opt/skiff/source/bin
# scripts beside the tests are found where the tests were compiled
mkdir -p "$(dirname "$(cat /share/checkout)")" && ln -sfn /opt/skiff/source "$(cat /share/checkout)"
export LD_LIBRARY_PATH=/opt/skiff/lib SKIFF_BIN_DIR=/opt/skiff/bin SKIFF_SOURCE_DIR=/opt/skiff/source SWIFT_BACKTRACE=enable=no
# this machine is thrown away: tests may install programs and units, and start them
export SKIFF_TEST_UNITS=1
export SKIFF_TEST_SCRATCH=/var/tmp/skiff-test SKIFF_TEST_CGROUP=/skiff-test
mkdir -p "$SKIFF_TEST_SCRATCH"
env -u LD_LIBRARY_PATH /opt/skiff/bin/skiff-runtime features >/dev/null && echo "features: ok"
unshare --mount --net --ipc --propagation private sh -c 'ip link set lo up; exec "$@"' - \
  /opt/skiff/skiffPackageTests.xctest --testing-library swift-testing --filter "$(cat /share/filter)" --no-parallel
G
printf '%s' "${FILTER:-^Integration\.}" >"$share/filter"
TIMEOUT=${TIMEOUT:-3600} Scripts/guest/run-guest.sh "$guest" -m 3G -s "$share" 'bash /share/go.sh'
