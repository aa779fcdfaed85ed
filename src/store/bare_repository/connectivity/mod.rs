//! Whether everything that the new refs need is there.

pub(crate) use crate::store::links;
