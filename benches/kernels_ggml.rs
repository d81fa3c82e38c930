//! How long a number takes into a block type of ggml and back: plainly, and with the vectors of this processor.
//!
//! Run with `cargo bench --no-default-features --bench kernels_ggml`. The median divided by 262,144 is the time per number.

#![expect(clippy::expect_used, reason = "a bench that cannot be set up may panic")]

use divan::counter::ItemsCount;
use perilune::kernels::ggml::{Instructions, dequantise_with, quantise_with};
use perilune::quant::ggml::WRITTEN;
use perilune::weights::DType;

const NUMBERS: usize = 1 << 18;

fn main() {
    divan::main();
}

/// Numbers like those of weights: near a bell curve with a deviation of 0.02.
fn values() -> Vec<f32> {
    let mut state = 7u64;
    let mut draw = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f32 / (1u32 << 24) as f32 - 0.5
    };
    (0..NUMBERS).map(|_| (draw() + draw() + draw() + draw()) * 0.035).collect()
}

fn store(bencher: divan::Bencher<'_, '_>, dtype: DType, instructions: Instructions) {
    let values = values();
    let mut out = vec![0; dtype.bytes_of(NUMBERS as u64).expect("whole blocks") as usize];
    bencher.counter(ItemsCount::new(NUMBERS)).bench_local(|| quantise_with(instructions, dtype, &values, &mut out));
}

fn restore(bencher: divan::Bencher<'_, '_>, dtype: DType, instructions: Instructions) {
    let mut bytes = vec![0; dtype.bytes_of(NUMBERS as u64).expect("whole blocks") as usize];
    quantise_with(Instructions::best(), dtype, &values(), &mut bytes).expect("whole blocks");
    let mut out = vec![0.0; NUMBERS];
    bencher.counter(ItemsCount::new(NUMBERS)).bench_local(|| dequantise_with(instructions, dtype, &bytes, &mut out));
}

#[divan::bench(args = WRITTEN.iter().copied(), sample_count = 10, sample_size = 1)]
fn store_plainly(bencher: divan::Bencher<'_, '_>, dtype: DType) {
    store(bencher, dtype, Instructions::Plain);
}

#[divan::bench(args = WRITTEN.iter().copied(), sample_count = 20, sample_size = 1)]
fn store_with_avx2(bencher: divan::Bencher<'_, '_>, dtype: DType) {
    store(bencher, dtype, Instructions::Avx2);
}

#[divan::bench(args = WRITTEN.iter().copied(), sample_count = 20, sample_size = 1)]
fn store_with_avx512(bencher: divan::Bencher<'_, '_>, dtype: DType) {
    store(bencher, dtype, Instructions::Avx512);
}

#[divan::bench(args = WRITTEN.iter().copied(), sample_count = 20, sample_size = 1)]
fn restore_plainly(bencher: divan::Bencher<'_, '_>, dtype: DType) {
    restore(bencher, dtype, Instructions::Plain);
}

#[divan::bench(args = WRITTEN.iter().copied(), sample_count = 20, sample_size = 1)]
fn restore_with_avx2(bencher: divan::Bencher<'_, '_>, dtype: DType) {
    restore(bencher, dtype, Instructions::Avx2);
}

#[divan::bench(args = WRITTEN.iter().copied(), sample_count = 20, sample_size = 1)]
fn restore_with_avx512(bencher: divan::Bencher<'_, '_>, dtype: DType) {
    restore(bencher, dtype, Instructions::Avx512);
}
