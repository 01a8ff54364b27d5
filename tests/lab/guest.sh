# shellcheck shell=sh
# What every guest script starts from: the first process of the user-mode kernel has sourced this.
# SHARE is the host's folder, mounted read-write; the guest's status and log go there.

export PATH=/usr/local/sbin:/usr/sbin:/sbin:/usr/local/bin:/usr/bin:/bin
export HOME=/tmp LC_ALL=C

mount -t proc proc /proc
mount -t sysfs sys /sys
mountpoint -q /dev || mount -t devtmpfs dev /dev
mount -t tmpfs -o mode=755 tmp /run
mount -t tmpfs tmp /tmp
mkdir -p /run/share /run/lock
mount -t hostfs -o "$SHARE_ON_HOST" none /run/share
export SHARE=/run/share
exec >>"$SHARE/guest.log" 2>&1

# modprobe looks for lib/modules below a folder. It starts no other program for each module: that takes long in here.
mkdir -p /run/kmod/lib
ln -s /usr/lib/uml/modules /run/kmod/lib/modules

# load NAME...: kernel modules with what they need, whatever the host has configured of modules.
load() {
    [ $# = 0 ] || modprobe --dirname /run/kmod --config /dev/null --all "$@"
}

load loop md-mod linear raid0 raid1 raid10 raid456 dm-mod dm-snapshot dm-raid
[ -e /dev/loop-control ] || mknod /dev/loop-control c 10 237

# There is no udev in here: the tools make their own nodes.
export DM_DISABLE_UDEV=1 MDADM_NO_UDEV=1
mkdir -p /dev/mapper
[ -e /dev/mapper/control ] || mknod /dev/mapper/control c 10 "$(sed -n 's/ device-mapper$//p' /proc/misc | tr -d ' ')"

# Plain lvm commands must work as they do on a machine.
export LVM_SYSTEM_DIR=/run/lvm-etc
mkdir -p "$LVM_SYSTEM_DIR"
cat >"$LVM_SYSTEM_DIR/lvm.conf" <<CONF
activation { udev_sync=0 udev_rules=0 verify_udev_operations=0 monitoring=0 }
devices { obtain_device_list_from_udev=0 external_device_info_source="none" use_devicesfile=0 dir="/dev" scan=["/dev"] }
global { event_activation=0 use_lvmpolld=0 thin_check_executable="" }
CONF

# power_off STATUS: all written, then off.
power_off() {
    echo "$1" >"$SHARE/status"
    sync
    echo o >/proc/sysrq-trigger
    sleep 60
}

# power_cut: off at once; what the kernel had not written is lost.
power_cut() {
    echo 0 >"$SHARE/status"
    echo o >/proc/sysrq-trigger
    sleep 60
}
