# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0-or-later
# The shared LUNs: sparse files $LAB/disk-K.img, served by tgtd or nbdkit from the member `target`,
# or opened by every node itself (backend file).

TARGET_IQN=iqn.2025-01.org.csvfs:lab
NBD_PORT=10809

has_target()
{
	[[ $BACKEND != file ]]
}

# volume_uri K
volume_uri()
{
	case $BACKEND in
	iscsi) echo "iscsi://$TARGET_ADDR/$TARGET_IQN/$1" ;;
	nbd) echo "nbd://$TARGET_ADDR:$((NBD_PORT + $1 - 1))" ;;
	file) echo "file:$LAB/disk-$1.img" ;;
	esac
}

# target_up : starts what is missing of the target
target_up()
{
	has_target || return 0
	member_pid target >/dev/null || {
		anchor_start target
		anchor_wait target
	}
	[[ $(net_state target san) != none ]] || cable target san "$TARGET_ADDR" || die 'no cable to the target'
	[[ -z $(target_pids) ]] || return 0
	case $BACKEND in
	iscsi) target_up_iscsi ;;
	nbd) target_up_nbd ;;
	esac
}

target_pids()
{
	case $BACKEND in
	iscsi) prog_pids target tgtd ;;
	nbd) prog_pids target nbdkit ;;
	esac
}

target_up_iscsi()
{
	local k log=$LAB/target/tgtd.log
	enter target rm -rf /run/tgtd # a killed tgtd leaves its socket
	enter target mkdir -p /run/tgtd
	spawn target "$log" tgtd -f --iscsi "portal=$TARGET_ADDR:3260"
	wait_until 15 tgtadm_quiet --mode sys --op show || die "tgtd did not start, see $log"
	tgtadm --mode target --op new --tid 1 -T "$TARGET_IQN" || die 'tgtd: no target'
	for ((k = 1; k <= VOLUMES; k++)); do
		tgtadm --mode logicalunit --op new --tid 1 --lun "$k" -b "$LAB/disk-$k.img" &&
			tgtadm --mode logicalunit --op update --tid 1 --lun "$k" \
				--params "thin_provisioning=1,vendor_id=CSVLAB,product_id=disk-$k,scsi_sn=csvlab-$k" ||
			die "tgtd: no LUN $k"
	done
	tgtadm --mode target --op bind --tid 1 -I ALL || die 'tgtd: no access'
}

tgtadm()
{
	enter target tgtadm --lld iscsi "$@"
}

tgtadm_quiet()
{
	tgtadm "$@" >/dev/null 2>&1
}

target_up_nbd()
{
	local k log
	for ((k = 1; k <= VOLUMES; k++)); do
		log=$LAB/target/nbdkit-$k.log
		wait_until 15 nbd_serves "$k" "$log" || die "nbdkit did not start: $(tail -n 2 "$log")"
	done
}

# nbd_serves K LOG : nbdkit answers for LUN K; one that could not bind yet is started again.
nbd_serves()
{
	local port=$((NBD_PORT + $1 - 1)) pid
	target_listens "$port" && return
	for pid in $(prog_pids target nbdkit); do
		grep -qzx -- "$port" "/proc/$pid/cmdline" 2>/dev/null && return 1
	done
	spawn target "$2" nbdkit -f -i "$TARGET_ADDR" -p "$port" -t 16 file "$LAB/disk-$1.img"
	return 1
}

target_listens()
{
	in_net target bash -c "exec 3<>/dev/tcp/$TARGET_ADDR/$1" 2>/dev/null
}
