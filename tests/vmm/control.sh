#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# A machine in the background is listed, looked into, typed to, paused, resumed, rebooted, stopped and
# killed through its control socket; a name is taken once, and free again when its machine has died.
# run: named
# timeout: 1500
source "$(dirname "$0")/vmm.bash"
# shellcheck source=tests/vmm/guest.bash
source "$(dirname "$0")/guest.bash"
need csvvm busybox jq

# shellcheck disable=SC2016,SC2034 # for make_guest_initrd
GUEST_INIT='
(dd if=/dev/input/event0 of=/dev/null bs=24 count=1 2>/dev/null; echo button; poweroff -f) &
stty -echo
echo ready
while read -r line; do
	case $line in
	spin) (while :; do :; done) & ;;
	reboot) reboot -f ;;
	*) echo "got <$line>" ;;
	esac
done'
make_guest_initrd "$TMP/initrd" button evdev

state()
{
	[[ $(csvvm info g --json | jq -r .state) == "$1" ]]
}

cpu_ticks()
{
	awk '{ print $14 + $15 }' "/proc/$pid/stat"
}

runs()
{
	(($(cpu_ticks) > before + 20))
}

gone()
{
	[[ ! -e $TMP/run/$1.sock ]]
}

cat >"$TMP/g.json" <<END_JSON
{ "name": "g", "kernel": "$GUEST_KERNEL", "initrd": "$TMP/initrd", "memory": "256M", "cpus": 2,
  "append": "$GUEST_APPEND" }
END_JSON
code 0 csvvm run "$TMP/g.json" --daemon --json
same 'the name' "$(jq -r .name "$TMP/out")" g
pid=$(jq -r .pid "$TMP/out")
same 'the socket' "$(stat -c '%a %F' "$TMP/run/g.sock")" '600 socket'
same 'the folder' "$(stat -c %a "$TMP/run")" 700
same 'in the list' "$(csvvm list --json | jq -r '"\(.name) \(.state) \(.pid) \(.cpus)"')" "g running $pid 2"
code 3 csvvm run "$TMP/g.json"
grep -q 'runs already' "$TMP/err" || fail "$(cat "$TMP/err")"
code 3 csvvm info h
code 2 csvvm info ../g

mkfifo "$TMP/typed"
csvvm console g <>"$TMP/typed" >"$TMP/console" &
csvvm events g --json >"$TMP/events" &
wait_for 300 times ready 1
echo one >"$TMP/typed"
wait_for 60 times 'got <one>' 1
# whoever comes later sees what was
code 124 timeout 5 csvvm console g --control="$TMP/run" </dev/null
tr -d '\r' <"$TMP/out" | grep -qxF 'got <one>' || fail 'the scrollback lacks it'

# a CPU that is busy stands still while it is paused
echo spin >"$TMP/typed"
before=$(cpu_ticks)
wait_for 60 runs
code 0 csvvm pause g
state paused || fail 'it is not paused'
code 1 csvvm pause g
code 1 csvvm stop g
echo two >"$TMP/typed"
before=$(cpu_ticks)
# three seconds without work, in which a busy CPU has some 300 ticks
if (wait_for 3 runs) 2>/dev/null; then
	fail 'a paused machine uses the CPU'
fi
times 'got <two>' 1 && fail 'a paused machine has answered'
code 0 csvvm resume g
wait_for 60 runs
wait_for 60 times 'got <two>' 1
code 1 csvvm resume g

echo reboot >"$TMP/typed"
wait_for 300 times ready 2
same 'reboots' "$(csvvm info g --json | jq .resets)" 1
code 0 csvvm stop g
times button 1 || fail 'the guest has not seen the button'
wait_for 10 gone g
same 'events' "$(jq -r .event "$TMP/events" | xargs)" 'paused resumed reset started powered-off'
same 'the list' "$(csvvm list --json)" ''

# killed by a command, and by the kernel
for how in command signal; do
	csvvm run "$TMP/g.json" --name=k </dev/null >"$TMP/console" &
	run=$!
	wait_for 300 times ready 1
	if [[ $how == command ]]; then
		code 0 csvvm kill k
		rc=0
		wait "$run" || rc=$?
		same 'the exit code' "$rc" 4
	else
		kill -KILL "$(csvvm info k --json | jq .pid)"
		wait "$run" || true
		same 'what is left' "$(csvvm list --json | jq -r .state)" died
		code 3 csvvm info k
	fi
done
code 0 csvvm run "$TMP/g.json" --name=k -b
code 0 csvvm kill k
wait_for 10 gone k
