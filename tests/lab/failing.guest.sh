# shellcheck shell=sh
# A disk with a volume group, read through dm-dust and dm-error.
load dm-dust dm-bufio
pvcreate -q /dev/ubda
vgcreate -q plain /dev/ubda
lvcreate -q -y -Zn -Wn -n data -L 40m plain
mke2fs -q -F -t ext4 -E nodiscard /dev/plain/data
vgchange -q -an plain
sectors=$(cat /sys/block/ubda/size)

# ask NAME COMMAND...: the program's answer and status.
ask() {
    name=$1
    shift
    status=0
    "$SHARE/disinter" "$@" >"$SHARE/$name.json" || status=$?
    echo "$status" >"$SHARE/$name.status"
}

dmsetup create dust --table "0 $sectors dust /dev/ubda 0 512"
for sector in 70 71 100000; do
    dmsetup message dust 0 addbadblock "$sector"
done
dmsetup message dust 0 enable
ln -s "$(readlink -f /dev/mapper/dust)" /tmp/dust
ask dust scan --json /dev/mapper/dust
ask texts lvm scan --json /dev/mapper/dust
# How often the kernel said no: its own log counts the failing pages of one more pass. It keeps silent after ten lines
# in five seconds, and says how many it left out before the next one: so each count starts after a pause, and ends
# with one more failing read.
sleep 6
dmesg -c >/dev/null
ask once scan --json /dev/mapper/dust
sleep 6
dd if=/dev/mapper/dust of=/dev/null bs=4096 skip=8 count=1 2>/dev/null || :
dmesg | awk '/rror on dev dm-|error, dev dm-/ { n++ }
    /callbacks suppressed/ { for (i = 2; i <= NF; i++) if ($i == "callbacks") n += $(i - 1) }
    END { print n - 1 }' >"$SHARE/refused"
dmesg >"$SHARE/refused.log"
ask case investigate --json /dev/mapper/dust --case "$SHARE/case"
# Sectors of 4096 bytes: one bad sector of 512 below costs all of one.
loop=$(losetup -f)
losetup -r -b 4096 "$loop" /dev/mapper/dust
ask large scan --json "$loop"
losetup -d "$loop"

middle=$((8 * 2048)) behind=$((9 * 2048))
dmsetup create error <<TABLE
0 $middle linear /dev/ubda 0
$middle 2048 error
$behind $((sectors - behind)) linear /dev/ubda $behind
TABLE
ask error scan --json /dev/mapper/error
# The first sectors, where a superblock of version 1.1 would lie.
dmsetup create front <<TABLE
0 8 error
8 $((sectors - 8)) linear /dev/ubda 8
TABLE
ask examine md examine --json /dev/mapper/front
