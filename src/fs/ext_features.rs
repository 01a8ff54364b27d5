//! ext's feature bits, and the checksum that one of them asks for.
//!
//! Three words of the superblock: compat (safe to ignore), incompat (not to
//! be read without knowing it), ro_compat (safe to ignore when reading).
//! Source: the kernel's ext4 documentation, names as in ext4(5).

use super::ext::Superblock;
use crc::{Algorithm, Crc, Table};

/// Feature bits that something here depends on.
pub mod feature {
    /// compat: it has a journal.
    pub const HAS_JOURNAL: u32 = 0x4;
    /// compat: only two groups, named in the superblock, hold copies of it.
    pub const SPARSE_SUPER2: u32 = 0x200;
    /// incompat: the journal holds what is not yet in place.
    pub const RECOVER: u32 = 0x4;
    /// incompat: this is the journal of another file system.
    pub const JOURNAL_DEV: u32 = 0x8;
    /// incompat: descriptors are spread over the groups.
    pub const META_BG: u32 = 0x10;
    /// incompat: files may be mapped by extent trees.
    pub const EXTENTS: u32 = 0x40;
    /// incompat: block numbers of 64 bits, descriptors of 64 bytes.
    pub const BIT64: u32 = 0x80;
    /// incompat: a block guards against being mounted twice.
    pub const MMP: u32 = 0x100;
    /// incompat: a group's bitmaps and tables may lie in another group.
    pub const FLEX_BG: u32 = 0x200;
    /// incompat: the seed of all checksums is a field of its own.
    pub const CSUM_SEED: u32 = 0x2000;
    /// ro_compat: copies of the superblock only in groups 0, 1 and powers of 3, 5, 7.
    pub const SPARSE_SUPER: u32 = 0x1;
    /// ro_compat: descriptors have a CRC-16.
    pub const GDT_CSUM: u32 = 0x10;
    /// ro_compat: bitmaps count clusters of blocks.
    pub const BIGALLOC: u32 = 0x200;
    /// ro_compat: all metadata have a CRC-32C.
    pub const METADATA_CSUM: u32 = 0x400;
}

/// Names of the feature bits, as mke2fs and dumpe2fs write them: word, bit, name.
const FEATURES: [(usize, u32, &str); 46] = [
    (0, 0x1, "dir_prealloc"),
    (0, 0x2, "imagic_inodes"),
    (0, 0x4, "has_journal"),
    (0, 0x8, "ext_attr"),
    (0, 0x10, "resize_inode"),
    (0, 0x20, "dir_index"),
    (0, 0x40, "lazy_bg"),
    (0, 0x80, "exclude_inode"),
    (0, 0x100, "snapshot_bitmap"),
    (0, 0x200, "sparse_super2"),
    (0, 0x400, "fast_commit"),
    (0, 0x800, "stable_inodes"),
    (0, 0x1000, "orphan_file"),
    (1, 0x1, "compression"),
    (1, 0x2, "filetype"),
    (1, 0x4, "needs_recovery"),
    (1, 0x8, "journal_dev"),
    (1, 0x10, "meta_bg"),
    (1, 0x40, "extent"),
    (1, 0x80, "64bit"),
    (1, 0x100, "mmp"),
    (1, 0x200, "flex_bg"),
    (1, 0x400, "ea_inode"),
    (1, 0x1000, "dirdata"),
    (1, 0x2000, "metadata_csum_seed"),
    (1, 0x4000, "large_dir"),
    (1, 0x8000, "inline_data"),
    (1, 0x10000, "encrypt"),
    (1, 0x20000, "casefold"),
    (2, 0x1, "sparse_super"),
    (2, 0x2, "large_file"),
    (2, 0x4, "btree_dir"),
    (2, 0x8, "huge_file"),
    (2, 0x10, "uninit_bg"),
    (2, 0x20, "dir_nlink"),
    (2, 0x40, "extra_isize"),
    (2, 0x80, "has_snapshot"),
    (2, 0x100, "quota"),
    (2, 0x200, "bigalloc"),
    (2, 0x400, "metadata_csum"),
    (2, 0x800, "replica"),
    (2, 0x1000, "read-only"),
    (2, 0x2000, "project"),
    (2, 0x4000, "shared_blocks"),
    (2, 0x8000, "verity"),
    (2, 0x10000, "orphan_present"),
];

/// What the ext3 driver of old knew; anything else makes it an ext4 (as blkid decides it).
const EXT3_INCOMPAT: u32 = 0x2 | feature::RECOVER | feature::META_BG;
const EXT3_RO_COMPAT: u32 = 0x1 | 0x2 | 0x4;

/// CRC-32C as ext4 uses it: the running value is the seed, and nothing is inverted at the end.
const CRC32C_RAW: Algorithm<u32> = Algorithm {
    width: 32,
    poly: 0x1edc_6f41,
    init: 0,
    refin: true,
    refout: true,
    xorout: 0,
    check: 0,
    residue: 0,
};
static CRC32C: Crc<u32, Table<16>> = Crc::<u32, Table<16>>::new(&CRC32C_RAW);

/// ext4's CRC-32C of `bytes`, going on from `seed`.
pub fn crc32c(seed: u32, bytes: &[u8]) -> u32 {
    let mut digest = CRC32C.digest_with_initial(seed.reverse_bits());
    digest.update(bytes);
    digest.finalize()
}

impl Superblock {
    /// Whether this incompatible feature is on.
    pub fn has_incompat(&self, bit: u32) -> bool {
        let [_, incompat, _] = self.features;
        incompat & bit != 0
    }

    /// Whether this compatible feature is on.
    pub fn has_compat(&self, bit: u32) -> bool {
        let [compat, _, _] = self.features;
        compat & bit != 0
    }

    /// Whether this read-only compatible feature is on.
    pub fn has_ro_compat(&self, bit: u32) -> bool {
        let [_, _, ro_compat] = self.features;
        ro_compat & bit != 0
    }

    /// Names of all features that are on, as dumpe2fs writes them.
    pub fn feature_names(&self) -> Vec<&'static str> {
        FEATURES
            .iter()
            .filter(|(word, bit, _)| self.features.get(*word).is_some_and(|w| w & bit != 0))
            .map(|(_, _, name)| *name)
            .collect()
    }

    /// `ext2`, `ext3` or `ext4`, as blkid tells them apart.
    pub fn kind(&self) -> &'static str {
        let [compat, incompat, ro_compat] = self.features;
        if incompat & !EXT3_INCOMPAT != 0 || ro_compat & !EXT3_RO_COMPAT != 0 {
            "ext4"
        } else if compat & feature::HAS_JOURNAL != 0 {
            "ext3"
        } else {
            "ext2"
        }
    }
}
