//! Names that nothing else has.

use std::hash::{BuildHasher, Hasher as _};

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

/// What nobody else comes up with, on any host, not even on the copy of a machine that was asleep.
#[cfg(feature = "object-store")]
pub(crate) fn unique_id() -> String {
    use std::fmt::Write as _;

    let mut bytes = [0; 16];
    // Where the operating system has none, what the process was given when it began must do.
    if getrandom::fill(&mut bytes).is_err() {
        return [(); 4].map(|()| unique_suffix()).concat();
    }
    let mut id = String::with_capacity(32);
    for byte in bytes {
        // A string takes all that is written.
        let _ = write!(id, "{byte:02x}");
    }
    id
}
