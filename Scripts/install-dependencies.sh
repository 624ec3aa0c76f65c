#!/bin/bash
# install-dependencies.sh GROUP… - installs the Debian packages of a group that are missing. Without root it names them.
set -euo pipefail
declare -A groups=(
  [build]="libc6-dev libsqlite3-dev libzstd-dev liblzma-dev libbz2-dev liblz4-dev zlib1g-dev libdeflate-dev libssl-dev libcrypt-dev binutils git"
  [test]="busybox-static iproute2 util-linux procps curl btrfs-progs python3 zstd xz-utils bzip2 lz4 attr acl umoci skopeo socat nftables ufw firewalld dbus apache2-utils openssl nmap iptables bind9-dnsutils containernetworking-plugins musl-tools"
  [demo]="mmdebstrap debian-archive-keyring curl iproute2"
  [bench]="mmdebstrap debian-archive-keyring busybox-static curl python3 iproute2 util-linux iperf3 wrk nginx-light"
  [compat]="curl busybox-static iproute2 util-linux python3 docker-compose"
  [guest]="mmdebstrap debian-archive-keyring e2fsprogs patchelf busybox-static"
)
missing=()
for group in "$@"; do
  [ -n "${groups[$group]:-}" ] || { echo "install-dependencies: no group '$group' (groups: ${!groups[*]})" >&2; exit 2; }
  for package in ${groups[$group]}; do
    dpkg-query -W -f='${db:Status-Status}' "$package" 2>/dev/null | grep -qx installed || missing+=("$package")
  done
done
[ ${#missing[@]} -eq 0 ] && exit 0
command -v apt-get >/dev/null || { echo "install-dependencies: this is no Debian system; install by hand: ${missing[*]}" >&2; exit 1; }
[ "$(id -u)" = 0 ] || { echo "install-dependencies: missing packages; as root: apt-get install ${missing[*]}" >&2; exit 1; }
echo "installing: ${missing[*]}" >&2
export DEBIAN_FRONTEND=noninteractive
log=$(mktemp); trap 'rm -f "$log"' EXIT
if ! apt-get install -y -qq --no-install-recommends "${missing[@]}" >"$log" 2>&1; then
  apt-get update -qq >>"$log" 2>&1
  apt-get install -y -qq --no-install-recommends "${missing[@]}" >>"$log" 2>&1 || { tail -5 "$log" >&2; exit 1; }
fi
