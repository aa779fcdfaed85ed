// Pushes with isomorphic-git: REPOSITORY URL REFSPEC. The reason of a refusal goes to standard output.
const fs = require('fs')
const git = require('isomorphic-git')
const http = require('isomorphic-git/http/node')

const [gitdir, url, refspec] = process.argv.slice(2)
const [ref, remoteRef] = refspec.split(':')
const where = ref ? { ref, remoteRef } : { ref: 'refs/heads/main', remoteRef, delete: true }

git.push({ fs, http, gitdir, url, ...where }).then(
  (result) => process.exit(result.ok ? 0 : 1),
  (error) => {
    console.log(error.message, JSON.stringify(error.data))
    process.exit(1)
  }
)
