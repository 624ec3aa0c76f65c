#!/bin/bash
# demo.sh - from nothing to nginx answering on a published port, with a read-only root. Prints how long each step took.
# SUITE (default bookworm) and PORT (default 8080) may be set. Leaves the image, removes the container.
set -euo pipefail
cd "$(dirname "$0")/.."
[ "$(id -u)" = 0 ] || { echo "demo: containers need root here: run 'sudo make demo'" >&2; exit 1; }
PATH=$PWD/bin:$PATH
suite=${SUITE:-bookworm} port=${PORT:-8080}
bold= plain=; if [ -t 1 ]; then bold=$'\e[1m' plain=$'\e[0m'; fi
site=$(mktemp -d /tmp/skiff-demo.XXXXXX); chmod 755 "$site"
steps=()
finish() {
  status=$?
  skiff rm -f nginx-demo >/dev/null 2>&1 || true
  rm -rf "$site"
  if [ $status = 0 ]; then printf '\n%sHow long each step took%s\n' "$bold" "$plain"; printf '%s\n' "${steps[@]}"; fi
}
trap finish EXIT
step() { # NAME COMMAND…
  local name=$1 start end; shift
  printf '\n%s$ %s%s\n' "$bold" "$*" "$plain"
  start=$(date +%s%N); "$@"; end=$(date +%s%N)
  steps+=("$(printf '  %-34s %9.1f ms' "$name" "$(((end - start) / 1000))e-3")")
}
fetch() {
  for _ in $(seq 100); do
    if curl -fsS --max-time 2 "http://127.0.0.1:$port/" 2>/dev/null; then return 0; fi
    sleep 0.02
  done
  echo "demo: nothing answers on port $port; the container's log:" >&2; skiff logs nginx-demo >&2; return 1
}
echo '<h1>Hello from skiff</h1>' >"$site/index.html"
skiff rm -f nginx-demo >/dev/null 2>&1 || true

step "base image from the apt mirror" skiff bootstrap "debian:$suite" --include nginx-light,ca-certificates -t nginx-base
step "run" skiff run -d --name nginx-demo --restart unless-stopped --read-only \
  --tmpfs /run --tmpfs /var/lib/nginx --tmpfs /var/log/nginx -v "$site:/var/www/html:ro" -p "$port:80" \
  nginx-base /usr/sbin/nginx -g 'daemon off;'
step "first page over the port" fetch
step "the root is read-only" bash -c '! skiff exec nginx-demo touch /x'
step "ps" skiff ps
step "logs" skiff logs --tail 10 nginx-demo
step "exec" skiff exec nginx-demo nginx -v
step "stop" skiff stop -t 5 nginx-demo
step "ps -a" skiff ps -a
