"""Pushes with libgit2: REPOSITORY URL REFSPEC... The reasons of refused refs go to standard output."""
import os
import sys

import pygit2


class Callbacks(pygit2.RemoteCallbacks):
    refused = False

    def push_update_reference(self, refname, message):
        if message:
            self.refused = True
            print(f"{refname}: {message}")

    def credentials(self, url, username_from_url, allowed_types):
        key = os.environ["CLIENT_KEY"]
        return pygit2.Keypair(username_from_url, key + ".pub", key, "")

    def certificate_check(self, certificate, valid, host):
        return True


repository, url, *refspecs = sys.argv[1:]
callbacks = Callbacks()
pygit2.Repository(repository).remotes.create_anonymous(url).push(refspecs, callbacks=callbacks)
sys.exit(callbacks.refused)
