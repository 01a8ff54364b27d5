# shellcheck shell=sh
# Makes one array for the matrix on the disks ubda, ubdb, ... in array order, and fills it.
#
# N LEVEL LAYOUT CHUNK META OFFSET: as mdadm takes them, - for not given. LEVEL none: no array, each disk has something of
# its own, which CONTENT says: pvs (a volume group over all of them, its volumes one behind the other), stripes (the same,
# striped), ext4 (a file system each). PARTITION: - or the partition's number.
# CONTENT: ext4, ext3, xfs, btrfs, lvm (ext4 on two logical volumes), luks, tar, packed and photos (luks.img,
# files.tar, files.packed or files.photos below SHARE, as it is). TREE: folder below SHARE that is copied in. STALE: - or the slot of a member that is failed before MORE (another folder) is copied in.
# BLOCK: - or the file system's block size. OFFSETS: - or the sectors before the data on each member. LOOPS: yes where the
# disks are files below SHARE/disks. RESHAPE: yes to grow by one member, the next disk, and stop half-way; fewer to go
# without the last one of a raid5. OTHER: -
# (where it is not given, too) or the number of the partitions that get a raid1 of their own.
OTHER=${OTHER:--}
disk() {
    if [ "$LOOPS" = yes ]; then
        losetup --find --show "$SHARE/disks/$(printf %02d "$1")"
    else
        printf '/dev/ubd%s' "$(printf '%s' abcdefghijklmnop | cut -c "$(($1 + 1))")"
    fi
}

devices='' others='' n=0
while [ "$n" -lt "$N" ]; do
    device=$(disk "$n")
    others="$others $device$OTHER"
    [ "$PARTITION" = - ] || device=$device$PARTITION
    [ "$n" != "$STALE" ] || stale=$device
    [ "$OFFSETS" = - ] || device=$device:$(echo "$OFFSETS" | cut -d' ' -f"$((n + 1))")s
    devices="$devices $device" n=$((n + 1))
done
if [ "$OTHER" != - ]; then
    # shellcheck disable=SC2086
    mdadm --create /dev/md1 --run --metadata=1.2 --level=raid1 --raid-devices="$N" --assume-clean --bitmap=none $others
    mkfs.ext4 -q -b 4096 /dev/md1
    mkdir -p /tmp/first
    mount /dev/md1 /tmp/first
    cp -rL "$SHARE/$MORE" /tmp/first/
    umount /tmp/first
    mdadm --stop /dev/md1
fi
if [ "$LEVEL" = none ]; then
    mkdir -p /tmp/mnt
    # fill DEVICE FOLDER...
    fill() {
        mkfs.ext4 -q -b 4096 "$1"
        mount "$1" /tmp/mnt
        shift
        for folder; do cp -rL "$SHARE/$folder" /tmp/mnt/; done
        umount /tmp/mnt
    }
    case $CONTENT in
    pvs | stripes)
        # shellcheck disable=SC2086
        vgcreate -q store $devices
        if [ "$CONTENT" = pvs ]; then
            lvcreate -q -y -Wn -Zn -n boot -l 10%VG store
            lvcreate -q -y -Wn -Zn -n data -l 60%VG store
        else
            lvcreate -q -y -Wn -Zn -n boot -i "$N" -I 64 -l 10%VG store
            lvcreate -q -y -Wn -Zn -n data -i "$N" -I 64 -l 60%VG store
        fi
        fill /dev/store/boot "$MORE"
        fill /dev/store/data "$TREE"
        vgchange -q -an store
        ;;
    ext4)
        # Not the same on any two: those would be mirrors.
        first=yes
        for device in $devices; do
            if [ $first = yes ]; then
                fill "$device" "$TREE"
            else
                fill "$device" "$MORE"
                MORE=$TREE
            fi
            first=no
        done
        ;;
    esac
    exit 0
fi
set -- --create /dev/md0 --run --metadata="$META" --level="$LEVEL" --raid-devices="$N"
case $LEVEL in linear | raid0) ;; *) set -- "$@" --assume-clean --bitmap=none ;; esac
[ "$CHUNK" = - ] || set -- "$@" --chunk="$CHUNK"
[ "$LAYOUT" = - ] || set -- "$@" --layout="$LAYOUT"
[ "$OFFSET" = - ] || set -- "$@" --data-offset="$OFFSET"
[ "$OFFSETS" = - ] || set -- "$@" --data-offset=variable
# shellcheck disable=SC2086
mdadm "$@" $devices
mkdir -p /tmp/mnt
# What would not fit into fewer members is given up before there is anything on it.
[ "$RESHAPE" != fewer ] || mdadm --grow /dev/md0 --array-size=$(($(cat /sys/block/md0/md/component_size) * (N - 2)))

# copy FOLDER DEVICE
copy() {
    mount "$2" /tmp/mnt
    cp -rL "$SHARE/$1" /tmp/mnt/
    umount /tmp/mnt
}

volume=/dev/md0
case $CONTENT in
lvm)
    pvcreate -q /dev/md0
    vgcreate -q store /dev/md0
    lvcreate -q -y -Wn -Zn -n boot -l 5%VG store
    lvcreate -q -y -Wn -Zn -n data -l 80%VG store
    mkfs.ext4 -q -b 4096 /dev/store/boot
    mkfs.ext4 -q -b 4096 /dev/store/data
    volume=/dev/store/data
    ;;
luks | tar | packed | photos) ;;
# Below 512 MiB it would take blocks of 1 KiB, which no array of a size worth having has.
ext[234]) "mkfs.$CONTENT" -q -b "$([ "$BLOCK" = - ] && echo 4096 || echo "$BLOCK")" "$volume" ;;
*) "mkfs.$CONTENT" -q "$volume" ;;
esac

if [ "$CONTENT" = luks ]; then
    dd if="$SHARE/luks.img" of="$volume" bs=1M conv=fsync
elif [ -f "$SHARE/files.$CONTENT" ]; then
    dd if="$SHARE/files.$CONTENT" of="$volume" bs=1M conv=fsync
else
    copy "$TREE" "$volume"
    if [ "$STALE" != - ]; then
        mdadm /dev/md0 --fail "$stale"
        copy "$MORE" "$volume"
    fi
fi
[ "$CONTENT" != lvm ] || vgchange -q -an store
if [ "$RESHAPE" != no ]; then
    md=/sys/block/md0/md
    echo 4000 >$md/sync_speed_max
    echo 1000 >$md/sync_speed_min
    # Half of the members' sectors.
    half=90000
    if [ "$RESHAPE" = yes ]; then
        mdadm /dev/md0 --add "$(disk "$N")"
        mdadm --grow /dev/md0 --raid-devices=$((N + 1))
    else
        half=130000
        mdadm --grow /dev/md0 --raid-devices=$((N - 1)) --backup-file=/tmp/backup
    fi
    while [ "$(cut -d' ' -f1 $md/sync_completed)" = none ] || [ "$(cut -d' ' -f1 $md/sync_completed)" -lt $half ]; do
        cat /proc/mdstat
        sleep 1
    done
    echo frozen >$md/sync_action
    cat $md/reshape_position
    sync
fi
mdadm --stop /dev/md0
