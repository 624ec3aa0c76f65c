#!/bin/bash
# run-guest.sh DIR [-m MEM] [-s SHARE] [-d DISK] CMD… - runs CMD as root in the guest that make-guest.sh made in DIR; output and exit
# status come back. SHARE (a host directory) is the guest's /share. What CMD writes to the disk is thrown away, unless -d names a
# copy-on-write file to keep: the next call with it is the same machine after a reboot. About 8 s to boot; no KVM, no network.
# CONSOLE=1 shows the console; TIMEOUT (600 s).
set -euo pipefail
dir=$(realpath "${1:?usage: run-guest.sh DIR [-m MEM] [-s SHARE] [-d DISK] CMD…}")
shift
memory=2G share= disk=
while getopts m:s:d: option; do
  case $option in
    m) memory=$OPTARG ;;
    s) share=$(realpath "$OPTARG") ;;
    d) disk=$(realpath -m "$OPTARG") ;;
    *) exit 2 ;;
  esac
done
shift $((OPTIND - 1))
work=$(mktemp -d "${TMPDIR:-/dev/shm}/guest.XXXXXX")
trap 'rm -rf "$work"; [ -z "$share" ] || rm -f "$share"/.cmd "$share"/.out "$share"/.rc' EXIT
: "${share:=$work}" "${disk:=$work/cow}"
printf '%s\n' "$*" >"$share/.cmd"
: >"$share/.out"
rm -f "$share/.rc"
TMPDIR=$work timeout -k 5 "${TIMEOUT:-600}" "$dir/linux.uml" mem="$memory" seccomp=auto ubd0="$disk,$dir/disk.raw" root=/dev/ubda rw quiet \
  security=apparmor con=null con0=null,fd:1 umid="$(basename "$work")" uml_dir="$work" guestshare="$share" systemd.show_status=0 \
  net.ifnames=0 </dev/null >"$work/console" 2>&1 &
child=$!
tail -f -n +1 --pid=$child -s 0.1 "$share/.out"
wait $child || true
[ -z "${CONSOLE:-}" ] || cat "$work/console" >&2
[ -s "$share/.rc" ] || { echo "run-guest: the guest ended early" >&2; tail -5 "$work/console" >&2; exit 125; }
exit "$(cat "$share/.rc")"
