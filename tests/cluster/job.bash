# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0-or-later
# The main job, as quickstart shows it, on one backend: `job BACKEND`. Sourced after cluster.bash.

# A disk image as a guest leaves it: data, holes and a little at the very end.
make_image()
{
	local mib
	truncate -s 96M "$TMP/source.img"
	for mib in 0 1 2 3 40 41 42 60 95; do
		dd if=/dev/urandom of="$TMP/source.img" bs=1M count=1 seek="$mib" conv=notrunc status=none
	done
	qemu-img convert -f raw -O qcow2 "$TMP/source.img" "$TMP/source.qcow2"
}

# fio_verify NODE NAME OPTIONS… : writes, then reads back and checks each block
fio_verify()
{
	local n=$1 name=$2
	shift 2
	node "$n" fio --name="$name" --direct=1 --ioengine=libaio --iodepth=16 --verify=crc32c \
		--verify_fatal=1 --verify_state_save=0 --output="$TMP/fio-$name-$n" "$@" || {
		cat "$TMP/fio-$name-$n"
		return 1
	}
}

own_image()
{
	fio_verify "$1" own --filename="$MNT/own-$1.img" --rw=randwrite --bs=4k --size=12M
}

# shared NAME SIZE : makes an image that all will write. fio removes and makes anew a file that is
# shorter than what it will write, and opens it by name twice: each node would have one of its own.
shared()
{
	node 1 truncate -s "$2" "$MNT/$1.img"
	node 1 stat -c %i "$MNT/$1.img" >"$TMP/$1.ino"
}

# still_shared NAME : nobody has replaced it
still_shared()
{
	same "inode of $1.img" "$(node 3 stat -c %i "$MNT/$1.img")" "$(<"$TMP/$1.ino")"
}

# each node a region of one image
shared_region()
{
	fio_verify "$1" region --filename="$MNT/region.img" --rw=randwrite --bs=4k \
		--offset=$((($1 - 1) * 8))M --size=8M
}

# every third block of the same range: neighbours belong to different nodes
shared_interleaved()
{
	fio_verify "$1" interleaved --filename="$MNT/interleaved.img" --rw=write:32k --bs=16k \
		--offset=$((($1 - 1) * 16))k --io_size=4M --size=12M
}

# at_once F : F N for every node at the same time
at_once()
{
	local i rc=0 jobs=()
	for ((i = 1; i <= LAB_NODES; i++)); do
		"$1" "$i" &
		jobs+=($!)
	done
	for i in "${jobs[@]}"; do
		wait "$i" || rc=1
	done
	return "$rc"
}

job()
{
	local n file want
	need qemu-img fio
	lab_up --nodes 3 --backend "$1" --size 2G
	make_image
	want=$(sha256sum <"$TMP/source.img")
	node 1 qemu-img convert -t none -f qcow2 -O raw "$TMP/source.qcow2" "$MNT/vm1.img"
	for n in 2 3; do
		same "node $n's checksum" "$(node "$n" sha256sum "$MNT/vm1.img")" \
			"${want%% *}  $MNT/vm1.img"
		node "$n" qemu-img compare -T none -f raw -F qcow2 "$MNT/vm1.img" "$TMP/source.qcow2"
	done
	# its holes took no space
	(($(node 3 stat -c %b "$MNT/vm1.img") <= 40 * 2048)) || fail 'holes were written'
	at_once own_image
	shared region $((LAB_NODES * 8))M
	at_once shared_region
	shared interleaved 16M
	at_once shared_interleaved
	for file in region interleaved; do
		still_shared "$file"
		want=$(node 1 sha256sum "$MNT/$file.img")
		for n in 2 3; do
			same "node $n's checksum of $file" "$(node "$n" sha256sum "$MNT/$file.img")" "$want"
		done
	done
	volume_clean
}
