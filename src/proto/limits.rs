/// What a client may make us hold or count, by name.
///
/// Each limit bounds one loop over a client's data; what goes past one is refused with
/// [`ErrorKind::LimitExceeded`](crate::ErrorKind::LimitExceeded) and a text that names it. Limits on whole pushes, as a
/// quota would set them, are a matter of [`LimitLayer`](crate::limit::LimitLayer).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// Bytes of the head: everything before the pack, lengths of pkt-lines included. Default 16 MiB.
    pub head_bytes: u64,
    /// Bytes of all lists of capabilities, with the NUL before each: a client may put one behind each command. Default
    /// 16 KiB; git sends one of about 200 bytes.
    pub capability_bytes: usize,
    /// Commands. Default 100,000. Each takes up to a kilobyte of memory, and its ref's name, until it is reported on.
    pub commands: usize,
    /// Bytes of one ref name. Default 4,096: no file system takes more.
    pub ref_name_bytes: usize,
    /// `shallow` lines. Default 100,000.
    pub shallow: usize,
    /// Push options; where they are signed, those of the certificate and those that follow it each. Default 1,000.
    pub push_options: usize,
    /// Bytes of all push options, counted as these. Default 1 MiB.
    pub push_option_bytes: usize,
    /// Bytes of a push certificate. Default 16 MiB.
    pub certificate_bytes: usize,
    /// Entries that a pack's header may declare. Default 50 million.
    pub objects: u32,
    /// Bytes that one entry may declare to inflate to. Default 8 GiB.
    pub object_size: u64,
    /// Bytes that all entries of a pack may inflate to, deltas as they stand. Default 1 TiB. An opaque pack is not
    /// inflated, so neither this nor the next limit holds it.
    pub inflated_bytes: u64,
    /// How many times its length a pack may inflate to, beyond [`expansion_floor`](Self::expansion_floor). Default 200:
    /// packs of source code inflate to about 3 times their length, zlib can make 1,000 times of zeros.
    pub expansion_ratio: u64,
    /// Inflated bytes that any pack may ask for, however short. Default 2 GiB.
    pub expansion_floor: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            head_bytes: 16 << 20,
            capability_bytes: 16 << 10,
            commands: 100_000,
            ref_name_bytes: 4096,
            shallow: 100_000,
            push_options: 1000,
            push_option_bytes: 1 << 20,
            certificate_bytes: 16 << 20,
            objects: 50_000_000,
            object_size: 8 << 30,
            inflated_bytes: 1 << 40,
            expansion_ratio: 200,
            expansion_floor: 2 << 30,
        }
    }
}
