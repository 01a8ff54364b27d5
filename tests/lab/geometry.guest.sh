# shellcheck shell=sh
# Writes one pattern through the kernel's md in every level and layout that arrays.txt lists, and keeps the members.
#
# A line: NAME LEVEL LAYOUT CHUNK_KIB SIZE...  with one size for each member, in KiB or the word whole; a layout of - for a level without.
# The members come out as NAME.0, NAME.1, ... and the array's size in bytes as NAME.size.
disk() {
    printf '/dev/ubd%s' "$(printf '%s' abcdefghijkl | cut -c "$(($1 + 1))")"
}

while read -r name level layout chunk sizes; do
    devices='' n=0
    for size in $sizes; do
        # Nothing of the array before may be left.
        dd if=/dev/zero of="$(disk $n)" bs=1M count=1 2>/dev/null
        device=$(disk $n)
        [ "$size" = whole ] || {
            dmsetup create "m$n" --table "0 $((size * 2)) linear $device 0"
            device=/dev/mapper/m$n
        }
        devices="$devices $device" n=$((n + 1))
    done
    set -- --create /dev/md0 --run --metadata=1.0 --level="$level" --raid-devices="$n"
    case $level in linear | raid0) ;; *) set -- "$@" --assume-clean --bitmap=none ;; esac
    [ "$level" = raid1 ] || set -- "$@" --chunk="$chunk"
    [ "$layout" = - ] || set -- "$@" --layout="$layout"
    # shellcheck disable=SC2086
    mdadm "$@" $devices
    bytes=$(blockdev --getsize64 /dev/md0)
    echo "$bytes" >"$SHARE/$name.size"
    dd if="$SHARE/pattern" of=/dev/md0 bs=64k count="$bytes" iflag=count_bytes conv=fsync 2>/dev/null
    mdadm --stop /dev/md0
    n=0
    for device in $devices; do
        dd if="$device" of="$SHARE/$name.$n" bs=64k 2>/dev/null
        [ "${device#/dev/ubd}" != "$device" ] || dmsetup remove "$device"
        n=$((n + 1))
    done
done <"$SHARE/arrays.txt"
