# shellcheck shell=sh
# Four disks, raid10 near-2, a volume group, a pattern through the kernel.
cd /dev || exit 1
mdadm --create /dev/md0 --run --assume-clean --bitmap=none --metadata=1.0 --level=10 --layout=n2 --chunk=64 \
    --raid-devices=4 ubda ubdb ubdc missing
pvcreate -q /dev/md0
vgcreate -q lab /dev/md0
lvcreate -q -y -Zn -Wn -n pattern -L 8m lab
dd if="$SHARE/pattern" of=/dev/lab/pattern bs=1M conv=fsync
dd if=/dev/lab/pattern of="$SHARE/back" bs=1M
# Overlays, as the review scripts make them.
losetup -f >"$SHARE/loop"
dd if=/dev/zero of=/tmp/cow bs=1M count=0 seek=16
losetup "$(cat "$SHARE/loop")" /tmp/cow
dmsetup create base --readonly --table "0 32768 linear /dev/ubdd 0"
dmsetup create over --table "0 32768 snapshot /dev/mapper/base $(cat "$SHARE/loop") P 8"
dd if="$SHARE/pattern" of=/dev/mapper/over bs=1M conv=fsync
cmp -n 8388608 "$SHARE/pattern" /dev/mapper/over
# Nothing may have gone through to the disk.
cmp -n 8388608 /dev/zero /dev/ubdd
vgchange -q -an lab
mdadm -q --stop /dev/md0
