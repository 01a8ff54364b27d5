
# number_of PATH: a device's number, as sysfs writes it.
number_of() {
    local number
    number=$(stat -L -c '%t %T' "$1" 2>/dev/null) || return 0
    printf '%d:%d' "0x${number% *}" "0x${number#* }"
}

# serials BLOCK: the numbers that the system tells of the disk at BLOCK in sysfs, or of the one that it is a partition of.
serials() {
    local file head
    for file in "$1"/{,../}{serial,device/{serial,vpd_pg80,wwid}}; do
        [ -r "$file" ] || continue
        # This page of a SCSI disk has a head of four bytes.
        head=1
        [ "${file##*/}" != vpd_pg80 ] || head=5
        # busybox knows no [:graph:].
        tail -c +"$head" "$file" | tr -cd '!-~' || :
        say
    done
}

# kind_of NUMBER: a world-wide name says of which kind it is.
kind_of() {
    if [[ $1 =~ ^(naa|t10|eui|nvme|uuid)\. ]]; then say name; else say number; fi
}

# same_serial BLOCK NUMBER: yes or no, whether this is that disk's serial number. Nothing where the system tells none of its
# kind: docks have none, and a kernel that does not read this page tells a world-wide name alone.
same_serial() {
    local number answer=
    while read -r number; do
        if [ "$number" = "$2" ]; then
            answer=yes
            break
        fi
        if [ -n "$number" ] && [ "$(kind_of "$number")" = "$(kind_of "$2")" ]; then answer=no; fi
    done <<<"$(serials "$1")"
    say "$answer"
}

# used_by BLOCK PATH: who uses the device that sysfs has at BLOCK, one of its partitions, the disk that it is a partition
# of, or the image file at PATH; nothing where nobody does.
used_by() {
    local block=$1 path=$2 part file number numbers=" " fields
    for part in "$block" "$block"/* "$block/.."; do
        [ -n "$block" ] || break
        [ -e "$part/dev" ] || continue
        [ "$part" = "$block" ] || [ -e "$part/partition" ] || [ -e "$block/partition" ] || continue
        for file in "$part"/holders/*; do
            [ ! -e "$file" ] || say "${file##*/}, take that down"
        done
        # A partition's neighbours may be mounted.
        [ "$part" != "$block/.." ] || continue
        for file in /sys/fs/btrfs/*/devices/"${part##*/}"; do
            [ ! -e "$file" ] || say "a mounted btrfs, unmount it"
        done
        numbers="$numbers$(cat "$part/dev") "
    done
    while read -r -a fields; do
        [[ $numbers != *" ${fields[2]} "* ]] || say "the mount ${fields[4]}, unmount it"
    done </proc/self/mountinfo
    # A kernel without swap has no such file.
    [ ! -r /proc/swaps ] || while read -r file _; do
        number=$(number_of "$file")
        [ -z "$number" ] || [[ $numbers != *" $number "* ]] || say "swap, take $file away with swapoff"
    done </proc/swaps
    for file in /sys/block/loop*/loop/backing_file; do
        [ -r "$file" ] || continue
        number=$(cat "$file")
        part=${file%/loop/*}
        if [ "$number" -ef "$path" ] || [[ $numbers == *" $(number_of "$number") "* ]]; then
            say "${part##*/}, take that down with losetup -d"
        fi
    done
}
