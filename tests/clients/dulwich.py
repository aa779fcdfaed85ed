"""Pushes with dulwich: REPOSITORY URL REFSPEC... The reasons of refused refs go to standard output."""
import os
import sys

# This file is named as the package is: its own directory must not be searched.
sys.path.pop(0)

from dulwich.client import get_transport_and_path
from dulwich.objects import ZERO_SHA
from dulwich.repo import Repo

directory, url, *refspecs = sys.argv[1:]
repository = Repo(directory)
wanted = {}
for refspec in refspecs:
    source, target = refspec.encode().split(b":")
    wanted[target] = repository.refs[source] if source else ZERO_SHA

options = {"ssh_command": os.environ["GIT_SSH_COMMAND"]} if url.startswith("ssh:") else {}
client, path = get_transport_and_path(url, **options)
result = client.send_pack(path, lambda refs: wanted, repository.object_store.generate_pack_data)
refused = {name: reason for name, reason in (result.ref_status or {}).items() if reason}
for name, reason in refused.items():
    print(f"{name.decode()}: {reason}")
sys.exit(bool(refused))
