#!/bin/bash
# install.sh [--remove] - puts binaries, units, man pages and completions under DESTDIR/PREFIX.
set -euo pipefail
cd "$(dirname "$0")/.."
prefix=${DESTDIR:-}${PREFIX:-/usr/local}
unitdir=${DESTDIR:-}${UNITDIR:-${PREFIX:-/usr/local}/lib/systemd/system}
files=()
put() { # MODE SOURCE TARGET
  if [ "${remove:-}" = 1 ]; then rm -f "$3"; else install -D -m "$1" "$2" "$3"; fi
  files+=("$3")
}
[ "${1:-}" = --remove ] && remove=1
put 755 bin/skiff "$prefix/bin/skiff"
put 755 bin/skiffd "$prefix/bin/skiffd"
put 755 bin/skiff-runtime "$prefix/bin/skiff-runtime"
for page in docs/man/*.[1-9]; do [ -e "$page" ] && put 644 "$page" "$prefix/share/man/man${page##*.}/${page##*/}"; done
if [ -e Packaging/completions/skiff.bash ]; then put 644 Packaging/completions/skiff.bash "$prefix/share/bash-completion/completions/skiff"; fi
if [ -e Packaging/completions/_skiff ]; then put 644 Packaging/completions/_skiff "$prefix/share/zsh/site-functions/_skiff"; fi
if [ -e Packaging/completions/skiff.fish ]; then put 644 Packaging/completions/skiff.fish "$prefix/share/fish/vendor_completions.d/skiff.fish"; fi
for unit in skiffd.service skiffd.socket skiff-registry.service; do
  if [ "${remove:-}" = 1 ]; then rm -f "$unitdir/$unit"; continue; fi
  mkdir -p "$unitdir"
  sed "s|@BINDIR@|${PREFIX:-/usr/local}/bin|g" "Packaging/systemd/$unit" >"$unitdir/$unit"
  chmod 644 "$unitdir/$unit"
done
if [ "${remove:-}" = 1 ]; then echo "removed from $prefix"; else echo "installed into $prefix"; fi
