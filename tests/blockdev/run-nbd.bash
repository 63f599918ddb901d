#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# The NBD backend against nbdkit and qemu-nbd.
#
#   run-nbd.bash CONFORMANCE RESTART memory|file|bare|qemu|psk|x509|restart|restart-qemu|restart-tls|errors
#
# memory, file: nbdkit over TCP and over a Unix socket
# bare: one without write-zeroes, with blocks of 4096 and requests of at most 64 KiB
# psk, x509: over TLS
# restart*: the server is killed under a verifying load and started again
# errors: what people read when it does not work
set -euo pipefail

conformance=$1
restart=$2
what=$3
tmp=$(mktemp -d "${TEST_TMPDIR:-/var/tmp}/csvfs-nbd.XXXXXX")
server_pid=
load_pid=

cleanup()
{
	local rc=$?
	trap - EXIT
	[[ -z $load_pid ]] || kill -9 "$load_pid" 2>/dev/null || true
	[[ -z $server_pid ]] || kill -9 "$server_pid" 2>/dev/null || true
	wait 2>/dev/null || true
	if [[ $rc != 0 && $rc != 77 ]]; then
		grep -v '^ops' "$tmp/load.log" 2>/dev/null | tail -30 >&2 || true
		tail -20 "$tmp/server.log" >&2 2>/dev/null || true
	fi
	rm -rf --one-file-system "$tmp"
	exit "$rc"
}
trap cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

need()
{
	local tool
	for tool; do
		command -v "$tool" >/dev/null || {
			echo "skipped: needs $tool (packages nbdkit, qemu-utils, gnutls-bin)"
			exit 77
		}
	done
}

fail()
{
	echo "failed: $*" >&2
	exit 1
}

# wait_for SECONDS COMMAND...: until it succeeds
wait_for()
{
	local until=$((SECONDS + $1))
	shift
	until "$@" >/dev/null 2>&1; do
		((SECONDS < until)) || fail "waited in vain for: $*"
		sleep 0.05
	done
}

listens() { (: <"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

free_port()
{
	local p
	while :; do
		p=$((20000 + RANDOM % 12000))
		listens "$p" || break
	done
	echo "$p"
}

port=$(free_port)
sock=$tmp/sock
tcp_uri=nbd://127.0.0.1:$port/
unix_uri="nbd+unix:///?socket=$sock"
tls_uri=nbds://alice@127.0.0.1:$port/

server()
{
	"$@" >>"$tmp/server.log" 2>&1 &
	server_pid=$!
}

tcp_server()
{
	server "$@"
	wait_for 10 listens "$port"
}

unix_server()
{
	rm -f "$sock"
	server "$@"
	wait_for 10 test -S "$sock"
}

stop_server()
{
	kill -9 "$server_pid"
	wait "$server_pid" 2>/dev/null || true
	server_pid=
}

kit_tcp() { tcp_server nbdkit -f -i 127.0.0.1 -p "$port" "$@"; }
kit_unix() { unix_server nbdkit -f -U "$sock" "$@"; }
kit_psk() { kit_tcp --tls=require "--tls-psk=$tmp/keys" "$@"; }
qemu_tcp() { tcp_server qemu-nbd -t -e 16 -f raw -b 127.0.0.1 -p "$port" "$tmp/disk"; }
qemu_unix() { unix_server qemu-nbd -t -e 16 -f raw -k "$sock" "$tmp/disk"; }
make_keys() { psktool -u alice -p "$tmp/keys" >/dev/null && chmod 600 "$tmp/keys"; }

# ---- the verifying load ----

ops() { grep '^ops' "$tmp/load.log" | tail -1 | cut -d' ' -f2; }
load_did() { [[ $(ops) -ge $1 ]]; }
load_moves() { wait_for 30 load_did $(($(ops) + $1)); }
load_says() { wait_for "$2" grep -q "$1" "$tmp/load.log"; }
forget_load_log() { : >"$tmp/load.log"; }

# restarts START_SERVER [LOAD_OPTION...] URI
restarts()
{
	local start=$1 rc=0
	shift
	"$start" file "$tmp/disk"
	"$restart" -q 3 "$@" 120 >>"$tmp/load.log" 2>&1 &
	load_pid=$!
	wait_for 20 load_did 100
	for _ in 1 2 3; do
		load_moves 500
		stop_server
		load_says 'no path yet' 10
		forget_load_log
		"$start" file "$tmp/disk"
		load_says 'path is back' 20
		load_moves 500
	done
	kill -TERM "$load_pid"
	wait "$load_pid" || rc=$?
	load_pid=
	[[ $rc == 0 ]] || fail "the load ended with $rc"
	grep -q '^all right' "$tmp/load.log" || fail "the load says nothing"
}

# refused PATTERN [OPTION...] URI: opening fails with a sentence that has PATTERN
refused()
{
	local pattern=$1 out
	shift
	out=$("$restart" "$@" 1 2>&1) && fail "$* could be opened"
	grep -q "$pattern" <<<"$out" || fail "$*: no \"$pattern\" in: $out"
}

# A certificate for the name "localhost".
make_certificates()
{
	mkdir "$tmp/pki"
	cat >"$tmp/pki/ca.info" <<-END
		cn = csvfs test
		ca
		cert_signing_key
		expiration_days = 30
	END
	cat >"$tmp/pki/server.info" <<-END
		cn = localhost
		dns_name = localhost
		tls_www_server
		encryption_key
		signing_key
		expiration_days = 30
	END
	(
		cd "$tmp/pki"
		certtool --generate-privkey --outfile ca-key.pem
		certtool --generate-self-signed --load-privkey ca-key.pem --template ca.info \
			--outfile ca-cert.pem
		certtool --generate-privkey --outfile server-key.pem
		certtool --generate-certificate --load-ca-certificate ca-cert.pem \
			--load-ca-privkey ca-key.pem --load-privkey server-key.pem \
			--template server.info --outfile server-cert.pem
		mkdir client
		cp ca-cert.pem client/
	) >"$tmp/certtool.log" 2>&1
}

truncate -s 64M "$tmp/disk"
case $what in
memory)
	need nbdkit
	kit_tcp memory 64M
	"$conformance" --require flush,fua,discard,zeroes,cheap,global "$tcp_uri"
	;;
file)
	need nbdkit
	kit_unix file "$tmp/disk"
	"$conformance" --require flush,fua,zeroes "$unix_uri"
	"$conformance" --require flush,fua,zeroes "stats|fault|crash|$unix_uri"
	;;
