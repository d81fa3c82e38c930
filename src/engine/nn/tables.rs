//! Small tables of numbers that are kept on each device.
//!
//! A table that is sent to a GPU waits behind the weights that are on their way there, and the processor with it: a layer that
//! needs the same one in every step sends it once.

use std::cell::RefCell;
use std::mem::ManuallyDrop;

use tch::{Device, Kind, Tensor};

/// A table on a device, by its type and its bytes.
struct Table {
    device: Device,
    kind: Kind,
    bytes: Vec<u8>,
    /// Never given back: when a thread ends, its device may be gone.
    tensor: ManuallyDrop<Tensor>,
}

thread_local! {
    static KEPT: RefCell<Vec<Table>> = const { RefCell::new(Vec::new()) };
}

/// Returns bytes as a tensor `[n]` on a device.
pub fn bytes(values: &[u8], device: Device) -> Tensor {
    kept((device, Kind::Uint8), values, || Tensor::from_slice(values))
}

/// Returns singles as a tensor `[n]` on a device.
pub fn singles(values: &[f32], device: Device) -> Tensor {
    let bytes: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
    kept((device, Kind::Float), &bytes, || Tensor::from_slice(values))
}

fn kept((device, kind): (Device, Kind), bytes: &[u8], make: impl FnOnce() -> Tensor) -> Tensor {
    KEPT.with_borrow_mut(|kept| {
        if let Some(table) = kept.iter().find(|t| t.device == device && t.kind == kind && t.bytes == bytes) {
            return table.tensor.shallow_clone();
        }
        let tensor = make().to_device(device);
        kept.push(Table { device, kind, bytes: bytes.to_vec(), tensor: ManuallyDrop::new(tensor.shallow_clone()) });
        tensor
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_is_sent_once_and_told_from_others() {
        let first = bytes(&[0, 0, 128, 63], Device::Cpu);
        assert_eq!(first.data_ptr(), bytes(&[0, 0, 128, 63], Device::Cpu).data_ptr());
        assert_eq!(Vec::<u8>::try_from(&first).unwrap(), [0, 0, 128, 63]);
        // The same bytes as one single.
        assert_eq!(Vec::<f32>::try_from(singles(&[1.0], Device::Cpu)).unwrap(), [1.0]);
    }
}
