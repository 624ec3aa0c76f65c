#!/bin/bash
# peers.sh [--make] DIR - a Debian trixie root with the engines to measure against: docker.io, podman, crun, runc, containerd. Made once,
# from the machine's own apt mirror, in about two minutes; later calls only enter it.
#
# With --make it only makes the root, which needs the machine's network; the rest is meant to run inside a mount and network
# namespace of the caller's (make bench does both): it mounts below DIR. Leaves
# DIR/run CMD… (runs inside the root; DIR/shared is the same folder at the same path inside and out) and DIR/dockerd (starts
# dockerd at unix://DIR/root/run/docker-peer.sock and prints its pid). The root is entered by a mount namespace whose root was
# changed with pivot_root, not by chroot: a runtime's exec enters by setns, which under a chroot would end in the machine's root.
set -euo pipefail
make=; [ "${1:-}" != --make ] || { make=1; shift; }
dir=$(realpath -m "${1:?usage: peers.sh [--make] DIR}")
root=$dir/root
space=$dir/ns
mkdir -p "$dir/shared" "$space"
export DEBIAN_FRONTEND=noninteractive LC_ALL=C
packages=docker.io,docker-cli,podman,crun,runc,containerd,busybox-static,iptables,nftables,iproute2,procps,netavark,aardvark-dns,conmon,uidmap,catatonit,fuse-overlayfs,python3-minimal,curl,ca-certificates,kmod,docker-registry,skopeo

debian_mirror() {
  local mirror
  mirror=$(apt-get indextargets --format '$(SITE) $(COMPONENT)' 'Created-By: Packages' | awk '$2 == "main" && $1 ~ /\/debian\/?$/ {print $1; exit}')
  [ -n "$mirror" ] || { echo "peers: no Debian mirror in this machine's apt configuration" >&2; exit 1; }
  printf %s "$mirror"
}
mounted() { awk -v path="$1" '$5 == path {found = 1} END {exit !found}' /proc/self/mountinfo; }

if [ "$(cat "$dir/done" 2>/dev/null)" != "$packages" ]; then
  mirror=$(debian_mirror)
  rm -rf --one-file-system "$root"
  echo "peers: making a trixie root with the peers (about two minutes)" >&2
  mmdebstrap --quiet --mode=root --variant=minbase --format=directory --aptopt='APT::Install-Recommends "false"' \
    --aptopt='Acquire::Languages "none"' --dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt=force-unsafe-io \
    --essential-hook='printf "#!/bin/sh\nexit 101\n" >"$1/usr/sbin/policy-rc.d"; chmod 755 "$1/usr/sbin/policy-rc.d"' \
    --include="$packages" trixie "$root" "$mirror"
  printf %s "$packages" >"$dir/done"
fi
# what the images' rows pull and import: a Debian base of 164 MB
base=$dir/shared/images/base.tar
if [ ! -e "$base" ]; then
  mkdir -p "${base%/*}"
  mirror=$(debian_mirror)
  echo "peers: making a bookworm base" >&2
  mmdebstrap --quiet --mode=root --variant=minbase --aptopt='APT::Install-Recommends "false"' bookworm "$base.new.tar" "$mirror"
  mv "$base.new.tar" "$base"
fi
[ -z "$make" ] || exit 0
for file in resolv.conf hosts; do
  if [ -e /etc/$file ]; then rm -f "$root/etc/$file"; cp -L /etc/$file "$root/etc/$file"; fi
done
# podman's default limits may lie above this machine's hard limits, which root may not raise everywhere
mkdir -p "$root/etc/containers/containers.conf.d"
nproc=$(ulimit -Hu); [ "$nproc" = unlimited ] && nproc=-1
printf '[containers]\ndefault_ulimits=["nofile=%s:%s","nproc=%s:%s"]\n' "$(ulimit -Hn)" "$(ulimit -Hn)" "$nproc" "$nproc" \
  >"$root/etc/containers/containers.conf.d/limits.conf"
# crun refuses hybrid cgroups where v2 has a controller of its own: give it hugetlb as v1
if [ -d /sys/fs/cgroup/unified ] && grep -q ^hugetlb /proc/cgroups && ! mounted /sys/fs/cgroup/hugetlb; then
  made=; [ -d /sys/fs/cgroup/hugetlb ] || { mkdir -p /sys/fs/cgroup/hugetlb 2>/dev/null && made=1; }
  mount -t cgroup -o hugetlb cgroup /sys/fs/cgroup/hugetlb 2>/dev/null || { [ -z "$made" ] || rmdir /sys/fs/cgroup/hugetlb; }
fi
mounted "$root/run" || mount -t tmpfs -o mode=755 tmpfs "$root/run"
mkdir -p "$root$dir/shared"
if ! mounted "$space/mnt"; then
  mounted "$space" || { mount --bind "$space" "$space"; mount --make-private "$space"; }
  : >"$space/mnt"
  enter() {
    ROOT=$root SHARED=$dir/shared taskset -c 0 unshare --mount="$space/mnt" --propagation private bash -euc '
      mount --rbind "$ROOT" "$ROOT"; cd "$ROOT"; mount -t proc proc proc; mount --rbind /sys sys; mount --rbind /dev dev
      umount -l dev/pts dev/shm 2>/dev/null || true
      mount -t devpts -o newinstance,gid=5,mode=620,ptmxmode=666 devpts dev/pts; mount -t tmpfs -o mode=1777,nosuid,nodev tmpfs dev/shm
      mount --bind "$SHARED" ".$SHARED"; mkdir -p mnt/old; pivot_root . mnt/old; cd /; umount -l /mnt/old'
  }
  # A namespace's file is bound only in one with a smaller id, and recent kernels hand ids out per processor: both are made on the
  # first one (the caller's too, see Benchmarks/bench.sh); a second try makes a new namespace.
  for try in 1 2 3 4 5; do enter 2>"$dir/ns.log" && break; [ $try = 5 ] && { cat "$dir/ns.log" >&2; exit 1; }; done
fi
cat >"$dir/run" <<W
#!/bin/bash
exec nsenter --mount="$space/mnt" --wdns="\${CWD:-/}" env PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root DOCKER_HOST=unix:///run/docker-peer.sock "\$@"
W
cat >"$dir/dockerd" <<W
#!/bin/bash
set -e
rm -f "$root/run/docker-peer.sock" "$root/run/dockerd-peer.pid"; mkdir -p "$root/var/lib/docker-peer"
setsid "$dir/run" dockerd -H unix:///run/docker-peer.sock --data-root /var/lib/docker-peer --exec-root /run/docker-peer --pidfile /run/dockerd-peer.pid \${DOCKERD_ARGS:-} </dev/null >"$root/var/log/dockerd-peer.log" 2>&1 &
for i in \$(seq 1 120); do curl -sf --unix-socket "$root/run/docker-peer.sock" http://x/_ping >/dev/null 2>&1 && { cat "$root/run/dockerd-peer.pid"; exit 0; }; sleep 0.25; done
tail -20 "$root/var/log/dockerd-peer.log" >&2; exit 1
W
chmod 755 "$dir/run" "$dir/dockerd"
