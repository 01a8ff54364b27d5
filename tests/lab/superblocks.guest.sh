# shellcheck shell=sh
# Makes arrays with every kind of md metadata on disks ubda, ubdb, ..., and keeps their members' bytes.
#
# The members come out as NAME.0, NAME.1, ... in array order. What mdadm says of bitmaps and bad blocks, which it reads
# from block devices only, comes out as NAME.N.bitmap and NAME.N.bad.
md=/sys/block/md0/md

# Nothing of the array before may be left on COUNT disks.
fresh() {
    for disk in $(disks "$1"); do
        dd if=/dev/zero of="$disk" bs=1M 2>/dev/null || :
    done
}

disks() {
    printf '/dev/ubd%s ' $(printf '%s' abcdefgh | cut -c "1-$1" | sed 's/./& /g')
}

create() {
    # shellcheck disable=SC2086
    mdadm --create /dev/md0 --run "$@"
}

# keep NAME COUNT: stops the array and copies the first COUNT disks out.
keep() {
    [ ! -e /sys/block/md0/md/array_state ] || mdadm --stop /dev/md0
    n=0
    for disk in $(disks "$2"); do
        dd if="$disk" of="$SHARE/$1.$n" bs=1M 2>/dev/null
        case $1 in
        v10bitmap | behind) mdadm --examine-bitmap "$disk" >"$SHARE/$1.$n.bitmap" || : ;;
        badblocks) mdadm --examine-badblocks "$disk" >"$SHARE/$1.$n.bad" ;;
        esac
        n=$((n + 1))
    done
    fresh "$2"
    echo "$1" >>"$SHARE/names"
}

write() {
    dd if=/dev/urandom of=/dev/md0 bs=64k count=8 seek="$1" conv=fsync 2>/dev/null
}

