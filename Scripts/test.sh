#!/bin/bash
# test.sh unit|integration|all - one release build of everything, then the unit tests as an unprivileged user and the rest as root
# inside mount, network and IPC namespaces and a cgroup scope of their own. The machine must be the same before and after.
# FILTER=regex picks tests; KEEP=1 leaves the scratch folder.
set -euo pipefail
cd "$(dirname "$0")/.."
what=${1:-all}
swift build -c release --build-tests --enable-index-store
Scripts/build.sh skiff skiffd skiff-runtime
bundle=$PWD/.build/release/skiffPackageTests.xctest
run=("$bundle" --testing-library swift-testing)
export SKIFF_BIN_DIR=$PWD/bin SKIFF_SOURCE_DIR=$PWD SWIFT_BACKTRACE=enable=no
failed=0

if [ "$what" != integration ]; then
  echo "== unit tests (unprivileged)"
  unprivileged=()
  if [ "$(id -u)" = 0 ]; then
    unprivileged=(setpriv --reuid=65534 --regid=65534 --clear-groups)
    # a checkout in a folder that others may not enter: one capability to read it, nothing else
    "${unprivileged[@]}" test -x "$bundle" || unprivileged+=(--inh-caps=+dac_read_search --ambient-caps=+dac_read_search)
    unprivileged+=(env HOME=/nonexistent TMPDIR=/tmp)
  fi
  "${unprivileged[@]}" "${run[@]}" --skip '^Integration\.' ${FILTER:+--filter "$FILTER"} || failed=1
fi

if [ "$what" != unit ]; then
  if [ "$(id -u)" != 0 ]; then
    echo "test: the integration tests need root (namespaces, mounts, cgroups): run 'sudo make test'" >&2
    exit 1
  fi
  echo "== integration tests (root, own namespaces)"
  scratch=$(mktemp -d /tmp/skiff-test.XXXXXX)
  chmod 755 "$scratch"
  before=$scratch/before after=$scratch/after
  python3 Tests/Support/leak-check.py snapshot >"$before"
  export SKIFF_TEST_SCRATCH=$scratch/work SKIFF_TEST_CGROUP=/skiff-test-$$
  mkdir -p "$SKIFF_TEST_SCRATCH"
  unshare --mount --net --ipc --propagation private bash -c 'ip link set lo up; exec "$@"' - \
    "${run[@]}" --filter "${FILTER:-^Integration\.}" --no-parallel || failed=1
  # the tests' own folder above their containers' cgroups, if those are gone as they should be
  awk '/ - cgroup/ {print $5}' /proc/self/mountinfo | while read -r mount; do rmdir "$mount$SKIFF_TEST_CGROUP/cli" "$mount$SKIFF_TEST_CGROUP" 2>/dev/null || :; done
  python3 Tests/Support/leak-check.py snapshot >"$after"
  python3 Tests/Support/leak-check.py compare "$before" "$after" || failed=1
  if [ -z "${KEEP:-}" ]; then rm -rf --one-file-system "$scratch"; else echo "kept: $scratch"; fi
fi
exit $failed
