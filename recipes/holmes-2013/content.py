"""What lies on the machine's volumes: made-up prose, the same at every making.

Every line names its file and number, so no two pages are alike and a page in a wrong place is seen; the rest of a
line comes from few words, so that the images compress well.
"""

import hashlib
import os
import pathlib
import random
import subprocess
import tarfile

WORDS = "the guest host disk mirror slot chunk order volume extent night rack console power cable copy note".split()
EPOCH = 1_366_000_000
SECTOR = 512

# LV: (MiB, block size, type, partitioned from this sector or None, swap partition behind it).
VOLUMES = {
    "home": (48, 1024, "ext3", None, False),
    "var": (24, 1024, "ext3", None, False),
    "distros": (56, 4096, "ext3", None, False),
    "ada": (52, 1024, "ext3", 63, False),
    "mx1": (48, 4096, "ext4", 2048, False),
    "burroughs": (40, 1024, "ext4", 2048, True),
    "ns1": (28, 1024, "ext3", 63, False),
    "dijkstra": (36, 4096, "ext4", 2048, False),
    "shell": (40, 1024, "ext3", 2048, False),
    "wiki": (32, 4096, "ext4", 2048, False),
}


def prose(name, length):
    """`length` bytes of text that belong to `name`."""
    rng = random.Random(name)
    lines, size, number = [], 0, 0
    while size < length:
        line = f"{name} {number:06d}: {' '.join(rng.choice(WORDS) for _ in range(9))}\n".encode()
        lines.append(line)
        size += len(line)
        number += 1
    return b"".join(lines)[:length]


def tree(folder, volume):
    """Files of many sizes, a deep folder, a sparse file, a symbolic link. Returns some paths with their SHA-256."""
    rng = random.Random(f"tree-{volume}")
    kept = []
    for top in ("etc", "srv", "home"):
        for n in range(4):
            path = folder / top / f"{volume}-{n}" / f"note-{rng.randrange(1000):03d}.txt"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(prose(f"{volume}:{path.name}", rng.choice((40, 700, 5000, 30_000, 90_000))))
            kept.append(path)
    big = folder / "srv" / "big.log"
    big.write_bytes(prose(f"{volume}:big", 400_000))
    deep = folder.joinpath(*["deep"] + [f"d{n}" for n in range(12)])
    deep.mkdir(parents=True)
    (deep / "bottom.txt").write_bytes(prose(f"{volume}:bottom", 2000))
    with open(folder / "srv" / "sparse.bin", "wb") as f:
        f.seek(700_000)
        f.write(b"end")
    (folder / "etc" / "motd").symlink_to("../srv/big.log")
    kept += [big, deep / "bottom.txt", folder / "srv" / "sparse.bin"]
    for root, _, names in os.walk(folder, topdown=False):
        for entry in [*names, "."]:
            os.utime(os.path.join(root, entry), (EPOCH, EPOCH), follow_symlinks=False)
    digest = lambda p: hashlib.sha256(p.read_bytes()).hexdigest()
    return [{"path": "/" + str(p.relative_to(folder)), "sha256": digest(p)} for p in kept]


def file_system(image, offset, size, block, kind, name, folder):
    identity = hashlib.md5(name.encode()).hexdigest()
    uuid = "-".join((identity[:8], identity[8:12], identity[12:16], identity[16:20], identity[20:]))
    command = ["mke2fs", "-q", "-F", "-t", kind, "-b", str(block), "-L", name[:16], "-U", uuid, "-d", str(folder),
               "-E", f"offset={offset},hash_seed={uuid},nodiscard,lazy_itable_init=0", str(image), f"{size // 1024}k"]
    subprocess.run(command, check=True, env=dict(os.environ, E2FSPROGS_FAKE_TIME=str(EPOCH)))


def volume(image, name, folder):
    mib, block, kind, start, swap = VOLUMES[name]
    with open(image, "wb") as f:
        f.truncate(mib << 20)
    if start is None:
        file_system(image, 0, mib << 20, block, kind, name, folder)
        return
    sectors = (mib << 20) // SECTOR
    data = (sectors - start - (16384 if swap else 0)) // 8 * 8
    table = f"label: dos\nlabel-id: {0x6E570000 + len(name)}\nunit: sectors\nstart={start}, size={data}, type=83\n"
    if swap:
        table += f"start={start + data}, type=82\n"
    subprocess.run(["sfdisk", "-q", "--no-reread", "--no-tell-kernel", str(image)], input=table.encode(), check=True)
    file_system(image, start * SECTOR, data * SECTOR, block, kind, name, folder)
    if swap:
        swap_image = image.with_suffix(".swap")
        with open(swap_image, "wb") as f:
            f.truncate((mib << 20) - (start + data) * SECTOR)
        subprocess.run(["mkswap", "-q", "-L", "swap", str(swap_image)], check=True, stderr=subprocess.DEVNULL)
        with open(image, "r+b") as f:
            f.seek((start + data) * SECTOR)
            f.write(swap_image.read_bytes())
        swap_image.unlink()


ROOT_FILES = {
    "etc/fstab": "/dev/md0 / ext3 defaults 1 1\n" + "".join(
        f"/dev/guests/{n} /{n} ext3 defaults 1 2\n" for n in ("home", "var", "distros")),
    "etc/mdadm.conf": "DEVICE partitions\nMAILADDR root\n",
    "etc/hosts": "127.0.0.1 localhost\n192.0.2.10 holmes.example.net holmes\n",
    "etc/passwd": "root:x:0:0:root:/root:/bin/bash\n",
    "etc/redhat-release": "CentOS release 5.9 (Final)\n",
    "root/install.log": prose("install.log", 60_000).decode(),
    "var/log/messages": prose("messages", 200_000).decode(),
}


def make(share):
    """Fills the share for build.sh. Returns some files of each volume with partition, path and SHA-256."""
    (share / "fs").mkdir()
    files = {}
    for name in VOLUMES:
        folder = share / "tree" / name
        folder.mkdir(parents=True)
        partition = 0 if VOLUMES[name][3] is None else 1
        files[name] = [{"partition": partition, **f} for f in tree(folder, name)]
        volume(share / "fs" / f"{name}.img", name, folder)
    with tarfile.open(share / "root.tar", "w") as tar:
        for path, text in ROOT_FILES.items():
            file = share / "root" / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)
            tar.add(pathlib.Path(file), arcname=path)
    return files
