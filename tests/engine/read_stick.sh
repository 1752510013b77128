#!/bin/sh
# Reads a stick full of bundles without wbsync, by tar, b3sum, age and zstd alone, as far as these go.
#
#     read_stick.sh STICK AGE_KEY OUT [SCOPE_KEY...]
#
# Unpacks every bundle and every part on STICK into OUT, opening sealed ones with AGE_KEY (an instance's keys/age.key), and checks
# each object against its name. With keys of scopes (`AGE-SECRET-KEY-1…`, one file each) it decrypts and decompresses the objects
# that they open into OUT/plain. What these tools can't do: check signatures (ssh-keygen can, format/document.md), take a scope's key
# out of its manifest, and make rows of records.
#
# Without b3sum it takes Python with the package blake3, and says so.
set -eu
stick=$1 key=$2 out=$3
shift 3
if command -v b3sum >/dev/null; then
    hash() { b3sum --no-names "$1"; }
else
    python=${WBSYNC_PYTHON:-python3}
    echo "NO b3sum HERE: objects are hashed by $python with the package blake3 instead" >&2
    hash() { "$python" -c 'import sys, blake3; print(blake3.blake3(open(sys.argv[1], "rb").read()).hexdigest())' "$1"; }
fi
mkdir -p "$out/store" "$out/plain"
bundles=0 objects=0 opened=0
for bundle in "$stick"/*; do
    if [ "$(head -c 19 "$bundle")" = "age-encryption.org/" ]; then
        age -d -i "$key" "$bundle" | tar -x -C "$out/store"
    else
        tar -x -f "$bundle" -C "$out/store"
    fi
    bundles=$((bundles + 1))
done
test "$(cat "$out/store/format")" = "wbsync store 1"
for object in "$out"/store/objects/*/*.age; do
    name=$(basename "$object" .age)
    if [ "$(hash "$object")" != "$name" ]; then
        echo "DAMAGED $name" >&2
        exit 1
    fi
    objects=$((objects + 1))
    for scope in "$@"; do
        if age -d -i "$scope" "$object" >"$out/sealed" 2>/dev/null; then
            zstd -dq <"$out/sealed" >"$out/plain/$name"
            opened=$((opened + 1))
            break
        fi
    done
done
rm -f "$out/sealed" "$out/store/index"
echo "$bundles files, $objects objects, $opened opened"
