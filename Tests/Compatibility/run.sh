#!/bin/bash
# run.sh [TEST…] - real outside clients (docker's CLI, docker-py) drive an engine of its own, in mount, network and IPC
# namespaces of its own. SKIFF_BIN_DIR names the binaries (default bin/). A test is named as unittest names it:
# test_docker_cli.RunTests.test_exit_codes. KEEP=1 leaves the scratch folder with the engine's log.
set -euo pipefail
cd "$(dirname "$0")"
root=$(cd ../.. && pwd)
export SKIFF_BIN_DIR=${SKIFF_BIN_DIR:-$root/bin}
[ "$(id -u)" = 0 ] || { echo "compat: needs root (namespaces, mounts, cgroups)" >&2; exit 1; }
command -v docker >/dev/null || { echo "compat: no docker command in PATH: install docker's CLI to run these" >&2; exit 1; }
if [ -z "${SKIFF_COMPAT_INSIDE:-}" ]; then
  export SKIFF_COMPAT_INSIDE=1
  exec unshare --mount --net --ipc --propagation private ./run.sh "$@"
fi
ip link set lo up
python=python3
$python -c 'import docker' 2>/dev/null || echo "compat: python's docker package is missing, its tests are skipped: pip install docker==7.1.0" >&2
if [ $# -eq 0 ]; then exec $python -B -m unittest discover -v -p 'test_*.py'; fi
exec $python -B -m unittest -v "$@"
