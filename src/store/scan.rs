use crate::Error;
use crate::proto::{ObjectId, ObjectKind};

/// Looks at every object that a push brings while its deltas are resolved: the cheapest way to see all of them, for each
/// is made anyway and none is made twice.
///
/// A whole object of up to 64 KiB is shown as soon as it has arrived, so that a refusal may come in the middle of the
/// upload; objects that come as deltas, longer ones, and the few that take more than 128 KiB of the pack all the same, when
/// the pack is in. No name goes with a blob: it may have many
/// and, in a push, none that is known yet.
///
/// ```
/// use receive_pack::Error;
/// use receive_pack::proto::{ObjectId, ObjectKind};
/// use receive_pack::store::Scan;
///
/// struct NoKeys;
///
/// impl Scan for NoKeys {
///     fn object(&self, kind: ObjectKind, _: &ObjectId, data: &[u8]) -> Result<(), Error> {
///         const KEY: &[u8] = b"-----BEGIN OPENSSH PRIVATE KEY-----";
///         let found = kind == ObjectKind::Blob && data.windows(KEY.len()).any(|window| window == KEY);
///         if found { Err(Error::refused("a private key is in it")) } else { Ok(()) }
///     }
/// }
/// ```
pub trait Scan: Send + Sync + 'static {
    /// The longest blob that is shown, in bytes. Default 1 MiB; at most 8 MiB, for longer ones are never whole in memory.
    fn max_blob(&self) -> u64 {
        1 << 20
    }

    /// Sees one object. Called from several threads at once, in no order; on blocking threads where the store has them.
    /// An object that stands twice in the pack is shown twice; the bases of a thin pack, which the repository has, are
    /// not shown.
    ///
    /// # Errors
    ///
    /// A [refusal](Error::refused) refuses the push in its words; any other remote error makes it an unpack error, a
    /// local one is the server's own trouble. Nothing more is shown then, but for what other threads have in hand.
    fn object(&self, kind: ObjectKind, id: &ObjectId, data: &[u8]) -> Result<(), Error>;
}
