#!/bin/sh
# Process 1 of the guest: mounts what the exporter looks at, runs the agent, reaps orphans, powers off.
# The root lies in memory, and so do /tmp and /run; nothing is mounted there, for the tests may live below /tmp.
/bin/busybox mkdir -p /sbin /usr/bin /usr/sbin /proc /sys /dev /tmp /run /root
/bin/busybox --install -s
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
mount -t tracefs tracefs /sys/kernel/tracing
mount -t cgroup2 cgroup2 /sys/fs/cgroup
ip link set lo up
for module in /modules/*.ko; do
    [ -e "$module" ] && insmod "$module"
done
python=$(cat /etc/python)
export HOME=/root PATH="${python%/*}:/bin:/sbin:/usr/bin:/usr/sbin"
"$python" /agent.py /dev/vport*p1 &
wait
poweroff -f
