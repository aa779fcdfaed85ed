use std::io;
use std::path::PathBuf;

use super::fs::{File, Fs, unique_suffix};
use crate::store::index::{Aside, AsideFile};

/// Puts large objects of a push aside in its quarantine, in files that have no name any more.
#[derive(Debug)]
pub(super) struct Quarantined {
    pub(super) fs: Fs,
    pub(super) directory: PathBuf,
}

impl Aside for Quarantined {
    fn file(&self) -> io::Result<Box<dyn AsideFile>> {
        loop {
            let path = self.directory.join(format!("tmp_spool_{}", unique_suffix()));
            match self.fs.create_new(&path) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                opened => {
                    let file = opened?;
                    self.fs.remove(&path)?;
                    return Ok(Box::new(file));
                }
            }
        }
    }
}

impl AsideFile for File {
    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        File::write_all_at(self, bytes, offset)
    }
}
