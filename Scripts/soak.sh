#!/bin/bash
# soak.sh - storms of random kills: the engine is ended with SIGKILL at random moments while clients start, stop and remove
# containers, and 200 times while images are imported, loaded, saved, committed, tagged, removed, pushed to and pulled
# from a registry that misbehaves; after each the books must balance.
# Then a million connections through a published port, which must leave nothing behind.
# SOAK_SECONDS (default 600), STORM_KILLS (default 200), FLOOD_CONNECTIONS (default 1000000).
set -euo pipefail
cd "$(dirname "$0")/.."
[ "$(id -u)" = 0 ] || { echo "soak: needs root" >&2; exit 1; }
unshare --mount --net --ipc --propagation private bash -c 'ip link set lo up; exec python3 Tests/Support/soak.py'
python3 Tests/Integration/Networks/flood.py "${SKIFF_BIN_DIR:-bin}" "${FLOOD_CONNECTIONS:-1000000}"
export STORM_REGISTRY=${STORM_REGISTRY-faulty}
exec unshare --mount --net --ipc --propagation private bash -c 'ip link set lo up; exec python3 Tests/Support/storage_storm.py'
