//! A diffusion network of any family, as its shapes describe it.

use super::cost::{Work, unet_efforts};
use super::{FamilyError, UnetConfig};
use crate::weights::{BlockTable, Catalog, Effort, Shape, Unit};

/// Everything that a forward pass must know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DenoiserConfig {
    /// A UNet: Stable Diffusion 1, 2 and XL.
    Unet(UnetConfig),
}

impl DenoiserConfig {
    /// Reads the configuration of a network under our names.
    pub fn read(catalog: &Catalog) -> Result<Self, FamilyError> {
        UnetConfig::read(catalog).map(Self::Unet)
    }

    /// Returns name and shape of every tensor of this architecture.
    #[must_use]
    pub fn expected(&self) -> Vec<(String, Shape)> {
        match self {
            Self::Unet(unet) => unet.expected(),
        }
    }

    /// Returns what can be placed on its own, in order of execution.
    #[must_use]
    pub fn units(&self) -> Vec<Unit> {
        match self {
            Self::Unet(unet) => super::blocks::unet_units(unet),
        }
    }

    /// Returns what each block computes in a step, in the table's order.
    #[must_use]
    pub fn efforts(&self, table: &BlockTable, work: Work) -> Vec<Effort> {
        match self {
            Self::Unet(unet) => unet_efforts(unet, table, work),
        }
    }

    /// Returns how many channels a latent has, as the network is given it.
    #[must_use]
    pub fn in_channels(&self) -> u64 {
        match self {
            Self::Unet(unet) => unet.in_channels,
        }
    }

    /// Returns the width of the text that it reads.
    #[must_use]
    pub fn context_width(&self) -> u64 {
        match self {
            Self::Unet(unet) => unet.context_width,
        }
    }

    /// Returns the width of what it is told of a picture as a whole, where it is told anything.
    #[must_use]
    pub fn vector_width(&self) -> Option<u64> {
        match self {
            Self::Unet(unet) => unet.vector_width,
        }
    }
}
