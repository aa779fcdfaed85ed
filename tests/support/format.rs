//! The object format of the tests, and ids in it.

use receive_pack::proto::{ObjectFormat, ObjectId};

/// The format that tests take where they name none: SHA-1, or the one that `RECEIVE_PACK_TEST_FORMAT` names in the
/// environment, so that the same tests run again in repositories of the other kind.
#[track_caller]
pub fn format() -> ObjectFormat {
    match std::env::var("RECEIVE_PACK_TEST_FORMAT") {
        Ok(name) => ObjectFormat::from_name(name.as_bytes())
            .unwrap_or_else(|| panic!("this build does not know the object format {name}")),
        Err(_) => ObjectFormat::Sha1,
    }
}

/// Whether [`format()`] is SHA-1; what is about SHA-1 alone has nothing to test otherwise.
pub fn is_sha1() -> bool {
    format() == ObjectFormat::Sha1
}

/// Every format that this build has.
pub fn formats() -> Vec<ObjectFormat> {
    vec![
        ObjectFormat::Sha1,
        #[cfg(feature = "sha256")]
        ObjectFormat::Sha256,
    ]
}

/// The id of what does not exist.
pub fn zero() -> String {
    made_up('0')
}

/// An id that no object has: one digit, again and again.
pub fn made_up(digit: char) -> String {
    String::from(digit).repeat(format().hex_len())
}

/// An id that is written in hexadecimal digits.
#[track_caller]
pub fn oid(hex: &str) -> ObjectId {
    ObjectId::from_hex(format(), hex.as_bytes()).expect("an id")
}
