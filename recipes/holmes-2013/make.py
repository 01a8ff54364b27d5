#!/usr/bin/env python3
"""Builds the machine of the story in the lab, lets the installer run over it, and writes the corpus.

usage: make.py [--out FOLDER] [--keep FOLDER]

Writes FOLDER/holmes-2013 and FOLDER/holmes-2013-other-order (default: the repository's corpus/). The answer is
worked out from what the kernel read before the damage and from the disks before and after it, by arithmetic of its
own: nothing of disinter is used.
"""

import argparse
import hashlib
import json
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

import content

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
LAB = ROOT / "tests" / "lab"
DISKS = [f"sd{c}" for c in "abcdefghij"]
DISK_BYTES = 168 << 20
SECTOR = 512
P1 = (2048, 81920)
P2 = (83968, DISK_BYTES // SECTOR - 83968)
CHUNK = 64 << 10
PE_START = 192 << 10
TRUE_ORDER = ["sdb", "sdc", "sdd", "sde", "sdf", "sdg", "sdh", "sdi", "sdj", "sda"]
# Breaks every old pair; its first pair gets the new LVM label and metadata, which on these two disks lies
# behind the old pe_start.
OTHER_ORDER = ["sdi", "sdj", "sdb", "sdd", "sdc", "sdf", "sde", "sdh", "sdg", "sda"]
# A write that had reached one mirror only, at a crash long before: disk, how many bytes, how far from the
# member data's end.
TORN = [("sde", 18 << 10, 900 << 10), ("sdh", 3000, 700 << 10)]
VARIANTS = {
    "holmes-2013": ("same-order", TRUE_ORDER, "running"),
    "holmes-2013-other-order": ("other-order", OTHER_ORDER, "frozen"),
}
MKFS_CUT = 0.6


def run(*command, **options):
    return subprocess.run([str(c) for c in command], check=True, **options)


def sha256(data):
    return hashlib.sha256(data).hexdigest()


def partition(disk, label_id):
    table = f"label: dos\nlabel-id: {label_id:#010x}\nstart={P1[0]}, size={P1[1]}, type=fd\nstart={P2[0]}, size={P2[1]}, type=fd\n"
    run("sfdisk", "-q", "--no-reread", "--no-tell-kernel", "--wipe=never", "--wipe-partitions=never", disk,
        input=table.encode(), stdout=subprocess.DEVNULL)


def node(disk):
    return f"/dev/ubd{disk[2]}2"


def boot(script, share, disks, **env):
    settings = [part for key, value in env.items() for part in ("--env", f"{key}={value}")]
    run(LAB / "boot", "--timeout", 240, "--write", "--share", share, "--script", HERE / script, *settings, *disks)


def mkfs_prefix(share, work):
    """mke2fs's own writes on a device of the root's size, in its own order, up to the cut."""
    size = (P1[1] - 16) * SECTOR // 65536 * 65536
    image, log = work / "mkfs.img", work / "mkfs.log"
    image.write_bytes(b"")
    with open(image, "r+b") as f:
        f.truncate(size)
    command = ["mke2fs", "-q", "-F", "-t", "ext4", "-b", "4096", "-L", "/", "-E", "nodiscard,lazy_itable_init=0",
               str(image)]
    # Zeroes must be written as such to be seen as writes.
    run("strace", "-f", "-o", log, "-e", "trace=pwrite64,write,lseek,openat", *command,
        env={"UNIX_IO_NOZEROOUT": "1", "PATH": "/usr/sbin:/usr/bin:/sbin:/bin"})
    after = image.read_bytes()
    # A block is in the prefix when its first write is; what stands there is the last that was written to it.
    writes = [(int(m[2]), int(m[1])) for m in
              re.finditer(r"pwrite64\(\d+, .*, (\d+), (\d+)\) = \1$", log.read_text(errors="replace"), re.M)]
    assert len(writes) > 20, "mke2fs's writes were not seen"
    kept = writes[: int(len(writes) * MKFS_CUT)]
    later = writes[len(kept):]
    blocks = sorted({b for offset, length in kept for b in range(offset // 4096, (offset + length + 4095) // 4096)})
    rewritten = {b for offset, length in later for b in range(offset // 4096, (offset + length + 4095) // 4096)}
    with open(share / "mkfs.img", "wb") as f:
        f.truncate(size)
        for block in blocks:
            # The superblock's place is zapped first and written last: the cut leaves it zapped.
            data = bytes(4096) if block in rewritten else after[block * 4096:(block + 1) * 4096]
            f.seek(block * 4096)
            f.write(data)
    extents = []
    for block in blocks:
        if extents and extents[-1][0] + extents[-1][1] == block:
            extents[-1][1] += 1
        else:
            extents.append([block, 1])
    (share / "mkfs.extents").write_text("".join(f"{first} {count}\n" for first, count in extents))


def member_size(image):
    """Bytes of data that md uses of a second partition, by its superblock 1.0."""
    with open(image, "rb") as f:
        f.seek((P2[0] + (P2[1] - 16 & ~7)) * SECTOR)
        block = f.read(256)
    assert block[:4] == bytes.fromhex("fc4e2ba9"), "no superblock where one must lie"
    return int.from_bytes(block[80:88], "little") * SECTOR // CHUNK * CHUNK


def second(image, length):
    with open(image, "rb") as f:
        f.seek(P2[0] * SECTOR)
        return f.read(length)


def segments(text):
    """Linear segments of each LV in a metadata text: (LV extent, count, PV extent)."""
    found = {}
    body = text[text.index("logical_volumes {"):]
    for name, lv in re.findall(r"^\t\t(\S+) \{(.*?)^\t\t\}", body, re.M | re.S):
        found[name] = [
            tuple(map(int, m)) for m in re.findall(
                r"start_extent = (\d+)\n\s*extent_count = (\d+).*?\"pv0\", (\d+)", lv, re.S)
        ]
    return found


def changed(before, after, order):
    """Array extents (512-byte sectors) where any mirror's copy was changed."""
    width = len(order) // 2
    sectors = set()
    for slot, disk in enumerate(order):
        a, b = before[disk], after[disk]
        for row in range(len(a) // CHUNK):
            start = row * CHUNK
            if a[start:start + CHUNK] == b[start:start + CHUNK]:
                continue
            for at in range(start, start + CHUNK, SECTOR):
                if a[at:at + SECTOR] != b[at:at + SECTOR]:
                    sectors.add(((row * width + slot // 2) * CHUNK + at - start) // SECTOR)
    return sectors


def overwritten(sectors, lv_segments, extent_bytes):
    extents = []
    for first, count, pe in sorted(lv_segments):
        base = (PE_START + pe * extent_bytes) // SECTOR
        for sector in sorted(s for s in sectors if base <= s < base + count * extent_bytes // SECTOR):
            at = first * extent_bytes + (sector - base) * SECTOR
            if extents and extents[-1]["offset"] + extents[-1]["length"] == at:
                extents[-1]["length"] += SECTOR
            else:
                extents.append({"offset": at, "length": SECTOR})
    return extents


def differences(after, order):
    rows = []
    for a, b in zip(order[::2], order[1::2]):
        one, two = after[a], after[b]
        count, first = 0, None
        for start in range(0, len(one), 1 << 16):
            x, y = one[start:start + (1 << 16)], two[start:start + (1 << 16)]
            if x != y:
                different = [i for i in range(len(x)) if x[i] != y[i]]
                count += len(different)
                first = start + different[0] if first is None else first
        rows.append({"members": [f"{a}@2", f"{b}@2"], "common_bytes": len(one), "first_difference": first,
                     "differing_bytes": count})
    return rows


def answer(name, work, share, files):
    variant, installer, _ = VARIANTS[name]
    before_images = {d: work / "before" / f"{d}.img" for d in DISKS}
    after_images = {d: work / name / f"{d}.img" for d in DISKS}
    length = member_size(before_images["sda"])
    before = {d: second(i, length) for d, i in before_images.items()}
    after = {d: second(i, length) for d, i in after_images.items()}
    text = (share / "true-guests.vg").read_text()
    extent_bytes = int(re.search(r"extent_size = (\d+)", text)[1]) * SECTOR
    field = lambda pattern: re.search(pattern, text)[1]
    sectors = changed(before, after, TRUE_ORDER)
    lvs = []
    for lv, lv_segments in sorted(segments(text).items()):
        data = bytearray((share / f"before-{lv}.img").read_bytes())
        row = {"name": lv, "size_bytes": len(data), "sha256": sha256(data),
               "overwritten": overwritten(sectors, lv_segments, extent_bytes)}
        for extent in row["overwritten"]:
            data[extent["offset"]:extent["offset"] + extent["length"]] = bytes(extent["length"])
        row["sha256_outside"] = sha256(data)
        row["files"] = files[lv]
        lvs.append(row)
    return {
        "schema": "disinter/answer/1", "recipe": "holmes-2013", "variant": variant,
        "title": "ten disks, raid10, an installer run over them",
        "disks": [{"name": d, "size": DISK_BYTES, "sha256": sha256(i.read_bytes())} for d, i in after_images.items()],
        "arrays": [
            {"name": "root", "level": "raid1", "metadata": "1.0", "members": [f"{d}@1" for d in DISKS]},
            {"name": "guests", "level": "raid10", "layout": "n2", "chunk_kib": CHUNK >> 10,
             "data_offset_sectors": 0, "metadata": "1.0", "members": [f"{d}@2" for d in TRUE_ORDER]},
        ],
        "installer_members": [f"{d}@2" for d in installer],
        "pairs": [sorted([f"{a}@2", f"{b}@2"]) for a, b in zip(TRUE_ORDER[::2], TRUE_ORDER[1::2])],
        "pair_differences": differences(after, TRUE_ORDER),
        "vg": {"name": "guests", "id": field(r'id = "(.*?)"'), "seqno": int(field(r"seqno = (\d+)")),
               "pv_uuid": field(r'pv0 \{\s*id = "(.*?)"'), "pe_start_bytes": PE_START,
               "extent_bytes": extent_bytes, "file_sha256": sha256(text.encode())},
        "lvs": lvs,
        "smart": {"worst": "sde", "faulty": ["sdb", "sde", "sdg", "sdh"]},
    }


def build(work, share):
    (work / "before").mkdir()
    images = [work / "before" / f"{d}.img" for d in DISKS]
    for number, image in enumerate(images):
        with open(image, "wb") as f:
            f.truncate(DISK_BYTES)
        partition(image, 0x5EED0000 + number)
    files = content.make(share)
    boot("build.sh", share, images, MEMBERS=" ".join(node(d) for d in TRUE_ORDER))
    length = member_size(images[0])
    for disk, count, from_end in TORN:
        with open(work / "before" / f"{disk}.img", "r+b") as f:
            f.seek(P2[0] * SECTOR + length - from_end)
            f.write(content.prose(f"torn-{disk}", count))
    return files


def install(name, work, share):
    _, order, resync = VARIANTS[name]
    shutil.copytree(work / "before", work / name)
    images = [work / name / f"{d}.img" for d in DISKS]
    for number, image in enumerate(images):
        partition(image, 0x1257A000 + number)
    boot("install.sh", share, images, MEMBERS=" ".join(node(d) for d in order), RESYNC=resync)
    for disk in images:
        found = disk.read_bytes().find(b"after* executing 'lvcreate -q -y -Zn -Wn -n wiki")
        assert found >= 0, f"{disk}: the backup of the metadata did not survive on the root"


def pack(name, work, share, out, files):
    target = out / name
    shutil.rmtree(target, ignore_errors=True)
    (target / "smart").mkdir(parents=True)
    truth = answer(name, work, share, files)
    for disk in DISKS:
        run("zstd", "-q", "-19", "-f", work / name / f"{disk}.img", "-o", target / f"{disk}.img.zst")
    run(sys.executable, HERE / "smart.py", target / "smart")
    (target / "answer.json").write_text(json.dumps(truth, indent=1) + "\n")
    shutil.copyfile(share / "true-guests.vg", target / "true-guests.vg")
    rows = "\n".join(f"| {d['name']} | {d['sha256']} |" for d in truth["disks"])
    (target / "ORIGIN.md").write_text(
        f"# {name}\n\nMade by `recipes/holmes-2013/make.py` in the lab (`tests/lab`), variant "
        f"`{truth['variant']}`: a real kernel, mdadm, lvm2 and e2fsprogs wrote every byte of the arrays, volumes "
        f"and file systems. The files' contents are made-up prose, the SMART outputs are synthetic "
        f"(`smart.py`). Unpack one disk with `zstd -d sda.img.zst`.\n\n"
        f"```text\n{(share / 'versions').read_text().strip()}\n```\n\n| disk | SHA-256 of the damaged image |\n"
        f"|---|---|\n{rows}\n")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=pathlib.Path, default=ROOT / "corpus")
    parser.add_argument("--keep", type=pathlib.Path, help="work in this folder and leave it")
    arguments = parser.parse_args()
    run(LAB / "install")
    with tempfile.TemporaryDirectory(prefix="disinter-recipe.") as scratch:
        work = arguments.keep or pathlib.Path(scratch)
        share = work / "share"
        share.mkdir(parents=True)
        files = build(work, share)
        mkfs_prefix(share, work)
        for name in VARIANTS:
            install(name, work, share)
            pack(name, work, share, arguments.out, files)


if __name__ == "__main__":
    main()
