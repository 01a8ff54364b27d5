# shellcheck shell=sh
# Firmware RAID as mdadm makes it on disks ubda, ubdb, ...: two volumes a container, the second behind the first.
#
# The disks come out as SET.0, SET.1, ..., what mdadm says of each as SET.N.examine; what the kernel says of a volume as
# SET.vol0, SET.vol1 (level, layout, bytes of a chunk, then for each slot its disk and the sector where its data starts),
# and its bytes as SET.vol0.img, SET.vol1.img.
export IMSM_NO_PLATFORM=1 IMSM_DEVNAME_AS_SERIAL=1

# stop NODE: mdadm tells mdmon of it, which may end meanwhile; then a second time says how it stands.
stop() {
    mdadm --stop "$1" || { sleep 1; [ ! -e "/sys/block/$(basename "$1")/md/array_state" ] || mdadm --stop "$1"; }
}

# volume SET NUMBER LEVEL N KIB: one more in the container.
volume() {
    node=/dev/md$2 md=/sys/block/md$2/md
    chunk=--chunk=64
    [ "$3" != 1 ] || chunk=
    # shellcheck disable=SC2086
    mdadm --create "$node" --run --assume-clean --level="$3" --raid-devices="$4" $chunk --size="$5" /dev/md127
    dd if=/dev/urandom of="$node" bs=64k count=64 conv=fsync 2>/dev/null || :
    dd if="$node" of="$SHARE/$1.vol$2.img" bs=64k 2>/dev/null
    {
        cat "$md/level" "$md/layout" "$md/chunk_size"
        slot=0
        while [ "$slot" -lt "$4" ]; do
            disk=$(readlink "$md/rd$slot")
            echo "${disk#dev-} $(cat "$md/rd$slot/offset")"
            slot=$((slot + 1))
        done
    } >"$SHARE/$1.vol$2"
}

while read -r set kind level n; do
    disks=$(printf '/dev/ubd%s ' $(printf '%s' abcd | cut -c "1-$n" | sed 's/./& /g'))
    # shellcheck disable=SC2086
    mdadm --create /dev/md127 --run --metadata="$kind" --raid-devices="$n" $disks
    volume "$set" 0 "$level" "$n" 2048
    volume "$set" 1 "$level" "$n" 4096
    number=0
    for disk in $disks; do
        mdadm --examine "$disk" >"$SHARE/$set.$number.examine"
        number=$((number + 1))
    done
    for node in /dev/md1 /dev/md0 /dev/md127; do stop "$node"; done
    number=0
    for disk in $disks; do
        dd if="$disk" of="$SHARE/$set.$number" bs=1M 2>/dev/null
        dd if=/dev/zero of="$disk" bs=1M 2>/dev/null || :
        number=$((number + 1))
    done
done <"$SHARE/sets"
