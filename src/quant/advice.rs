//! Which precisions of a model suit a device: by what its instructions know, and by what has room.
//!
//! A pure function of sizes and devices. It orders what can be had; how long a step takes is the planner's to say.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::precision::{Mix, Target};
use crate::units::{Bytes, Capability, DeviceId};
use crate::weights::{DType, Precision};

/// The most suggestions for one device: more is a list, no advice.
pub const MOST: usize = 5;

/// The most of them that fit as they are; behind them there is room for what fits with a budget.
const MOST_THAT_FIT: usize = 4;

/// A precision is worth a conversion where it takes at most nine tenths of what is there.
const WORTH_IT: (u64, u64) = (9, 10);

/// The first GPUs that multiply 8-bit floats: Ada is 8.9, Hopper 9.0, Blackwell 10.x and 12.x (CUDA C++ Programming Guide,
/// "Arithmetic Instructions", and NVIDIA's "FP8 Formats for Deep Learning", arXiv 2209.05433).
const FLOAT8: Capability = Capability::new(8, 9);

/// The first GPUs that compute in bf16: Ampere (the same guide, "Features and Technical Specifications").
const BF16: Capability = Capability::new(8, 0);

/// A part of a model beside its network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Beside {
    /// Its stored size.
    pub bytes: Bytes,
    /// How most of it is stored.
    pub stored: DType,
    /// Whether it is held in singles whatever is computed in: the autoencoder.
    pub is_wide: bool,
}

/// What a model's network is, and would be.
#[derive(Debug, Clone, PartialEq)]
pub struct Sizes {
    /// The name of how it is stored.
    pub stored: String,
    /// The size that it is stored in.
    pub bytes: Bytes,
    /// The size of each conversion that is possible.
    pub targets: Vec<(Target, Bytes)>,
    /// The other parts.
    pub beside: Vec<Beside>,
}

impl Sizes {
    fn of(&self, target: &Target) -> Option<Bytes> {
        self.targets.iter().find(|(t, _)| t == target).map(|(_, bytes)| *bytes)
    }

    /// Returns whether the network is stored in plain floats, which are held in what is computed in.
    fn is_plain(&self) -> bool {
        Target::named(&self.stored).is_some_and(|t| plain(&t).is_some())
    }

    /// Returns what a device holds of a network of this size, where it computes in this: plain floats in that, all else as it is.
    fn held(&self, bytes: Bytes, computes: Precision, is_plain: bool) -> Bytes {
        if is_plain { self.of(&target_of(computes)).unwrap_or(bytes) } else { bytes }
    }
}

impl Beside {
    fn held(self, computes: Precision) -> Bytes {
        let width = |dtype: DType| dtype.block().1;
        let computes = if self.is_wide { Precision::Fp32 } else { computes };
        match self.stored {
            DType::F32 | DType::F16 | DType::Bf16 => Bytes(self.bytes.get() / width(self.stored) * computes.bytes()),
            _ => self.bytes,
        }
    }
}

fn plain(target: &Target) -> Option<Precision> {
    match target {
        Target::Fp32 => Some(Precision::Fp32),
        Target::Fp16 => Some(Precision::Fp16),
        Target::Bf16 => Some(Precision::Bf16),
        _ => None,
    }
}

fn target_of(precision: Precision) -> Target {
    match precision {
        Precision::Fp32 => Target::Fp32,
        Precision::Fp16 => Target::Fp16,
        Precision::Bf16 => Target::Bf16,
    }
}

/// A device that weights may be computed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Candidate {
    /// Which.
    pub device: DeviceId,
    /// Which instructions it has, where that is known.
    pub capability: Option<Capability>,
    /// Its memory.
    pub total: Bytes,
    /// What can be had of it.
    pub free: Bytes,
    /// What stays free of it beside weights.
    pub margin: Bytes,
}

/// Whether a precision has room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Room {
    /// It fits.
    Fits,
    /// It fits where so much of the network lives elsewhere.
    WithOffload(Bytes),
    /// The other parts alone are too large.
    No,
}

/// A precision that is suggested for a device.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Suggestion {
    /// The device.
    pub device: DeviceId,
    /// The precision: the name of a conversion's target, or of how the network is stored.
    pub to: String,
    /// The size of the network's file.
    pub bytes: Bytes,
    /// What the device would hold: the network, the other parts, and the margin.
    pub needed: Bytes,
    /// Whether that is free.
    pub fits: bool,
    /// How much of the network must live elsewhere for it to fit, where that is possible.
    pub offload: Option<Bytes>,
    /// Why this one.
    pub reason: String,
}

/// What can be said for a precision.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Why {
    Stored,
    HalfOfSingles,
    Native,
    Shifted,
    Integers,
    Bits(&'static str),
    NormalFloat,
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Stored => "as it is stored: nothing is lost and nothing is to be made",
            Self::HalfOfSingles => "half the memory of the fp32 that the processor computes in unless told otherwise",
            Self::Native => "a type that this GPU knows, with a scale per layer",
            Self::Shifted => "this GPU has no 8-bit floats; this type is the upper half of an fp16 and is widened without arithmetic",
            Self::Integers => "8-bit integers with a scale for every 32: the nearest to 16 bits of what is half as large",
            Self::Bits(bits) => bits,
            Self::NormalFloat => "4 bits spaced as weights are, without GGUF",
        })
    }
}

