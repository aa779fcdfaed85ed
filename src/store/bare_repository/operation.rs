use std::io;
use std::path::Path;

/// One operation on files, as a [`Hook`] sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Operation<'a> {
    CreateDir(&'a Path),
    CreateNew(&'a Path),
    OpenAppend(&'a Path),
    Write {
        path: &'a Path,
        offset: u64,
        data: &'a [u8],
    },
    SetLen(&'a Path),
    SetModified(&'a Path),
    Sync(&'a Path),
    SyncDir(&'a Path),
    Rename {
        from: &'a Path,
        to: &'a Path,
    },
    ReadOnly(&'a Path),
    /// A new file or directory of a shared repository gets its permissions.
    Share(&'a Path),
    Remove(&'a Path),
    RemoveDir(&'a Path),
    RemoveAll(&'a Path),
    /// A lock is asked for that other processes see.
    Lock(&'a Path),
    /// A file or a directory is opened to be read.
    Open(&'a Path),
    /// Some of it is read.
    Read(&'a Path),
    /// What is there is asked, or where a symbolic link leads.
    Look(&'a Path),
}

impl Operation<'_> {
    /// Whether anything is different afterwards.
    pub(crate) fn is_change(&self) -> bool {
        !matches!(self, Self::Lock(_) | Self::Open(_) | Self::Read(_) | Self::Look(_))
    }
}

/// Sees every operation before it happens; an error takes its place.
pub(crate) trait Hook: Send + Sync {
    fn before(&self, operation: &Operation<'_>) -> io::Result<()>;
}
