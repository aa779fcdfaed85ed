use std::fmt;

/// The hash that names the objects of a repository (`extensions.objectFormat` in gitprotocol-capabilities).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum ObjectFormat {
    /// SHA-1: ids of 20 bytes.
    #[default]
    Sha1,
    /// SHA-256: ids of 32 bytes.
    #[cfg(feature = "sha256")]
    Sha256,
}

impl ObjectFormat {
    /// The length of an id in bytes: 20 or 32.
    #[allow(clippy::len_without_is_empty, reason = "the length of an id, which is never empty")]
    pub const fn len(self) -> usize {
        match self {
            Self::Sha1 => 20,
            #[cfg(feature = "sha256")]
            Self::Sha256 => 32,
        }
    }

    /// The length of an id in hexadecimal digits: 40 or 64.
    pub const fn hex_len(self) -> usize {
        self.len().saturating_mul(2)
    }

    /// The name that `object-format=` and `extensions.objectFormat` use.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Sha1 => "sha1",
            #[cfg(feature = "sha256")]
            Self::Sha256 => "sha256",
        }
    }

    /// The format of this name, if this build knows it.
    pub fn from_name(name: &[u8]) -> Option<Self> {
        match name {
            b"sha1" => Some(Self::Sha1),
            #[cfg(feature = "sha256")]
            b"sha256" => Some(Self::Sha256),
            _ => None,
        }
    }
}

/// The name of an object: a hash of 20 or 32 bytes.
///
/// In commands the *zero id* stands for "does not exist" (gitprotocol-pack, "Reference Update Request").
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ObjectId {
    // The bytes come first: ids are ordered by their bytes, as an index orders them. Unused bytes are zero.
    bytes: [u8; 32],
    format: ObjectFormat,
}

impl ObjectId {
    /// The zero id of a format.
    pub const fn zero(format: ObjectFormat) -> Self {
        Self { bytes: [0; 32], format }
    }

    /// An id from its bytes: 20 of them, or 32 with the feature `sha256`; `None` for any other number.
    pub fn from_bytes(raw: &[u8]) -> Option<Self> {
        let format = match raw.len() {
            20 => ObjectFormat::Sha1,
            #[cfg(feature = "sha256")]
            32 => ObjectFormat::Sha256,
            _ => return None,
        };
        let mut bytes = [0; 32];
        bytes.get_mut(..raw.len())?.copy_from_slice(raw);
        Some(Self { bytes, format })
    }

    /// An id from hexadecimal digits of either case, as many as `format` has; `None` for anything else.
    pub fn from_hex(format: ObjectFormat, hex: &[u8]) -> Option<Self> {
        if hex.len() != format.hex_len() {
            return None;
        }
        let mut bytes = [0; 32];
        for (byte, pair) in bytes.iter_mut().zip(hex.chunks_exact(2)) {
            let [high, low] = pair else { return None };
            *byte = (nibble(*high)? << 4) | nibble(*low)?;
        }
        Some(Self { bytes, format })
    }

    /// The bytes: 20 or 32.
    pub fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..self.format.len()).unwrap_or(&self.bytes)
    }

    /// The format that the id belongs to.
    pub const fn format(&self) -> ObjectFormat {
        self.format
    }

    /// Whether this is the zero id.
    pub fn is_zero(&self) -> bool {
        self.bytes == [0; 32]
    }
}

fn nibble(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit.wrapping_sub(b'0')),
        b'a'..=b'f' => Some(digit.wrapping_sub(b'a').wrapping_add(10)),
        b'A'..=b'F' => Some(digit.wrapping_sub(b'A').wrapping_add(10)),
        _ => None,
    }
}

/// Prints the id in lower-case hexadecimal digits.
impl fmt::Display for ObjectId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let mut hex = [0; 64];
        for (pair, byte) in hex.chunks_exact_mut(2).zip(self.as_bytes()) {
            if let [high, low] = pair {
                *high = DIGITS.get(usize::from(byte >> 4)).copied().unwrap_or_default();
                *low = DIGITS.get(usize::from(byte & 15)).copied().unwrap_or_default();
            }
        }
        f.write_str(std::str::from_utf8(hex.get(..self.format.hex_len()).unwrap_or(&hex)).unwrap_or_default())
    }
}

impl fmt::Debug for ObjectId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ObjectId({self})")
    }
}