const SIX: Why = Why::Bits("6.6 bits a weight: little is lost");
const FIVE: Why = Why::Bits("about 5.5 bits a weight, the tensors that matter most in more");
const FOUR: Why = Why::Bits("about 4.5 bits a weight, the tensors that matter most in more");

/// Returns what is suggested for a device, the best first: what fits, in the order of what is lost; then what fits with the
/// smallest budget; then what does not fit.
#[must_use]
pub fn advise(sizes: &Sizes, candidate: &Candidate) -> Vec<Suggestion> {
    let suggestions = ladder(candidate).into_iter().filter_map(|(target, why)| suggestion(sizes, candidate, target, why));
    let (mut fit, mut rest): (Vec<_>, Vec<_>) = suggestions.partition(|s| s.fits);
    fit.truncate(if rest.is_empty() { MOST } else { MOST_THAT_FIT });
    // The smallest budget first; what no budget helps has none.
    rest.sort_by_key(|s| (s.offload.is_none(), s.needed));
    fit.extend(rest);
    fit.truncate(MOST);
    fit
}

/// Returns the precisions for a device, by what is lost; `None` is what the file is stored in.
fn ladder(candidate: &Candidate) -> Vec<(Option<Target>, Why)> {
    let mix = |mix: Mix, why: Why| (Some(Target::Gguf(mix)), why);
    let (stored, integers) = ((None, Why::Stored), mix(Mix::Q8_0, Why::Integers));
    let mut ladder = match (candidate.device, candidate.capability) {
        (DeviceId::Cpu | DeviceId::Sim(_), _) => vec![(Some(Target::Bf16), Why::HalfOfSingles), stored, integers],
        (_, Some(known)) if known >= FLOAT8 => vec![stored, (Some(Target::Fp8E4m3fnScaled), Why::Native), integers],
        (_, Some(known)) if known >= BF16 => vec![stored, integers, (Some(Target::Fp8E5m2), Why::Shifted)],
        _ => vec![stored, integers],
    };
    ladder.extend([mix(Mix::Q6_K, SIX), mix(Mix::Q5_K_M, FIVE), mix(Mix::Q4_K_M, FOUR), (Some(Target::Nf4), Why::NormalFloat)]);
    ladder
}

fn suggestion(sizes: &Sizes, candidate: &Candidate, target: Option<Target>, why: Why) -> Option<Suggestion> {
    let on_processor = matches!(candidate.device, DeviceId::Cpu | DeviceId::Sim(_));
    let usual = if on_processor { Precision::Fp32 } else { Precision::Fp16 };
    let is_plain = sizes.is_plain();
    let (to, bytes, network, computes) = match target {
        // Asked for by its name it is held in half as much.
        None if on_processor && sizes.stored == Precision::Bf16.name() => return None,
        None => (sizes.stored.clone(), sizes.bytes, sizes.held(sizes.bytes, usual, is_plain), usual),
        Some(Target::Bf16) if is_plain => {
            let bytes = sizes.of(&Target::Bf16)?;
            (Target::Bf16.name(), bytes, bytes, Precision::Bf16)
        }
        Some(target) => {
            let bytes = sizes.of(&target).filter(|b| b.get() * WORTH_IT.1 <= sizes.bytes.get() * WORTH_IT.0)?;
            (target.name(), bytes, bytes, usual)
        }
    };
    let needed = network + sizes.beside.iter().map(|part| part.held(computes)).sum() + candidate.margin;
    let room = room(needed, network, candidate.free);
    let offload = match room {
        Room::WithOffload(bytes) => Some(bytes),
        Room::Fits | Room::No => None,
    };
    let reason = said(why, room, needed, candidate);
    Some(Suggestion { device: candidate.device, to, bytes, needed, fits: room == Room::Fits, offload, reason })
}

fn room(needed: Bytes, network: Bytes, free: Bytes) -> Room {
    let missing = needed.saturating_sub(free);
    match missing {
        Bytes::ZERO => Room::Fits,
        missing if missing < network => Room::WithOffload(missing),
        _ => Room::No,
    }
}

fn said(why: Why, room: Room, needed: Bytes, candidate: &Candidate) -> String {
    let others = if needed <= candidate.total { ", while others hold the rest" } else { "" };
    match room {
        Room::Fits => why.to_string(),
        Room::WithOffload(missing) => format!("fits with --virtual-vram {}{others}; {why}", budget(missing)),
        Room::No => format!("does not fit, whatever is offloaded of the network{others}"),
    }
}

