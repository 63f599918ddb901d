#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# csvadm image convert, create and info: every format into every other, there and back through
# qemu-img, holes kept, nobody's file overwritten, nothing half made left.
source "$(dirname "$0")/../lib.sh"
need qemu-img jq
cd "$TMP"

# q FORMAT : qemu's name of it
q()
{
	case $1 in
	vhd) echo vpc ;;
	*) echo "$1" ;;
	esac
}

# equal FORMAT FILE : qemu-img reads the disk of raw there
equal()
{
	qemu-img compare -q -f raw -F "$(q "$1")" raw "$2" || fail "$2 differs from raw"
	[[ $1 != vhdx ]] || qemu-img check -q -f vhdx "$2"
}

allocated()
{
	echo $(($(stat -c %b "$1") * 512))
}

# 1.2 MiB of data in 70 MiB that are not whole blocks
truncate -s $((70 * 1048576 + 512)) raw
for mib in 0 5 37 69; do
	dd if=/dev/urandom of=raw bs=300k count=1 seek=${mib}M oflag=seek_bytes conv=notrunc status=none
done

n=0
for kind in vhd-dynamic vhd-fixed vhdx-dynamic vhdx-fixed; do
	format=${kind%-*}
	csvadm image convert --format "$format" "--${kind#*-}" raw "$kind"
	equal "$format" "$kind"
	(($(allocated "$kind") < 12 << 20)) || fail "$kind takes $(allocated "$kind") bytes"
	csvadm image info --json "$kind" >about
	same 'format' "$(jq -r .format about)" "$format"
	same 'fixed' "$(jq -r .fixed about)" "$([[ $kind == *-fixed ]] && echo true || echo false)"
	same 'disk' "$(jq -r .disk_bytes about)" "$(stat -c %s raw)"
	csvadm image convert "$kind" "back-$kind"
	cmp raw "back-$kind" || fail "$kind does not come back the same"
	(($(allocated "back-$kind") < 3 << 20)) || fail "a raw image has no holes"

	# what qemu-img makes of it we read
	options=subformat=${kind#*-}
	[[ $format == vhdx ]] || options+=,force_size=on
	qemu-img convert -q -f raw -O "$(q "$format")" -o "$options" raw "q-$kind"
	csvadm image convert "q-$kind" "q-back-$kind"
	cmp raw "q-back-$kind" || fail "qemu's $kind is read wrong"
	# and one kind into another
	csvadm image convert -f vhdx "q-$kind" "x-$kind"
	equal vhdx "x-$kind"

	csvadm image create --json "--${kind#*-}" "empty.$format" 100M >made
	same 'what was made' "$(jq -r .disk_bytes made)" $((100 << 20))
	qemu-img info -f "$(q "$format")" --output json "empty.$format" >about
	same 'its size' "$(jq -r '."virtual-size"' about)" $((100 << 20))
	[[ $format != vhdx ]] || qemu-img check -q -f vhdx "empty.$format"
	rm "empty.$format"
	n=$((n + 1))
done
same 'kinds' "$n" 4

# sizes that no geometry has, the smallest, and one with more blocks than a chunk has
for size in 512 1049088 $((300 * 1024 + 512)) 5000M; do
	csvadm image create "s.vhdx" "$size"
	qemu-img check -q -f vhdx s.vhdx
	csvadm image convert --force s.vhdx t.vhdx
	qemu-img compare -q -f vhdx -F vhdx s.vhdx t.vhdx
	rm s.vhdx
done
csvadm image create s.vhd 1000000512
same "qemu's size of a VHD" "$(qemu-img info -f vpc --output json s.vhd | jq -r '."virtual-size"')" 1000000512

# nobody's file is overwritten, and what fails leaves nothing
cp vhd-dynamic mine
refuse csvadm image convert raw mine 2>err
grep -q -- --force err
cmp vhd-dynamic mine
csvadm image convert --force -f vhdx raw mine
equal vhdx mine
refuse csvadm image convert vhdx-dynamic no/such/folder 2>err
refuse csvadm image create t.vhd 3T 2>err
grep -q 2040 err
[[ ! -e t.vhd ]]
refuse csvadm image convert --fixed raw new.raw 2>err
head -c 1000 raw >odd
refuse csvadm image convert odd new.vhdx 2>err
grep -q 512 err
cp vhdx-dynamic damaged
dd if=/dev/urandom of=damaged bs=4k count=64 conv=notrunc status=none seek=17
refuse csvadm image convert -f raw damaged new.raw

# interrupted
truncate -s 3G big
dd if=/dev/urandom of=big bs=1M count=300 conv=notrunc status=none
csvadm image convert big big.vhdx 2>err &
wait_for 20 compgen -G 'big.vhdx.*' >/dev/null
kill -INT $! 2>/dev/null || true
wait $! || true
if [[ -e big.vhdx ]]; then # it was faster
	qemu-img compare -q -f raw -F vhdx big big.vhdx
else
	[[ -z $(compgen -G 'big.vhdx*') ]] || fail "left behind: $(compgen -G 'big.vhdx*')"
fi
