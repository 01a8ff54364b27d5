# shellcheck shell=sh
# A rescue environment that is nothing but busybox and the program: no library, no shell but busybox's, no /etc.
pvcreate -q /dev/ubda
vgcreate -q plain /dev/ubda
lvcreate -q -y -Zn -Wn -n data -L 40m plain
mke2fs -q -F -t ext4 -E nodiscard /dev/plain/data
vgchange -q -an plain
cp /dev/ubda "$SHARE/disk.img"

root=/tmp/root
mkdir -p "$root/bin" "$root/dev" "$root/proc" "$root/sys" "$root/share"
cp "$(command -v busybox)" "$root/bin/busybox"
cp "$SHARE/disinter" "$root/bin/disinter"
for name in sh ls cat; do
    ln -s busybox "$root/bin/$name"
done
mount --bind /dev "$root/dev"
mount --bind "$SHARE" "$root/share"
mount -t proc proc "$root/proc"
mount -t sysfs sys "$root/sys"
cat >"$root/run" <<'RUN'
set -u
export PATH=/bin
cd /share || exit 1
# ask NAME COMMAND...: the program's answer and status.
ask() {
    name=$1
    shift
    status=0
    disinter "$@" >"$name.out" 2>"$name.err" || status=$?
    echo "$status" >"$name.status"
}
ask help --help
ask scan scan --json /dev/ubda
ask texts lvm scan --json /dev/ubda
ask case investigate --json /dev/ubda --case /share/case
ask verify case verify /share/case
ask ls fs ls --layout /share/case/layout.toml plain/data:/
ask doctor doctor
# A machine whose battery is dead. Linux itself lets no clock go before 1970.
busybox date -s @100 >/dev/null
ask early investigate --json /dev/ubda --case /share/early
ask check case verify /share/early
ls / /bin >tree
RUN
env -i "$(command -v busybox)" chroot "$root" /bin/sh /run
