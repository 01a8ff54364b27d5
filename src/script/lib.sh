# shellcheck shell=bash
# Functions of the review scripts. Nothing in this file changes anything by being read.
# settings.sh sets reviewed, work, devices, overlay_mib, looked_at, backup; each script sets here, failed and unchecked.
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

# unproven SENTENCE: an order that is not sure may be tried on overlays, where a wrong one harms nothing.
unproven() {
    say "NOT PROVEN: $1"
    say 'What 50-check.sh finds broken may be whole in another order: see arrays.json.'
}

# unproven_on_disks SENTENCE: and nowhere else. A person who knows better writes it down.
unproven_on_disks() {
    say "NOT PROVEN: $1"
    say 'Where the overlays have shown it to be right, write scripts for it: disinter script --layout LAYOUT --vg TEXT.'
    [ "$reviewed" != yes ] || die "an order that is not proven is not written to the disks"
}

# doubtful SENTENCE: a text that may not be the group's last state may be tried on overlays.
doubtful() {
    say "IN DOUBT: $1"
    say 'What 50-check.sh finds broken may be whole by another text: see texts.json and disinter lvm history.'
}

# doubtful_on_disks SENTENCE: and nowhere else. A person who wants this state says so by writing scripts for its text.
doubtful_on_disks() {
    say "IN DOUBT: $1"
    say 'Where the overlays have shown it to be right, write scripts for it: disinter script --layout LAYOUT --vg TEXT.'
    [ "$reviewed" != yes ] || die "what may not be the last state is not written to the disks"
}

# unequal SENTENCE: copies that differ may be looked at on overlays.
unequal() {
    say "IN DOUBT: $1"
}

# unequal_on_disks SENTENCE: and nowhere else: a volume that is started there makes its copies equal.
unequal_on_disks() {
    say "IN DOUBT: $1"
    say 'Copy what is to be kept with disinter export; of two images of one disk take the wrong one out of the layout.'
    [ "$reviewed" != yes ] || die "copies that differ are not started on the disks"
}

# not_whole SENTENCE: an array that cannot be started with what is here.
not_whole() {
    say "NOT WHOLE: $1"
    [ "$reviewed" != yes ] || die "it cannot be started; examine more disks, or copy what can be read with disinter export"
}

# forgets SENTENCE: what the superblocks know and an array made anew does not. On overlays that is lost with them.
forgets() {
    say "FORGOTTEN: $1"
}

# forgets_on_disks SENTENCE: there it would be lost for good.
forgets_on_disks() {
    forgets "$1"
    [ "$reviewed" != yes ] || die "superblocks that know more than an array made anew are not overwritten; copy the volumes from the overlays"
}

# Shows a command as it can be typed, and runs it when the scripts have been reviewed.
run() {
    printf '+'
    printf ' %q' "$@"
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

# digest DEVICE [FIRST COUNT]...: SHA-256 of all these sectors, in this order.
digest() {
    local device=$1 sum
    shift
    sum=$(
        while [ $# -ge 2 ]; do
            dd if="$device" bs=512 skip="$1" count="$2" 2>/dev/null
            shift 2
        done | sha256sum
    )
    say "${sum%% *}"
}

# in_sys DEVICE: its folder in /sys, by its number: names differ there (cciss!c0d0, dm-3).
in_sys() {
    local number
    number=$(stat -L -c '%t %T' "$1") || return 1
    say "/sys/dev/block/$((0x${number% *})):$((0x${number#* }))"
}

# sectors DEVICE: its size in 512-byte sectors.
sectors() {
    local folder size
    folder=$(in_sys "$1") || return 1
    read -r size <"$folder/size" && say "$size"
}

# is_disk DEVICE SECTORS [FIRST COUNT SHA256]...: whether this is the disk that was examined.
is_disk() {
    local device=$1
    [ -n "${size_of[$device]-}" ] || size_of[$device]=$(sectors "$device" 2>/dev/null || :)
    [ "${size_of[$device]}" = "$2" ] || return 1
    shift 2
    while [ $# -ge 3 ]; do
        # Each disk is held against each device: what was read once is not read again.
        [ -n "${digest_of[$device $1 $2]-}" ] || digest_of[$device $1 $2]=$(digest "$device" "$1" "$2")
        [ "${digest_of[$device $1 $2]}" = "$3" ] || return 1
        shift 3
    done
}
declare -A size_of digest_of

# Every whole disk of this machine, or the devices that settings.sh names.
all_devices() {
    if [ -n "$devices" ]; then
        # Split on purpose: it is a list.
        # shellcheck disable=SC2086
        printf '%s\n' $devices
        return
    fi
    for entry in /sys/block/*; do
        name=${entry##*/}
        case $name in
        ram* | loop* | zram* | dm-* | md* | sr* | fd*) ;;
        *) [ ! -b "/dev/${name//!//}" ] || say "/dev/${name//!//}" ;;
        esac
    done
}

