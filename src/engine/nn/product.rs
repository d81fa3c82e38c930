//! Rows times a matrix: most of what is computed.
//!
//! libtorch asks MKL for products in fp32, and MKL has half of a processor to offer that is not Intel's: kernels for AVX2
//! where there is AVX-512. There oneDNN, which libtorch carries for convolutions, is asked instead, with weights as they lie
//! in memory. On an AMD EPYC of two cores the layers of SD1.5 take 0.25 to 0.7 of the time so, those of Flux.1 0.48.
//!
//! Source: `mkldnn::_linear_pointwise` of libtorch 2.11, `aten/src/ATen/native/mkldnn/Linear.cpp`; see `product.cpp`.

#![expect(unsafe_code, reason = "a call of a C function of our own; the note says who owns what")]

use std::ffi::c_void;
use std::ptr;
use std::sync::OnceLock;

use tch::{Device, Kind, Tensor};

// SAFETY: as `product.cpp` has it. It does not throw, and keeps nothing.
unsafe extern "C" {
    fn perilune_product(x: *const c_void, weight: *const c_void, bias: *const c_void) -> *mut c_void;
}

/// `y = x Wᵀ + b`: `x [.., in]` and `W [out, in]` of one type to `[.., out]`.
pub fn product(x: &Tensor, weight: &Tensor, bias: Option<&Tensor>) -> Tensor {
    let made = if is_for_onednn(x, weight) { through_onednn(x, weight, bias) } else { None };
    // Where oneDNN fails, as for want of memory, so does this, and says why.
    made.unwrap_or_else(|| x.linear(weight, bias))
}

/// Returns whether oneDNN is asked for the product of these two.
#[must_use]
pub fn is_for_onednn(x: &Tensor, weight: &Tensor) -> bool {
    is_plain(x, weight) && has_more_than_mkl_uses()
}

/// Returns whether both are fp32, in the processor's memory.
#[must_use]
pub fn is_plain(x: &Tensor, weight: &Tensor) -> bool {
    x.device() == Device::Cpu && weight.kind() == Kind::Float && x.kind() == Kind::Float
}

fn through_onednn(x: &Tensor, weight: &Tensor, bias: Option<&Tensor>) -> Option<Tensor> {
    let bias = bias.map_or(ptr::null(), |bias| bias.as_ptr().cast::<c_void>());
    // SAFETY: the three are tensors, or null where that is allowed, and live until the call returns. What it returns is a new
    // tensor, or null; whoever has it owns it.
    let made = unsafe { perilune_product(x.as_ptr().cast(), weight.as_ptr().cast(), bias) };
    // SAFETY: see above.
    (!made.is_null()).then(|| unsafe { Tensor::from_ptr(made.cast()) })
}

/// Whether this processor has AVX-512, and MKL does not use it.
fn has_more_than_mkl_uses() -> bool {
    static ANSWER: OnceLock<bool> = OnceLock::new();
    *ANSWER.get_or_init(detect)
}

#[cfg(target_arch = "x86_64")]
fn detect() -> bool {
    let maker = core::arch::x86_64::__cpuid(0);
    let is_intel = [maker.ebx, maker.edx, maker.ecx].map(u32::to_le_bytes).concat() == *b"GenuineIntel";
    !is_intel && std::is_x86_feature_detected!("avx512f")
}

#[cfg(not(target_arch = "x86_64"))]
fn detect() -> bool {
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_libraries_give_the_same_product() {
        tch::manual_seed(3);
        for (shape, out) in [(&[1i64, 1, 320][..], 1280), (&[2, 77, 768], 320), (&[64, 40], 40), (&[3, 5, 7], 11)] {
            let of = |shape: &[i64]| Tensor::randn(shape, (Kind::Float, Device::Cpu));
            let (x, weight, bias) = (of(shape), of(&[out, shape[shape.len() - 1]]), of(&[out]));
            for bias in [None, Some(&bias)] {
                let expected = x.to_kind(Kind::Double).linear(&weight.to_kind(Kind::Double), bias.map(|b| b.to_kind(Kind::Double)));
                let made = through_onednn(&x, &weight, bias).expect("libtorch 2.11 has oneDNN's product");
                assert_eq!((made.size(), made.kind()), (expected.size(), Kind::Float));
                for of_them in [&made, &product(&x, &weight, bias)] {
                    let apart = (of_them.to_kind(Kind::Double) - &expected).abs().max().double_value(&[]);
                    let largest = expected.abs().max().double_value(&[]);
                    assert!(apart <= 1e-6 * largest, "{shape:?} to {out}: {apart} of {largest}");
                }
            }
        }
        // Rows that do not lie one behind the other.
        let (x, weight) = (Tensor::randn([6, 4, 8], (Kind::Float, Device::Cpu)), Tensor::randn([5, 6], (Kind::Float, Device::Cpu)));
        let turned = x.permute([2, 1, 0]);
        let made = through_onednn(&turned, &weight, None).unwrap();
        assert!((made - turned.linear(&weight, None::<&Tensor>)).abs().max().double_value(&[]) < 1e-5);
    }
}
