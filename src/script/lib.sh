# shellcheck shell=bash
# Functions of the review scripts. Nothing in this file changes anything by being read.
# settings.sh sets reviewed, work, devices, overlay_mib, backup; each script sets here, 50-check.sh reads failed.
# shellcheck disable=SC2154,SC2034

set -euo pipefail
export LC_ALL=C
# shellcheck source=/dev/null
. "$here/settings.sh"

say() { printf '%s\n' "$*"; }

# Why the next command is run.
why() { printf '\n# %s\n' "$*"; }

die() {
    printf 'STOP: %s\n' "$*" >&2
    exit 1
}

# not_told SENTENCE: a physical volume that nothing says which device it is. Guessing here would write its label on a disk
# that may be another's.
not_told() {
    say "NOT KNOWN: $1"
    say "Say it under [[vg]] in layout.toml (pvs = { pv0 = \"sda\" }) and write the scripts anew with disinter script;"
    say "where the disk is lost: disinter lvm extract --prune PV first, or a blank disk in its place."
    [ "$reviewed" != yes ] || die "the group is not restored with a disk unknown"
}

# Shows a command, and runs it when the scripts have been reviewed.
run() {
    printf '+'
    printf ' %s' "$@"
    printf '\n'
    [ "$reviewed" = yes ] || return 0
    "$@"
}

begin() {
    if [ "$reviewed" != yes ]; then
        say "Not reviewed: this only shows what would be done. Read the scripts,"
        say "then set reviewed=yes in $here/settings.sh."
        return 0
    fi
    [ "$(id -u)" = 0 ] || die "this must be run by root"
    for tool; do
        command -v "$tool" >/dev/null 2>&1 ||
            die "$tool is not installed; install it, then run this again"
    done
    mkdir -p "$work"
}

# digest DEVICE FIRST-SECTOR SECTORS: SHA-256 of these sectors.
digest() {
    dd if="$1" bs=512 skip="$2" count="$3" 2>/dev/null | sha256sum | cut -d ' ' -f 1
}

# sectors DEVICE: its size in 512-byte sectors.
sectors() {
    cat "/sys/class/block/$(basename "$(readlink -f "$1")")/size"
}

