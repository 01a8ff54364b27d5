# shellcheck shell=sh
# Runs the review scripts of a case ($SHARE/case) as a person would, then reads every volume through the kernel.
# VG: the volume group. The volumes go to $SHARE/lv-NAME.img, the hashes of their files to $SHARE/files-NAME.
# MODULES: kernel modules that the group's volumes need besides the usual ones.
# LOOKED_AT: a volume that the scripts cannot check, for which a person has to vouch.

scripts=$SHARE/case/scripts
# shellcheck disable=SC2086
load ${MODULES-}

# UDEV: with a udevd that starts by its usual rules what it sees from now on: arrays of old superblocks, volume groups.
if [ -n "${UDEV-}" ]; then
    unset DM_DISABLE_UDEV MDADM_NO_UDEV LVM_SYSTEM_DIR
    /lib/systemd/systemd-udevd --daemon
fi

# A boot that stalled is tried again, with what it had left in the share.
[ -e "$SHARE/settings.sh" ] || cp "$scripts/settings.sh" "$SHARE/settings.sh"
cp "$SHARE/settings.sh" "$scripts/settings.sh"
rm -rf "$SHARE/backup" "$scripts/real-begun"

# must_refuse WORDS COMMAND...: it fails, and says so in these words.
must_refuse() {
    words=$1
    shift
    if "$@" 2>"$SHARE/refusal"; then
        echo "not refused: $*"
        exit 1
    fi
    grep -q "$words" "$SHARE/refusal" || {
        cat "$SHARE/refusal"
        exit 1
    }
}

echo "== the real disks are not touched before the overlays have passed"
must_refuse 'have not been run on overlays with success' "$scripts/60-real-disks.sh" </dev/null
# A quarter of the time that sha256sum takes, which is much where there are ten disks.
b2sum /dev/ubd[a-z] >"$SHARE/disks.before"
for step in 10-identify 20-overlay 30-assemble 40-restore 50-check; do
    echo "== $step"
    if [ "$step" = 50-check ] && [ -n "${LOOKED_AT-}" ]; then
        must_refuse 'nothing here tells whether' "$scripts/50-check.sh" </dev/null
        sed -i "s|^looked_at=.*|looked_at=$LOOKED_AT|" "$scripts/settings.sh"
    fi
    "$scripts/$step.sh" </dev/null
done
for lv in /dev/"$VG"/*; do
    dd if="$lv" of="$SHARE/lv-$(basename "$lv").img" bs=1M conv=fsync 2>/dev/null
done

# hash_files DEVICE OFFSET NAME: every file of a file system, by path.
hash_files() {
    loop=$(losetup -f)
    losetup -r -o "$2" "$loop" "$1"
    mkdir -p /tmp/mnt
    mount -o ro "$loop" /tmp/mnt
    (cd /tmp/mnt && find . -type f -exec sha256sum {} + | sort -k 2) >"$SHARE/files-$3"
    umount /tmp/mnt
    losetup -d "$loop"
}
while read -r name offset; do
    hash_files "/dev/$VG/$name" "$offset" "$name"
done <"$SHARE/mounts"

echo "== 90-undo"
"$scripts/90-undo.sh" </dev/null
if dmsetup ls | grep disinter; then
    exit 1
fi
[ ! -e /run/udev/rules.d/63-zz-disinter.rules ]

if [ -e "$SHARE/disinter" ]; then
    echo "== the real disks: a backup, the group's name, and the way back"
    must_refuse 'set backup in settings.sh' "$scripts/60-real-disks.sh" </dev/null
    "$SHARE/disinter" backup /dev/ubd[a-z] -o "$SHARE/backup"
    sed -i "s|^backup=.*|backup=$SHARE/backup|" "$scripts/settings.sh"
    echo "$VG-wrong" >/tmp/answer
    must_refuse 'that is not its name; nothing was written' "$scripts/60-real-disks.sh" </tmp/answer
    echo "$VG" >/tmp/answer
    "$scripts/60-real-disks.sh" </tmp/answer
    for lv in /dev/"$VG"/*; do
        cmp "$lv" "$SHARE/lv-$(basename "$lv").img"
    done
    "$scripts/90-undo.sh" </dev/null
    # The disks have changed now; the backup says where, and puts it back to the byte.
    status=0
    "$SHARE/disinter" backup verify "$SHARE/backup" /dev/ubd[a-z] || status=$?
    [ "$status" = 1 ]
    sources=
    for disk in /dev/ubd[a-z]; do
        sources="$sources $(basename "$disk")=$disk"
    done
    echo restore >/tmp/answer
    # shellcheck disable=SC2086
    "$SHARE/backup/restore.sh" --write $sources </tmp/answer
fi
b2sum -c --quiet "$SHARE/disks.before"

# A disk that has changed is not taken for the one that was examined.
for disk in /dev/ubd[a-z]; do
    dd if=/dev/urandom of="$disk" bs=512 count=1 conv=fsync 2>/dev/null
done
if "$scripts/10-identify.sh" 2>"$SHARE/changed"; then
    exit 1
fi
grep 'has changed since it was examined' "$SHARE/changed"
