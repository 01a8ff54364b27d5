# shellcheck shell=sh
# In the lab: what the kickstart did, until the power was pulled. The partition tables are already new.
# MEMBERS: the second partitions in the installer's order. RESYNC=frozen: power went before the resync got anywhere;
# the first window of some pairs is copied all the same before md takes note, as it would be on that day.
# The share holds the first part of mke2fs's own writes: mkfs.img, and mkfs.extents (offset and length in blocks
# of 4 KiB).

date -s '2013-05-19 09:28:00 UTC'
if [ "$RESYNC" = frozen ]; then
    echo 1 >/sys/module/md_mod/parameters/start_ro
else
    # As slow as md allows: it dies early, as it did that day.
    echo 1 >/proc/sys/dev/raid/speed_limit_min
    echo 1 >/proc/sys/dev/raid/speed_limit_max
fi
mdadm --create /dev/md0 --run --bitmap=none --metadata=1.0 --level=1 --raid-devices=10 /dev/ubd[a-j]1
# shellcheck disable=SC2086
mdadm --create /dev/md1 --run --bitmap=none --metadata=1.0 --level=10 --layout=n2 --chunk=64 \
    --raid-devices=10 $MEMBERS
if [ "$RESYNC" = frozen ]; then
    echo frozen >/sys/block/md0/md/sync_action
    echo frozen >/sys/block/md1/md/sync_action
    # Both are read-only until the first write; the resync that would begin with it stays frozen.
fi
pvcreate -ff -y /dev/md1
vgcreate guests /dev/md1
lvcreate -q -y -n home -L 40m guests
lvcreate -q -y -n var -L 40m guests
lvcreate -q -y -n distros -L 80m guests
while read -r first count; do
    dd if="$SHARE/mkfs.img" of=/dev/md0 bs=4096 skip="$first" seek="$first" count="$count" conv=notrunc,fsync
done <"$SHARE/mkfs.extents"
cat /proc/mdstat
sync
power_cut
