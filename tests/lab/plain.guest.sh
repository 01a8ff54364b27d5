# shellcheck shell=sh
# A disk that is a physical volume itself, without an array; then its label is lost.
pvcreate -q /dev/ubda
vgcreate -q plain /dev/ubda
lvcreate -q -y -Zn -Wn -n data -L 40m plain
mke2fs -q -F -t ext4 -E nodiscard /dev/plain/data
dd if=/dev/plain/data of="$SHARE/before.img" bs=1M conv=fsync
vgchange -q -an plain
dd if=/dev/zero of=/dev/ubda bs=4096 count=1 conv=fsync
