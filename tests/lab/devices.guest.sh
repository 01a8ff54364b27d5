# shellcheck shell=sh
# Block devices in place of images; a case on a partition of an examined device.
pvcreate -q /dev/ubda
vgcreate -q plain /dev/ubda
lvcreate -q -y -Zn -Wn -n data -L 40m plain
mke2fs -q -F -t ext4 -E nodiscard /dev/plain/data
vgchange -q -an plain
echo 'start=2048' | sfdisk -q /dev/ubdb
mke2fs -q -F -t ext4 -E nodiscard /dev/ubdb1
mkdir -p /tmp/here
mount /dev/ubdb1 /tmp/here
status=0
"$SHARE/disinter" investigate /dev/ubda /dev/ubdb --case /tmp/here/case 2>"$SHARE/refused" || status=$?
[ "$status" = 2 ]
[ "$(ls /tmp/here)" = lost+found ]
"$SHARE/disinter" investigate /dev/ubda --case "$SHARE/case"
umount /tmp/here
