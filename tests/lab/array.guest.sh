# shellcheck shell=sh
# Makes one array for the matrix on the disks ubda, ubdb, ... in array order, and fills it.
#
# N LEVEL LAYOUT CHUNK META OFFSET: as mdadm takes them, - for not given. PARTITION: - or the partition's number.
# CONTENT: ext4, ext3, xfs, btrfs, lvm (ext4 on two logical volumes), luks (the image luks.img
# below SHARE). TREE: folder below SHARE that is
# copied in. STALE: - or the slot of a member that is failed before MORE (another folder) is copied in.
devices='' n=0
for letter in a b c d e f g h i j k l; do
    [ "$n" -lt "$N" ] || break
    device=/dev/ubd$letter
    [ "$PARTITION" = - ] || device=$device$PARTITION
    [ "$n" != "$STALE" ] || stale=$device
    devices="$devices $device" n=$((n + 1))
done
set -- --create /dev/md0 --run --metadata="$META" --level="$LEVEL" --raid-devices="$N"
case $LEVEL in linear | raid0) ;; *) set -- "$@" --assume-clean --bitmap=none ;; esac
[ "$CHUNK" = - ] || set -- "$@" --chunk="$CHUNK"
[ "$LAYOUT" = - ] || set -- "$@" --layout="$LAYOUT"
[ "$OFFSET" = - ] || set -- "$@" --data-offset="$OFFSET"
# shellcheck disable=SC2086
mdadm "$@" $devices
mkdir -p /tmp/mnt

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
luks) ;;
# Below 512 MiB it would take blocks of 1 KiB, which no array of a size worth having has.
ext4) mkfs.ext4 -q -b 4096 "$volume" ;;
*) "mkfs.$CONTENT" -q "$volume" ;;
esac

if [ "$CONTENT" = luks ]; then
    dd if="$SHARE/luks.img" of="$volume" bs=1M conv=fsync
else
    copy "$TREE" "$volume"
    if [ "$STALE" != - ]; then
        mdadm /dev/md0 --fail "$stale"
        copy "$MORE" "$volume"
    fi
fi
[ "$CONTENT" != lvm ] || vgchange -q -an store
mdadm --stop /dev/md0
