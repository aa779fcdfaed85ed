use std::path::Path;

use super::Refs;
use super::loose::{self, Loose};
use super::store::unreadable;
use crate::Error;
use crate::proto::ObjectId;
use crate::store::bare_repository::fs::is_absent;

impl Refs {
    /// The branches that somebody would see change under them: those that work trees have checked out, are rebasing, or
    /// are bisecting (gitrepository-layout, `HEAD` and `worktrees`). A bare repository has none but linked work trees.
    pub(crate) fn branches_of_work_trees(&self, is_bare: bool) -> Result<Vec<Vec<u8>>, Error> {
        let mut branches = Vec::new();
        if !is_bare {
            self.add_branches_of(&self.git_dir, &mut branches)?;
        }
        let linked = match self.fs.read_dir(&self.git_dir.join("worktrees")) {
            Ok(linked) => linked,
            Err(error) if is_absent(&error) => return Ok(branches),
            Err(error) => return Err(unreadable(error)),
        };
        for entry in linked {
            let dir = entry.map_err(unreadable)?.path();
            // Without it git knows of no work tree.
            if self.text(&dir.join("gitdir"))?.is_some() {
                self.add_branches_of(&dir, &mut branches)?;
            }
        }
        Ok(branches)
    }

    fn add_branches_of(&self, dir: &Path, branches: &mut Vec<Vec<u8>>) -> Result<(), Error> {
        match loose::read(&self.fs, dir, b"HEAD", self.format).map_err(unreadable)? {
            Some(Loose::Symbolic(name)) => branches.push(self.resolve(&name)?.name),
            Some(Loose::Id(_)) => {
                branches.extend(self.rebased(dir)?);
                branches.extend(self.bisected(dir)?);
            }
            Some(Loose::Broken) | None => {}
        }
        Ok(())
    }

    fn rebased(&self, dir: &Path) -> Result<Option<Vec<u8>>, Error> {
        let exists = |path: &Path| self.fs.exists(path).map_err(unreadable);
        let patches = dir.join("rebase-apply");
        if !exists(&patches)? {
            return self.branch(&dir.join("rebase-merge/head-name"));
        }
        // `git am` works on the branch that is checked out.
        if exists(&patches.join("applying"))? { Ok(None) } else { self.branch(&patches.join("head-name")) }
    }

    fn bisected(&self, dir: &Path) -> Result<Option<Vec<u8>>, Error> {
        let under_way = self.fs.exists(&dir.join("BISECT_LOG")).map_err(unreadable)?;
        if under_way { self.branch(&dir.join("BISECT_START")) } else { Ok(None) }
    }

    /// The branch that a file names, with `refs/heads/` or without. Where it was none the file has an id, or `detached
    /// HEAD`, and no branch can be called so.
    fn branch(&self, path: &Path) -> Result<Option<Vec<u8>>, Error> {
        let Some(text) = self.text(path)? else { return Ok(None) };
        if ObjectId::from_hex(self.format, &text).is_some() {
            return Ok(None);
        }
        let name = text.strip_prefix(b"refs/heads/").unwrap_or(&text);
        Ok(Some([b"refs/heads/", name].concat()))
    }

    /// What a file says, without the line feeds at its end; `None` if there is nothing.
    fn text(&self, path: &Path) -> Result<Option<Vec<u8>>, Error> {
        let Some(mut text) = self.fs.read_if_there(path).map_err(unreadable)? else { return Ok(None) };
        while text.last() == Some(&b'\n') {
            text.pop();
        }
        Ok((!text.is_empty()).then_some(text))
    }
}