# shellcheck disable=SC2046
{
    create --metadata=0.90 --level=5 --chunk=64 --raid-devices=3 --assume-clean --bitmap=none $(disks 3)
    keep v090 3

    create --metadata=1.0 --level=1 --raid-devices=2 --assume-clean --bitmap=internal --name=lab:v10 $(disks 2)
    keep v10bitmap 2

    create --metadata=1.1 --level=6 --chunk=32 --layout=ddf-N-restart --raid-devices=5 --assume-clean --bitmap=none $(disks 5)
    keep v11 5

    # A member thrown out, then a write: it is behind, and the others call its slot missing.
    create --metadata=1.2 --level=10 --layout=f2 --chunk=64 --raid-devices=4 --assume-clean --bitmap=internal --name=behind $(disks 4)
    write 0
    mdadm /dev/md0 --fail /dev/ubdc
    write 20
    mdadm /dev/md0 --remove /dev/ubdc
    write 40
    keep behind 4

    # A spare, and a disk thrown out that is still there.
    create --metadata=1.2 --level=1 --raid-devices=2 --spare-devices=1 --assume-clean --bitmap=none $(disks 3)
    write 0
    keep spare 3

    # Bad blocks that md knows of.
    create --metadata=1.2 --level=1 --raid-devices=2 --assume-clean --bitmap=none $(disks 2)
    echo "1000 8" >$md/dev-ubda/bad_blocks
    echo "5000 64" >$md/dev-ubda/bad_blocks
    echo "9000 1024" >$md/dev-ubda/bad_blocks
    write 100
    sleep 1
    keep badblocks 2

    # Sectors that md could not write: the one member keeps there what it had, and md lists them.
    dmsetup create failing <<TABLE
0 6000 linear /dev/ubda 0
6000 64 error
6064 $(($(cat /sys/block/ubda/size) - 6064)) linear /dev/ubda 6064
TABLE
    create --metadata=1.2 --level=1 --raid-devices=2 --assume-clean --bitmap=none /dev/mapper/failing /dev/ubdb
    dd if=/dev/urandom of=/dev/md0 bs=64k conv=fsync 2>/dev/null || :
    dd if=/dev/md0 of="$SHARE/unwritten.array" bs=64k 2>/dev/null
    mdadm --stop /dev/md0
    dmsetup remove failing
    keep unwritten 2

    # A disk that was replaced, and is still there.
    create --metadata=1.2 --level=5 --chunk=64 --raid-devices=3 --assume-clean --bitmap=none $(disks 3)
    dd if=/dev/urandom of=/dev/md0 bs=64k conv=fsync 2>/dev/null || :
    mdadm /dev/md0 --add /dev/ubdd
    mdadm /dev/md0 --replace /dev/ubda --with /dev/ubdd
    mdadm --wait /dev/md0 || :
    write 0
    keep replaced 4

    # A reshape stopped half-way.
    create --metadata=1.2 --level=5 --chunk=64 --raid-devices=3 --assume-clean --bitmap=none $(disks 3)
    mdadm /dev/md0 --add /dev/ubdd
    echo 500 >$md/sync_speed_max
    echo 100 >$md/sync_speed_min
    mdadm --grow /dev/md0 --raid-devices=4
    sleep 4
    cat $md/reshape_position
    echo frozen >$md/sync_action
    cat $md/reshape_position
    keep reshape 4

    create --metadata=1.2 --level=5 --chunk=64 --raid-devices=3 --write-journal=/dev/ubdd $(disks 3)
    write 0
    keep journal 4

    create --metadata=1.2 --level=5 --chunk=64 --raid-devices=3 --assume-clean --consistency-policy=ppl $(disks 3)
    write 0
    keep ppl 3

    # A recovery that came half-way.
    create --metadata=1.2 --level=1 --raid-devices=2 --bitmap=none --assume-clean /dev/ubda missing
    echo 4096 >$md/sync_max
    mdadm /dev/md0 --add /dev/ubdb
    sleep 2
    cat $md/sync_completed
    keep recovery 2

    # A resync that came half-way.
    create --metadata=1.2 --level=5 --force --chunk=64 --raid-devices=3 --bitmap=none $(disks 3) && echo idle >$md/sync_action
    echo 200 >$md/sync_speed_max
    echo 100 >$md/sync_speed_min
    sleep 2
    keep resync 3

    create --metadata=1.2 --level=0 --chunk=64 --raid-devices=2 $(disks 2)
    keep raid0 2

    create --metadata=1.0 --level=linear --raid-devices=2 $(disks 2)
    keep linear 2

    # Members of unequal length, of which the second is shorter than the disk that it lies on.
    for level in 0 linear; do
        dmsetup create short --table "0 12000 linear /dev/ubdb 0"
        create --metadata=1.2 --level=$level --chunk=64 --raid-devices=2 /dev/ubda /dev/mapper/short
        dd if=/dev/urandom of=/dev/md0 bs=64k conv=fsync 2>/dev/null || :
        dd if=/dev/md0 of="$SHARE/unequal$level.array" bs=64k 2>/dev/null
        mdadm --stop /dev/md0
        dmsetup remove short
        keep unequal$level 2
    done

    # A new array over an old one, whose superblocks lie at the end and stay.
    create --metadata=0.90 --level=1 --raid-devices=2 --assume-clean --bitmap=none $(disks 2)
    mdadm --stop /dev/md0
    for disk in $(disks 2); do
        dd if="$disk" of="/tmp/old.$(basename "$disk")" bs=64k skip=127 2>/dev/null
    done
    # Of two superblocks mdadm shows the younger: not to be told apart within a second.
    sleep 2
    create --metadata=1.2 --level=0 --chunk=64 --raid-devices=2 $(disks 2)
    mdadm --stop /dev/md0
    # mdadm wipes what it finds; an installer does not.
    for disk in $(disks 2); do
        dd if="/tmp/old.$(basename "$disk")" of="$disk" bs=64k seek=127 conv=notrunc 2>/dev/null
    done
    keep recreated 2

    # Only the superblock is wiped: the bitmap's own stays.
    create --metadata=1.2 --level=1 --raid-devices=2 --assume-clean --bitmap=internal $(disks 2)
    write 0
    mdadm --stop /dev/md0
    mdadm --zero-superblock $(disks 2)
    keep wiped 2
}
