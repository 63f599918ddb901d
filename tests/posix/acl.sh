#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Access control lists: they decide, also against the mode; they and the mode follow each other; default
# lists are inherited instead of the umask; they outlive a mount.
source "$(dirname "$0")/../lib.sh"
source "$(dirname "$0")/posix.bash"
need setfacl getfacl setpriv

# as UID GID CMD…
as()
{
	local uid=$1 gid=$2
	shift 2
	setpriv --reuid "$uid" --regid "$gid" --clear-groups -- "$@"
}

acl()
{
	getfacl --no-effective --omit-header --absolute-names --numeric "$@" 2>/dev/null | sed '/^$/d'
}

single_up 1G
cd "$MNT"
chmod 755 .
echo text >file
chmod 600 file
refuse as 1001 1001 cat file

setfacl -m u:1001:r,g:1002:rw file
same 'for the user' "$(as 1001 1001 cat file)" text
refuse as 1001 1001 sh -c 'echo more >>file'
as 1003 1002 sh -c 'echo more >>file'
refuse as 1003 1003 cat file
same 'mode' "$(stat -c %a file)" 660
same 'list' "$(acl file)" $'user::rw-\nuser:1001:r--\ngroup::---\ngroup:1002:rw-\nmask::rw-\nother::---'

chmod 640 file # the mask
refuse as 1003 1002 sh -c 'echo more >>file'
same 'mask' "$(acl file | grep mask)" 'mask::r--'
chmod 600 file
refuse as 1001 1001 cat file
setfacl -m m::r file
same 'mode of the mask' "$(stat -c %a file)" 640
same 'for the user again' "$(as 1001 1001 head -n 1 file)" text
setfacl -b file
same 'no list' "$(acl file)" $'user::rw-\ngroup::---\nother::---'
refuse as 1001 1001 cat file
same 'no attribute' "$(getfattr -m - file)" ''

# Only the owner sets it.
refuse as 1001 1001 setfacl -m u:1001:rw file
chown 1001 file
as 1001 1001 setfacl -m u:1004:r file

# Default lists.
mkdir -m 755 dir
setfacl -d -m u:1001:rwx,g::rx,o::- dir
umask 077
echo text >dir/new
mkdir dir/sub
umask 022
same 'mode of a new file' "$(stat -c %a dir/new)" 660
same 'mode of a new directory' "$(stat -c %a dir/sub)" 770
same 'list of a new file' "$(acl dir/new)" $'user::rw-\nuser:1001:rwx\ngroup::r-x\nmask::rw-\nother::---'
same 'default list, passed on' "$(acl -d dir/sub)" "$(acl -d dir)"
as 1001 1001 sh -c 'echo more >>dir/new; touch dir/sub/mine'
mkdir plain
(umask 027; touch plain/f; mkdir plain/d; mkfifo plain/p)
same 'without one the umask' "$(stat -c %a plain/f plain/d plain/p | paste -sd' ')" '640 750 640'
refuse setfacl -d -m u:1001:r file

# Set-group-id goes when an owner who is not in the group sets a list.
touch sgid
chown 1001:1002 sgid
chmod 2755 sgid
as 1001 1001 setfacl -m u:1005:r sgid
same 'set-group-id' "$(stat -c %a sgid)" 755
chmod 2755 sgid
as 1001 1002 setfacl -m u:1006:r sgid
same 'set-group-id of a member' "$(stat -c %a sgid)" 2755

before=$(acl -R dir)
cd /
single_umount
single_mount
cd "$MNT"
same 'after a mount' "$(acl -R dir)" "$before"
cp -a dir copy
same 'copied' "$(cd copy && acl .)" "$(cd dir && acl .)"
cd /
single_clean
