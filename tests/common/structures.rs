//! Heads of the structures that are recognised and of which no drill has an image, sound enough to be looked into.

use std::fs;
use std::path::Path;

/// An image of this length with bytes at places.
fn image(length: usize, parts: &[(usize, &[u8])]) -> Vec<u8> {
    let mut image = vec![0; length];
    for (at, bytes) in parts {
        image[*at..at + bytes.len()].copy_from_slice(bytes);
    }
    image
}

/// All kinds; `data` is what lies on members of arrays.
pub(crate) fn images(data: &[u8]) -> Vec<(&'static str, Vec<u8>)> {
    vec![
        ("md-0.90", md_0(data)),
        ("md-1.0", md_1(data, (256 << 10) - 8192, -16)),
        ("md-1.1", md_1(data, 0, 8)),
        ("md-1.2", md_1(data, 4096, 8)),
        ("ddf", ddf()),
        ("imsm", imsm()),
        ("gpt", gpt(data)),
        ("xfs", xfs()),
        ("btrfs", btrfs()),
        ("luks1", luks(1)),
        ("luks2", luks(2)),
        (
            "swap",
            image(
                64 << 10,
                &[(1024, &[1, 0, 0, 0, 15]), (4086, b"SWAPSPACE2")],
            ),
        ),
        ("files", files()),
    ]
}

fn le(values: &[u32]) -> Vec<u8> {
    values.iter().flat_map(|v| v.to_le_bytes()).collect()
}

fn words(bytes: &[u8]) -> u64 {
    let words = bytes.chunks_exact(4);
    words
        .map(|w| u64::from(u32::from_le_bytes([w[0], w[1], w[2], w[3]])))
        .sum()
}

/// A member of a raid5 of three, version 0.90: words, as `struct mdp_superblock_s` has them.
fn md_0(data: &[u8]) -> Vec<u8> {
    let mut sb = vec![0_u32; 1024];
    sb[..16].copy_from_slice(&[
        0xa92b_4efc,
        0,
        90,
        0,
        0,
        1,
        1_600_000_000,
        5,
        192,
        3,
        3,
        0,
        0,
        2,
        3,
        4,
    ]);
    sb[32..42].copy_from_slice(&[1_600_000_000, 1, 3, 3, 0, 0, 0, 7, 0, 7]);
    sb[64..66].copy_from_slice(&[2, 65536]);
    for disk in 0..3_u32 {
        let at = 128 + 32 * disk as usize;
        sb[at..at + 5].copy_from_slice(&[disk, 8, 16 * disk, disk, 6]);
    }
    sb.copy_within(128..160, 992);
    let sum = words(&le(&sb)) - u64::from(sb[38]);
    sb[38] = ((sum & 0xffff_ffff) + (sum >> 32)) as u32;
    image(256 << 10, &[(0, data), (192 << 10, &le(&sb))])
}

/// A member of a raid5 of three, version 1, with a bitmap and a list of bad blocks behind it or before.
fn md_1(data: &[u8], at: usize, bitmap: i32) -> Vec<u8> {
    let mut sb = vec![0; 272];
    let mut put = |at: usize, bytes: &[u8]| sb[at..at + bytes.len()].copy_from_slice(bytes);
    put(0, &le(&[0xa92b_4efc, 1, 1 | 8]));
    put(16, &[b'U'; 16]);
    put(32, b"host:0");
    put(64, &1_600_000_000_u64.to_le_bytes());
    put(72, &le(&[5, 2, 256, 0, 128, 3]));
    put(96, &bitmap.to_le_bytes());
    let front = if bitmap > 0 { 64_u64 } else { 0 };
    for (field, value) in [
        (128, front),
        (136, 384),
        (144, at as u64 / 512),
        (192, 1_600_000_000),
        (200, 7),
        (208, u64::MAX),
    ] {
        put(field, &u64::to_le_bytes(value));
    }
    put(160, &le(&[1]));
    put(168, &[b'D'; 16]);
    put(186, &8_u16.to_le_bytes());
    let list = bitmap - 8 * bitmap.signum();
    let list = if bitmap > 0 { bitmap + 8 } else { list - 16 };
    put(188, &list.to_le_bytes());
    put(220, &le(&[8]));
    put(256, &[0, 0, 1, 0, 2, 0]);
    let sum = words(&sb);
    sb[216..220].copy_from_slice(&(((sum & 0xffff_ffff) + (sum >> 32)) as u32).to_le_bytes());
    let mut map = le(&[0x6d74_6962, 4]);
    map.extend([b'U'; 16]);
    for value in [7_u64, 7, 384] {
        map.extend(value.to_le_bytes());
    }
    map.extend(le(&[0, 65536, 5, 0, 8]));
    let mut bad = (100_u64 << 10 | 7).to_le_bytes().to_vec();
    bad.extend([0xff; 504]);
    let place = |sectors: i32| at.wrapping_add_signed(sectors as isize * 512);
    let first = (front * 512) as usize;
    image(
        256 << 10,
        &[
            (first, &data[..128 << 10]),
            (at, &sb),
            (place(bitmap), &map),
            (place(list), &bad),
        ],
    )
}