# no_files: what settings.sh names must be devices.
no_files() {
    local device
    # shellcheck disable=SC2086
    for device in $devices; do
        [ -b "$device" ] ||
            die "$device is no block device. For a copy in a file: losetup -r -f --show FILE, then name the loop device in settings.sh"
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
    [ $# -ge 4 ] || die "nothing of $name could be read when it was examined: its size alone does not tell which disk it is"
    found=
    for candidate in $candidates; do
        if is_disk "$candidate" "$@"; then
            [ -z "$found" ] ||
                die "$found and $candidate both look like $name; name the right one of them, and all others, in devices in settings.sh (lsblk -o NAME,SERIAL: letters move)"
            found=$candidate
        fi
    done
    [ -n "$found" ] || not_found "$name"
    [ -z "$(grep "^$found " "$work/devices.new" || :)" ] ||
        die "$found looks like $name, and like another disk of these: they are mirrors that nothing tells apart, and one of them is not here"
    say "$name is $found"
    printf '%s %s\n' "$found" "$name" >>"$work/devices.new"
}

# not_found NAME: what may be the reason, and the way on.
not_found() {
    [ ! -e "$here/real-begun" ] || half_way
    say "$1 looks changed, too, where a sector of it can no longer be read: see dmesg."
    say "Where it is a partition, or a loop, md or dm device: name it in devices in settings.sh."
    die "$1 is not here, or has changed since it was examined"
}

# begin_real: from here on, what stops 60-real-disks.sh leaves disks that are neither as they were nor restored. That is noted
# beside the scripts, as $work may not outlive a power cut.
begin_real() {
    [ "$reviewed" = yes ] || return 0
    { : >"$here/real-begun"; } 2>/dev/null ||
        die "$here cannot be written to, and is where a stopped run is noted: run 90-undo.sh, copy the scripts elsewhere, begin anew. Nothing was written"
    sync
}

# end_real: they are restored, or are again what was examined.
end_real() {
    if [ "$reviewed" != yes ] || [ ! -e "$here/real-begun" ]; then return 0; fi
    rm -f "$here/real-begun"
    sync
}

# as_before NAME SECTORS: where 60-real-disks.sh was stopped half-way, the disk must be again as the backup has it: what it is
# known by may all lie where nothing was written.
as_before() {
    if [ "$reviewed" != yes ] || [ ! -e "$here/real-begun" ]; then return 0; fi
    if [ -z "$backup" ] || [ ! -e "$backup/restore.sh" ]; then half_way; fi
    (in_backup "$@") || half_way
}

half_way() {
    die "60-real-disks.sh was stopped half-way: run 90-undo.sh, then restore.sh of the backup"
}

# look_for_disks, find_disk..., disks_found: every script looks again before its first step.
look_for_disks() {
    why 'the disks must be the ones that were examined, whatever their letters are now'
    [ "$reviewed" = yes ] || return 0
    no_files
    candidates=$(all_devices)
    : >"$work/devices.new"
}

disks_found() {
    [ "$reviewed" != yes ] || mv "$work/devices.new" "$work/devices"
}

# not_in_use NAME: nothing sits on the disk or its partitions; a rescue system may have started the wrong array already, and
# switches swap on by itself.
not_in_use() {
    [ "$reviewed" = yes ] || return 0
    local disk user
    disk=$(readlink -f "$(in_sys "$(device_of "$1")")")
    for holder in "$disk"/holders/* "$disk"/*/holders/*; do
        [ -e "$holder" ] || continue
        case $(cat "$holder/dm/name" 2>/dev/null || :) in
        disinter-*) die "$1 is in use from an earlier run of these scripts; run 90-undo.sh first" ;;
        esac
        die "$1 is in use by $(basename "$holder"): if it was started by itself, stop it (mdadm --stop, dmsetup remove), and see that nothing starts it again (AUTO -all in mdadm.conf)"
    done
    [ -r /proc/self/mountinfo ] || die "who uses $1 cannot be told: /proc must be mounted"
    user=$(used_by "$disk" "$(device_of "$1")")
    [ -z "$user" ] || die "$1 is in use by ${user%%$'\n'*} first"
}

# has_map NAME: whether there is a map of ours of this name.
has_map() {
    [ -n "$(dmsetup ls 2>/dev/null | grep "^disinter-$1[[:blank:]]" || :)" ]
}

# no_map NAME: a map that an interrupted run left shows another volume than the one that is meant.
no_map() {
    [ "$reviewed" != yes ] || ! has_map "$1" || die "disinter-$1 is left from an earlier run; run 90-undo.sh first"
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

# record STEP: it ended well, by these very scripts: restored, passed.
record() {
    [ "$reviewed" = yes ] || return 0
    plan_digest >"$work/$1"
}

# recorded STEP: whether it did.
recorded() {
    [ "$(cat "$work/$1" 2>/dev/null)" = "$(plan_digest)" ]
}

# forget STEP: it is to be done again.
forget() {
    [ "$reviewed" != yes ] || rm -f "$work/$1"
}

# must_be_restored: what 50-check.sh looks at may be there without 40-restore.sh, or after half of it.
must_be_restored() {
    [ "$reviewed" != yes ] || recorded restored ||
        die "40-restore.sh has not ended well with these scripts; run 90-undo.sh, then 20 to 40"
}

plan_digest() {
    cat "$here"/lib.sh "$here"/[1-6]?-*.sh | sha256sum | cut -d ' ' -f 1
}

# The disks of the backup, by the plan's names, and what the backup lacks.
declare -A backup_of=()
not_kept='' kept='' known='' numbers='' untold=''

# read_backup: what its restore.sh lists, a line each: first byte, bytes, SHA-256, disk. Of what was kept, ascending, and
# of the places by which a disk is known again. In restore.sh "$1" stands in front, and a file behind what was kept.
read_backup() {
    [ -z "$kept" ] || return 0
    # shellcheck disable=SC2016
    local line='s/^    "$1" \(.*\) \([0-9]*\) \([0-9]*\) \([0-9a-f]\{64\}\)'
    kept=$(sed -n "$line .*/\\2 \\3 \\4 \\1/p" "$backup/restore.sh" | sort -n)
    known=$(sed -n "$line\$/\\2 \\3 \\4 \\1/p" "$backup/restore.sh")
    # And the serial numbers, each with its disk behind it.
    # shellcheck disable=SC2016
    numbers=$(sed -n '/^each_source() {$/,/^}$/s/^    "$1" \(.*\) [0-9]* \([^ ]*\)$/\2 \1/p' "$backup/restore.sh")
}

# number_in_backup DISK: its serial number, where it told one then.
number_in_backup() {
    local number of
    while read -r number of; do
        if [ "$of" = "$1" ]; then
            number=${number#\'}
            say "${number%\'}"
        fi
    done <<<"$numbers"
}

# is_source DISK DEVICE: whether the backup's disk of this name is this device, and all that was kept of it as it is now.
is_source() {
    local first length sum of some=no
    while read -r first length sum of; do
        [ "$of" = "$1" ] || continue
        [ $(((first | length) % 512)) = 0 ] || continue
        [ "$(digest "$2" $((first / 512)) $((length / 512)))" = "$sum" ] || return 1
        some=yes
    done <<<"$known
$kept"
    [ "$some" = yes ]
}

# in_backup NAME SECTORS: the backup is one of this disk as it is now, and of no other half of a mirror: those may be equal to
# the byte, but for their serial numbers.
in_backup() {
    [ "$reviewed" = yes ] || return 0
    local source device block number same other='' not_sure=''
    read_backup
    device=$(device_of "$1")
    block=$(readlink -f "$(in_sys "$device")") || block=
    grep -q "\"size\": $(($2 * 512)),*\$" "$backup/backup.json" ||
        die "$backup is no backup of $1: it has no disk of that size"
    while read -r source; do
        is_source "$source" "$device" || continue
        number=$(number_in_backup "$source") same=yes
        [ -z "$number" ] || same=$(same_serial "$block" "$number")
        case $same in
        no) other=$number ;;
        yes)
            backup_of[$1]=$source
            return 0
            ;;
        *) backup_of[$1]=$source not_sure=" $1 ($device, had $number)" ;;
        esac
    done <<<"$(cut -d ' ' -f 4- <<<"$kept" | sort -u)"
    untold=$untold$not_sure
    [ -z "$not_sure" ] || return 0
    [ -z "$other" ] ||
        die "$device holds what $1 held, and has another serial number than $other in $backup: it is the other half of a mirror"
    die "$backup is no backup of $1 as it is now: what it kept of a disk of that size is not what $device has"
}

