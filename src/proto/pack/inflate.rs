use std::fmt;

use flate2::{Decompress, FlushDecompress, Status};

/// One inflater for all entries of a pack. Resetting it is cheap, making a new one is not.
pub(crate) struct Inflater {
    state: Decompress,
    fresh: bool,
}

/// How far one step came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Progress {
    /// Bytes of input that are used up.
    pub(crate) consumed: usize,
    /// Bytes of output that were made.
    pub(crate) produced: usize,
    /// Whether the zlib stream ended, its checksum verified.
    pub(crate) done: bool,
}

/// What follows is not a zlib stream, or a damaged one, or one that asks for a preset dictionary.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct InvalidZlib;

impl Inflater {
    pub(crate) fn new() -> Self {
        Self { state: Decompress::new(true), fresh: true }
    }

    /// Makes ready for the next stream.
    pub(crate) fn reset(&mut self) {
        if !self.fresh {
            self.state.reset(true);
            self.fresh = true;
        }
    }

    /// Inflates until the stream ends, the input is used up or the output is full.
    pub(crate) fn step(&mut self, input: &[u8], output: &mut [u8]) -> Result<Progress, InvalidZlib> {
        self.fresh = false;
        let (before_in, before_out) = (self.state.total_in(), self.state.total_out());
        let status = self.state.decompress(input, output, FlushDecompress::None).map_err(|_| InvalidZlib)?;
        let moved = |now: u64, before: u64| usize::try_from(now.wrapping_sub(before)).map_err(|_| InvalidZlib);
        Ok(Progress {
            consumed: moved(self.state.total_in(), before_in)?,
            produced: moved(self.state.total_out(), before_out)?,
            done: status == Status::StreamEnd,
        })
    }
}

impl fmt::Debug for Inflater {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Inflater")
    }
}
