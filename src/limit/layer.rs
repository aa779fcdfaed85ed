use tower_layer::Layer;

use crate::limit::Limit;

/// Refuses pushes that bring too much. Nothing is limited unless it is set.
#[derive(Clone, Copy, Debug, Default)]
pub struct LimitLayer {
    pub(super) limits: Limits,
}

#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Limits {
    pub(super) pack_bytes: Option<u64>,
    pub(super) inflated_bytes: Option<u64>,
    pub(super) objects: Option<u32>,
    pub(super) object_size: Option<u64>,
    pub(super) commands: Option<usize>,
    pub(super) ref_name_bytes: Option<usize>,
}

impl LimitLayer {
    /// No limits.
    pub fn new() -> Self {
        Self::default()
    }

    /// Bytes of the pack, header and trailer included, as git's `receive.maxInputSize` counts them.
    #[must_use]
    pub fn pack_bytes(mut self, bytes: u64) -> Self {
        self.limits.pack_bytes = Some(bytes);
        self
    }

    /// Bytes that all entries of the pack inflate to, deltas as they stand. An opaque pack is not inflated, so this
    /// limit does not hold it.
    #[must_use]
    pub fn inflated_bytes(mut self, bytes: u64) -> Self {
        self.limits.inflated_bytes = Some(bytes);
        self
    }

    /// Entries of the pack.
    #[must_use]
    pub fn objects(mut self, objects: u32) -> Self {
        self.limits.objects = Some(objects);
        self
    }

    /// Bytes that one entry inflates to. An opaque pack is not inflated, so this limit does not hold it. A delta counts as
    /// it stands; the store bounds the objects that deltas make
    #[cfg_attr(feature = "_index", doc = "([`PackLimits::delta_result`](crate::store::PackLimits::delta_result)).")]
    #[cfg_attr(not(feature = "_index"), doc = "(`PackLimits::delta_result`).")]
    #[must_use]
    pub fn object_size(mut self, bytes: u64) -> Self {
        self.limits.object_size = Some(bytes);
        self
    }

    /// Commands.
    #[must_use]
    pub fn commands(mut self, commands: usize) -> Self {
        self.limits.commands = Some(commands);
        self
    }

    /// Bytes of a ref's name.
    #[must_use]
    pub fn ref_name_bytes(mut self, bytes: usize) -> Self {
        self.limits.ref_name_bytes = Some(bytes);
        self
    }
}

impl<S> Layer<S> for LimitLayer {
    type Service = Limit<S>;

    fn layer(&self, inner: S) -> Limit<S> {
        Limit { inner, limits: self.limits }
    }
}