/// Returns a budget as a flag has it, in whole MiB that are enough.
fn budget(bytes: Bytes) -> String {
    format!("{}MiB", bytes.get().div_ceil(Bytes::mib(1).get()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// SDXL as it is published: 2.57 billion weights in fp16, two encoders, an autoencoder.
    fn sdxl() -> Sizes {
        let weights = 2_567_000_000_u32;
        #[expect(clippy::cast_sign_loss, reason = "sizes are positive")]
        let of = |text: &str, bits: f64| (text.parse().unwrap(), Bytes((f64::from(weights) * bits / 8.0) as u64));
        let targets = [
            ("fp32", 32.0),
            ("fp16", 16.0),
            ("bf16", 16.0),
            ("fp8_scaled", 8.1),
            ("fp8_e5m2", 8.1),
            ("nf4", 5.0),
            ("Q8_0", 8.6),
            ("Q6_K", 6.8),
            ("Q5_K_M", 5.8),
            ("Q4_K_M", 4.9),
        ];
        let part = |mib, is_wide| Beside { bytes: Bytes::mib(mib), stored: DType::F16, is_wide };
        Sizes {
            stored: "fp16".to_owned(),
            bytes: Bytes(2 * u64::from(weights)),
            targets: targets.map(|(text, bits)| of(text, bits)).to_vec(),
            beside: vec![part(235, false), part(1325, false), part(160, true)],
        }
    }

    fn card(capability: &str, total: u64, free: u64) -> Candidate {
        let capability = capability.parse().ok();
        Candidate { device: DeviceId::Cuda(0), capability, total: Bytes::gib(total), free: Bytes::gib(free), margin: Bytes::mib(737) }
    }

    fn names(suggestions: &[Suggestion]) -> Vec<&str> {
        suggestions.iter().map(|s| s.to.as_str()).collect()
    }

    #[test]
    fn each_generation_gets_the_eight_bits_that_it_knows() {
        let second = |capability: &str| names(&advise(&sdxl(), &card(capability, 24, 24)))[1..3].join(" ");
        for native in ["8.9", "9.0", "10.0", "10.3", "12.0"] {
            assert_eq!(second(native), "fp8_e4m3fn_scaled Q8_0", "{native}");
        }
        for ampere in ["8.0", "8.6", "8.7"] {
            assert_eq!(second(ampere), "Q8_0 fp8_e5m2", "{ampere}");
        }
        for older in ["6.1", "7.5", "unknown"] {
            assert_eq!(second(older), "Q8_0 Q6_K", "{older}");
        }
    }

    #[test]
    fn what_fits_comes_first_and_nothing_is_lost_where_there_is_room() {
        let roomy = advise(&sdxl(), &card("8.9", 24, 24));
        assert!(roomy.iter().all(|s| s.fits && s.offload.is_none()) && roomy.len() == MOST);
        assert_eq!((roomy[0].to.as_str(), roomy[0].bytes), ("fp16", Bytes(5_134_000_000)));
        // 1560 MiB of encoders in halves, 320 of autoencoder in singles, and what stays free.
        assert_eq!(roomy[0].needed, roomy[0].bytes + Bytes::mib(235 + 1325 + 320 + 737));
    }

    #[test]
    fn short_memory_asks_for_fewer_bits_then_for_a_budget() {
        let short = advise(&sdxl(), &Candidate { free: Bytes::mib(5000), ..card("8.6", 8, 8) });
        assert_eq!(names(&short), ["Q6_K", "Q5_K_M", "Q4_K_M", "nf4", "fp8_e5m2"]);
        let fits: Vec<bool> = short.iter().map(|s| s.fits).collect();
        assert_eq!(fits, [true, true, true, true, false]);
        let last = &short[4];
        assert_eq!(last.offload, Some(last.needed - Bytes::mib(5000)));
        assert!(
            last.reason.starts_with("fits with --virtual-vram ") && last.reason.contains(", while others hold the rest; "),
            "{}",
            last.reason
        );
    }

    #[test]
    fn what_no_budget_helps_is_said_to_not_fit() {
        let tiny = advise(&sdxl(), &card("7.5", 2, 2));
        assert!(tiny.iter().all(|s| !s.fits && s.offload.is_none()) && tiny.len() == MOST);
        assert_eq!(tiny[0].to, "Q4_K_M", "the smallest first");
        assert_eq!(tiny[0].reason, "does not fit, whatever is offloaded of the network");
    }

    #[test]
    fn the_processor_gets_bf16_or_what_is_stored() {
        let host = Candidate { device: DeviceId::Cpu, capability: None, ..card("", 64, 60) };
        let advice = advise(&sdxl(), &host);
        assert_eq!(names(&advice), ["bf16", "fp16", "Q8_0", "Q6_K", "Q5_K_M"]);
        assert!(advice[1].needed > advice[0].needed, "halves are held as singles where nobody asks for less");
        let packed = Sizes { stored: "Q4_K_M".to_owned(), bytes: Bytes(1_600_000_000), ..sdxl() };
        assert_eq!(names(&advise(&packed, &host)), ["Q4_K_M"], "nothing is gained by more bits");
    }
}
