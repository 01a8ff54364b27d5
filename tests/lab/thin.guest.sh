# shellcheck shell=sh
# A disk with a thin pool and a thin volume, each written to; then the header of its metadata area is lost.
# shellcheck disable=SC2086
load $MODULES
pvcreate -q /dev/ubda
vgcreate -q store /dev/ubda
lvcreate -q -y --type thin-pool -L 60m -n pool --poolmetadatasize 4m store
lvcreate -q -y -V 48m -n data --thinpool store/pool
mke2fs -q -F -t ext4 -E nodiscard /dev/store/data
dd if=/dev/store/data of="$SHARE/before.img" bs=1M conv=fsync
vgchange -q -an store
dd if=/dev/zero of=/dev/ubda bs=512 seek=8 count=1 conv=fsync
