//! Whether objects are what Git says that they are: the rules of `git fsck`, as `receive.fsckObjects` has them checked in
//! a push. No I/O: bytes in, [`Finding`]s out.
//!
//! [`Checks`] says which rules hold and how severe each is; [`Checks::object`] looks at one object. The files
//! `.gitmodules` and `.gitattributes` are looked into as well, but only a tree knows which blobs they are: their ids are
//! gathered in [`Findings`], and when all trees were seen [`Checks::special_file`] looks at each.
//!
//! The stores do all that with their setting `check_objects`, while they resolve the deltas of a push.
//!
//! ```
//! use receive_pack::fsck::{Checks, Findings, Message};
//! use receive_pack::proto::{ObjectFormat, ObjectId, ObjectKind};
//!
//! let id = ObjectId::zero(ObjectFormat::Sha1);
//! let mut tree = b"100644 .git\0".to_vec();
//! tree.extend_from_slice(&[7; 20]);
//!
//! let mut found = Findings::default();
//! Checks::new().object(ObjectKind::Tree, &id, &tree, &mut found);
//! let error = found.error().expect("no tree may hold a .git");
//! assert_eq!(error.message(), Message::HasDotgit);
//! assert_eq!(error.to_string(), format!("object {id}: hasDotgit: contains '.git'"));
//! ```
//!
//! # Where it differs from git
//!
//! - A `.gitattributes` or `.gitmodules` that is larger than the caller is willing to read is too large; git reads the
//!   one up to 100 MiB and the other up to `core.bigFileThreshold`.
//! - A tag whose tagger is malformed and that has more headers is refused; git forgets the first error at the second.
//! - Of an object that breaks a rule many times it is told once, at the first of them; git tells of many each time.
//! - A `.gitmodules` may begin with a byte order mark, as for everybody who clones; git cannot read it here.
//! - A pack that holds an object twice breaks no rule of these: they are about single objects. Git's index-pack refuses it
//!   where objects are checked, its unpack-objects takes it. Here `BareRepository` refuses it in any case, and
//!   `MemoryStore` takes it.
//! - Where objects are checked, git refuses a pack one of whose objects links to what is nowhere. Here such a link matters
//!   if a ref leads to it, and then it does so without checks as well.
//!
//! # Cancel safety
//!
//! Nothing here is async.

mod checks;
mod finding;
mod header;
mod message;
mod modules;
mod name;
mod tree;
mod url;

pub use checks::{Checks, SpecialContent};
pub use finding::{Finding, Findings, SpecialFile};
pub use message::{Message, Severity};
