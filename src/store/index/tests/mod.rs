//! Real git is the oracle of all that can have one.

mod decode;
mod git;
mod hostile;
mod pack;
mod shapes;
