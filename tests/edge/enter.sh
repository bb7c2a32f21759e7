#!/bin/sh
# Runs a command inside the system in ROOT, with FOLDER as /place: sh enter.sh ROOT FOLDER EMULATOR COMMAND...
# Runs in user, mount and network namespaces of its own; EMULATOR is a static qemu-aarch64, or empty.
set -e
root=$1 folder=$2 emulator=$3
shift 3
if [ -n "$emulator" ]; then
    mount -t binfmt_misc none /proc/sys/fs/binfmt_misc
    magic='\x7fELF\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\xb7\x00'
    mask='\xff\xff\xff\xff\xff\xff\xff\x00\xff\xff\xff\xff\xff\xff\xff\xff\xfe\xff\xff\xff'
    printf '%s' ":emulated:M::$magic:$mask:$emulator:F" >/proc/sys/fs/binfmt_misc/register
fi
for name in proc sys dev; do
    mount --rbind "/$name" "$root/$name"
done
mount --bind "$folder" "$root/place"
cd /
exec chroot "$root" "$@"
