//! Names that nothing else has.

use std::hash::{BuildHasher, Hasher as _};
use std::io;

use crate::checksum::Hasher;
use crate::proto::ObjectId;

/// Letters and digits that no other call gives, for names of temporary files: those who mind a clash create with
/// `O_EXCL`.
pub(crate) fn unique_suffix() -> String {
    // The standard library seeds this from the operating system, and each new one differently.
    let mut hasher = std::collections::hash_map::RandomState::new().build_hasher();
    hasher.write_u32(std::process::id());
    let mut number = hasher.finish();
    let mut suffix = String::with_capacity(8);
    for _ in 0..8 {
        let digit = u32::try_from(number % 36).unwrap_or_default();
        suffix.push(char::from_digit(digit, 36).unwrap_or('0'));
        number /= 36;
    }
    suffix
}

/// `pack-<id>`, without an ending: a name that no other pack has, has had, or will have.
///
/// git names a pack by its checksum. Two pushes of the same pack would then share its files and what keeps them; and whoever
/// is about to remove an older pack of the name removes the files by that name, whoever put them there.
pub(crate) fn pack_name(checksum: &ObjectId) -> io::Result<String> {
    let mut hasher = Hasher::new(checksum.format());
    hasher.update(checksum.as_bytes());
    hasher.update(unique_suffix().as_bytes());
    Ok(format!("pack-{}", hasher.finish().map_err(io::Error::other)?))
}
