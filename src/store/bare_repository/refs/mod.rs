//! The refs of a repository in the files format: one file per ref below `refs/` (*loose*), and `packed-refs`.
//!
//! Everything here keeps git's own protocol for these files, so stock git may read and write beside it:
//!
//! - a ref changes only while `<ref>.lock`, created with `O_EXCL`, is held; the new value is written into the lock
//!   file, made durable, and renamed into place;
//! - `packed-refs` changes only while `packed-refs.lock` is held; its new text is written to `packed-refs.new` and
//!   renamed into place; if it is a symbolic link, all three are where it leads;
//! - a loose ref hides the packed one of the same name, so a deletion first takes the name out of `packed-refs` (and
//!   makes that durable), then removes the file;
//! - several locks are taken in the order of the names, `packed-refs.lock` after them.
//!
//! A lock file of a process that died stays where it is, as with git: nobody can tell whether its owner is alive, and
//! stealing a lock of a living one loses updates. The ref is refused (`Unable to create … File exists`, with the age of
//! the lock if it is minutes old) until somebody removes the file. Our own are removed when they are dropped, also while a thread panics.

mod atomic;
mod commit;
mod lock;
mod loose;
pub(crate) mod name;
mod packed;
mod prepare;
mod reflog;
mod refusal;
mod store;
#[cfg(test)]
mod tests;
mod transaction;
mod work_trees;

pub(crate) use reflog::{Logging, Reflog};
pub(crate) use refusal::{Reason, Refusal};
pub(crate) use store::{Refs, RefsOptions, Resolved, Value};
pub(crate) use transaction::{Mode, Update};