# serials_told: where not, a person says that these disks are the ones to write to.
serials_told() {
    [ -n "$untold" ] || return 0
    say "The system tells no serial number of these disks that can be held against the backup's:$untold"
    say "Whether they are those that are meant, or the half of the mirrors that is the only undo, only you can tell."
    printf 'Type untold to go on: '
    local answer
    read -r answer || answer=
    [ "$answer" = untold ] || die "nothing was written"
}

# is_kept NAME FIRST COUNT: the backup has these sectors of the disk. What it lacks is said once, for all disks.
is_kept() {
    [ "$reviewed" = yes ] || return 0
    local at=$(($2 * 512)) end=$((($2 + $3) * 512)) first length of
    while read -r first length _ of; do
        [ "$of" = "${backup_of[$1]:-}" ] || continue
        [ "$first" -le "$at" ] || continue
        [ $((first + length)) -le "$at" ] || at=$((first + length))
    done <<<"$kept"
    [ "$at" -ge "$end" ] || not_kept="$not_kept --keep $(device_of "$1")@$(($2 * 512))+$(($3 * 512))"
}

# all_is_kept NAME...: of these disks.
all_is_kept() {
    [ -n "$not_kept" ] || return 0
    local name devices=
    for name; do devices="$devices $(device_of "$name")"; done
    die "the backup lacks what the next steps write; take another, and set backup to it: disinter backup$devices$not_kept -o FOLDER"
}

