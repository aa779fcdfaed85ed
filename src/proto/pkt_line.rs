//! The pkt-line format (gitprotocol-common): four hexadecimal digits of length, then the data.
//!
//! ```
//! use receive_pack::proto::pkt_line::{self, PktLine};
//!
//! let mut wire = bytes::BytesMut::new();
//! pkt_line::encode(b"unpack ok\n", &mut wire)?;
//! pkt_line::encode_flush(&mut wire);
//! assert_eq!(&wire[..], b"000eunpack ok\n0000");
//!
//! let (line, len) = pkt_line::peek(&wire)?.expect("a whole pkt-line is there");
//! assert_eq!((line, len), (PktLine::Data(b"unpack ok\n"), 14));
//! # Ok::<(), receive_pack::Error>(())
//! ```

use bytes::{BufMut, BytesMut};

use crate::{Error, ErrorKind};

/// The most data that one pkt-line carries when we send it: 65,516 bytes.
pub const MAX_DATA: usize = 65_516;

/// The longest pkt-line that we read, length included. The documents say 65,520; git itself reads up to 65,523.
pub const MAX_LEN: usize = 0xfff3;

const LEN_DIGITS: usize = 4;

/// One pkt-line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PktLine<'a> {
    /// Data, without the length; may be empty.
    Data(&'a [u8]),
    /// `0000`
    Flush,
    /// `0001`
    Delim,
    /// `0002`
    ResponseEnd,
}

/// Looks at the pkt-line at the beginning of `src`: the line, and how many bytes it takes on the wire. `None` if it is
/// not all there yet. A pkt-line is never waited for longer than its length says, nor is memory reserved for it.
///
/// # Errors
///
/// [`ErrorKind::Protocol`] if the length is not hexadecimal, is `0003`, or is above [`MAX_LEN`].
pub fn peek(src: &[u8]) -> Result<Option<(PktLine<'_>, usize)>, Error> {
    let Some(digits) = src.get(..LEN_DIGITS) else { return Ok(None) };
    let len = digits.iter().try_fold(0_usize, |len, digit| {
        char::from(*digit).to_digit(16).map(|value| (len << 4) | usize::try_from(value).unwrap_or(0))
    });
    let line = match len {
        None => {
            let text = format!("protocol error: bad line length character: {}", digits.escape_ascii());
            return Err(Error::new(ErrorKind::Protocol, text));
        }
        Some(0) => PktLine::Flush,
        Some(1) => PktLine::Delim,
        Some(2) => PktLine::ResponseEnd,
        Some(len) if !(LEN_DIGITS..=MAX_LEN).contains(&len) => {
            return Err(Error::new(ErrorKind::Protocol, format!("protocol error: bad line length {len}")));
        }
        Some(len) => match src.get(LEN_DIGITS..len) {
            Some(data) => return Ok(Some((PktLine::Data(data), len))),
            None => return Ok(None),
        },
    };
    Ok(Some((line, LEN_DIGITS)))
}

/// Appends `data` as one pkt-line.
///
/// # Errors
///
/// [`ErrorKind::Protocol`] if there are more than [`MAX_DATA`] bytes.
pub fn encode(data: &[u8], dst: &mut BytesMut) -> Result<(), Error> {
    encode_parts(&[data], dst)
}

/// Appends the parts, joined, as one pkt-line.
pub(crate) fn encode_parts(parts: &[&[u8]], dst: &mut BytesMut) -> Result<(), Error> {
    let len: usize = parts.iter().map(|part| part.len()).sum();
    if len > MAX_DATA {
        return Err(Error::new(ErrorKind::Protocol, format!("{len} bytes do not fit one pkt-line")));
    }
    dst.reserve(len.saturating_add(LEN_DIGITS));
    put_len(len.saturating_add(LEN_DIGITS), dst);
    for part in parts {
        dst.put_slice(part);
    }
    Ok(())
}

/// Appends a flush-pkt.
pub fn encode_flush(dst: &mut BytesMut) {
    dst.put_slice(b"0000");
}

fn put_len(len: usize, dst: &mut BytesMut) {
    for shift in [12, 8, 4, 0] {
        let digit = u32::try_from((len >> shift) & 15).unwrap_or(0);
        dst.put_u8(char::from_digit(digit, 16).map_or(b'0', |digit| u8::try_from(digit).unwrap_or(b'0')));
    }
}

/// The line without its one trailing LF, if it has one.
pub(crate) fn chomp(data: &[u8]) -> &[u8] {
    data.strip_suffix(b"\n").unwrap_or(data)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_checked_as_git_does() {
        assert_eq!(peek(b"00").unwrap(), None);
        assert_eq!(peek(b"0005").unwrap(), None);
        assert_eq!(peek(b"0004").unwrap(), Some((PktLine::Data(b""), 4)));
        assert_eq!(peek(b"0001x").unwrap(), Some((PktLine::Delim, 4)));
        assert_eq!(peek(b"000Aabcdef").unwrap(), Some((PktLine::Data(b"abcdef"), 10)));
        assert_eq!(peek(b"zzzz").unwrap_err().to_string(), "protocol error: bad line length character: zzzz");
        assert_eq!(peek(b"0003").unwrap_err().to_string(), "protocol error: bad line length 3");
        assert_eq!(peek(b"fff4").unwrap_err().to_string(), "protocol error: bad line length 65524");
        assert_eq!(peek(b"fff3").unwrap(), None);
    }

    #[test]
    fn the_longest_line_fits_and_one_more_byte_does_not() {
        let mut wire = BytesMut::new();
        encode(&[b'x'; MAX_DATA], &mut wire).unwrap();
        assert_eq!(&wire[..4], b"fff0");
        assert!(encode(&[b'x'; MAX_DATA + 1], &mut wire).is_err());
    }
}
