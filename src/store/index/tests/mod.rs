//! Real git is the oracle of all that can have one.

mod bench;
mod decode;
mod git;
mod hostile;
mod pack;
