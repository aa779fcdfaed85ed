//! Real git is the oracle of all that can have one.

mod aside;
mod decode;
mod git;
mod hostile;
mod pack;
mod shapes;
