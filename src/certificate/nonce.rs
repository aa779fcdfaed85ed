use std::fmt;

use crate::checksum::Hasher;
use crate::proto::{ObjectFormat, ObjectId};

/// The secret from which nonces are made (git's `receive.certNonceSeed`), so that none of them has to be kept.
///
/// A nonce is `<seconds>-<HMAC>`, with HMAC-SHA-1, or HMAC-SHA-256 for a repository of that format, of the seed under
/// the key `<directory>:<seconds>`: what git computes, which has the two the other way round than its documents say, so
/// servers of both kinds can share a seed. Nobody who does not know the seed can make one;
/// a signature over a nonce was made after it was issued.
#[derive(Clone)]
pub struct NonceSeed {
    seed: Vec<u8>,
    slop: u64,
}

/// What is known of the nonce in a certificate: git's `GIT_PUSH_CERT_NONCE_STATUS`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum NonceStatus {
    /// It is the one that was issued, or, without a connection, one of ours that is young enough.
    Ok,
    /// It is none of ours.
    Bad,
    /// The certificate has none.
    Missing,
    /// The certificate has one, and none was issued.
    Unsolicited,
    /// It is one of ours, but this many seconds older than the one that was issued last (negative if it is younger), and
    /// that is more than allowed.
    Slop(i64),
}

impl fmt::Display for NonceStatus {
    /// In git's words; the seconds of a slop are left out.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ok => "OK",
            Self::Bad => "BAD",
            Self::Missing => "MISSING",
            Self::Unsolicited => "UNSOLICITED",
            Self::Slop(_) => "SLOP",
        })
    }
}

impl NonceSeed {
    /// A seed: long, random, and the same on every server of a repository.
    pub fn new(seed: impl AsRef<[u8]>) -> Self {
        Self { seed: seed.as_ref().to_vec(), slop: 0 }
    }

    /// By how many seconds a nonce may be older, or younger, than the one that was issued last, where
    /// [`check`](Self::check) may recognize it at all (git's `receive.certNonceSlop`). Default 0: by none.
    #[must_use]
    pub fn slop(mut self, seconds: u64) -> Self {
        self.slop = seconds;
        self
    }

    /// A nonce for a push to `directory`, however the server names its repositories, at this time in seconds since 1970.
    ///
    /// ```
    /// use receive_pack::certificate::NonceSeed;
    /// use receive_pack::proto::ObjectFormat;
    ///
    /// let nonce = NonceSeed::new("sekrit").issue("/srv/demo.git", 1_700_000_000, ObjectFormat::Sha1);
    /// assert!(nonce.starts_with("1700000000-"));
    /// ```
    pub fn issue(&self, directory: impl AsRef<[u8]>, seconds: u64, format: ObjectFormat) -> String {
        let key = [directory.as_ref(), b":", seconds.to_string().as_bytes()].concat();
        format!("{seconds}-{}", hmac(&key, &self.seed, format))
    }

    /// Judges the nonce of a certificate.
    ///
    /// `issued` is what the advertisement of this very conversation said, and on a connection nothing else is
    /// [`Ok`](NonceStatus::Ok). Over stateless HTTP the push comes with a request of its own, so that the server has
    /// issued another nonce since: then `stateless` has it recognize its own by their HMAC.
    pub fn check(
        &self,
        directory: impl AsRef<[u8]>,
        format: ObjectFormat,
        issued: Option<&[u8]>,
        nonce: Option<&[u8]>,
        stateless: bool,
    ) -> NonceStatus {
        let Some(nonce) = nonce else { return NonceStatus::Missing };
        let Some(issued) = issued else { return NonceStatus::Unsolicited };
        if same(issued, nonce) {
            return NonceStatus::Ok;
        }
        let (true, Some(then), Some(now)) = (stateless, seconds(nonce), seconds(issued)) else {
            return NonceStatus::Bad;
        };
        if !same(self.issue(directory, then, format).as_bytes(), nonce) {
            return NonceStatus::Bad;
        }
        if now.abs_diff(then) <= self.slop {
            return NonceStatus::Ok;
        }
        let age = i128::from(now).saturating_sub(i128::from(then));
        NonceStatus::Slop(i64::try_from(age).unwrap_or(if age < 0 { i64::MIN } else { i64::MAX }))
    }
}

/// The seed stays secret.
impl fmt::Debug for NonceSeed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NonceSeed").field("slop", &self.slop).finish_non_exhaustive()
    }
}

/// The time in front of a nonce.
fn seconds(nonce: &[u8]) -> Option<u64> {
    let digits = nonce.split(|byte| *byte == b'-').next()?;
    let text =
        std::str::from_utf8(digits).ok().filter(|text| text.starts_with(|first: char| first.is_ascii_digit()))?;
    text.parse().ok()
}