/// A controller's anchor in the last sector, and header and lists before it.
fn ddf() -> Vec<u8> {
    let crc = crc::Crc::<u32>::new(&crc::CRC_32_ISO_HDLC);
    let sector = |parts: &[(usize, &[u8])]| {
        let mut sector = image(512, parts);
        sector[4..8].fill(0xff);
        let sum = crc.checksum(&sector);
        sector[4..8].copy_from_slice(&sum.to_be_bytes());
        sector
    };
    let (magic, revision) = ([0xde, 0x11, 0xde, 0x11], b"02.00.00");
    let header = sector(&[
        (0, &magic),
        (32, revision),
        (96, &64_u64.to_be_bytes()),
        (128, &[0, 4, 0, 4, 0, 1, 0, 2, 0, 4]),
        // Places and lengths of the lists, in sectors behind the header.
        (
            192,
            &[
                0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 1, 0, 0, 0, 3, 0, 0, 0, 1, 0, 0, 0, 4,
                0, 0, 0, 8,
            ],
        ),
    ]);
    let list = |kind: u8| sector(&[(0, &[kind; 4]), (8, &[0, 1, 0, 4])]);
    let at = 64 * 512;
    image(
        128 << 10,
        &[
            (at, &header),
            (at + 512, &list(0x11)),
            (at + 1024, &list(0x22)),
            (at + 1536, &list(0xdd)),
            (at + 2048, &list(0xee)),
            ((128 << 10) - 512, &header),
        ],
    )
}

/// Intel's: the last sector but one, two disks, one volume.
fn imsm() -> Vec<u8> {
    let mut block = image(
        1024,
        &[
            (0, b"Intel Raid ISM Cfg Sig. 1.3.00"),
            (36, &le(&[480, 77, 3])),
            (56, &[2, 1]),
            (216, b"SERIAL0"),
            (264, b"SERIAL1"),
            (312, b"volume"),
        ],
    );
    let sum = words(&block[..480]) as u32;
    block[32..36].copy_from_slice(&sum.to_le_bytes());
    image(128 << 10, &[((128 << 10) - 1024, &block)])
}

/// Both ends of a disk with one partition, which holds `data`.
fn gpt(data: &[u8]) -> Vec<u8> {
    let crc = crc::Crc::<u32>::new(&crc::CRC_32_ISO_HDLC);
    let sectors = 1024_u64;
    let entries = image(
        128 * 128,
        &[
            (0, &[0x11; 32]),
            (32, &64_u64.to_le_bytes()),
            (40, &900_u64.to_le_bytes()),
            (56, b"d\0a\0t\0a\0"),
        ],
    );
    let header = |own: u64, other: u64, table: u64| {
        let mut header = image(
            512,
            &[
                (0, b"EFI PART\0\0\x01\0\x5c\0\0\0"),
                (24, &own.to_le_bytes()),
                (32, &other.to_le_bytes()),
                (40, &34_u64.to_le_bytes()),
                (48, &(sectors - 34).to_le_bytes()),
                (56, &[0x22; 16]),
                (72, &table.to_le_bytes()),
                (80, &le(&[128, 128, crc.checksum(&entries)])),
            ],
        );
        let sum = crc.checksum(&header[..92]);
        header[16..20].copy_from_slice(&sum.to_le_bytes());
        header
    };
    let last = sectors - 1;
    image(
        512 << 10,
        &[
            (
                446,
                &[0, 0, 2, 0, 0xee, 0xff, 0xff, 0xff, 1, 0, 0, 0, 0xff, 3],
            ),
            (510, &[0x55, 0xaa]),
            (512, &header(1, last, 2)),
            (1024, &entries),
            (64 * 512, data),
            ((last - 32) as usize * 512, &entries),
            (last as usize * 512, &header(last, 1, last - 32)),
        ],
    )
}

