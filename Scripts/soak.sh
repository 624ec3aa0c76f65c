#!/bin/bash
# soak.sh - storms of random kills, one after the other; after each kill the books must balance:
#  - containers: the engine, while clients start, stop and remove containers (SOAK_SECONDS, default 600)
#  - networks: 200 random changes, the engine amid others (MATRIX_CHANGES, 200; MATRIX_KILLS, 60), between which everybody reaches
#    what the table says; a million connections through a published port leave nothing behind (FLOOD_CONNECTIONS, default 1000000)
#  - images: the engine, while images are imported, loaded, saved, committed, tagged, removed, pruned, pushed to and pulled from a
#    registry that misbehaves (STORM_KILLS, default 200; STORM_SECONDS ends it early)
#  - registry: the registry server, while clients push and delete and it collects (REGISTRY_SECONDS, default 120)
# SOAK_ONLY names one of them.
set -euo pipefail
cd "$(dirname "$0")/.."
[ "$(id -u)" = 0 ] || { echo "soak: needs root" >&2; exit 1; }
export PYTHONDONTWRITEBYTECODE=1 STORM_REGISTRY=${STORM_REGISTRY-faulty} REGISTRY_SECONDS=${REGISTRY_SECONDS:-120}
wanted() { [ -z "${SOAK_ONLY:-}" ] || [ "$SOAK_ONLY" = "$1" ]; }
storm() {
  if wanted "$1"; then unshare --mount --net --ipc --propagation private bash -c 'ip link set lo up; exec python3 "$@"' - "${@:2}"; fi
}
storm containers Tests/Support/soak.py
if wanted networks; then
  MATRIX_CHANGES=${MATRIX_CHANGES:-200} MATRIX_KILLS=${MATRIX_KILLS:-60} python3 Tests/Integration/Networks/matrix.py "${SKIFF_BIN_DIR:-bin}"
  python3 Tests/Integration/Networks/flood.py "${SKIFF_BIN_DIR:-bin}" "${FLOOD_CONNECTIONS:-1000000}"
fi
storm images Tests/Support/storage_storm.py
storm registry Tests/Integration/Registry/registry_server.py "${SKIFF_BIN_DIR:-bin}" storm
