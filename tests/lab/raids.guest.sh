# shellcheck shell=sh
# A group over a raid0 (ubda, ubdb), whose superblocks stay, and a plain disk (ubdc): a volume that lies plainly on the
# array, and one that lvm2 itself keeps as raid1 on both. Then the array's label is lost.
mdadm --create /dev/md0 --run --metadata=1.2 --level=0 --chunk=64 --raid-devices=2 /dev/ubda /dev/ubdb
pvcreate -q /dev/md0 /dev/ubdc
vgcreate -q mixed /dev/md0 /dev/ubdc
lvcreate -q -y -Zn -Wn -n home -L 64m mixed /dev/md0
lvcreate -q -y -Zn -Wn --type raid1 -m 1 --nosync -n root -L 24m mixed /dev/md0 /dev/ubdc
for volume in home root; do
    mke2fs -q -F -t ext4 -E nodiscard "/dev/mixed/$volume"
    mkdir -p /tmp/in
    mount "/dev/mixed/$volume" /tmp/in
    case $volume in
    home) cp -r /usr/share/doc/e2fsprogs /usr/share/doc/mdadm /usr/share/doc/lvm2 /tmp/in/ ;;
    root) cp -r /etc/init.d /etc/default /tmp/in/ ;;
    esac
    umount /tmp/in
    dd if="/dev/mixed/$volume" of="$SHARE/before-$volume.img" bs=1M conv=fsync
done
vgchange -q -an mixed
dd if=/dev/zero of=/dev/md0 bs=4096 count=2 conv=fsync
mdadm -q --stop /dev/md0