/// Compares without telling by its time how much was the same.
fn same(a: &[u8], b: &[u8]) -> bool {
    a.len() == b.len() && a.iter().zip(b).fold(0, |differ, (a, b)| differ | (a ^ b)) == 0
}

/// HMAC (RFC 2104) with the hash of an object format.
fn hmac(key: &[u8], text: &[u8], format: ObjectFormat) -> ObjectId {
    // Of SHA-1 and of SHA-256.
    const BLOCK: usize = 64;
    let hash = |parts: [&[u8]; 2]| {
        let mut hasher = Hasher::new(format);
        parts.iter().for_each(|part| hasher.update(part));
        // A plain hasher sees no collisions.
        hasher.finish().unwrap_or(ObjectId::zero(format))
    };
    let long = (key.len() > BLOCK).then(|| hash([key, b""]));
    let key = long.as_ref().map_or(key, ObjectId::as_bytes);
    let pad = |byte: u8| {
        let mut block = [byte; BLOCK];
        block.iter_mut().zip(key).for_each(|(pad, key)| *pad ^= key);
        block
    };
    let inner = hash([&pad(0x36), text]);
    hash([&pad(0x5c), inner.as_bytes()])
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHA1: ObjectFormat = ObjectFormat::Sha1;

    #[test]
    fn hmac_is_that_of_rfc_2202() {
        let hex = |key: &[u8], text: &[u8]| hmac(key, text, SHA1).to_string();
        assert_eq!(hex(&[0x0b; 20], b"Hi There"), "b617318655057264e28bc0b6fb378c8ef146be00");
        assert_eq!(hex(b"Jefe", b"what do ya want for nothing?"), "effcdf6ae5eb2fa2d27416d5f184df9c259a7c79");
        let long = hex(&[0xaa; 80], b"Test Using Larger Than Block-Size Key - Hash Key First");
        assert_eq!(long, "aa4ae5e15272d00e95705637ce8a3b55ed402112");
    }

    #[cfg(feature = "sha256")]
    #[test]
    fn hmac_is_that_of_rfc_4231() {
        let hex = |key: &[u8], text: &[u8]| hmac(key, text, ObjectFormat::Sha256).to_string();
        assert_eq!(hex(&[0x0b; 20], b"Hi There"), "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7");
        assert_eq!(
            hex(&[0xaa; 131], b"Test Using Larger Than Block-Size Key - Hash Key First"),
            "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54"
        );
    }

    #[test]
    fn on_a_connection_only_the_issued_nonce_is_good() {
        let seed = NonceSeed::new("s").slop(60);
        let (old, new) = (seed.issue("/a", 1000, SHA1), seed.issue("/a", 1001, SHA1));
        let check = |issued: Option<&str>, nonce: Option<&str>| {
            seed.check("/a", SHA1, issued.map(str::as_bytes), nonce.map(str::as_bytes), false)
        };
        assert_eq!(check(Some(&new), Some(&new)), NonceStatus::Ok);
        assert_eq!(check(Some(&new), Some(&old)), NonceStatus::Bad);
        assert_eq!(check(Some(&new), None), NonceStatus::Missing);
        assert_eq!(check(None, Some(&new)), NonceStatus::Unsolicited);
    }

    #[test]
    fn without_a_connection_ours_are_known_by_their_hmac_and_judged_by_their_age() {
        let seed = NonceSeed::new("s").slop(60);
        let issued = seed.issue("/a", 1000, SHA1);
        let check = |nonce: &str| seed.check("/a", SHA1, Some(issued.as_bytes()), Some(nonce.as_bytes()), true);
        assert_eq!(check(&seed.issue("/a", 940, SHA1)), NonceStatus::Ok);
        assert_eq!(check(&seed.issue("/a", 1060, SHA1)), NonceStatus::Ok);
        assert_eq!(check(&seed.issue("/a", 939, SHA1)), NonceStatus::Slop(61));
        assert_eq!(check(&seed.issue("/a", 1061, SHA1)), NonceStatus::Slop(-61));
        assert_eq!(check(&seed.issue("/a", u64::MAX, SHA1)), NonceStatus::Slop(i64::MIN));
        for bad in [&seed.issue("/b", 1000, SHA1), &NonceSeed::new("t").issue("/a", 990, SHA1), "990", "990-", "-", ""]
        {
            assert_eq!(check(bad), NonceStatus::Bad, "{bad}");
        }
        let strict = NonceSeed::new("s");
        let nonce = strict.issue("/a", 999, SHA1);
        let status = strict.check("/a", SHA1, Some(issued.as_bytes()), Some(nonce.as_bytes()), true);
        assert_eq!(status, NonceStatus::Slop(1));
    }
}
