# shellcheck shell=sh
# In the lab: the machine as it was, with its history. The disks come partitioned; the share holds the
# file systems and guest images ($SHARE/fs/*.img) and the root's files ($SHARE/root.tar).
# MEMBERS: the second partitions in slot order.

date -s '2012-02-11 09:14:00 UTC'
mdadm --create /dev/md0 --run --assume-clean --bitmap=none --metadata=1.0 --level=1 --raid-devices=10 \
    /dev/ubd[a-j]1
# shellcheck disable=SC2086
mdadm --create /dev/md1 --run --assume-clean --bitmap=none --metadata=1.0 --level=10 --layout=n2 --chunk=64 \
    --raid-devices=10 $MEMBERS

mke2fs -q -F -t ext3 -b 4096 -N 10240 -L / -U 5a0c1f5e-7d0b-4c8e-9a55-2f4b6f0c1d11 -E nodiscard,lazy_itable_init=0 /dev/md0
mkdir -p /tmp/root
mount -t ext3 /dev/md0 /tmp/root
tar -C /tmp/root -xf "$SHARE/root.tar"

# LVM keeps its backups and archives on the root, as it does on a machine.
mkdir -p /tmp/root/etc/lvm
cp "$LVM_SYSTEM_DIR/lvm.conf" /tmp/root/etc/lvm/
export LVM_SYSTEM_DIR=/tmp/root/etc/lvm

# The layout of the time: metadata area to 192 KiB.
pvcreate --metadatasize 188k --dataalignment 64k /dev/md1
vgcreate -s 4m guests /dev/md1
make() { lvcreate -q -y -Zn -Wn -n "$1" -L "$2" guests; }

make home 48m
make var 24m
make distros 56m
make tmp 32m
date -s '2012-03-02 17:40:00 UTC'
make ada 40m
make mail 48m
make burroughs 40m
lvrename guests tmp scratch
date -s '2012-06-21 03:05:00 UTC'
make ns1 28m
make build 24m
lvremove -q -y guests/build
lvrename guests mail mx1
make dijkstra 36m
date -s '2012-11-09 22:31:00 UTC'
lvremove -q -y guests/scratch
make shell 40m
# Not where it could go on: this gives a volume of two segments.
lvextend -q -L 52m guests/ada
date -s '2013-04-27 11:02:00 UTC'
make wiki 32m

# What each volume holds is written last, so that nothing of a removed one lies under it by chance.
for image in "$SHARE"/fs/*.img; do
    name=$(basename "$image" .img)
    dd if="$image" of="/dev/guests/$name" bs=1M conv=fsync
done
for name in home var distros ada mx1 burroughs ns1 dijkstra shell wiki; do
    dd if="/dev/guests/$name" of="$SHARE/before-$name.img" bs=1M conv=fsync
done
pvs -o +pe_start,pv_uuid --units b
lvs -o +seg_pe_ranges --segments
cp /tmp/root/etc/lvm/backup/guests "$SHARE/true-guests.vg"
{
    uname -r
    mdadm --version 2>&1
    lvm version | grep -v Configuration
    mke2fs -V 2>&1
} >"$SHARE/versions"

vgchange -q -an guests
umount /tmp/root
mdadm --stop /dev/md1
mdadm --stop /dev/md0
