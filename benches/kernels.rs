//! How long a codec takes for a number: as every processor can run it, and as the one at hand can.
//!
//! Run with `cargo bench --no-default-features --bench kernels`. The table has numbers in a second; a nanosecond each is
//! 1000 Mitem/s.

#![expect(clippy::expect_used, reason = "a bench that cannot be set up may panic")]

use divan::counter::ItemsCount;
use divan::{Bencher, black_box};
use perilune::kernels;
use perilune::quant::sdnq::{Groups, Habits};
use perilune::quant::sdnq_type::WeightsType;
use perilune::quant::{floats, fp8, int8, nf4, sdnq};
use perilune::weights::DType;

/// Numbers of a turn: a megabyte of singles, which stay in a core's own caches.
const COUNT: usize = 1 << 18;
/// The row of a linear layer.
const WIDTH: usize = 1024;

/// Who runs the codec.
const RUNNERS: [Runner; 2] = [Runner::Codec, Runner::Kernel];

#[derive(Debug, Clone, Copy)]
enum Runner {
    Codec,
    Kernel,
}

fn main() {
    divan::main();
}

/// Weights about a normal distribution.
fn weights() -> Vec<f32> {
    let mut state = 1_u64;
    let mut draw = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f32 / 16_777_216.0 - 0.5
    };
    (0..COUNT).map(|_| (draw() + draw() + draw() + draw()) * 0.05).collect()
}

/// Times `codec` or `kernel`.
fn time(bencher: Bencher<'_, '_>, runner: Runner, mut codec: impl FnMut(), mut kernel: impl FnMut()) {
    let bencher = bencher.counter(ItemsCount::new(COUNT));
    match runner {
        Runner::Codec => bencher.bench_local(&mut codec),
        Runner::Kernel => bencher.bench_local(&mut kernel),
    }
}

const PLAIN: [DType; 4] = [DType::F16, DType::Bf16, DType::F8_E4M3, DType::F8_E5M2];

macro_rules! casts {
    ($($name:ident $wide:ident $at:literal)*) => {
        $(
            #[divan::bench(args = RUNNERS)]
            fn $name(bencher: Bencher<'_, '_>, runner: Runner) {
                let (values, dtype) = (weights(), PLAIN[$at]);
                let bytes = dtype.bytes_of(COUNT as u64).expect("whole") as usize;
                let (mut one, mut two) = (vec![0; bytes], vec![0; bytes]);
                time(
                    bencher,
                    runner,
                    || drop(black_box(floats::narrow(dtype, black_box(&values), &mut one))),
                    || drop(black_box(kernels::narrow(dtype, black_box(&values), &mut two))),
                );
            }

            #[divan::bench(args = RUNNERS)]
            fn $wide(bencher: Bencher<'_, '_>, runner: Runner) {
                let (values, dtype) = (weights(), PLAIN[$at]);
                let mut bytes = vec![0; dtype.bytes_of(COUNT as u64).expect("whole") as usize];
                floats::narrow(dtype, &values, &mut bytes).expect("it fits");
                let (mut one, mut two) = (vec![0.0; COUNT], vec![0.0; COUNT]);
                time(
                    bencher,
                    runner,
                    || drop(black_box(floats::widen(dtype, black_box(&bytes), &mut one))),
                    || drop(black_box(kernels::widen(dtype, black_box(&bytes), &mut two))),
                );
            }
        )*
    };
}

casts! {
    narrow_f16 widen_f16 0
    narrow_bf16 widen_bf16 1
    narrow_e4m3 widen_e4m3 2
    narrow_e5m2 widen_e5m2 3
}

#[divan::bench(args = RUNNERS)]
fn max_abs(bencher: Bencher<'_, '_>, runner: Runner) {
    let values = weights();
    time(
        bencher,
        runner,
        || {
            black_box(fp8::max_abs(black_box(&values)));
        },
        || {
            black_box(kernels::max_abs(black_box(&values)));
        },
    );
}

#[divan::bench(args = RUNNERS)]
fn narrow_e4m3_scaled(bencher: Bencher<'_, '_>, runner: Runner) {
    let values = weights();
    let (mut one, mut two) = (vec![0; COUNT], vec![0; COUNT]);
    time(
        bencher,
        runner,
        || drop(black_box(fp8::narrow_scaled(DType::F8_E4M3, black_box(&values), 1e-3, &mut one))),
        || drop(black_box(kernels::narrow_scaled(DType::F8_E4M3, black_box(&values), 1e-3, &mut two))),
    );
}

#[divan::bench(args = RUNNERS)]
fn quantise_nf4(bencher: Bencher<'_, '_>, runner: Runner) {
    let values = weights();
    let parts = || (vec![0; COUNT / 2], vec![0.0; COUNT / 64]);
    let (mut one, mut two) = (parts(), parts());
    time(
        bencher,
        runner,
        || drop(black_box(nf4::quantise(black_box(&values), 64, &mut one.0, &mut one.1))),
        || drop(black_box(kernels::quantise_nf4(black_box(&values), 64, &mut two.0, &mut two.1))),
    );
}

