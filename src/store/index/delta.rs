use crate::{Error, ErrorKind};

/// A delta shorter than this is none (git's `DELTA_SIZE_MIN`).
const MIN_LEN: u64 = 4;

/// The most that the two lengths at the front of a delta take, in bytes: nine groups of seven bits each, and one bit.
pub(super) const MAX_DELTA_HEADER: usize = 20;

/// Where the copy instructions of a delta read from: the base.
pub(super) trait Source {
    /// Gives `len` bytes from `offset` on to the sink; both were checked to lie within the base.
    fn copy(&mut self, offset: u64, len: u64, sink: &mut impl Sink) -> Result<(), Error>;
}

/// Where the object goes that a delta makes.
pub(super) trait Sink {
    /// Takes the next bytes of the object.
    fn put(&mut self, bytes: &[u8]) -> Result<(), Error>;
}

/// A base in memory.
impl Source for &[u8] {
    #[inline]
    fn copy(&mut self, offset: u64, len: u64, sink: &mut impl Sink) -> Result<(), Error> {
        let range = usize::try_from(offset).ok().zip(usize::try_from(len).ok());
        let bytes = range.and_then(|(offset, len)| self.get(offset..)?.get(..len));
        sink.put(bytes.ok_or_else(|| failed("copies from beyond its base"))?)
    }
}

/// An object made in memory.
impl Sink for Vec<u8> {
    #[inline]
    fn put(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.extend_from_slice(bytes);
        Ok(())
    }
}

/// The two lengths at the front of a delta.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct DeltaHeader {
    /// How long the base must be.
    pub(super) base_size: u64,
    /// How long the object is that the delta makes.
    pub(super) result_size: u64,
}

impl DeltaHeader {
    /// Parses the front of a delta of `size` bytes; gives the header and the instructions that follow it in `front`.
    pub(super) fn parse(front: &[u8], size: u64) -> Result<(Self, &[u8]), Error> {
        if size < MIN_LEN {
            return Err(failed("is too short"));
        }
        let (base_size, rest) = varint(front)?;
        let (result_size, rest) = varint(rest)?;
        Ok((Self { base_size, result_size }, rest))
    }
}

/// A length: groups of seven bits, the lowest first.
fn varint(bytes: &[u8]) -> Result<(u64, &[u8]), Error> {
    let mut value = 0_u64;
    let mut shift = 0_u32;
    let mut rest = bytes;
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        let bits = u64::from(byte & 0x7f);
        let shifted = bits.checked_shl(shift).filter(|shifted| shifted.checked_shr(shift) == Some(bits));
        value |= shifted.ok_or_else(|| failed("has a length that overflows"))?;
        if byte & 0x80 == 0 {
            return Ok((value, rest));
        }
        shift = shift.saturating_add(7);
    }
    Err(failed("ends within its header"))
}

/// The application of one delta to its base, piece by piece as the instructions come.
#[derive(Debug)]
pub(super) struct Application {
    base_size: u64,
    /// How much of the object is still to be made.
    missing: u64,
}

impl Application {
    /// Begins to apply a delta to a base of this length.
    pub(super) fn new(header: DeltaHeader, base_size: u64) -> Result<Self, Error> {
        if header.base_size != base_size {
            return Err(failed("is for a base of another size"));
        }
        Ok(Self { base_size, missing: header.result_size })
    }

    /// Follows the instructions that lie whole in `bytes`; gives the rest, the front of an instruction.
    #[inline]
    pub(super) fn run<'i>(
        &mut self,
        bytes: &'i [u8],
        base: &mut impl Source,
        sink: &mut impl Sink,
    ) -> Result<&'i [u8], Error> {
        let mut rest = bytes;
        while let Some((&opcode, arguments)) = rest.split_first() {
            if opcode & 0x80 != 0 {
                let Some((offset, len, after)) = copy_arguments(opcode, arguments) else { break };
                self.take(len)?;
                if offset.checked_add(len).is_none_or(|end| end > self.base_size) {
                    return Err(failed("copies from beyond its base"));
                }
                base.copy(offset, len, sink)?;
                rest = after;
            } else if opcode == 0 {
                return Err(failed("has an unknown instruction"));
            } else {
                let Some((literal, after)) = arguments.split_at_checked(usize::from(opcode)) else { break };
                self.take(u64::from(opcode))?;
                sink.put(literal)?;
                rest = after;
            }
        }
        Ok(rest)
    }

    fn take(&mut self, len: u64) -> Result<(), Error> {
        self.missing = self.missing.checked_sub(len).ok_or_else(|| failed("makes more than it says"))?;
        Ok(())
    }

    /// All instructions have been given; `rest` is what [`run`](Self::run) left of the last of them.
    pub(super) fn finish(self, rest: &[u8]) -> Result<(), Error> {
        if !rest.is_empty() {
            return Err(failed("ends within an instruction"));
        }
        if self.missing != 0 {
            return Err(failed("makes less than it says"));
        }
        Ok(())
    }
}