# overlays_passed VG: before the real disks are touched.
overlays_passed() {
    if [ "$reviewed" != yes ]; then
        say "would ask for the name $1, after a look at the overlay run and the backup"
        return 0
    fi
    recorded passed ||
        die "these scripts have not been run on overlays with success; run 10 to 50 first"
    if [ -z "$backup" ] || [ ! -e "$backup/backup.json" ] || [ ! -e "$backup/restore.sh" ]; then
        die "set backup in settings.sh to a folder that disinter backup wrote of these disks"
    fi
    if [ -n "$(dmsetup ls 2>/dev/null | grep '^disinter-' || :)" ]; then
        [ ! -e "$here/real-begun" ] || half_way
        die "the overlays are still there; run 90-undo.sh first"
    fi
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

# started ARRAY NAME...: it stands on the maps of these members and on nothing else: another array may have its number.
started() {
    [ "$reviewed" = yes ] || return 0
    ours "$@" ||
        die "$1 does not stand on the maps that these scripts made of the members; run 30-assemble.sh with these settings first"
}

# writable ARRAY NAME...: an array that was started read only takes the label now.
writable() {
    started "$@"
    [ "$reviewed" != yes ] || [ "$(cat "$(in_sys "$1")/md/array_state")" = readonly ] || return 0
    frozen "$1"
    run mdadm --readwrite "$1"
}

# frozen ARRAY: the kernel starts no resync and no rebuild on it, which would write to whole members.
frozen() {
    local action
    action=$(block_of "$1")/md/sync_action
    [ "$reviewed" != yes ] || action=$(in_sys "$1")/md/sync_action
    # A level without copies or parity has none.
    [ "$reviewed" != yes ] || [ -e "$action" ] || return 0
    say "+ echo frozen >$action"
    [ "$reviewed" != yes ] || echo frozen >"$action" || die "$1 cannot be kept from a resync"
}

# device_of NAME: the device on which a disk was found.
device_of() {
    if [ "$reviewed" != yes ]; then
        say "DEVICE-OF-$1"
        return 0
    fi
    [ -e "$work/devices" ] || die "the disks have not been looked for yet; run 10-identify.sh first"
    # A name may hold blanks; a device's does not.
    local line
    while IFS= read -r line; do
        if [ "${line#* }" = "$1" ]; then
            say "${line%% *}"
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
    run dmsetup create "disinter-$1" --table "0 $4 snapshot /dev/mapper/disinter-base-$1 $loop P 8"
}

# block_of NODE: where the kernel tells of a device that may not be there, by its name.
block_of() {
    say "/sys/block/${1#/dev/}"
}

# md_free DEVICE: the array must not be in use already.
md_free() {
    [ "$reviewed" = yes ] || return 0
    [[ $1 =~ ^/dev/md[0-9]+$ ]] || die "$1 is no md device by its number; say it like /dev/md126 in settings.sh"
    local state
    state=$(block_of "$1")/md/array_state
    if [ ! -e "$state" ] || [ "$(cat "$state")" = clear ]; then return 0; fi
    ! ours "$1" || die "$1 is from an earlier run of these scripts; run 90-undo.sh first"
    die "$1 is in use; set another md number in settings.sh"
}

# Where udev looks: behind the rules that say what is on a device, before those that start it.
udev=/run/udev
processes=/proc
rules=$udev/rules.d/63-zz-disinter.rules

# udev_waits ARRAY... VG...: udev starts nothing that it sees on our maps, arrays and volumes. mdadm's rule would start an old
# array from them, lvm2's a group, and both for writing.
udev_waits() {
    local name
    if [ "$reviewed" != yes ]; then
        say "would write $rules where there is udev"
        return 0
    fi
    # Without udevd there is nobody to wait.
    [ -e "$udev/control" ] || {
        no_udevd
        return 0
    }
    mkdir -p "${rules%/*}"
    {
        say 'ENV{DM_NAME}=="disinter-*", ENV{ID_FS_TYPE}=""'
        for name; do
            case $name in
            /*) say "KERNEL==\"${name##*/}\", ENV{ID_FS_TYPE}=\"\"" ;;
            *) say "ENV{DM_VG_NAME}==\"$name\", ENV{ID_FS_TYPE}=\"\"" ;;
            esac
        done
    } >"$rules"
    run udevadm control --reload || die "udev does not read $rules: it may start what it sees on the members"
}

