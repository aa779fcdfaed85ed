//! Real git is the oracle of all that can have one.

mod aside;
mod bases;
mod decode;
mod git;
mod hostile;
mod kept;
mod pack;
mod read;
mod shapes;