/// Offset and length of a copy: of the seven bytes of both, little end first, those are there whose bit is set.
#[inline]
fn copy_arguments(opcode: u8, arguments: &[u8]) -> Option<(u64, u64, &[u8])> {
    let mut fields = [0; 8];
    let mut rest = arguments;
    for (bit, field) in fields.iter_mut().take(7).enumerate() {
        if opcode >> bit & 1 != 0 {
            let (&byte, after) = rest.split_first()?;
            *field = byte;
            rest = after;
        }
    }
    let fields = u64::from_le_bytes(fields);
    let len = match fields >> 32 {
        0 => 0x10000,
        len => len,
    };
    Some((fields & 0xffff_ffff, len, rest))
}

/// Git's words, and the reason that git does not give.
fn failed(why: &str) -> Error {
    Error::new(ErrorKind::InvalidPack, format!("failed to apply delta: it {why}"))
}

/// A delta makes the same whether its instructions come whole or in pieces, and what git's rules say.
#[cfg(feature = "_fuzzing")]
#[doc(hidden)]
#[allow(clippy::arithmetic_side_effects, reason = "a fuzz target is a test")]
pub fn fuzzed(bytes: &[u8]) -> bool {
    let Some((&[base_len, piece], delta)) = bytes.split_first_chunk() else { return false };
    let base: Vec<u8> = (0..u32::from(base_len) * 3).map(|i| (i * 7) as u8).collect();
    let apply = |piece: usize| -> Result<Vec<u8>, ()> {
        let (header, mut rest) = DeltaHeader::parse(delta, delta.len() as u64).map_err(|_| ())?;
        let mut application = Application::new(header, base.len() as u64).map_err(|_| ())?;
        let (mut made, mut front) = (Vec::new(), Vec::new());
        while !rest.is_empty() {
            let (now, later) = rest.split_at(piece.clamp(1, rest.len()));
            front.extend_from_slice(now);
            let left = application.run(&front, &mut &base[..], &mut made).map_err(|_| ())?.len();
            front.drain(..front.len() - left);
            rest = later;
        }
        assert!(made.len() as u64 <= header.result_size);
        application.finish(&front).map_err(|_| ())?;
        assert_eq!(made.len() as u64, header.result_size);
        Ok(made)
    };
    let whole = apply(usize::MAX);
    assert_eq!(apply(piece.into()), whole);
    assert_eq!(apply(1), whole);
    whole.is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn apply(base: &[u8], delta: &[u8]) -> Result<Vec<u8>, String> {
        let run = || {
            let (header, instructions) = DeltaHeader::parse(delta, delta.len() as u64)?;
            let mut application = Application::new(header, base.len() as u64)?;
            let mut out = Vec::new();
            let rest = application.run(instructions, &mut &*base, &mut out)?;
            application.finish(rest).map(|()| out)
        };
        run().map_err(|error: Error| error.to_string().replace("failed to apply delta: it ", ""))
    }

    #[test]
    fn copies_and_inserts() {
        assert_eq!(apply(b"hello world", b"\x0b\x09\x90\x05\x04 all"), Ok(b"hello all".to_vec()));
        assert_eq!(apply(b"hello world", b"\x0b\x05\x91\x06\x05"), Ok(b"world".to_vec()));
    }

    #[test]
    fn a_copy_of_length_zero_is_64_kib() {
        let base: Vec<u8> = (0..0x10001_u32).map(|i| i as u8).collect();
        let made = apply(&base, b"\x81\x80\x04\x80\x80\x04\x81\x01").unwrap();
        assert_eq!(made, base[1..]);
    }

    #[test]
    fn refuses_what_git_refuses() {
        let base = b"hello world";
        for (delta, why) in [
            (&b"\x0b\x00"[..], "is too short"),
            (b"\x0b\x80\x80\x80", "ends within its header"),
            (b"\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x01\x01\x01", "has a length that overflows"),
            (b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x7f\x01\x01a", "has a length that overflows"),
            (b"\x0a\x01\x90\x01", "is for a base of another size"),
            (b"\x0b\x01\x00\x01", "has an unknown instruction"),
            (b"\x0b\x0c\x90\x0c", "copies from beyond its base"),
            (b"\x0b\x02\x9f\xff\xff\xff\xff\x02", "copies from beyond its base"),
            (b"\x0b\x05\x90\x06", "makes more than it says"),
            (b"\x0b\x01\x02ab", "makes more than it says"),
            (b"\x0b\x06\x90\x05", "makes less than it says"),
            (b"\x0b\x05\x05abcd", "ends within an instruction"),
            (b"\x0b\x05\xff\x01\x02", "ends within an instruction"),
        ] {
            assert_eq!(apply(base, delta), Err(why.to_owned()), "{delta:x?}");
        }
    }

    #[test]
    fn whatever_a_delta_says_nothing_breaks() {
        let base: Vec<u8> = (0..300_u32).map(|i| i as u8).collect();
        let mut seed = 7_u64;
        let mut random = || {
            seed = seed.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            (seed >> 33) as u8
        };
        let mut made = 0;
        for _ in 0..200_000 {
            // The right length of the base, and any instructions; half of them with a chance to be good.
            let mut delta = vec![0xac, 0x02, random() & 0x7f];
            let tame = random() & 1 == 0;
            for _ in 0..random() & 15 {
                let byte = random();
                delta.push(if tame { byte & 0x93 } else { byte });
            }
            let size = delta.get(2).copied().map(usize::from);
            if let Ok(object) = apply(&base, &delta) {
                assert_eq!(Some(object.len()), size);
                made += 1;
            }
        }
        assert!(made > 10, "{made}");
    }
}