# no_udevd: none runs that cannot be told, as that of the machine around a chroot.
no_udevd() {
    local file process
    for file in "$processes"/[0-9]*/comm; do
        # It may be gone by now.
        { read -r process <"$file"; } 2>/dev/null || continue
        case $process in
        systemd-udevd | udevd | eudev) die "udevd runs and cannot be told to wait: $udev/control is not here. In a chroot, bind /run: mount --bind" ;;
        esac
    done
}

# udev_goes_on: as before.
udev_goes_on() {
    [ "$reviewed" != yes ] || [ -e "$rules" ] || return 0
    run rm -f "$rules"
    run udevadm control --reload || :
}

# not_active VG ID: lvm2 knows volumes by their ids, whatever name their group has now: it would turn those that are in use
# into ours.
not_active() {
    [ "$reviewed" = yes ] || return 0
    [ ! -e "/dev/$1" ] || die "this machine has a volume group $1 in use"
    [ -z "$(dmsetup info -c --noheadings -o uuid 2>/dev/null | grep -F "LVM-$2" || :)" ] ||
        die "volumes of this very group (by its id, whatever its name) are in use on this machine: run the scripts on another"
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
    run "$command" --config "devices { filter=[ ${accept}\"r|.*|\" ] global_filter=[ ${accept}\"r|.*|\" ] use_devicesfile=0 md_component_detection=0 } global { use_lvmetad=0 } metadata { pvmetadatacopies=1 } backup { backup=0 archive=0 } ${lvm_more:-}" "$@"
}

# expect_text SHA256: the metadata text in $file is the one that was reviewed and tried.
expect_text() {
    [ "$reviewed" = yes ] || return 0
    [ -r "$file" ] || die "$file cannot be read"
    [ "$(sha256sum <"$file" | cut -d ' ' -f 1)" = "$1" ] ||
        die "$file is not the text that these scripts were written for"
}

# make_pv ARRAYS UUID DEVICE SECTORS: the label and header of a physical volume of the text in $file, with its old UUID.
make_pv() {
    expect_sectors "$3" "$4"
    local said
    if said=$(lvm_on "$1" pvcreate -ff -y --restorefile "$file" --uuid "$2" "$3" 2>&1); then
        say "$said"
        return 0
    fi
    say "$said"
    case $said in
    *exclusively*) die "$3 is in use" ;;
    *'failed to get metadata summary from'*) ;;
    *) die "pvcreate did not make $3 a physical volume; nothing else was tried" ;;
    esac
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

