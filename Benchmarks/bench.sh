#!/bin/bash
# bench.sh - measures skiff and its peers in turns in one run, inside mount and network namespaces of its own, and prints a table.
# ROUNDS (default 7), ONLY=regex of row ids, OUT=file for the JSON (default .bench/results.json), SKIFF_PEERS=DIR of the peers' root.
set -euo pipefail
cd "$(dirname "$0")/.."
[ "$(id -u)" = 0 ] || { echo "bench: needs root (namespaces, cgroups, the peers' root)" >&2; exit 1; }
export SKIFF_PEERS=${SKIFF_PEERS:-/var/cache/skiff-peers}
mkdir -p .bench
Scripts/peers.sh --make "$SKIFF_PEERS"
# on the first processor while namespaces are made, see Scripts/peers.sh
exec taskset -c 0 unshare --mount --net --propagation private bash -euc '
  taskset -p -c "0-$(($(getconf _NPROCESSORS_CONF) - 1))" $$ >/dev/null
  ip link set lo up
  Scripts/peers.sh "$SKIFF_PEERS" >&2
  exec python3 Benchmarks/bench.py' 
