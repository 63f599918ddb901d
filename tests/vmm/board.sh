#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# A guest has what every PC has: its real-time clock shows the host's time, rings an alarm at the time that
# it was set to, and what the guest sets it to goes on; virtio-rng is the kernel's source of randomness.
# timeout: 900
source "$(dirname "$0")/vmm.bash"
# shellcheck source=tests/vmm/guest.bash
source "$(dirname "$0")/guest.bash"
need csvvm busybox

# With the alarm, an interrupt comes; alarm_irq in /proc/driver/rtc says that it is on.
GUEST_INIT=$(cat <<'END_GUEST'
irqs() { awk '/rtc0/ { print $2 }' /proc/interrupts; }
echo "clock: $(cat /sys/class/rtc/rtc0/name) $(cat /sys/class/rtc/rtc0/since_epoch)"
before=$(irqs)
echo +2 >/sys/class/rtc/rtc0/wakealarm
rang() { [ "$(irqs)" != "$before" ]; }
wait_for 60 rang && echo 'alarm: rang' || echo 'alarm: silent'
date -u -s '1999-12-31 23:59:30' >/dev/null && hwclock -u -w
echo "set: $(cat /sys/class/rtc/rtc0/date)"
echo "rng: $(cat /sys/class/misc/hw_random/rng_current)"
dd if=/dev/hwrng bs=64 count=16 2>/dev/null | wc -c | sed 's/^/random: /'
poweroff -f
END_GUEST
)
make_guest_initrd "$TMP/initrd" virtio_pci virtio_rng rtc_cmos

begin=$(date +%s)
timeout 400 csvvm run --kernel="$GUEST_KERNEL" --initrd="$TMP/initrd" --memory=256M \
	--append="$GUEST_APPEND" </dev/null >"$TMP/console" 2>"$TMP/err" || {
	tail -n 40 "$TMP/console" "$TMP/err"
	fail 'csvvm failed'
}
tr -d '\r' <"$TMP/console" >"$TMP/lines"
cat "$TMP/lines"
read -r _ name _ shown < <(grep '^clock: ' "$TMP/lines")
same 'the clock' "$name" rtc_cmos
((shown >= begin && shown <= $(date +%s))) || fail "the guest's clock shows $shown, the host's $begin"
for line in 'alarm: rang' 'set: 1999-12-31' 'rng: virtio_rng.0' 'random: 1024'; do
	grep -qxF "$line" "$TMP/lines" || fail "the guest did not say '$line'"
done
