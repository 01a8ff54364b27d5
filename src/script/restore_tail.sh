
say() { printf '%s\n' "$*"; }

die() {
    printf 'STOP: %s\n' "$*" >&2
    exit 1
}

# bytes PATH OFFSET LENGTH: these bytes.
bytes() {
    dd if="$1" bs=1M iflag=skip_bytes,count_bytes,fullblock skip="$2" count="$3" status=none
}

digest() {
    local sum
    sum=$(sha256sum)
    say "${sum%% *}"
}

# size PATH: of a device or a file, in bytes.
size() {
    if [ -b "$1" ]; then blockdev --getsize64 "$1"; else stat -L -c %s "$1"; fi
}

# block_of PATH: what sysfs has of a device. By its number: a name may be a link, or hold a slash that sysfs writes as !.
block_of() {
    [ ! -b "$1" ] || readlink -f "/sys/dev/block/$(number_of "$1")"
}

# whole_disk PATH: the node of the disk that a device is, or is a partition of; nothing for an image file.
whole_disk() {
    local block line
    block=$(block_of "$1")
    [ -n "$block" ] || return 0
    [ ! -e "$block/partition" ] || block=$block/..
    while read -r line; do
        [ "${line%%=*}" != DEVNAME ] || say "/dev/${line#*=}"
    done <"$block/uevent"
}

# needs TOOL...
needs() {
    local tool
    for tool; do
        command -v "$tool" >/dev/null || die "$tool is not installed"
    done
}

declare -A place=() locked=()
write=no differing=0 failed=0 table=no answer_wanted=restore

# check_free NAME: where it is to be written to, nobody else uses it.
check_free() {
    [ "$write" = yes ] && [ -n "${place[$1]:-}" ] || return 0
    local path=${place[$1]} block user
    block=$(block_of "$path") || block=
    if [ ! -r /proc/self/mountinfo ] || { [ -b "$path" ] && [ ! -e "$block/dev" ]; }; then
        die "who uses $path cannot be told: /proc and /sys must be mounted"
    fi
    user=$(used_by "$block" "$path")
    [ -z "$user" ] || die "$path is in use by ${user%%$'\n'*} first"
}

# lock NAME: udev looks at a disk again whenever it was written to, and starts the array whose superblock has just come back.
# It leaves alone what is locked, until this script has ended.
lock() {
    [ -n "${place[$1]:-}" ] && command -v flock >/dev/null || return 0
    local disk file
    disk=$(whole_disk "${place[$1]}")
    # Two parts of one disk have one lock. Where there is no such node, there is no udev that made it.
    [ -e "$disk" ] && [ -z "${locked[$disk]:-}" ] || return 0
    exec {file}<"$disk"
    flock -n "$file" || {
        say "waiting for who else has locked $disk"
        flock "$file"
    }
    locked[$disk]=yes
}

# afresh NAME: what is read next comes from the disk: an array writes to it beneath what was read of it before.
afresh() {
    [ ! -b "${place[$1]:-}" ] || blockdev --flushbufs "${place[$1]}"
}

# check_serial NAME SIZE SERIAL: the disk's, where the system tells it.
check_serial() {
    local path=${place[$1]} block
    block=$(block_of "$path")
    case $(same_serial "$block" "$3") in
    yes) ;;
    no) die "$path has serial number $(serials "$block" | grep . | head -n 1); $1 had $3: it is another disk" ;;
    *)
        say "$1 had serial number $3, and the system tells none of $path that can be held against it (a dock, another kernel):"
        say "whether it is the disk that it is named as, only you can tell"
        answer_wanted="restore untold"
        ;;
    esac
}

# check_source NAME SIZE SERIAL
check_source() {
    [ -n "${place[$1]:-}" ] || return 0
    local path=${place[$1]}
    [ -e "$path" ] || die "$path is not there"
    [ ! -b "$path" ] || needs blockdev
    [ "$(size "$path")" = "$2" ] || die "$path has $(size "$path") bytes; $1 had $2: it is another disk"
    [ -z "$3" ] || [ ! -b "$path" ] || check_serial "$@"
    check_free "$1"
    say "$1 is $path, $2 bytes"
}

# check_proof NAME OFFSET LENGTH SHA256: a place that is not written, by which the disk is known.
check_proof() {
    [ -n "${place[$1]:-}" ] || return 0
    [ "$(bytes "${place[$1]}" "$2" "$3" | digest)" = "$4" ] ||
        die "${place[$1]} differs at byte $2 from $1 as it was: it is another disk, or more than what was kept has changed"
}

# check_alike NAME NAME: two disks that only differ in what is kept, and have no serial number.
check_alike() {
    [ -n "${place[$1]:-}${place[$2]:-}" ] || return 0
    say "$1 and $2 are alike but for what is kept, as mirrors are, and have no serial numbers:"
    say "whether each is the disk that it is named as, only you can tell"
    answer_wanted="restore alike"
}

