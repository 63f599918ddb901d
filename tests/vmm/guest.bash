# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0-or-later
# A small guest for csvvm, of busybox: an initrd that loads modules and goes over to /dev/vda, a root
# whose init runs a script and powers off. Sourced after vmm.bash.

# shellcheck disable=SC2034 # for the scripts
GUEST_APPEND='console=ttyS0 quiet loglevel=4 panic=-1 mitigations=off'

# make_guest_initrd FILE MODULE… : with these modules and what they need. With $GUEST_INIT set it is all
# there is of the guest: that script runs in it, with a wait_for of its own, instead of going over to a root on a disk.
make_guest_initrd()
{
	local dir=$TMP/initrd.dir file=$1 path module
	shift
	mkdir -p "$dir"/{bin,m,dev,proc,sys,new}
	cp "$(command -v busybox)" "$dir/bin/busybox"
	for module; do
		modprobe -S "$GUEST_VERSION" --show-depends "$module"
	done | awk '$1 == "insmod" && !seen[$2]++ { print $2 }' >"$TMP/modules"
	while read -r path; do
		case $path in
		*.xz) xz -dc "$path" >"$dir/m/$(basename "$path" .xz)" ;;
		*) cp "$path" "$dir/m/" ;;
		esac
		basename "$path" .xz >>"$dir/m/order"
	done <"$TMP/modules"
	if [[ -n ${GUEST_INIT:-} ]]; then
		cat - <(echo "$GUEST_INIT") >"$dir/init" <<'END'
#!/bin/busybox sh
/bin/busybox --install -s /bin; export PATH=/bin
mount -t devtmpfs dev /dev; mount -t proc proc /proc; mount -t sysfs sys /sys
while read -r module; do
	insmod "/m/$module" || echo "no $module"
done </m/order
# wait_for SECONDS CMD... : until it succeeds
wait_for() {
	end=$(($(date +%s) + $1)); shift
	until "$@"; do
		[ $(date +%s) -lt $end ] || { echo "too late: $*"; return 1; }
		usleep 50000
	done
}
END
	else
		cat >"$dir/init" <<'END'
#!/bin/busybox sh
b=/bin/busybox
$b mount -t devtmpfs dev /dev
while read -r module; do
	$b insmod "/m/$module" || echo "no $module"
done </m/order
[ -b /dev/vda ] || { echo 'no /dev/vda'; $b poweroff -f; }
$b mount -t ext4 /dev/vda /new || { echo 'no root'; $b poweroff -f; }
$b mount --move /dev /new/dev
exec $b switch_root /new /init
END
	fi
	chmod 755 "$dir/init"
	(cd "$dir" && find . | busybox cpio -o -H newc 2>/dev/null) >"$file"
	rm -rf "$dir"
}

# make_guest_root IMAGE <SCRIPT : an ext4 root whose init runs the script
make_guest_root()
{
	local dir=$TMP/root.dir
	mkdir -p "$dir"/{bin,dev,proc,sys,tmp}
	cp "$(command -v busybox)" "$dir/bin/busybox"
	{
		echo '#!/bin/busybox sh'
		echo '/bin/busybox --install -s /bin; export PATH=/bin'
		echo 'mount -t proc proc /proc; mount -t sysfs sys /sys'
		cat
		echo 'sync; mount -o remount,ro /; poweroff -f'
	} >"$dir/init"
	chmod 755 "$dir/init"
	rm -f "$1"
	truncate -s 64M "$1"
	mkfs.ext4 -q -d "$dir" "$1"
	rm -rf "$dir"
}

# ---- for a machine g in the background, whose console goes to $TMP/console

csvvm()
{
	command csvvm "$@" --control="$TMP/run"
}

# times TEXT N : the console has said so at least N times
times()
{
	(($(tr -d '\r' <"$TMP/console" | grep -cxF "$1" || true) >= $2))
}

# said TEXT : the console has said so
said()
{
	times "$1" 1
}

# code WANTED CMD… : its exit code; $TMP/out and $TMP/err are what it prints
code()
{
	local rc=0
	"${@:2}" >"$TMP/out" 2>"$TMP/err" || rc=$?
	((rc == $1)) || {
		cat "$TMP/out" "$TMP/err"
		fail "${*:2} ended $rc and not $1"
	}
}
