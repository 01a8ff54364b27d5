# shellcheck shell=sh
# Makes damaged histories with the real lvm2, or restores them. One boot does many.
#
# The only disk, ubda, holds the disks of all histories one behind the other. $SHARE/plan says which: a line
# `HISTORY DISK FIRST_SECTOR SECTORS` each. $SHARE/HISTORY/make.sh, damage.sh or restore.sh is what is done.
# ACTION: make or restore. NAMES: the histories, in their order.
#
# Made: the bytes of each volume before the damage as $SHARE/HISTORY/truth-GROUP-VOLUME.img, its device-mapper table
# as $SHARE/HISTORY/tables. Restored: restored-GROUP-VOLUME.img. What went wrong ends in $SHARE/HISTORY/failed.

load raid10 dm-mirror dm-log dm-snapshot dm-thin-pool dm-cache dm-cache-smq dm-raid dm-writecache
cat >"$LVM_SYSTEM_DIR/lvm.conf" <<CONF
activation { udev_sync=0 udev_rules=0 verify_udev_operations=0 monitoring=0 }
devices {
    obtain_device_list_from_udev=0 external_device_info_source="none" use_devicesfile=0 dir="/dev" scan=["/dev"]
    global_filter=["r|/dev/ubd|"]
}
global { event_activation=0 use_lvmpolld=0 thin_check_executable="" cache_check_executable="" }
allocation { wipe_signatures_when_zeroing_new_lvs=0 }
CONF

# disk NAME FIRST_SECTOR SECTORS: a part of the one disk under a name of its own.
disk() {
    dmsetup create "$1" --table "0 $3 linear /dev/ubda $2"
}

# part NAME DISK FIRST_SECTOR SECTORS: a partition of a history's disk.
part() {
    dmsetup create "$1" --table "0 $4 linear /dev/mapper/$2 $3"
}

# lv GROUP NAME SIZE [DISK...]: a volume with nothing written to it.
lv() {
    lv_group=$1 lv_name=$2 lv_size=$3
    shift 3
    lvcreate -q -y -Wn -Zn -n "$lv_name" -L "$lv_size" "$lv_group" "$@"
}

# fill GROUP/VOLUME CONTENT: writes a prepared image to a volume.
fill() {
    dd if="$SHARE/content/$2.img" of="/dev/$1" bs=1M conv=fsync 2>/dev/null
}

# keep PREFIX GROUP...: every volume of the groups as the kernel reads it.
keep() {
    prefix=$1
    shift
    for group; do
        for volume in /dev/"$group"/*; do
            [ -b "$volume" ] || continue
            dd if="$volume" of="$out/$prefix-$group-$(basename "$volume").img" bs=1M 2>/dev/null
        done
    done
}

# truth GROUP...: the bytes before the damage, and where they lie.
truth() {
    keep truth "$@"
    dmsetup table >"$out/tables"
    dmsetup ls >"$out/numbers"
    for group; do
        vgcfgbackup -q -f "$out/true-$group.vg" "$group" >/dev/null
    done
}

# in_sync GROUP: waits until the copies of all volumes agree.
in_sync() {
    until lvs --noheadings -a -o sync_percent "$1" | grep -v '^ *$' | grep -qv '100.00'; [ $? = 1 ]; do
        sleep 0.2
    done
}

# down: all volume groups and arrays are let go of, and every device of this history.
down() {
    vgchange -q -an >/dev/null 2>&1 || :
    [ ! -e /dev/md0 ] || mdadm -q --stop /dev/md0 || :
    for try in 1 2 3 4 5; do
        for device in $(dmsetup ls | cut -f 1 | grep -v '^No'); do
            dmsetup remove "$device" 2>/dev/null || :
        done
    done
    dmsetup ls | grep -q '^No'
}

one() {
    while read -r history name first sectors; do
        [ "$history" != "$1" ] || disk "$name" "$first" "$sectors"
    done <"$SHARE/plan"
    # shellcheck source=/dev/null
    . "$out/$2.sh"
}

export TMPDIR=/tmp
for history in $NAMES; do
    out=$SHARE/$history
    echo "== $history"
    cut -d ' ' -f 1 /proc/uptime >"$out/started"
    if [ "$ACTION" = make ]; then
        # Each history begins on a machine without a past.
        rm -rf "$LVM_SYSTEM_DIR/backup" "$LVM_SYSTEM_DIR/archive"
        (set -eux; one "$history" make) >"$out/make.log" 2>&1 || echo make >"$out/failed"
        vgchange -q -an >/dev/null 2>&1 || :
        [ -e "$out/failed" ] || (set -eux; . "$out/damage.sh") >"$out/damage.log" 2>&1 || echo damage >"$out/failed"
    else
        (set -eux; one "$history" restore) >"$out/restore.log" 2>&1 || echo restore >"$out/failed"
    fi
    down
    cut -d ' ' -f 1 /proc/uptime >"$out/ended"
done
