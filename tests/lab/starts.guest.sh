# shellcheck shell=sh
# Arrays whose content fits more than one: by what begins in them, by what was there before, by which half is the newer.
#
# Below SHARE: fresh, a folder of files that is copied in; many, one of small ones; luks.img, a header and noise. Each array's
# members are put out as NAME.0, NAME.1, ... in array order.
mkdir -p /tmp/mnt
all='/dev/ubda /dev/ubdb /dev/ubdc /dev/ubdd'

# put FOLDER DEVICE
put() {
    mount -o "${3:-rw}" "$2" /tmp/mnt
    cp -rL "$SHARE/$1" /tmp/mnt/
    umount /tmp/mnt
}
# make LEVEL CHUNK DEVICE...
make() {
    level=$1 chunk=$2
    shift 2
    [ "$level" = 1 ] || chunk=--chunk=$chunk
    [ "$level" != 1 ] || chunk=--bitmap=none
    # shellcheck disable=SC2086
    mdadm --create /dev/md0 --run --metadata=1.2 --level="$level" $chunk --raid-devices=$# --assume-clean "$@"
}
# out NAME DEVICE...: stops the array; the disks are blank again then.
out() {
    name=$1 i=0
    shift
    mdadm --stop /dev/md0
    for disk; do
        dd if="$disk" of="$SHARE/$name.$i" bs=1M conv=sparse 2>/dev/null
        i=$((i + 1))
    done
    for disk in $all; do dd if=/dev/zero of="$disk" bs=1M 2>/dev/null || :; done
}
# volumes FIRST_MIB TYPE: a volume group with a volume of noise, and one with a file system; its label and texts are lost.
volumes() {
    vgcreate -q store /dev/md0
    if [ "$1" -gt 0 ]; then
        lvcreate -q -y -Wn -Zn -n first -L "$1m" store
        dd if=/dev/urandom of=/dev/store/first bs=1M 2>/dev/null || :
    fi
    lvcreate -q -y -Wn -Zn -n data -L 24m store
    case $2 in
    ext4) mkfs.ext4 -q -b 4096 /dev/store/data ;;
    btrfs) mkfs.btrfs -q --mixed /dev/store/data ;;
    esac
    put fresh /dev/store/data
    vgchange -q -an store
    dd if=/dev/zero of=/dev/md0 bs=1M count=1 conv=notrunc 2>/dev/null
}

# Three stripes of a chunk: the file system begins with a row of the array.
make 0 512 /dev/ubda /dev/ubdb /dev/ubdc
volumes 8 ext4
out stripes /dev/ubda /dev/ubdb /dev/ubdc

make 0 512 /dev/ubda /dev/ubdb
volumes 0 btrfs
out undated /dev/ubda /dev/ubdb

make 5 512 /dev/ubda /dev/ubdb /dev/ubdc
volumes 0 ext4
out turned /dev/ubda /dev/ubdb /dev/ubdc

# The second volume begins with a whole MiB of the members.
# shellcheck disable=SC2086
make 5 512 $all
volumes 8 ext4
# shellcheck disable=SC2086
out parity $all

make 1 - /dev/ubda /dev/ubdb
volumes 8 ext4
out mirror /dev/ubda /dev/ubdb

# Files that only grew while the second half was out: each half's inodes tell of its own files' ends.
make 1 - /dev/ubda /dev/ubdb
mkfs.ext4 -q -b 4096 -O ^has_journal /dev/md0
put fresh /dev/md0
mount /dev/md0 /tmp/mnt
i=0
while [ "$i" -lt 60 ]; do
    head -c 500 /dev/zero | tr '\0' x >"/tmp/mnt/$i"
    i=$((i + 1))
done
umount /tmp/mnt
mdadm /dev/md0 --fail /dev/ubdb
mount /dev/md0 /tmp/mnt
i=0
while [ "$i" -lt 60 ]; do
    echo more >>"/tmp/mnt/$i"
    i=$((i + 1))
done
umount /tmp/mnt
out grown /dev/ubda /dev/ubdb

# An array before, full of files, and another over the same disks with small ones.
make 5 64 /dev/ubda /dev/ubdb /dev/ubdc
mkfs.ext4 -q -b 4096 /dev/md0
put fresh /dev/md0
mdadm --stop /dev/md0
sleep 2
make 5 512 /dev/ubdc /dev/ubda /dev/ubdb
mkfs.ext4 -q -b 4096 -E nodiscard /dev/md0
put many /dev/md0
out before /dev/ubdc /dev/ubda /dev/ubdb

# Members whose data start at sectors of their own, as their superblocks say.
mdadm --create /dev/md0 --run --metadata=1.2 --level=5 --chunk=64 --raid-devices=3 --assume-clean \
    --data-offset=variable /dev/ubda:2048s /dev/ubdb:6144s /dev/ubdc:2048s
mkfs.ext4 -q -b 4096 /dev/md0
put fresh /dev/md0
out own /dev/ubda /dev/ubdb /dev/ubdc

# One pair of a raid10.
make 10 64 /dev/ubda /dev/ubdb /dev/ubdc /dev/ubdd
mkfs.ext4 -q -b 4096 /dev/md0
put fresh /dev/md0
out pair /dev/ubda /dev/ubdb

# Encrypted: the superblocks alone tell the order. Made now, and in use for a week.
make 5 64 /dev/ubda /dev/ubdb /dev/ubdc
dd if="$SHARE/luks.img" of=/dev/md0 bs=1M 2>/dev/null
out sealed /dev/ubda /dev/ubdb /dev/ubdc
make 5 64 /dev/ubda /dev/ubdb /dev/ubdc
date -s "@$(($(date +%s) + 7 * 86400))"
# Each stop is noted, as is each that a machine in use makes. Writes alone are not.
i=0
while [ "$i" -lt 60 ]; do
    echo readonly >/sys/block/md0/md/array_state
    echo active >/sys/block/md0/md/array_state
    dd if="$SHARE/luks.img" of=/dev/md0 bs=4k count=1 conv=fsync,notrunc 2>/dev/null
    i=$((i + 1))
done
dd if="$SHARE/luks.img" of=/dev/md0 bs=1M 2>/dev/null
out used /dev/ubda /dev/ubdb /dev/ubdc
