#!/bin/bash
# Boots this machine's systemd as the first process of namespaces of its own, on a throw-away layer over its root file
# system, with a network that has nothing but loopback; runs a script in it, and ends with its status. Needs root and
# a cgroup2 hierarchy.
#   systemd_boot.sh SETUP SCRIPT    SETUP is run before it boots, with the new root in $ROOT.
set -eu
setup=$1 script=$2
for each in /sys/fs/cgroup /sys/fs/cgroup/unified; do [ ! -e $each/cgroup.procs ] || hierarchy=$each; done
work=$(mktemp -d) group=$hierarchy/fbsessiond-test-$$
mkdir "$group"
export work setup

give_back() {
    kill -9 "$booted" 2>/dev/null || true
    wait "$booted" 2>/dev/null || true
    for _ in $(seq 50); do find "$group" -depth -type d -exec rmdir {} + 2>/dev/null && break; sleep 0.1; done
    rmdir "$work"
}
trap give_back EXIT

(
    echo $BASHPID > "$group/cgroup.procs"
    exec unshare --pid --mount --uts --ipc --cgroup --net --fork --kill-child --propagation private bash -eu -c '
        mount -t tmpfs -o size=512m,mode=755 tmpfs "$work"
        mkdir "$work/upper" "$work/scratch" "$work/root"
        mount -t overlay -o "lowerdir=/,upperdir=$work/upper,workdir=$work/scratch" overlay "$work/root"
        cd "$work/root"
        printf "[Unit]\nRequires=basic.target\nAfter=basic.target\nAllowIsolate=yes\n" > etc/systemd/system/test.target
        : > etc/fstab
        ROOT=$PWD bash -eu -c "$setup"
        mount -t proc proc proc
        mount --bind proc/sys proc/sys && mount -o remount,bind,ro proc/sys
        mount -t sysfs -o ro sysfs sys
        mount -t cgroup2 cgroup2 sys/fs/cgroup
        mount -t tmpfs -o mode=755 tmpfs run
        mount -t tmpfs -o mode=1777 tmpfs tmp
        mount -t tmpfs -o mode=755 tmpfs dev
        for device in null zero full random urandom tty; do
            touch dev/$device && mount --bind /dev/$device dev/$device
        done
        mkdir dev/shm dev/pts && mount -t tmpfs -o mode=1777 tmpfs dev/shm
        mount -t devpts -o newinstance,ptmxmode=0666,mode=0620 devpts dev/pts && ln -s pts/ptmx dev/ptmx
        ln -s /proc/self/fd dev/fd
        mkdir -p mnt/before && pivot_root . mnt/before
        cd / && umount -l /mnt/before
        mount --make-rshared /
        exec env -i container=test PATH=/usr/sbin:/usr/bin:/sbin:/bin /lib/systemd/systemd --system --unit=test.target
    ' < /dev/null
) &
booted=$!

first=
for _ in $(seq 100); do
    first=$(pgrep -P "$booted" -x systemd || true)
    [ -z "$first" ] || break
    kill -0 "$booted" || exit 1
    sleep 0.05
done
inside() {
    nsenter -t "$first" -m -p -n -u -i -C -r -w -- env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin "$@"
}
for _ in $(seq 100); do
    inside systemctl is-system-running --wait > /dev/null 2>&1 && break
    sleep 0.1
done
inside ip link set lo up 2>/dev/null || true
inside bash -eu -c "$script"