# is_disk DEVICE SECTORS [FIRST COUNT SHA256]...: whether this is the disk that was examined.
is_disk() {
    device=$1
    [ "$(sectors "$device" 2>/dev/null)" = "$2" ] || return 1
    shift 2
    while [ $# -ge 3 ]; do
        [ "$(digest "$device" "$1" "$2")" = "$3" ] || return 1
        shift 3
    done
}

# Every whole disk of this machine, or the devices that settings.sh names.
all_devices() {
    if [ -n "$devices" ]; then
        # Split on purpose: it is a list.
        # shellcheck disable=SC2086
        printf '%s\n' $devices
        return
    fi
    for entry in /sys/block/*; do
        name=$(basename "$entry")
        case $name in
        ram* | loop* | zram* | dm-* | md* | sr* | fd*) ;;
        *) [ ! -b "/dev/$name" ] || say "/dev/$name" ;;
        esac
    done
}

# find_disk NAME SECTORS [FIRST COUNT SHA256]...: looks for an examined disk among the devices, notes where it is.
find_disk() {
    name=$1
    shift
    if [ "$reviewed" != yes ]; then
        say "would look for $name: $1 sectors, $((($# - 1) / 3)) checksums"
        return 0
    fi
    found=
    for candidate in $(all_devices); do
        if is_disk "$candidate" "$@"; then
            [ -z "$found" ] ||
                die "$found and $candidate both look like $name; name the right devices in settings.sh"
            found=$candidate
        fi
    done
    [ -n "$found" ] || die "$name is not here, or has changed since it was examined"
    say "$name is $found"
    printf '%s %s\n' "$name" "$found" >>"$work/devices.new"
}

# look_for_disks, find_disk..., disks_found: every script looks again before its first step.
look_for_disks() {
    why 'the disks must be the ones that were examined, whatever their letters are now'
    [ "$reviewed" != yes ] || : >"$work/devices.new"
}

disks_found() {
    [ "$reviewed" != yes ] || mv "$work/devices.new" "$work/devices"
}

# not_in_use NAME: nothing sits on the disk or its partitions; a rescue system may have started the wrong array already.
not_in_use() {
    [ "$reviewed" = yes ] || return 0
    disk=$(basename "$(device_of "$1")")
    for holder in "/sys/block/$disk"/holders/* "/sys/block/$disk/$disk"*/holders/*; do
        [ ! -e "$holder" ] ||
            die "$1 is in use by $(basename "$holder"): if it was started by itself, stop it (mdadm --stop, dmsetup remove), and see that nothing starts it again (AUTO -all in mdadm.conf)"
    done
}

# is_overlay NAME: what is written to is a snapshot over a read-only map, and no disk.
is_overlay() {
    [ "$reviewed" = yes ] || return 0
    case $(dmsetup table "disinter-$1" 2>/dev/null) in
    *" snapshot "*) ;;
    *) die "the overlay of $1 is not there; run 20-overlay.sh first" ;;
    esac
    case $(dmsetup info -c --noheadings -o attr "disinter-base-$1" 2>/dev/null) in
    *r*) ;;
    *) die "the map below the overlay of $1 is not read only; run 90-undo.sh, then 20-overlay.sh" ;;
    esac
}

# enough_room N: for N overlays.
enough_room() {
    [ "$reviewed" = yes ] || return 0
    local room
    room=$(df -Pm "$work" | awk 'NR == 2 { print $4 }')
    say "overlays: $1 of at most $overlay_mib MiB each, $(($1 * overlay_mib)) MiB in all; $work has $room MiB"
    [ "$room" -ge $(($1 * overlay_mib)) ] ||
        say "LITTLE ROOM: an overlay that is full fails; set work to a larger file system, or overlay_mib lower"
}

# record_success: the run on the overlays ended well, by these very scripts.
record_success() {
    [ "$reviewed" = yes ] || return 0
    plan_digest >"$work/passed"
}

plan_digest() {
    cat "$here"/lib.sh "$here"/[1-6]?-*.sh | sha256sum | cut -d ' ' -f 1
}

# overlays_passed VG: before the real disks are touched.
overlays_passed() {
    if [ "$reviewed" != yes ]; then
        say "would ask for the name $1, after a look at the overlay run and the backup"
        return 0
    fi
    [ "$(cat "$work/passed" 2>/dev/null)" = "$(plan_digest)" ] ||
        die "these scripts have not been run on overlays with success; run 10 to 50 first"
    if [ -z "$backup" ] || [ ! -e "$backup/backup.json" ] || [ ! -e "$backup/restore.sh" ]; then
        die "set backup in settings.sh to a folder that disinter backup wrote of these disks"
    fi
    [ -z "$(dmsetup ls 2>/dev/null | grep '^disinter-' || :)" ] ||
        die "the overlays are still there; run 90-undo.sh first"
    say "The next commands WRITE TO THE DISKS: md superblocks, LVM labels, LVM metadata."
    printf 'Type the name of the volume group to go on: '
    local answer
    read -r answer || answer=
    [ "$answer" = "$1" ] || die "that is not its name; nothing was written"
}

# real NAME DISK FIRST-SECTOR SECTORS: a device that is a part of the disk itself.
real() {
    run dmsetup create "disinter-$1" --table "0 $4 linear $(device_of "$2") $3"
}

# writable ARRAY: an array that was started read only takes the label now.
writable() {
    [ "$reviewed" != yes ] || [ "$(cat "/sys/block/$(basename "$1")/md/array_state")" = readonly ] || return 0
    run mdadm --readwrite "$1"
}

# device_of NAME: the device on which a disk was found.
device_of() {
    if [ "$reviewed" != yes ]; then
        say "DEVICE-OF-$1"
        return 0
    fi
    [ -e "$work/devices" ] || die "the disks have not been looked for yet; run 10-identify.sh first"
    while read -r name where; do
        if [ "$name" = "$1" ]; then
            say "$where"
            return 0
        fi
    done <"$work/devices"
    die "it is not known where $1 is; run 10-identify.sh first"
}

# overlay NAME DISK FIRST-SECTOR SECTORS: a device that reads from the disk and writes to a file.
overlay() {
    base=$(device_of "$2")
    run dmsetup create "disinter-base-$1" --readonly --table "0 $4 linear $base $3"
    cow=$work/$1.cow
    if [ "$reviewed" = yes ]; then
        [ ! -e "$cow" ] || die "$cow exists; run 90-undo.sh first"
        loop=$(losetup -f)
    else
        loop=LOOP-DEVICE
    fi
    run dd if=/dev/zero of="$cow" bs=1M count=0 seek="$overlay_mib"
    run losetup "$loop" "$cow"
    [ "$reviewed" != yes ] || printf '%s\n' "$loop" >>"$work/loops"
    run dmsetup create "disinter-$1" --table "0 $4 snapshot /dev/mapper/disinter-base-$1 $loop P 8"
}

# md_free DEVICE: the array must not be in use already.
md_free() {
    [ "$reviewed" != yes ] || [ ! -e "/sys/block/$(basename "$1")/md/array_state" ] ||
        [ "$(cat "/sys/block/$(basename "$1")/md/array_state")" = clear ] ||
        die "$1 is in use; set another md number in settings.sh"
}

# lvm_on ARRAYS COMMAND...: with nothing but our arrays visible, so that the disks' own copies cannot be taken for them.
lvm_on() {
    arrays=$1
    shift
    accept=
    for array in $arrays; do
        accept="$accept\"a|^$array\$|\","
    done
    command=$1
    shift
    run "$command" --config "devices { filter=[ ${accept}\"r|.*|\" ] global_filter=[ ${accept}\"r|.*|\" ] use_devicesfile=0 md_component_detection=0 } backup { backup=0 archive=0 } ${lvm_more:-}" "$@"
}

# make_pv ARRAYS UUID DEVICE: the label and header of a physical volume of the text in $file, with its old UUID.
make_pv() {
    if lvm_on "$1" pvcreate -ff -y --restorefile "$file" --uuid "$2" "$3"; then
        return 0
    fi
    why 'lvm2 refuses where an old label leads to a metadata area that it cannot read: the label goes first'
    run dd if=/dev/zero of="$3" bs=512 count=4 conv=notrunc,fsync
    lvm_on "$1" pvcreate -ff -y --restorefile "$file" --uuid "$2" "$3"
}

# only_to_be_read VG: from here on, lvm_on makes volumes of this group that nobody can write to.
only_to_be_read() {
    lvm_more="activation { read_only_volume_list=[ \"$1\" ] }"
}

# expect_sectors DEVICE SECTORS: the device has the size that was worked out.
expect_sectors() {
    [ "$reviewed" = yes ] || return 0
    has=$(sectors "$1")
    [ "$has" -ge "$2" ] || die "$1 has $has sectors, at least $2 were expected"
}

# expect_digest WHAT DEVICE SECTORS SHA256: the kernel reads there what disinter read.
expect_digest() {
    if [ "$reviewed" != yes ]; then
        say "would compare the first $3 sectors of $2"
        return 0
    fi
    if [ "$(digest "$2" 0 "$3")" = "$4" ]; then
        say "same as examined: $1"
    else
        say "DIFFERS FROM WHAT WAS EXAMINED: $1"
        failed=yes
    fi
}

# check_ext DEVICE: a read-only check by the real e2fsck; busybox's crashes on damage.
check_ext() {
    local version
    version=$(e2fsck -V 2>&1 || :)
    if [ "$reviewed" = yes ] && [ "${version#*EXT2FS}" = "$version" ]; then
        say "NOT CHECKED: $1 (the e2fsck of e2fsprogs is not here)"
        return 0
    fi
    run e2fsck -fn "$1" || failed=yes
}
