# shellcheck shell=sh
# Three arrays whose superblocks are lost or never were, each with a volume group and files: ubda to ubdc a raid0, ubdd to
# ubdg a raid10 by --build, ubdh to ubdj a raid5 whose members' data start at different places.
mdadm --create /dev/md0 --run --metadata=1.2 --level=0 --chunk=64 --raid-devices=3 /dev/ubda /dev/ubdb /dev/ubdc
mdadm --build /dev/md1 --run --assume-clean --level=10 --layout=n2 --chunk=64 --raid-devices=4 \
    /dev/ubdd /dev/ubde /dev/ubdf /dev/ubdg
mdadm --create /dev/md2 --run --assume-clean --bitmap=none --metadata=1.2 --level=5 --chunk=64 --data-offset=variable \
    --raid-devices=3 /dev/ubdh:2048s /dev/ubdi:4096s /dev/ubdj:2048s
echo check >/sys/block/md2/md/sync_action || :
mdadm --wait /dev/md2 || :
echo repair >/sys/block/md2/md/sync_action
mdadm --wait /dev/md2 || :
# Without a superblock nothing tells lvm2 that a disk is an array's member.
sed -i 's#^devices {#devices { global_filter=["r|/dev/ubd|"]#' "$LVM_SYSTEM_DIR/lvm.conf"
for i in 0 1 2; do
    pvcreate -q "/dev/md$i"
    vgcreate -q "vg$i" "/dev/md$i"
    lvcreate -q -y -Zn -Wn -n data -L 80m "vg$i"
    dd if="$SHARE/tree.img" of="/dev/vg$i/data" bs=1M conv=fsync
    vgchange -q -an "vg$i"
    mdadm -q --stop "/dev/md$i"
done
for disk in a b c h i j; do
    dd if=/dev/zero of="/dev/ubd$disk" bs=4096 count=2 conv=fsync
done
