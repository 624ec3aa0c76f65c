#!/bin/bash
# make-guest.sh DIR - makes a Debian trixie guest for run-guest.sh: User-mode Linux with systemd, pure cgroup v2, AppArmor and
# journald, from Debian packages only, in about a minute. Needs root, mmdebstrap, e2fsprogs and patchelf.
# Makes DIR/{disk.raw,linux.uml,lib/}. EXTRA=a,b adds packages; SIZE is the (sparse) disk's size.
set -euo pipefail
dir=${1:?usage: make-guest.sh DIR}
mkdir -p "$dir/lib"
dir=$(realpath "$dir")
mirror=${MIRROR:-$(apt-get indextargets --format '$(SITE) $(COMPONENT)' 'Created-By: Packages' | awk '$2 == "main" && $1 ~ /\/debian\/?$/ {print $1; exit}')}
[ -n "$mirror" ] || { echo "make-guest: no Debian mirror in this machine's apt configuration" >&2; exit 1; }
work=$(mktemp -d "${TMPDIR:-/dev/shm}/guest.XXXXXX")
trap 'rm -rf "$work"' EXIT
chmod 755 "$work"
root=$work/root
packages=systemd-sysv,dbus,dbus-user-session,libpam-systemd,udev,kmod,iproute2,apparmor,procps,ca-certificates,curl,systemd-container,uidmap,python3,busybox-static,attr,acl,xz-utils,bzip2,lz4,libcap2-bin,iptables,zstd,btrfs-progs,apache2-utils,skopeo,umoci,openssl,socat,e2fsprogs,bind9-dnsutils,systemd-resolved${EXTRA:+,$EXTRA}
mmdebstrap --quiet --mode=root --format=directory --variant=minbase --include="$packages" \
  --aptopt='Apt::Install-Recommends "false"' --aptopt='Acquire::Languages "none"' --dpkgopt=force-unsafe-io \
  --dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/locale/*' \
  trixie "$root" "$mirror"
# User-mode Linux from unstable (it has the fast seccomp mode), with an apt state of its own
mkdir -p "$work/apt/lists/partial" "$work/apt/cache/archives/partial" "$work/uml"
echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror ${UMLSUITE:-sid} main" >"$work/apt/list"
apt=(-qq -o Dir::Etc::sourcelist="$work/apt/list" -o Dir::Etc::sourceparts=/dev/null -o Dir::State::lists="$work/apt/lists"
  -o Dir::Cache="$work/apt/cache" -o APT::Sandbox::User=root)
apt-get "${apt[@]}" update
(cd "$work" && apt-get "${apt[@]}" download user-mode-linux)
dpkg-deb -x "$work"/user-mode-linux*.deb "$work/uml"
# it wants a newer glibc than the host may have: give it the guest's
cp "$root"/usr/lib/x86_64-linux-gnu/{libc.so.6,ld-linux-x86-64.so.2} "$dir/lib/"
cp "$work/uml/usr/bin/linux.uml" "$dir/"
patchelf --set-interpreter "$dir/lib/ld-linux-x86-64.so.2" --set-rpath "$dir/lib" "$dir/linux.uml"
version=$(ls "$work/uml/usr/lib/uml/modules")
mkdir -p "$root/usr/lib/modules"
cp -a "$work/uml/usr/lib/uml/modules/$version" "$root/usr/lib/modules/"
chroot "$root" depmod "$version"
echo guest >"$root/etc/hostname"
printf '127.0.0.1 localhost guest\n' >"$root/etc/hosts"
: >"$root/etc/fstab"
: >"$root/etc/machine-id"
units=$root/etc/systemd/system
mkdir -p "$units/multi-user.target.wants"
cat >"$units/guest-command.service" <<'U'
[Unit]
After=multi-user.target
[Service]
Type=exec
Delegate=yes
Environment=HOME=/root LANG=C.UTF-8
ExecStart=/bin/sh -c 'mkdir -p /share; mount -t hostfs -o hostfs="$(sed -n "s/.*guestshare=\\([^ ]*\\).*/\\1/p" /proc/cmdline)" none /share; ip link set lo up; cd /share; exec >.out 2>&1 </dev/null; bash .cmd; echo $? >.rc; sync; systemctl poweroff -ff >/dev/null 2>&1'
ExecStopPost=/bin/systemctl poweroff -ff
[Install]
WantedBy=multi-user.target
U
ln -sf ../guest-command.service "$units/multi-user.target.wants/"
printf '%s\n' overlay veth bridge tun loop fuse >"$root/etc/modules-load.d/guest.conf"
for unit in systemd-timesyncd.service systemd-journal-flush.service e2scrub_all.timer apt-daily.timer apt-daily-upgrade.timer \
  fstrim.timer systemd-pstore.service getty@tty1.service getty-static.service dpkg-db-backup.timer systemd-boot-random-seed.service \
  systemd-udev-trigger.service systemd-binfmt.service proc-sys-fs-binfmt_misc.automount modprobe@drm.service \
  systemd-firstboot.service systemd-hwdb-update.service; do ln -sf /dev/null "$units/$unit"; done
mkdir -p "$root/etc/systemd/system-generators"
for generator in systemd-ssh-generator systemd-gpt-auto-generator systemd-hibernate-resume-generator systemd-cryptsetup-generator \
  systemd-veritysetup-generator; do ln -sf /dev/null "$root/etc/systemd/system-generators/$generator"; done
# a plain user with subordinate ids, lingering and delegated controllers
chroot "$root" useradd -m -s /bin/bash -u 1000 u
echo u:100000:65536 | tee "$root/etc/subuid" >"$root/etc/subgid"
mkdir -p "$units/user@.service.d" "$root/var/lib/systemd/linger"
printf '[Service]\nDelegate=cpu cpuset io memory pids\n' >"$units/user@.service.d/delegate.conf"
touch "$root/var/lib/systemd/linger/u"
# there for tests that start it; until then nobody's resolv.conf
chroot "$root" systemctl disable --quiet systemd-resolved.service 2>/dev/null || :
rm -f "$root/etc/resolv.conf"; : >"$root/etc/resolv.conf"
rm -rf "$root"/var/cache/apt/* "$root"/var/lib/apt/lists/* "$root"/tmp/*
rm -f "$dir/disk.raw"
truncate -s "${SIZE:-8G}" "$dir/disk.raw"
mkfs.ext4 -q -O ^has_journal,^metadata_csum -E lazy_itable_init=1 -d "$root" "$dir/disk.raw"
# by what it was made: test-guest.sh makes another one when this script has changed
sha256sum <"$0" >"$dir/made-by"
