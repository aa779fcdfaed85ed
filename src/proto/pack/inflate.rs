use std::fmt;

use flate2::{Decompress, FlushDecompress, Status};

/// One inflater for all entries of a pack. Resetting it is cheap, making a new one is not.
pub(crate) struct Inflater {
    // zlib-rs has its state behind a `&mut`. A function that takes such a value and drops it frees what is lent to it for
    // as long as it runs, which Miri calls undefined; behind a box nothing is lent.
    state: Box<Decompress>,
    fresh: bool,
}

/// How far one step came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Progress {
    /// Bytes of input that are used up.
    pub(crate) consumed: usize,
    /// Bytes of output that were made.
    pub(crate) produced: usize,
    /// Where that is.
    pub(crate) state: StepState,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum StepState {
    /// Inside the zlib stream.
    Ongoing,
    /// At its end, its checksum verified.
    Done,
    /// What follows is not a zlib stream, or a damaged one, or one that asks for a preset dictionary.
    Invalid,
}

impl Inflater {
    pub(crate) fn new() -> Self {
        Self { state: Box::new(Decompress::new(true)), fresh: true }
    }

    /// Makes ready for the next stream.
    pub(crate) fn reset(&mut self) {
        if !self.fresh {
            self.state.reset(true);
            self.fresh = true;
        }
    }

    /// Inflates until the stream ends, the input is used up or the output is full.
    pub(crate) fn step(&mut self, input: &[u8], output: &mut [u8]) -> Progress {
        self.fresh = false;
        let (before_in, before_out) = (self.state.total_in(), self.state.total_out());
        let status = self.state.decompress(input, output, FlushDecompress::None);
        // Neither is more than a slice is long.
        let moved = |now: u64, before: u64| usize::try_from(now.wrapping_sub(before)).unwrap_or(usize::MAX);
        Progress {
            consumed: moved(self.state.total_in(), before_in),
            produced: moved(self.state.total_out(), before_out),
            state: match status {
                Ok(Status::StreamEnd) => StepState::Done,
                Ok(_) => StepState::Ongoing,
                Err(_) => StepState::Invalid,
            },
        }
    }
}

/// Inflates zlib streams that are there whole, which is quicker than being ready to go on where the input stops.
///
/// It never says no: what it cannot do, for whatever reason, is left to the [`Inflater`].
#[cfg(feature = "sirocco")]
pub(crate) struct WholeInflater(Box<sirocco::inflate::Decoder>);

#[cfg(feature = "sirocco")]
impl WholeInflater {
    pub(crate) fn new() -> Self {
        Self(Box::new(sirocco::inflate::Decoder::new(sirocco::Format::Zlib)))
    }

    /// Inflates the stream that `input` begins with, if all of it is there and makes `size` bytes; gives how many
    /// bytes of the input it took. More space than needed makes it quicker.
    pub(crate) fn inflate(&mut self, input: &[u8], output: &mut [u8], size: usize) -> Option<usize> {
        self.0.reset();
        let progress = self.0.decompress(input, output, true).ok()?;
        (progress.done && progress.output.len() == size).then_some(progress.consumed)
    }
}

#[cfg(feature = "sirocco")]
impl fmt::Debug for WholeInflater {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WholeInflater")
    }
}

impl fmt::Debug for Inflater {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Inflater")
    }
}