fn xfs() -> Vec<u8> {
    image(
        256 << 10,
        &[
            (0, b"XFSB\0\0\x10\0"),
            (8, &64_u64.to_be_bytes()),
            (32, &[0x33; 16]),
            (56, &32_u64.to_be_bytes()),
            (84, &[0, 0, 0, 16, 0, 0, 0, 4]),
            (100, &[0xb4, 0xa5, 2, 0, 1, 0, 0, 16]),
            (108, b"label"),
            (120, &[12, 9, 8, 4, 4]),
            (512, b"XAGF\0\0\0\x01"),
            (1024, b"XAGI\0\0\0\x01"),
            (64 << 10, b"XFSB\0\0\x10\0"),
            (32 << 12, b"IN\x41\xed\x03\x02"),
        ],
    )
}

fn btrfs() -> Vec<u8> {
    image(
        256 << 10,
        &[
            ((64 << 10) + 32, &[0x44; 16]),
            ((64 << 10) + 48, &65536_u64.to_le_bytes()),
            ((64 << 10) + 64, b"_BHRfS_M"),
            ((64 << 10) + 72, &5_u64.to_le_bytes()),
            ((64 << 10) + 80, &131_072_u64.to_le_bytes()),
            ((64 << 10) + 88, &147_456_u64.to_le_bytes()),
            ((64 << 10) + 112, &262_144_u64.to_le_bytes()),
            ((64 << 10) + 136, &1_u64.to_le_bytes()),
            ((64 << 10) + 144, &le(&[4096, 16384, 16384, 4096, 97])),
            ((64 << 10) + 299, b"label"),
        ],
    )
}

fn luks(version: u8) -> Vec<u8> {
    let head = [b"LUKS\xba\xbe\0", &[version][..]].concat();
    if version == 1 {
        let parts: [(usize, &[u8]); 5] = [
            (0, &head),
            (8, b"aes"),
            (40, b"xts-plain64"),
            (72, b"sha256"),
            (104, &[0, 0, 0x10, 0, 0, 0, 0, 64]),
        ];
        return image(64 << 10, &parts);
    }
    let json = br#"{"keyslots":{},"tokens":{},"segments":{"0":{"type":"crypt","offset":"32768","size":"dynamic"}},"digests":{},"config":{}}"#;
    let parts: [(usize, &[u8]); 5] = [
        (0, &head),
        (8, &16384_u64.to_be_bytes()),
        (72, b"sha256"),
        (4096, json),
        (16384, b"SKUL\xba\xbe\0\x02"),
    ];
    image(64 << 10, &parts)
}

