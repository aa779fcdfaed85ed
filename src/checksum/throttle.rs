/// How often an opaque body is checked for being complete.
///
/// A check is due
///
/// - at each chunk, while the body is still smaller than the window: a small push in one HTTP body completes at once;
/// - then once per window of growth;
/// - whenever the transport has nothing more to give at this moment, so that a pack which ends inside a window on a
///   connection that stays open does not wait for ever;
/// - at the end of the stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Throttle {
    window: u64,
}

impl Throttle {
    /// A window of this many bytes. With 0, every chunk is checked.
    pub const fn window(bytes: u64) -> Self {
        Self { window: bytes }
    }
}

/// A window of 4 MiB.
impl Default for Throttle {
    fn default() -> Self {
        Self::window(4 << 20)
    }
}

/// A throttle at work on one body.
#[derive(Clone, Copy, Debug)]
pub(super) struct Meter {
    throttle: Throttle,
    checked_at: u64,
}

impl Meter {
    pub(super) fn new(throttle: Throttle) -> Self {
        Self { throttle, checked_at: 0 }
    }

    /// Whether a check is due now that the body has grown to `total` bytes.
    pub(super) fn is_due(&mut self, total: u64) -> bool {
        let window = self.throttle.window;
        let due = total < window || total.saturating_sub(self.checked_at) >= window;
        if due {
            self.checked_at = total;
        }
        due
    }

    /// Whether a check is due because nothing more comes at this moment: unless nothing has come since the last one.
    pub(super) fn is_due_when_idle(&mut self, total: u64) -> bool {
        let due = total != self.checked_at;
        self.checked_at = total;
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_bodies_are_checked_at_each_chunk_and_large_ones_once_per_window() {
        let mut meter = Meter::new(Throttle::window(100));
        let due: Vec<u64> = (1..=40).map(|n| n * 10).filter(|total| meter.is_due(*total)).collect();
        assert_eq!(due, [10, 20, 30, 40, 50, 60, 70, 80, 90, 190, 290, 390]);
        assert!(meter.is_due_when_idle(400));
        assert!(!meter.is_due_when_idle(400));
    }
}
