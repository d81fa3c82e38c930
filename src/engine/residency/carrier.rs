//! What carries blocks into staging memory and lends them there: one for each kind of compute device.

use std::fmt::Debug;

use super::Traffic;
use crate::engine::loading::LoadError;
use crate::placement::Share;
use crate::placement::stream::Mover;
use crate::units::{BlockIndex, Bytes};

/// A mover whose places are memory of the compute device.
pub trait Carrier: Mover<Error = LoadError> + Debug {
    /// Returns where the weights of a block that has arrived lie, in the order of the block's parameters: addresses of the
    /// compute device, for work that is given to it from now on.
    fn weights(&self, block: BlockIndex) -> Vec<*const u8>;

    /// Returns the memory of the compute device through which blocks pass.
    fn memory(&self) -> Bytes;

    /// Returns what each donor holds of the streamed blocks, as it lies there.
    fn held(&self) -> Vec<Share>;

    /// Returns what was carried since this was last asked.
    fn take_traffic(&mut self) -> Traffic;
}