/// Files in blocks of 4 KiB, as an array's order is told by; those that are followed go on over some.
fn files() -> Vec<u8> {
    let jpeg = super::root().join("src/files/samples");
    let mut samples: Vec<_> = fs::read_dir(jpeg)
        .unwrap()
        .map(|e| e.unwrap().path())
        .collect();
    samples.sort();
    let jpeg = fs::read(
        samples
            .iter()
            .find(|p| p.extension().is_some_and(|e| e == "jpg"))
            .unwrap(),
    )
    .unwrap();
    let mut tar = image(
        1024,
        &[
            (0, b"name"),
            (100, b"0000644\0"),
            (124, b"00000001000\0"),
            (148, b"        "),
            (156, b"0"),
            (257, b"ustar\x0000"),
        ],
    );
    let sum: u32 = tar[..512].iter().map(|b| u32::from(*b)).sum();
    tar[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    let mut all = Vec::new();
    for file in [
        &program()[..4096],
        &tar,
        b"PK\x03\x04\x14\0\0\0\x08\0\0\0\0\0\0\0\0\0\x10\0\0\0\x10\0\0\0\x04\0\0\0name",
        b"\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR\0\0\0\x10\0\0\0\x10\x08\x02\0\0\0",
        b"\x1f\x8b\x08\x08\0\0\0\0\0\x03name\0\x01\xff\xff\0\0\xed\xfd",
        &jpeg,
    ] {
        all.extend_from_slice(file);
        all.resize(all.len().next_multiple_of(4096), 0);
    }
    all.resize(all.len().next_multiple_of(128 << 10), 0);
    all
}

/// A small program that the loader could map: header, loader's name, a dynamic section that needs one library.
pub(crate) fn program() -> Vec<u8> {
    let header = [
        b"\x7fELF\x02\x01\x01".as_slice(),
        &[0; 9],
        &[3, 0, 62, 0, 1, 0, 0, 0],
    ]
    .concat();
    let segment = |kind: u32, at: u64, length: u64| {
        let mut segment = le(&[kind, 5]);
        for value in [at, at, at, length, length, 8] {
            segment.extend(value.to_le_bytes());
        }
        segment
    };
    let dynamic: Vec<u8> = [(1_u64, 1_u64), (29, 11), (5, 1536), (10, 64), (0, 0)]
        .iter()
        .flat_map(|(tag, value)| [tag.to_le_bytes(), value.to_le_bytes()].concat())
        .collect();
    image(
        8192,
        &[
            (0, &header),
            (32, &64_u64.to_le_bytes()),
            (52, &[64, 0, 56, 0, 3, 0]),
            (64, &segment(1, 0, 8192)),
            (120, &segment(3, 1024, 28)),
            (176, &segment(2, 2048, 80)),
            (1024, b"/lib64/ld-linux-x86-64.so.2\0"),
            (1536, b"\0libc.so.6\0$ORIGIN/../lib\0"),
            (2048, &dynamic),
        ],
    )
}

/// Lines of all files of configuration that are read of a tree; ten of them include themselves.
pub(crate) fn configuration() -> Vec<u8> {
    let others = b"/usr/lib # c\nkernel/drivers/md/raid1.ko.xz: kernel/drivers/md/md-mod.ko\n\
        AUTO -all\nARRAY <ignore> UUID=0\nactivation {\nauto_activation_volume_list = []\n}\n\
        Personalities : [raid1]\nmd0 : active raid1 sda1[0]\nMemAvailable:  1024 kB\nlockdown,landlock\n";
    [b"include /etc/ld.so.conf\n".repeat(10), others.to_vec()].concat()
}

/// A tree in which all files that are read are one, `input`.
pub(crate) fn tree(root: &Path) {
    use std::os::unix::fs::PermissionsExt;
    fs::create_dir(root).unwrap();
    let input = root.join("input");
    fs::write(&input, "").unwrap();
    fs::set_permissions(&input, fs::Permissions::from_mode(0o755)).unwrap();
    for file in [
        "sbin/mdadm",
        "bin/bash",
        "lib/libc.so.6",
        "etc/ld.so.conf",
        "etc/mdadm.conf",
        "etc/lvm/lvm.conf",
        "etc/udev/rules.d/64-md-raid-assembly.rules",
        "lib/modules/6.1.0/modules.dep",
        "lib/modules/6.1.0/modules.builtin",
        "proc/mdstat",
        "proc/meminfo",
    ] {
        let file = root.join(file);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::hard_link(&input, file).unwrap();
    }
}

/// An image of 64 KiB, packed by zstd: one block that repeats a byte.
pub(crate) fn packed() -> Vec<u8> {
    // Magic, a frame of one segment with its length in 2 bytes (less 256), a last block of that one byte.
    let length = 65536_u32 - 256;
    let mut packed = vec![0x28, 0xb5, 0x2f, 0xfd, 0x60];
    packed.extend(&length.to_le_bytes()[..2]);
    packed.extend(&(65536_u32 << 3 | 1 << 1 | 1).to_le_bytes()[..3]);
    packed.push(7);
    packed
}
