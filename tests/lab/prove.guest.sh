# shellcheck shell=sh
# Runs the review scripts of a case ($SHARE/case) as a person would, then reads every volume through the kernel.
# VG: the volume group. The volumes go to $SHARE/lv-NAME.img, the hashes of their files to $SHARE/files-NAME.

scripts=$SHARE/case/scripts
for step in 10-identify 20-overlay 30-assemble 40-restore 50-check; do
    echo "== $step"
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
! dmsetup ls | grep -q disinter

# A disk that has changed is not taken for the one that was examined.
for disk in /dev/ubd[a-z]; do
    dd if=/dev/urandom of="$disk" bs=512 count=1 conv=fsync 2>/dev/null
done
if "$scripts/10-identify.sh" 2>"$SHARE/changed"; then
    exit 1
fi
grep 'has changed since it was examined' "$SHARE/changed"
