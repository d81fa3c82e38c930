//! What a conversion will hold, before it is made: its header is known from the headers of its source.

use super::convert::Wish;
use super::output::hash_to_come;
use super::{ConversionError, plan, source};
use crate::formats::{gguf, safetensors};
use crate::quant::gather;
use crate::quant::precision::Container;
use crate::weights::{Catalog, TensorEntry};

/// Returns the tensors of the file that a conversion will be, one entry for each weight.
pub fn foretell(wish: &Wish<'_>) -> Result<Catalog, ConversionError> {
    let source = source::open(wish.source, wish.part)?.for_target(&wish.target)?;
    let output = plan::output(&source, &wish.target, &plan::recipe(&wish.target, source.part))?;
    let wrong = |reason: String| ConversionError::Damaged { path: wish.source.to_owned(), reason };
    let header = output.header(&hash_to_come());
    let stored = match wish.target.container() {
        Container::Safetensors => safetensors::parse(header.get(safetensors::PREFIX..).unwrap_or_default(), output.length),
        Container::Gguf => gguf::parse(&header, output.length).map(|header| header.catalog),
    };
    let stored = stored.map_err(|error| wrong(error.to_string()))?;
    // What is said beside weights of how they are stored is among what is known beforehand.
    let mut read = |entry: &TensorEntry| output.constants.iter().find(|(at, _)| *at == entry.start).map(|(_, bytes)| bytes.clone());
    gather::gather(stored, None, &mut read).map_err(|error| wrong(error.to_string()))
}
