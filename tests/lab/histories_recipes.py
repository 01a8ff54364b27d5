"""The recipes of the damaged histories: what the real lvm2 is told to do, and what happens to the disks then.

A recipe's `make` and `damage` run in the guest, with the disks sda, sdb, ... as /dev/mapper/sda and so on; see
histories.guest.sh for the functions. `wreck` runs on the host, on the images that the guest left.
"""
from dataclasses import dataclass, field

KIB, MIB = 1 << 10, 1 << 20


@dataclass
class History:
    name: str
    story: str
    disks: list
    make: str
    damage: str = ""
    wreck: object = None
    groups: tuple = ("store",)
    # Disks that are gone.
    lost: tuple = ()
    # Partitions: device name -> (disk, offset, length) in bytes.
    parts: dict = field(default_factory=dict)
    # Options of `lvm extract`.
    options: tuple = ()
    # Physical volumes left out of the restored group.
    prune: tuple = ()
    # Volumes that our own export refuses.
    refused: tuple = ()
    # Volumes that cannot come back, because their disk is lost.
    gone: tuple = ()
    # The group's new name.
    rename: str | None = None
    quick: bool = False


# A group of three volumes on one disk, with some history.
PLAIN = """
pvcreate -q {pv} /dev/mapper/sda
vgcreate -q -s 1m {vg} store /dev/mapper/sda
lv store web 16m
lv store home 10m
lv store mail 16m
lvextend -q -L 17m store/home
lvm <<LVM
lvchange -q --addtag first store/web
lvchange -q --addtag second store/home
lvchange -q --deltag first store/web
LVM
fill store/web web
fill store/home home
fill store/mail mail
truth store
"""


def plain(pv="", vg=""):
    return PLAIN.format(pv=pv, vg=vg)


def tags(count, volume="web", long=300):
    """So many changes with long texts, in one process."""
    lines = []
    for n in range(count):
        if n:
            lines.append(f"lvchange -q --deltag t{n - 1:0{long}} store/{volume}")
        lines.append(f"lvchange -q --addtag t{n:0{long}} store/{volume}")
    return "lvm <<LVM\n" + "\n".join(lines) + "\nLVM\n"


INSTALLER = """
pvcreate -q -ff -y /dev/mapper/sda
vgcreate -q store /dev/mapper/sda
lvcreate -q -y -Wn -Zn -n root -L 20m store
lvcreate -q -y -Wn -Zn -n swap -L 8m store
"""

TWO = """
pvcreate -q /dev/mapper/sda /dev/mapper/sdb
vgcreate -q -s 1m store /dev/mapper/sda /dev/mapper/sdb
lv store web 16m /dev/mapper/sda
lv store home 16m /dev/mapper/sdb
lv store mail 20m /dev/mapper/sda
lvextend -q -L 30m store/mail /dev/mapper/sdb
fill store/web web
fill store/home home
fill store/mail mail
truth store
"""

THREE = """
pvcreate -q /dev/mapper/sda /dev/mapper/sdb /dev/mapper/sdc
vgcreate -q -s 1m store /dev/mapper/sda /dev/mapper/sdb /dev/mapper/sdc
"""


def raid(disks, *commands, content=("web", "home", "mail")):
    """A group over so many disks, with volumes made by the commands; each gets content and a sync."""
    devices = " ".join(f"/dev/mapper/sd{c}" for c in "abcdefgh"[:disks])
    lines = [f"pvcreate -q {devices}", f"vgcreate -q -s 1m store {devices}"]
    for command, what in zip(commands, content):
        lines += [f"lvcreate -q -y -Wn -n {what} {command} store", f"fill store/{what} {what}"]
    return "\n".join([*lines, "in_sync store", "truth store", ""])


def head(length, disk="sda"):
    return lambda w: w.zero(disk, 0, length)


def heads(length, *disks):
    return lambda w: [w.zero(disk, 0, length) for disk in disks]