#[divan::bench(args = RUNNERS)]
fn dequantise_nf4(bencher: Bencher<'_, '_>, runner: Runner) {
    let (mut packed, mut absmax) = (vec![0; COUNT / 2], vec![0.0; COUNT / 64]);
    nf4::quantise(&weights(), 64, &mut packed, &mut absmax).expect("it fits");
    let (mut one, mut two) = (vec![0.0; COUNT], vec![0.0; COUNT]);
    time(
        bencher,
        runner,
        || drop(black_box(nf4::dequantise(&nf4::NF4, black_box(&packed), &absmax, 64, &mut one))),
        || drop(black_box(kernels::dequantise_nf4(&nf4::NF4, black_box(&packed), &absmax, 64, &mut two))),
    );
}

#[divan::bench(args = RUNNERS)]
fn quantise_int8(bencher: Bencher<'_, '_>, runner: Runner) {
    let values = weights();
    let parts = || (vec![0; COUNT], vec![0.0; COUNT / WIDTH]);
    let (mut one, mut two) = (parts(), parts());
    time(
        bencher,
        runner,
        || drop(black_box(int8::quantise(black_box(&values), WIDTH, &mut one.0, &mut one.1))),
        || drop(black_box(kernels::quantise_int8(black_box(&values), WIDTH, &mut two.0, &mut two.1))),
    );
}

macro_rules! groups {
    ($($name:ident $wide:ident $kind:literal $group:literal)*) => {
        $(
            #[divan::bench(args = RUNNERS)]
            fn $name(bencher: Bencher<'_, '_>, runner: Runner) {
                let (values, kind) = (weights(), WeightsType::parse($kind).expect("a type"));
                let parts = || {
                    let zeros = if kind.signed { 0 } else { COUNT / $group };
                    (vec![0; kind.bytes_of(COUNT).expect("whole")], vec![0.0; COUNT / $group], vec![0.0; zeros])
                };
                let (mut one, mut two) = (parts(), parts());
                time(
                    bencher,
                    runner,
                    || drop(black_box(sdnq::quantise(kind, black_box(&values), $group, &mut one.0, &mut one.1, &mut one.2))),
                    || drop(black_box(kernels::quantise_sdnq(kind, black_box(&values), $group, &mut two.0, &mut two.1, &mut two.2))),
                );
            }

            #[divan::bench(args = RUNNERS)]
            fn $wide(bencher: Bencher<'_, '_>, runner: Runner) {
                let kind = WeightsType::parse($kind).expect("a type");
                let zeros = if kind.signed { 0 } else { COUNT / $group };
                let mut stored = (vec![0; kind.bytes_of(COUNT).expect("whole")], vec![0.0; COUNT / $group], vec![0.0; zeros]);
                sdnq::quantise(kind, &weights(), $group, &mut stored.0, &mut stored.1, &mut stored.2).expect("it fits");
                let groups = Groups { outer: COUNT / $group, group: $group, inner: 1 };
                let (codes, scales, zeros) = &stored;
                let (mut one, mut two) = (vec![0.0; COUNT], vec![0.0; COUNT]);
                time(
                    bencher,
                    runner,
                    || drop(black_box(sdnq::dequantise(kind, Habits::CURRENT, black_box(codes), groups, scales, zeros, &mut one))),
                    || drop(black_box(kernels::dequantise_sdnq(kind, Habits::CURRENT, black_box(codes), groups, scales, zeros, &mut two))),
                );
            }
        )*
    };
}

groups! {
    quantise_sdnq_int8 dequantise_sdnq_int8 "int8" 1024
    quantise_sdnq_uint4 dequantise_sdnq_uint4 "uint4" 64
    quantise_sdnq_int6 dequantise_sdnq_int6 "int6" 256
    quantise_sdnq_e2m1 dequantise_sdnq_e2m1 "float4_e2m1fn" 64
}

/// What it costs to know the error beside storing: the kernel alone, and measured.
#[divan::bench(args = RUNNERS)]
fn measured_e4m3(bencher: Bencher<'_, '_>, runner: Runner) {
    let values = weights();
    let (mut one, mut two) = (vec![0; COUNT], vec![0; COUNT]);
    time(
        bencher,
        runner,
        || drop(black_box(kernels::narrow(DType::F8_E4M3, black_box(&values), &mut one))),
        || drop(black_box(kernels::narrow_measured(DType::F8_E4M3, black_box(&values), &mut two))),
    );
}

/// The same for blocks of four bits.
#[divan::bench(args = RUNNERS)]
fn measured_nf4(bencher: Bencher<'_, '_>, runner: Runner) {
    let values = weights();
    let parts = || (vec![0; COUNT / 2], vec![0.0; COUNT / 64]);
    let (mut one, mut two) = (parts(), parts());
    time(
        bencher,
        runner,
        || drop(black_box(kernels::quantise_nf4(black_box(&values), 64, &mut one.0, &mut one.1))),
        || drop(black_box(kernels::nf4_measured(black_box(&values), 64, &mut two.0, &mut two.1))),
    );
}
