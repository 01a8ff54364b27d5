# shellcheck shell=sh
# A disk that is a physical volume itself, without an array; the machine stops while its file system is in use, with a
# deleted file still open; then its label is lost.
pvcreate -q /dev/ubda
vgcreate -q plain /dev/ubda
lvcreate -q -y -Zn -Wn -n data -L 40m plain
mke2fs -q -F -t ext4 -E nodiscard /dev/plain/data
mkdir -p /tmp/data
mount /dev/plain/data /tmp/data
cp -r /usr/share/doc/e2fsprogs /tmp/data/ 2>/dev/null || cp -r /etc /tmp/data/
exec 9>/tmp/data/open
rm /tmp/data/open
sync
dd if=/dev/plain/data of="$SHARE/before.img" bs=1M iflag=direct conv=fsync
exec 9>&-
umount /tmp/data
dumpe2fs -h "$SHARE/before.img" 2>/dev/null | grep needs_recovery
dd if="$SHARE/before.img" of=/dev/plain/data bs=1M conv=fsync
vgchange -q -an plain
dd if=/dev/zero of=/dev/ubda bs=4096 count=1 conv=fsync