def lost_root(kind, mib):
    """The text only in /etc/lvm of a root that was formatted anew."""
    options = {"ext3": "-E nodiscard -b 4096", "ext4": "-E nodiscard", "xfs": "-f -K", "btrfs": "-f -K"}[kind]
    return History(
        f"etc-in-{kind}", f"first MiB zeroed; text only in /etc/lvm of an {kind} root that was formatted again", [64, mib],
        plain() + f"""
mkfs.{kind} -q {options} /dev/mapper/sdb
mkdir -p /tmp/root
mount /dev/mapper/sdb /tmp/root
mkdir -p /tmp/root/etc/lvm
cp -r $LVM_SYSTEM_DIR/backup $LVM_SYSTEM_DIR/archive /tmp/root/etc/lvm/
cp -r $SHARE/content /tmp/root/old || :
umount /tmp/root
""", f"mkfs.{kind} -q {options} /dev/mapper/sdb", head(MIB), quick=kind == "ext4")


# A group whose last volume only the newest text knows; an older text is kept beside it.
GROWN = PLAIN.replace("lv store mail 16m\n", 'vgcfgbackup -q -f "$out/older.vg" store\nlv store mail 16m\n').format(pv="", vg="")


def scattered(w):
    """The text in three fragments of a file that was deleted."""
    text = w.read("true-store.vg")
    w.zero("sda", 0, MIB)
    for at, part in [(MIB, text[:1024]), (3 * MIB, text[1024:2048]), (2 * MIB, text[2048:])]:
        w.put("sdb", at, part)


def over_chunks(w):
    """The text across the border of two md chunks of 4 KiB, whose disks are all that is left of the array."""
    text = w.read("true-store.vg")
    w.zero("sda", 0, MIB)
    w.put("sdb", MIB + 4096 - 1500, text[:1500])
    w.put("sdc", MIB, text[1500:])


def without_front(w):
    """The newest text with its front overwritten; an older one of the group is whole."""
    text = w.read("true-store.vg")
    w.zero("sda", 0, MIB)
    w.put("sdb", MIB, w.read("older.vg"))
    w.put("sdb", 2 * MIB, text[text.index(b"pv0 {"):])


def on_array(name, story, level, chunk, disks, mib, wipe):
    devices = " ".join(f"/dev/mapper/sd{c}" for c in "abcdefgh"[:disks])
    sync = "" if level == 0 else "--assume-clean --bitmap=none"

    def wreck(w):
        for disk in w.names:
            w.zero(disk, 0, wipe)

    return History(name, story, [mib] * disks, f"""
mdadm -q --create /dev/md0 --run --metadata=1.2 --level={level} --chunk={chunk} --raid-devices={disks} {sync} {devices}
pvcreate -q /dev/md0
vgcreate -q -s 1m store /dev/md0
lv store web 16m
lv store big 100m
lv store home 16m
fill store/web web
fill store/big big
fill store/home home
truth store
""", wreck=wreck)


