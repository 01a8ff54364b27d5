# shellcheck shell=sh
# Mirrors that differ: one member behind, and copies without superblocks that came to a known offset.
#
# behind.0, behind.1: raid1 with ext4; the second was thrown out before more files were written.
# built.0, built.1: mdadm --build, the copy stopped at the sector in built.offset. whole.0, whole.1: the copy complete.
# fresh is a folder below SHARE that is copied in before, more one that is copied in after.
mkdir -p /tmp/mnt
out() {
    dd if=/dev/ubda of="$SHARE/$1.0" bs=1M 2>/dev/null
    dd if=/dev/ubdb of="$SHARE/$1.1" bs=1M 2>/dev/null
}
put() {
    mount "$2" /tmp/mnt
    cp -rL "$SHARE/$1" /tmp/mnt/
    umount /tmp/mnt
}

mdadm --create /dev/md0 --run --metadata=1.2 --level=1 --raid-devices=2 --assume-clean --bitmap=internal /dev/ubda /dev/ubdb
mkfs.ext4 -q -b 4096 /dev/md0
put fresh /dev/md0
mdadm /dev/md0 --fail /dev/ubdb
put more /dev/md0
mdadm --stop /dev/md0
out behind
dd if=/dev/zero of=/dev/ubda bs=1M 2>/dev/null || :
dd if=/dev/zero of=/dev/ubdb bs=1M 2>/dev/null || :

# A volume in use is copied to a new disk: built without superblocks, as in a migration between storages.
mkfs.ext4 -q -b 4096 /dev/ubda
put fresh /dev/ubda
mdadm --build /dev/md0 --level=1 --raid-devices=2 /dev/ubda missing
echo "$STOP" >/sys/block/md0/md/sync_max
mdadm /dev/md0 --add /dev/ubdb
for _ in 1 2 3 4 5 6 7 8 9 10; do
    sleep 1
    cat /sys/block/md0/md/sync_completed
done
cat /proc/mdstat
cat /sys/block/md0/md/sync_completed >"$SHARE/built.offset"
# The mirror is in use while it is copied: what is written goes to both, also behind where the copy is.
put more /dev/md0
mdadm --stop /dev/md0
out built

# The same to the end.
dd if=/dev/urandom of=/dev/ubdb bs=1M 2>/dev/null || :
mdadm --build /dev/md0 --level=1 --raid-devices=2 /dev/ubda missing
mdadm /dev/md0 --add /dev/ubdb
mdadm --wait /dev/md0 || :
mdadm --stop /dev/md0
out whole