# protect DEVICE: a volume that lvm2 had to start for writing.
protect() {
    [ "$reviewed" != yes ] || [ -b "$1" ] || return 0
    run blockdev --setro "$1"
}

# stands WHAT DEVICE: the volume is there, lies on our maps and nowhere else, and can only be read. Another group of this
# name may be up, and udev may have started ours its own way.
stands() {
    [ "$reviewed" = yes ] || return 0
    local folder
    folder=$(in_sys "$2" 2>/dev/null) || folder=
    if [ -z "$folder" ]; then
        say "NOT THERE: $1 was not started"
    elif ! on_our_maps "$folder"; then
        say "NOT OURS: $1 is of another group of this name, on other devices"
    elif [ "$(cat "$folder/ro")" != 1 ]; then
        say "CAN BE WRITTEN TO: $1 was started by something else (udev, lvm2's autoactivation)"
    else
        return 0
    fi
    failed=yes
}

# on_our_maps FOLDER: whether every device below this one of /sys ends at a map of these scripts.
on_our_maps() {
    local slave
    [ -e "$1/dm" ] || [ -e "$1/md" ] || return 1
    for slave in "$1"/slaves/*; do
        [ -e "$slave" ] || continue
        case $(cat "$slave/dm/name" 2>/dev/null || :) in
        disinter-*) ;;
        *) on_our_maps "$slave" || return 1 ;;
        esac
    done
}

# not_started WHAT WHY: on the disks it stays down, as its start alone would write to them.
not_started() {
    say "NOT STARTED: $1 ($2; its start alone writes to the disks). Copy it from the overlays."
}

# expect_digest WHAT DEVICE SHA256 [FIRST COUNT]...: the kernel reads there, all over the volume, what disinter read.
expect_digest() {
    local what=$1 device=$2 sum=$3
    shift 3
    if [ "$reviewed" != yes ]; then
        say "would compare $(($# / 2)) places of $device"
        return 0
    fi
    if [ "$(digest "$device" "$@")" = "$sum" ]; then
        say "same as examined: $what, in $(($# / 2)) places"
    else
        say "DIFFERS FROM WHAT WAS EXAMINED: $what"
        failed=yes
    fi
}

# not_checked WHAT WHY: nothing here can tell whether this volume is right; a person who has looked at it says so.
not_checked() {
    [ "$reviewed" = yes ] || {
        say "would ask for a look at $1: $2"
        return 0
    }
    case " $looked_at " in
    *" $1 "*) say "looked at by a person: $1 ($2)" ;;
    *)
        say "NOT CHECKED: $1 ($2)"
        unchecked="$unchecked $1"
        ;;
    esac
}

# check_inside WHAT DEVICE FIRST-SECTOR SECTORS: the same for a file system in a partition of a volume, which gets a device
# of its own for as long.
check_inside() {
    no_map inside
    # An old partition may begin where a disk of large sectors has no sector begin.
    run dmsetup create disinter-inside --readonly --table "0 $4 linear $2 $3" || {
        not_checked "$1" 'the kernel gives it no device'
        return 0
    }
    check_ext "$1" /dev/mapper/disinter-inside
    run dmsetup remove --retry disinter-inside
}

# check_ext WHAT DEVICE: a read-only check by the real e2fsck; busybox's crashes on damage.
check_ext() {
    local version
    version=$(e2fsck -V 2>&1 || :)
    if [ "$reviewed" = yes ] && [ "${version#*EXT2FS}" = "$version" ]; then
        not_checked "$1" 'the e2fsck of e2fsprogs is not here'
        return 0
    fi
    if [ "$reviewed" = yes ] && was_in_use "$2"; then
        check_replayed "$2" || failed=yes
    else
        run e2fsck -fn "$2" || failed=yes
    fi
}

# was_in_use DEVICE: its journal holds what has not been written to its place yet.
was_in_use() {
    dumpe2fs -h "$1" 2>/dev/null | grep -q '^Filesystem features:.*needs_recovery'
}

# check_replayed DEVICE: a file system that was in use when the machine stopped is full of faults until its journal has
# been replayed. That is done on a snapshot whose writes go to a file; the volume itself stays as it is.
check_replayed() {
    say "$1 was in use when the machine stopped: its journal is replayed on a snapshot of its own"
    local cow=$work/replay.cow loop size status=0
    no_map replay
    # Each step says what becomes of it: where this is called, a failure ends nothing by itself, and the next step would
    # answer for another volume.
    rm -f "$cow" || return 1
    size=$(sectors "$1") || return 1
    loop=$(losetup -f) || return 1
    run dd if=/dev/zero of="$cow" bs=1M count=0 seek="$overlay_mib" || return 1
    run losetup "$loop" "$cow" || return 1
    run dmsetup create disinter-replay --table "0 $size snapshot $(readlink -f "$1") $loop N 8" || return 1
    # What a mount would mend by itself is no fault: 1 says that it was mended.
    run e2fsck -fp /dev/mapper/disinter-replay || status=$?
    # What it said then is of the snapshot, not of the volume.
    case $(dmsetup status disinter-replay 2>/dev/null || :) in
    *Invalid* | *Overflow*)
        say "FULL: the journal and what was mended took more than $overlay_mib MiB, so that this check says nothing of $1."
        say 'Set overlay_mib in settings.sh higher (work must hold as much), then run this again.'
        status=8
        ;;
    esac
    run dmsetup remove --retry disinter-replay || return 1
    run losetup -d "$loop" || return 1
    run rm -f "$cow" || return 1
    [ "$status" -le 1 ]
}

# checks_down: what an interrupted check left on a volume, which stays up as long as that is there.
checks_down() {
    [ "$reviewed" != yes ] || [ -e "$work/replay.cow" ] || has_map replay || has_map inside || return 0
    overlay_down replay
    map_down inside || :
}

# map_down NAME: takes a map of ours away, if it is there; whether it is gone.
map_down() {
    [ "$reviewed" != yes ] || has_map "$1" || return 0
    run dmsetup remove --retry "disinter-$1"
}

# ours ARRAY [NAME...]: it stands on our own maps, those of these members where they are named, and on nothing else.
ours() {
    local array=$1 slave name
    shift
    for slave in "$(in_sys "$array" 2>/dev/null || :)"/slaves/*; do
        name=$(cat "$slave/dm/name" 2>/dev/null || :)
        [ "${name#disinter-}" != "$name" ] || return 1
        [ $# = 0 ] || [[ " $* " == *" ${name#disinter-} "* ]] || return 1
    done
}

# volumes_down DEVICES VG: deactivates the group, where its devices are ours.
volumes_down() {
    local device mine=
    for device in $1; do
        case $device in
        /dev/mapper/disinter-*) mine="$mine $device" ;;
        *) if [ "$reviewed" != yes ] || ours "$device"; then mine="$mine $device"; fi ;;
        esac
    done
    [ -z "$mine" ] || lvm_on "${mine# }" vgchange -an "$2" || :
}

# array_down ARRAY: stops it, where it is ours: after a restart another array may have the same number.
array_down() {
    if [ "$reviewed" != yes ] || ours "$1"; then
        run mdadm --stop "$1" || :
    else
        say "$1 is not there, or not ours: left alone"
    fi
}

# overlay_down NAME: the maps, and the file that was written to.
overlay_down() {
    local cow=$work/$1.cow entry
    # What is written to a map that is in use lies in its file.
    map_down "$1" || return 0
    map_down "base-$1" || :
    if [ "$reviewed" = yes ]; then
        for entry in /sys/block/loop*/loop/backing_file; do
            [ "$(cat "$entry" 2>/dev/null || :)" != "$(readlink -f "$cow")" ] ||
                run losetup -d "/dev/$(basename "${entry%/loop/backing_file}")" || :
        done
    fi
    run rm -f "$cow"
}

# all_down NAME...: none of our maps is left.
all_down() {
    local name left=
    [ "$reviewed" = yes ] || return 0
    for name in replay inside "$@"; do
        ! has_map "$name" || left="$left disinter-$name"
        ! has_map "base-$name" || left="$left disinter-base-$name"
    done
    [ -z "$left" ] ||
        die "still there:$left. Unmount what is on them, stop what sits on them (dmsetup ls --tree, /proc/mdstat), then run this again"
}