# check_rest NAME SHA256 [OFFSET LENGTH]...: all that was not kept.
check_rest() {
    [ -n "${place[$1]:-}" ] || return 0
    local path=${place[$1]} name=$1 expected=$2 sum
    shift 2
    sum=$(while [ $# -gt 0 ]; do
        bytes "$path" "$1" "$2"
        shift 2
    done | digest)
    [ "$sum" = "$expected" ] || die "$path differs from $name outside of what was kept"
    say "$name is unchanged outside of what was kept"
}

# check_extent NAME OFFSET LENGTH SHA256 FILE: the backup's own file, and whether the disk differs from it.
check_extent() {
    [ -n "${place[$1]:-}" ] || return 0
    [ "$(digest <"$here/$5")" = "$4" ] || die "$here/$5 is not what was kept; this backup is damaged"
    local sum
    sum=$(bytes "${place[$1]}" "$2" "$3" | digest) ||
        say "cannot be read whole: $1, $3 bytes at $2. A disk takes a bad sector out of use when it is written to."
    if [ "$sum" != "$4" ]; then
        say "differs: $1, $3 bytes at $2"
        differing=$((differing + 1))
    fi
}

# keep PATH OFFSET LENGTH FILE: these bytes, those that can be read.
keep() {
    bytes "$1" "$2" "$3" >"$4" || {
        say "zeros stand in $4 for what cannot be read"
        dd if="$1" of="$4" bs=4096 iflag=skip_bytes,count_bytes skip="$2" count="$3" conv=noerror,sync status=none || :
        truncate -s "$3" "$4"
    }
    sync "$4"
}

# put NAME OFFSET LENGTH SHA256 FILE: keeps what is there, writes what was, reads it again. Where a disk does not take it, the
# other places are put back all the same.
put() {
    [ -n "${place[$1]:-}" ] || return 0
    local path=${place[$1]}
    [ "$(bytes "$path" "$2" "$3" | digest)" != "$4" ] || return 0
    # What was put back a moment ago may have been started.
    check_free "$1"
    mkdir -p "$replaced/$(dirname "$5")"
    keep "$path" "$2" "$3" "$replaced/$5"
    if dd if="$here/$5" of="$path" bs=1M oflag=seek_bytes seek="$2" conv=notrunc,fsync status=none &&
        afresh "$1" && [ "$(bytes "$path" "$2" "$3" | digest)" = "$4" ]; then
        say "put back: $1, $3 bytes at $2"
        [ "$2" != 0 ] || table=maybe
    else
        say "NOT PUT BACK: $1, $3 bytes at $2"
        failed=$((failed + 1))
    fi
}

# A name may have a = in it.
known() {
    [ "${argument#"$1="}" = "$argument" ] || [ "${#1}" -lt "${#wanted}" ] || wanted=$1
}

while [ $# -gt 0 ]; do
    case $1 in
    --write) write=yes ;;
    *=*)
        argument=$1 wanted=
        each_source known
        [ -n "$wanted" ] || die "${1%%=*} is not in this backup; see each_source above"
        place[$wanted]=${1#"$wanted="}
        ;;
    *) die "expected [--write] NAME=PATH..., found $1" ;;
    esac
    shift
done
[ "${#place[@]}" -gt 0 ] || die "name the disks to restore: NAME=PATH..."
needs cat cut date dd dirname grep head mkdir readlink sha256sum stat sync tail tr truncate

say "# size, serial number, places that are not written"
each_source check_source
each_proof check_proof
each_rest check_rest
each_alike check_alike
say "# what was kept, against what is there"
each_extent check_extent
if [ "$differing" = 0 ]; then
    say "Nothing differs. There is nothing to put back."
    exit 0
fi
if [ "$write" = no ]; then
    say "$differing extents differ. Nothing was written; --write puts them back."
    exit 0
fi
say "udev may start the arrays and groups that are put back when this has ended; AUTO -all in mdadm.conf and"
say "event_activation=0 in lvm.conf keep it from that"
command -v flock >/dev/null || say "flock is not installed: it may start them between two writes"
printf '%s extents of these disks will be written. Type %s to go on: ' "$differing" "$answer_wanted"
read -r answer
[ "$answer" = "$answer_wanted" ] || die "nothing was written"
# That answer may have been long in coming, and disks were unplugged meanwhile.
each_source lock
each_source afresh
before=$differing differing=0 answer_wanted=restore
{
    each_source check_source
    each_proof check_proof
    each_alike check_alike
    each_extent check_extent
} >/dev/null
[ "$differing $answer_wanted" = "$before $answer" ] || die "the disks have changed meanwhile; nothing was written"
replaced=$here/replaced-$(date +%s)
each_extent put
say "# all must be what it was, and nothing else may have changed or be in use"
differing=0
each_source afresh
each_source check_free
each_extent check_extent
[ "$failed" = 0 ] || die "$failed extents are not put back: the disk fails there. Copy it with ddrescue, run this on the copy"
[ "$differing" = 0 ] || die "somebody else writes to these disks: stop it (see /proc/mdstat), then run this again"
each_proof check_proof
each_rest check_rest
[ "$table" = no ] || say "The kernel may still go by the partition table that stood there: blockdev --rereadpt DISK, or start anew."
say "Done. What stood there before is in $replaced."