bare)
	need nbdkit
	kit_tcp --filter=nozero --filter=blocksize-policy memory 64M zeromode=none \
		blocksize-minimum=4096 blocksize-preferred=4096 \
		blocksize-maximum=64k blocksize-error-policy=error
	"$conformance" "$tcp_uri"
	;;
qemu)
	need qemu-nbd
	qemu_tcp
	"$conformance" --require flush,fua,discard,zeroes "$tcp_uri"
	stop_server
	qemu_unix
	"$conformance" --require flush,fua,discard,zeroes "$unix_uri"
	;;
psk)
	need nbdkit psktool
	make_keys
	kit_psk memory 64M
	"$conformance" --psk-file "$tmp/keys" "$tls_uri"
	"$conformance" --only sizes "$tls_uri?tls-psk-file=$tmp/keys"
	;;
x509)
	need nbdkit certtool
	make_certificates
	kit_tcp --tls=require "--tls-certificates=$tmp/pki" memory 64M
	"$conformance" "nbds://localhost:$port/?tls-certificates=$tmp/pki/client"
	# the certificate is another name's
	refused 'agree on TLS' "nbds://127.0.0.1:$port/?tls-certificates=$tmp/pki/client"
	"$conformance" --only sizes \
		"nbds://127.0.0.1:$port/?tls-certificates=$tmp/pki/client&tls-verify-peer=false"
	;;
restart)
	need nbdkit
	restarts kit_tcp "$tcp_uri"
	;;
restart-qemu)
	need qemu-nbd
	restarts qemu_unix "$unix_uri"
	;;
restart-tls)
	need nbdkit psktool
	make_keys
	restarts kit_psk -k "$tmp/keys" "$tls_uri"
	;;
errors)
	need nbdkit qemu-nbd psktool
	refused 'Connection refused' "$tcp_uri"
	refused 'no host "nosuchhost.invalid"' nbd://nosuchhost.invalid/
	refused "can't connect to $sock" "$unix_uri"
	refused 'socket is missing' nbd+unix:///x
	refused 'host is missing' nbd:///x
	qemu_tcp
	refused 'has no export "none"' "${tcp_uri}none"
	refused 'agree on TLS' "$tls_uri"
	stop_server
	make_keys
	kit_psk memory 64M
	refused 'insist on TLS' "$tcp_uri"
	refused 'agree on TLS.*bob' -k "$tmp/keys" "nbds://bob@127.0.0.1:$port/"
	refused "can't read the PSK file" -k "$tmp/nokeys" "$tls_uri"
	mv "$tmp/keys" "$tmp/oldkeys"
	make_keys
	refused 'agree on TLS' -k "$tmp/oldkeys" "$tls_uri"
	;;
*)
	echo "unknown: $what" >&2
	exit 2
	;;
esac
echo "ok: $what"