def table():
    rows = [
        # Heads.
        History("head-4k", "dd zeroed the first 4 KiB: the label", [64], plain(), wreck=head(4 * KIB), quick=True),
        History("head-8k", "the first 8 KiB: label and metadata area header", [64], plain(), wreck=head(8 * KIB)),
        History("head-64k", "the first 64 KiB of a long history", [64], plain() + tags(12, long=1000) + "truth store\n", wreck=head(64 * KIB)),
        History("head-1m", "the first MiB; a second metadata area", [64], plain("--metadatacopies 2"), wreck=head(MIB), quick=True),
        History("head-4m", "the first 4 MiB of one of two disks", [64, 64], TWO, wreck=head(4 * MIB)),
        History("head-64m", "the first 64 MiB of one of two disks, the label of the other", [96, 64], TWO,
                wreck=lambda w: [w.zero("sda", 0, 64 * MIB), w.zero("sdb", 0, 4 * KIB)]),
        # Rings.
        History("ring-wrapped", "a small old metadata area, wrapped, head lost", [64],
                plain("--metadatasize 60k --dataalignment 64k") + tags(20, long=1000) + "truth store\n", wreck=head(8 * KIB)),
        History("ring-across", "the newest text lies across the ring's end, label lost", [64],
                plain("--metadatasize 60k --dataalignment 64k") + """
split=no
for n in $(seq 60); do
    lvchange -q --addtag "n$n" store/web
    set -- $(od -An -tu8 -j $((4096 + 32)) -N 24 /dev/mapper/sda)
    [ $(($2 + $3)) -le $1 ] || { split=yes; break; }
done
[ $split = yes ]
truth store
""", wreck=head(4 * KIB), quick=True),
        History("old-area", "metadata area and data start as of ten years ago, label lost", [64],
                plain("--metadatasize 188k --dataalignment 64k"), wreck=head(8 * KIB)),
        History("copies-2-both-headers", "both metadata areas, both headers lost", [64], plain("--metadatacopies 2"),
                wreck=lambda w: [w.zero("sda", 0, 8 * KIB), w.zero("sda", 63 * MIB, 512)]),
        # Installers.
        History("installer", "pvcreate, vgcreate and lvcreate of a group of the same name", [64],
                plain() + tags(8) + "truth store\n", INSTALLER, quick=True),
        History("installer-mkfs", "the same, with new file systems over the old volumes", [64],
                plain() + tags(8) + "truth store\n",
                INSTALLER + "mkfs.ext4 -q -E nodiscard /dev/store/root\nmkswap /dev/store/swap\n"),
        History("installer-other-name", "the same with another group's name", [64],
                plain() + tags(8) + "truth store\n", INSTALLER.replace("store", "fresh")),
        History("installer-two-disks", "an installer over one of two disks", [64, 64], TWO, INSTALLER.replace("store", "fresh")),
        History("mkfs-over-disk", "mkfs.ext4 over the whole disk", [64], plain("--metadatacopies 2"),
                "mkfs.ext4 -q -F -E nodiscard /dev/mapper/sda"),
        # Partition tables.
        History("table-zeroed", "a PV in a partition; table zeroed", [66], "part sda1 sda 2048 131072\n" + plain().replace("/sda", "/sda1"),
                wreck=head(34 * 512), parts={"sda1": ("sda", MIB, 64 * MIB)}),
        History("table-and-label-zeroed", "table zeroed, and the label of the PV", [66],
                "part sda1 sda 2048 131072\n" + plain().replace("/sda", "/sda1"),
                wreck=lambda w: [w.zero("sda", 0, 34 * 512), w.zero("sda", MIB, 4096)], parts={"sda1": ("sda", MIB, 64 * MIB)}),
        History("table-rewritten", "a new partition table with other borders", [72],
                "part sda1 sda 2048 131072\n" + plain().replace("/sda", "/sda1"),
                wreck=lambda w: w.table("sda", "label: gpt\nsize=8M\nsize=40M\n"), parts={"sda1": ("sda", MIB, 64 * MIB)}),
        # Lost disks.
        History("one-of-three-lost", "linear volumes on three disks, one lost", [48, 48, 48], THREE + """
lv store web 16m /dev/mapper/sda
lv store home 16m /dev/mapper/sdb
lv store mail 20m /dev/mapper/sda
lvextend -q -L 30m store/mail /dev/mapper/sdc
fill store/web web
fill store/home home
fill store/mail mail
truth store
""", wreck=heads(8 * KIB, "sda"), lost=("sdc",), prune=("sdc",), gone=("mail",)),
        History("raid-one-lost", "raid1, raid5 and raid10 volumes, one of four disks lost, the others' labels too", [64] * 4,
                raid(4, "--type raid1 -m1 -L 16m", "--type raid5 -i 3 -I 16k -L 18m", "--type raid10 -m1 -i2 -I 32k -L 16m"),
                wreck=heads(8 * KIB, "sda", "sdb", "sdd"), lost=("sdc",)),
        History("raid6-two-lost", "raid6, two of six disks lost", [40] * 6, raid(6, "--type raid6 -i 4 -I 16k -L 16m", "--type raid6_zr -i 4 -I 64k -L 16m"),
                wreck=heads(8 * KIB, "sda", "sdc"), lost=("sdb", "sde")),
    ]
    # Texts in pieces.
    rows += [
        History("pieces-of-a-file", "first MiB zeroed; text only in three fragments of a deleted file", [64, 8], GROWN, wreck=scattered),
        History("pieces-on-two-disks", "first MiB zeroed; text only across the border of two chunks, on two other disks", [64, 8, 8], GROWN,
                wreck=over_chunks),
        History("front-overwritten", "first MiB zeroed; the newest text without its front, and an older one whole", [64, 8], GROWN,
                wreck=without_front),
    ]
    # Text only in a lost root.
    rows += [lost_root("ext3", 64), lost_root("ext4", 64), lost_root("xfs", 320), lost_root("btrfs", 160)]
    rows += [
        # On arrays.
        on_array("md-raid5-chunks", "VG on raid5 with chunks of 4 KiB; superblocks lost", 5, 4, 3, 90, 8 * KIB),
        on_array("md-raid0-chunks", "VG on raid0 with chunks of 4 KiB; superblocks lost", 0, 4, 3, 64, 8 * KIB),
        # Commands that people regret.
        History("vg-removed", "vgremove, pvremove", [64], plain(), "vgremove -q -ff -y store\npvremove -q /dev/mapper/sda", quick=True),
        History("lv-removed", "two of three volumes removed, a new one made", [64], plain(),
                "lvremove -q -ff -y store/web store/mail\nlvcreate -q -y -Wn -Zn -n new -L 4m store"),
        History("fork", "vgcfgrestore of an older text, then other changes; label lost", [64],
                plain() + """
lvrename -q store mail post
vgchange -q -an store
vgcfgrestore -q -y -f "$out/true-store.vg" store
vgchange -q -ay store
lvchange -q --addtag other store/web
truth store
""", wreck=head(4 * KIB)),
        # What only a metadata area's header tells: by their times the texts say otherwise.
        History("clock-ahead", "one change while the clock was two days ahead, then others; label lost", [64],
                plain() + """
date -s "@$(($(date +%s) + 172800))"
lvextend -q -L 18m store/home
date -s "@$(($(date +%s) - 172800))"
lvextend -q -L 17m store/mail
lvextend -q -L 19m store/home
truth store
""", wreck=head(4 * KIB)),
        History("area-ignored", "a metadata area that is passed over keeps a text of a clock that was ahead; both labels lost", [64, 64],
                TWO + """
date -s "@$(($(date +%s) + 172800))"
lvextend -q -L 17m store/web /dev/mapper/sda
pvchange -q --metadataignore y /dev/mapper/sda
date -s "@$(($(date +%s) - 172800))"
lvextend -q -L 31m store/mail /dev/mapper/sdb
lvextend -q -L 18m store/web /dev/mapper/sda
truth store
""", wreck=heads(4 * KIB, "sda", "sdb")),
        History("no-metadata-pv", "one of two disks without metadata areas; both labels lost", [64, 64],
                TWO.replace("pvcreate -q /dev/mapper/sda /dev/mapper/sdb", "pvcreate -q /dev/mapper/sda\npvcreate -q --metadatacopies 0 /dev/mapper/sdb"),
                wreck=heads(4 * KIB, "sda", "sdb")),
        History("vg-renamed", "vgrename, then the label lost", [64],
                plain().replace("truth store", "") + "vgrename -q store depot\ntruth depot\n", wreck=head(4 * KIB), groups=("depot",)),
        History("vg-split", "vgsplit, then both labels lost", [64, 64], """
pvcreate -q /dev/mapper/sda /dev/mapper/sdb
vgcreate -q -s 1m store /dev/mapper/sda /dev/mapper/sdb
lv store web 16m /dev/mapper/sda
lv store home 16m /dev/mapper/sdb
vgchange -q -an store
vgsplit -q store depot /dev/mapper/sdb
vgchange -q -ay
fill store/web web
fill depot/home home
truth store depot
""", wreck=heads(4 * KIB, "sda", "sdb"), groups=("store", "depot")),
        History("vg-merged", "vgmerge, then both labels lost", [64, 64], """
pvcreate -q /dev/mapper/sda /dev/mapper/sdb
vgcreate -q -s 1m store /dev/mapper/sda
vgcreate -q -s 1m depot /dev/mapper/sdb
lv store web 16m
lv depot home 16m
vgchange -q -an depot
vgmerge -q store depot
vgchange -q -ay store
fill store/web web
fill store/home home
truth store
""", wreck=heads(4 * KIB, "sda", "sdb")),
        History("pv-moved", "pvmove of all from one disk to another", [64, 64], """
pvcreate -q /dev/mapper/sda /dev/mapper/sdb
vgcreate -q -s 1m store /dev/mapper/sda /dev/mapper/sdb
lv store web 16m /dev/mapper/sda
lv store home 16m /dev/mapper/sda
fill store/web web
fill store/home home
pvmove -q -i 1 /dev/mapper/sda /dev/mapper/sdb
truth store
""", wreck=heads(8 * KIB, "sda", "sdb")),
        # One volume is moved, the other is on its way; then the first is written to, which its old place does not see.
        History("pv-moving", "in the middle of a pvmove, of which one volume is moved", [64, 64], """
pvcreate -q /dev/mapper/sda /dev/mapper/sdb
vgcreate -q -s 1m store /dev/mapper/sda /dev/mapper/sdb
lv store web 16m /dev/mapper/sda
lv store home 16m /dev/mapper/sda
pvmove -q -b -i 5 /dev/mapper/sda /dev/mapper/sdb
until dmsetup table store-pvmove0 | head -n 1 | grep -q linear; do sleep 0.2; done
pkill -x pvmove
fill store/web web
fill store/home home
dmsetup table store-pvmove0 | tail -n 1 | grep -q mirror
truth store
""", wreck=heads(8 * KIB, "sda", "sdb")),
        History("in-pieces", "two volumes extended in turn, five pieces each", [96], """
pvcreate -q /dev/mapper/sda
vgcreate -q -s 1m store /dev/mapper/sda
lv store web 4m
lv store home 4m
lvm <<LVM
lvextend -q -L +5m store/web
lvextend -q -L +3m store/home
lvextend -q -L +2m store/web
lvextend -q -L +6m store/home
lvextend -q -L +3m store/web
lvextend -q -L +1m store/home
lvextend -q -L +2m store/web
lvextend -q -L +2m store/home
LVM
fill store/web web
fill store/home home
truth store
""", wreck=head(8 * KIB)),
        History("missing-flag", "a disk was away for a while: the text has the MISSING flag; labels lost", [64, 64],
                TWO + """
vgchange -q -an store
dmsetup remove sdb
lvchange -q --addtag alone store/web || :
vgchange -q --addtag alone store || :
vgreduce -q --removemissing --force --test store || :
first=$(grep " sdb " "$SHARE/plan" | grep "^$(basename "$out") " | cut -d ' ' -f 3)
disk sdb "$first" 131072
""", wreck=heads(4 * KIB, "sda", "sdb")),
        History("name-clash", "restored beside another group of the same name", [64, 64],
                plain() + "vgchange -q -an store\npvcreate -q -ff -y /dev/mapper/sdb\n", "", head(4 * KIB), rename="store2"),
        # Kinds of volumes.
        History("striped", "striped over two and three disks", [64] * 3,
                raid(3, "-i 2 -I 64k -L 16m", "-i 3 -I 4k -L 18m", "-i 2 -I 512k -L 16m").replace("in_sync store\n", ""),
                wreck=heads(8 * KIB, "sda", "sdb", "sdc"), quick=True),
        History("mirror", "the old mirror, with its log", [64] * 3,
                raid(3, "--type mirror -m1 -L 16m", "--type mirror -m1 --mirrorlog core -L 16m"),
                wreck=heads(8 * KIB, "sda", "sdb", "sdc")),
        History("raid0", "raid0 and raid0_meta", [64] * 3,
                raid(3, "--type raid0 -i 2 -I 64k -L 16m", "--type raid0_meta -i 3 -I 16k -L 18m").replace("in_sync store\n", ""),
                wreck=heads(8 * KIB, "sda", "sdb", "sdc")),
        History("raid1", "raid1 over two and three disks", [64] * 3,
                raid(3, "--type raid1 -m1 -L 16m", "--type raid1 -m2 -L 16m"), wreck=heads(8 * KIB, "sda", "sdb", "sdc")),
        History("raid4-raid5", "raid4, raid5_ls, raid5_la", [64] * 4,
                raid(4, "--type raid4 -i 3 -I 16k -L 18m", "--type raid5_ls -i 2 -I 64k -L 16m", "--type raid5_la -i 3 -I 4k -L 18m"),
                wreck=heads(8 * KIB, "sda", "sdb", "sdc", "sdd"), quick=True),
        History("raid5-others", "raid5_ra, raid5_rs, raid5_n", [64] * 4,
                raid(4, "--type raid5_ra -i 3 -I 16k -L 18m", "--type raid5_rs -i 3 -I 64k -L 18m", "--type raid5_n -i 2 -I 4k -L 16m"),
                wreck=heads(8 * KIB, "sda", "sdb", "sdc", "sdd")),
        History("raid6", "raid6_zr, raid6_nr, raid6_nc", [64] * 5,
                raid(5, "--type raid6_zr -i 3 -I 16k -L 18m", "--type raid6_nr -i 3 -I 64k -L 18m", "--type raid6_nc -i 3 -I 4k -L 18m"),
                wreck=heads(8 * KIB, *("sda", "sdb", "sdc", "sdd", "sde"))),
        History("raid6-others", "raid6_ls_6, raid6_ra_6, raid6_n_6", [64] * 5,
                raid(5, "--type raid6_ls_6 -i 3 -I 16k -L 18m", "--type raid6_ra_6 -i 3 -I 64k -L 18m", "--type raid6_n_6 -i 3 -I 4k -L 18m"),
                wreck=heads(8 * KIB, *("sda", "sdb", "sdc", "sdd", "sde"))),
        History("raid6-last", "raid6_la_6, raid6_rs_6", [64] * 5,
                raid(5, "--type raid6_la_6 -i 3 -I 16k -L 18m", "--type raid6_rs_6 -i 3 -I 64k -L 18m"),
                wreck=heads(8 * KIB, *("sda", "sdb", "sdc", "sdd", "sde"))),
        History("raid10", "raid10 over four and six disks", [48] * 6,
                raid(6, "--type raid10 -m1 -i2 -I 64k -L 16m", "--type raid10 -m1 -i3 -I 16k -L 18m"),
                wreck=heads(8 * KIB, *("sda", "sdb", "sdc", "sdd", "sde", "sdf"))),
        History("thin", "two thin volumes and a snapshot of one", [96], """
pvcreate -q /dev/mapper/sda
vgcreate -q -s 1m store /dev/mapper/sda
lvcreate -q -y --type thin-pool -L 60m -n pool --poolmetadatasize 4m store
lvcreate -q -y -V 16m -n web --thinpool store/pool
lvcreate -q -y -V 16m -n home --thinpool store/pool
fill store/web web
fill store/home home
lvcreate -q -y -s -kn -n webold store/web
fill store/web mail
truth store
""", wreck=head(8 * KIB), refused=("web", "home", "webold")),
        History("snapshot", "a volume with an old-style snapshot", [96], """
pvcreate -q /dev/mapper/sda
vgcreate -q -s 1m store /dev/mapper/sda
lv store web 16m
fill store/web web
lvcreate -q -y -s -L 20m -n webold store/web
fill store/web mail
truth store
""", wreck=head(8 * KIB), refused=("webold",)),
        History("cache", "a cached volume, written through", [64, 64], """
pvcreate -q /dev/mapper/sda /dev/mapper/sdb
vgcreate -q -s 1m store /dev/mapper/sda /dev/mapper/sdb
lv store web 16m /dev/mapper/sda
lvcreate -q -y --type cache-pool -L 8m -n fast store /dev/mapper/sdb
lvconvert -q -y --type cache --cachepool store/fast --cachemode writethrough store/web
lv store home 16m /dev/mapper/sdb
fill store/web web
fill store/home home
truth store
""", wreck=heads(8 * KIB, "sda", "sdb"), refused=("web",)),
        History("thin-on-raid", "a thin pool whose data lies on raid5", [64] * 3, """
pvcreate -q /dev/mapper/sda /dev/mapper/sdb /dev/mapper/sdc
vgcreate -q -s 1m store /dev/mapper/sda /dev/mapper/sdb /dev/mapper/sdc
lvcreate -q -y -Wn --type raid5 -i 2 -I 64k -L 40m -n pool store
lvcreate -q -y -Wn --type raid1 -m1 -L 4m -n meta store
in_sync store
lvconvert -q -y --type thin-pool --poolmetadata store/meta store/pool
lvcreate -q -y -V 16m -n web --thinpool store/pool
fill store/web web
truth store
""", wreck=heads(8 * KIB, "sda", "sdb", "sdc"), refused=("web",)),
        History("multi-pv", "one volume over four disks", [32] * 4, """
pvcreate -q /dev/mapper/sda /dev/mapper/sdb /dev/mapper/sdc /dev/mapper/sdd
vgcreate -q -s 1m store /dev/mapper/sda /dev/mapper/sdb /dev/mapper/sdc /dev/mapper/sdd
lv store big 104m
lv store web 16m
fill store/big big
fill store/web web
truth store
""", wreck=heads(8 * KIB, "sda", "sdb", "sdc", "sdd")),
    ]
    return rows
