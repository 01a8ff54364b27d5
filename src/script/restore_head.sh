#!/bin/bash
# Puts back exactly the bytes that `disinter backup` kept, and no others. For review: disinter does not run it.
#
#   restore.sh NAME=PATH...           checks all, shows what would be written; writes nothing
#   restore.sh --write NAME=PATH...   the same, asks, writes, and checks that nothing else has changed
#
# NAME is a disk's name in the backup, PATH the device or image where it is now. Only those that are named are touched.
# What stands at the places that are written is kept first, in the folder replaced-TIME beside this file.
set -euo pipefail
export LC_ALL=C

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

