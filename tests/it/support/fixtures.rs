//! A GPU box as a daemon would describe it: fixed ids, paths and times, so that screens can be compared.

use std::collections::BTreeMap;
use std::path::PathBuf;

use perilune::devices::{
    Clocks, DeviceKind, DeviceReading, Ecc, Extras, Faults, GpuProblem, Health, Held, HostReading, Memory, Pcie, ProcessReading, Xid,
};
use perilune::families::{Component, Family, Role};
use perilune::jobs::{Failure, ImageRecord, JobState, JobView, Phase, Placement, Progress, StreamedOver, Timing, WaitReason};
use perilune::placement::planner::{Stay, UnitCost};
use perilune::placement::{Grounds, History, Machine, Model, OffloadAsk, OffloadPlan, Pace, PartAsks, Room, Share, Similar, Speed};
use perilune::prompt::{Dialect, Weighting};
use perilune::quant::precision::Target;
use perilune::sampling::{Prediction, Sampler, Schedule};
use perilune::units::{Bytes, DeviceId, JobId, Seed, Size, Timestamp};
use perilune::weights::{DType, Precision};
use perilune::wire::control::Preview;
use perilune::wire::status::{CacheView, PartView, SharedPart};
use perilune::wire::tune::TuneBlock;
use perilune::wire::work::Placed;
use perilune::wire::{
    CachedState, CachedView, ConversionId, ConversionView, DaemonView, EngineState, EngineView, LogLine, Notice, QueueView, SetView,
    Status, TuneView,
};
use perilune::workflow::{JobSpec, Kind, ModelEntry, ModelSet, Named, Passes, SetId, Tiling};

/// 14:02:11 on the day of the fixtures.
pub(crate) const NOW: Timestamp = Timestamp(1_790_000_000_000 - 669_000);

fn gib(gib: f64) -> Bytes {
    format!("{gib}GiB").parse().unwrap()
}

fn memory(used: f64, total: f64) -> Memory {
    Memory { total: gib(total), used: gib(used), free: gib(total - used) }
}

/// A GPU that answers everything.
pub(crate) fn gpu(index: u16, name: &str, used: f64, total: f64) -> DeviceReading {
    DeviceReading {
        name: Some(name.to_owned()),
        uuid: Some(format!("GPU-3f2a0{index}c1-77aa-4d21-9c53-000000000000")),
        pci: Some(format!("0000:0{}:00.0", index + 1)),
        memory: Some(memory(used, total)),
        utilization: Some(0.0),
        temperature_c: Some(38.0),
        power_w: Some(22.0),
        power_limit_w: Some(450.0),
        fan: Some(0.3),
        clocks: Clocks { sm_mhz: Some(2520), mem_mhz: Some(10_501) },
        pcie: Pcie { rx_bps: Some(0.0), tx_bps: Some(0.0), generation: Some(4), width: Some(16) },
        age_s: 0.4,
        ..DeviceReading::unknown(DeviceId::Cuda(index), DeviceKind::Cuda, "nvml")
    }
}

/// The card that works.
pub(crate) fn busy_gpu() -> DeviceReading {
    let process = |pid, name: &str, user: Option<&str>, used, owner: &str| ProcessReading {
        pid,
        name: Some(name.to_owned()),
        command: Some(if owner == "engine" { "perilune-engine" } else { "/usr/lib/xorg/Xorg vt1 -displayfd 3 -auth /run/gdm" }.to_owned()),
        container: None,
        started: Some(Timestamp(NOW.0 - 7_200_000)),
        start_ticks: Some(4_711_000),
        user: user.map(ToOwned::to_owned),
        bytes: Some(gib(used)),
        owner: owner.to_owned(),
    };
    DeviceReading {
        utilization: Some(0.93),
        temperature_c: Some(81.0),
        power_w: Some(402.0),
        pcie: Pcie { rx_bps: Some(14.1e9), tx_bps: Some(0.2e9), generation: Some(4), width: Some(16) },
        extras: Extras {
            performance_state: Some(2),
            throttle: Some(vec!["power cap".to_owned()]),
            sm_max_mhz: Some(3105),
            mem_max_mhz: Some(10_501),
            slowdown_c: Some(90.0),
            pcie_max_generation: Some(4),
            pcie_max_width: Some(16),
            ecc: Some(Ecc { enabled: true, corrected: Some(7), uncorrected: Some(0) }),
            xid: Some(Faults { since: Timestamp(NOW.0 - 10_800_000), count: 1, last: Some(Xid::new(31, Timestamp(NOW.0 - 754_000))) }),
        },
        processes: vec![
            process(88_123, "perilune-engine", Some("ana"), 21.9, "engine"),
            process(991, "Xorg", Some("root"), 0.3, "foreign"),
            ProcessReading {
                name: None,
                command: None,
                started: None,
                start_ticks: None,
                ..process(56_752, "", None, 1.5, "other pid ns")
            },
        ],
        held: vec![Held { set: "qwen-night".to_owned(), component: "denoiser".to_owned(), precision: "bf16".to_owned(), bytes: gib(18.5) }],
        activations: Some(gib(3.4)),
        ..gpu(0, "NVIDIA GeForce RTX 4090", 23.7, 24.0)
    }
}

/// The host's memory, part of which holds weights for the first card.
pub(crate) fn cpu() -> DeviceReading {
    DeviceReading {
        name: Some("32 cores".to_owned()),
        memory: Some(memory(29.5, 125.6)),
        utilization: Some(0.18),
        held: vec![Held { set: "qwen-night".to_owned(), component: "denoiser".to_owned(), precision: "bf16".to_owned(), bytes: gib(19.6) }],
        age_s: 0.4,
        ..DeviceReading::unknown(DeviceId::Cpu, DeviceKind::Cpu, "sysinfo")
    }
}

/// The file system of the models.
pub(crate) fn disk() -> DeviceReading {
    DeviceReading { memory: Some(memory(1210.0, 1863.0)), ..DeviceReading::unknown(DeviceId::Disk, DeviceKind::Disk, "sysinfo") }
}

/// What was converted on the box, by path.
pub(crate) fn cached() -> Vec<CachedView> {
    let file = |source: &str, from: &str, to: &str, size: f64, hits: u64, days: i64, state| {
        let ending = if to.starts_with('Q') { "gguf" } else { "safetensors" };
        let folder = if to.starts_with('Q') { "gguf" } else { "converted" };
        CachedView {
            path: PathBuf::from(format!("/models/diffusion_models/{folder}/{source}_{to}.{ending}")),
            source: Some(PathBuf::from(format!("/models/checkpoints/{source}.safetensors"))),
            from: Some(from.to_owned()),
            to: Some(to.to_owned()),
            bytes: gib(size),
            state,
            damage: None,
            outside: false,
            in_use: false,
            kept: false,
            made: Some(Timestamp(NOW.0 - days * 86_400_000 - 7_000_000)),
            used: Some(Timestamp(NOW.0 - days * 43_200_000)),
            hits: Some(hits),
            seconds: Some(41.5),
            rel_l2_mean: Some(0.0213),
        }
    };
    let unfinished = CachedView {
        source: None,
        from: None,
        to: None,
        made: None,
        used: None,
        hits: None,
        seconds: None,
        rel_l2_mean: None,
        ..file("dream", "fp16", "nf4", 0.4, 0, 0, CachedState::Unfinished)
    };
    vec![
        CachedView { in_use: true, kept: true, ..file("flux-dev", "bf16", "fp8_e4m3fn_scaled", 11.1, 22, 0, CachedState::Valid) },
        file("qwen-night", "bf16", "int8", 20.4, 9, 2, CachedState::Valid),
        file("sdxl-base", "fp32", "fp16", 6.9, 0, 3, CachedState::Stale),
        file("old/dreams", "fp16", "Q4_K_M", 4.1, 1, 40, CachedState::Orphaned),
        CachedView {
            damage: Some("bytes 4096 to 8192 are not those that were written".to_owned()),
            ..file("lighthouse", "fp16", "Q8_0", 1.9, 3, 12, CachedState::Damaged)
        },
        CachedView {
            path: PathBuf::from("/mnt/share/flux-dev_bf16.safetensors"),
            outside: true,
            ..file("flux-dev", "fp32", "bf16", 22.2, 0, 9, CachedState::Valid)
        },
        unfinished,
    ]
}

/// A conversion that a client has asked for, and that waits.
pub(crate) fn conversion() -> ConversionView {
    ConversionView {
        id: ConversionId(1),
        source: "/models/checkpoints/dream.safetensors".into(),
        part: None,
        to: Target::Nf4,
        running: false,
        paused: false,
        done: Bytes::ZERO,
        bytes: Bytes::ZERO,
        seconds: 0.0,
        jobs: Vec::new(),
    }
}

/// A card that fell off the bus.
pub(crate) fn lost_gpu() -> DeviceReading {
    DeviceReading {
        health: Health::Lost { reason: "fell off the bus (Xid 79)".to_owned(), for_s: 211.0 },
        ..gpu(3, "NVIDIA GeForce RTX 3090", 3.1, 24.0)
    }
}

pub(crate) fn host() -> HostReading {
    HostReading {
        name: Some("gpu-box-3".to_owned()),
        cpus: Some(32),
        load: Some([4.1, 3.9, 3.0]),
        cpu_utilization: Some(0.18),
        memory: Some(memory(29.5, 125.6)),
        swap: Some(memory(0.0, 8.0)),
        disks: Vec::new(),
        driver: Some("580.95.05".to_owned()),
        cuda: Some("13.0".to_owned()),
        gpu_problem: None,
    }
}

pub(crate) fn gpu_problem() -> GpuProblem {
    GpuProblem {
        cause: "driver 580.95 is loaded, the library is 580.82".to_owned(),
        hint: "reboot, or reload the kernel module".to_owned(),
        is_absent: false,
    }
}

pub(crate) fn set(name: &str) -> SetView {
    let part = |role, precision: &str, planned: f64, real: f64, device| PartView {
        role,
        copy: role as u64,
        precision: precision.to_owned(),
        planned: gib(planned),
        bytes: gib(real),
        cached: Bytes::ZERO,
        device,
    };
    SetView {
        name: name.to_owned(),
        family: "sd15".to_owned(),
        device: DeviceId::Cuda(0),
        components: vec![
            part(Role::Denoiser, "bf16", 18.5, 18.5, DeviceId::Cuda(0)),
            part(Role::Denoiser, "bf16", 19.6, 19.6, DeviceId::Cpu),
            part(Role::ClipL, "bf16", 0.2, 0.2, DeviceId::Cuda(0)),
            part(Role::Vae, "bf16", 0.2, 0.1, DeviceId::Cuda(0)),
        ],
        used_by: None,
        last_used: Some(Timestamp(NOW.0 - 250_000)),
        id: SetId(name.to_owned()),
        shared: Vec::new(),
        bytes: gib(38.4),
        alone: gib(38.4),
        pinned: false,
        keep_s: None,
        leaves: None,
    }
}

/// The busy box, whose first card holds a second set that shares two parts with the first, which is pinned.
pub(crate) fn sharing() -> Status {
    let mut status = busy();
    let shared = |with: &str| {
        let part = |role| SharedPart { copy: role as u64, role, with: vec![SetId(with.to_owned())] };
        vec![part(Role::ClipL), part(Role::Vae)]
    };
    status.sets[0] = SetView { shared: shared("qwen-noon"), alone: gib(38.1), pinned: true, ..status.sets[0].clone() };
    let mut noon = SetView {
        shared: shared("qwen-night"),
        bytes: gib(9.5),
        alone: gib(9.2),
        keep_s: Some(600.0),
        leaves: Some(Timestamp(NOW.0 + 350_000)),
        ..set("qwen-noon")
    };
    noon.components.remove(1);
    (noon.components[0].copy, noon.components[0].precision) = (99, "Q4_K".to_owned());
    (noon.components[0].planned, noon.components[0].bytes) = (gib(9.2), gib(9.2));
    status.sets.insert(1, noon);
    status
}

pub(crate) fn spec(model: &str, prompt: &str) -> JobSpec {
    let component = |role, file: &str| Component {
        role,
        precision: DType::F16,
        bytes: Bytes::gib(1),
        tensors: 686,
        files: vec![PathBuf::from(file)],
        stored: None,
    };
    let file = format!("/models/checkpoints/{model}.safetensors");
    JobSpec {
        set: ModelSet {
            name: model.to_owned(),
            family: Family::Sd15,
            variant: "base".to_owned(),
            components: vec![component(Role::Denoiser, &file), component(Role::ClipL, &file), component(Role::Vae, &file)],
            vocabularies: BTreeMap::new(),
        },
        named: Named { model: file.clone(), ..Named::default() },
        prompt: prompt.to_owned(),
        negative: "fog, text".to_owned(),
        dialect: Dialect::default(),
        weighting: Weighting::default(),
        steps: 28,
        cfg: 7.0,
        guidance: None,
        cfg_rescale: 0.0,
        shift: None,
        sampler: Sampler::Dpmpp2m,
        schedule: Schedule::Karras,
        prediction: Prediction::Epsilon,
        seed: Seed(1_234_567),
        size: Size::new(768, 512).unwrap(),
        batch: 1,
        precision: None,
        conversion: None,
        init: None,
        tiling: Tiling::Auto,
        passes: Passes::default(),
        keep_latents: false,
        output: PathBuf::from("/home/ana/pictures"),
        priority: 5,
        compute: DeviceId::Cuda(0),
        offload: OffloadAsk::default(),
        parts: PartAsks::default(),
        owner: "ana".to_owned(),
        notes: Vec::new(),
    }
}

/// A job that waits.
pub(crate) fn job(id: i64, model: &str, prompt: &str) -> JobView {
    JobView {
        job: JobId(id),
        state: JobState::Queued,
        reason: Some(WaitReason::After(JobId(41))),
        cancelling: false,
        spec: spec(model, prompt),
        progress: None,
        attempts: 0,
        created: Timestamp(NOW.0 - 600_000),
        started: None,
        finished: None,
        images: Vec::new(),
        timing: None,
        placement: None,
        precision: None,
        warnings: Vec::new(),
        failure: None,
    }
}

pub(crate) fn running_job() -> JobView {
    JobView {
        state: JobState::Running,
        reason: None,
        progress: Some(Progress { phase: Phase::Sampling, step: 14, steps: 28, step_s: Some(1.5) }),
        attempts: 1,
        started: Some(Timestamp(NOW.0 - 30_000)),
        precision: Some("bf16".to_owned()),
        ..job(41, "qwen-night", "a lighthouse at dusk, long shadows over wet sand, a small boat far out, painted in oil")
    }
}

pub(crate) fn failed_job() -> JobView {
    JobView {
        state: JobState::Failed,
        reason: None,
        attempts: 2,
        started: Some(Timestamp(NOW.0 - 500_000)),
        finished: Some(Timestamp(NOW.0 - 430_000)),
        failure: Some(Failure {
            kind: Kind::Failed,
            message: "out of memory on cuda:0 in the decoder: 3.1 GiB wanted, 0.3 GiB free".to_owned(),
            hint: Some("R tries again; tiling always needs less".to_owned()),
            log: vec!["decode: 96x64 latents, bf16".to_owned(), "CUDA error: out of memory".to_owned()],
        }),
        ..job(40, "flux-dev", "a red fox in snow")
    }
}

pub(crate) fn done_job() -> JobView {
    JobView {
        state: JobState::Done,
        reason: None,
        attempts: 1,
        started: Some(Timestamp(NOW.0 - 1_000_000)),
        finished: Some(Timestamp(NOW.0 - 940_000)),
        images: vec![ImageRecord { path: PathBuf::from("/home/ana/pictures/night-0039.png"), seed: Seed(7), width: 768, height: 512 }],
        timing: Some(Timing { queued: 2.0, load: 11.2, encode: 0.4, sample: 42.0, decode: 1.3, total: 55.1, per_step: vec![1.5; 28] }),
        placement: Some(Placement {
            asked: vec![Share { device: DeviceId::Cuda(0), bytes: gib(18.7) }, Share { device: DeviceId::Cpu, bytes: gib(19.6) }],
            measured: vec![Share { device: DeviceId::Cuda(0), bytes: gib(18.7) }, Share { device: DeviceId::Cpu, bytes: gib(12.0) }],
            streamed_bytes_per_step: gib(19.6),
            streamed_over: vec![StreamedOver { link: "cpu".to_owned(), bytes_per_step: gib(19.6), busy_s_per_step: 1.4 }],
            staging: gib(1.2),
            stalled_s_per_step: 0.1,
            ..Placement::default()
        }),
        precision: Some("bf16".to_owned()),
        warnings: vec!["the donor cpu holds 12.0 GiB of 19.6 GiB planned".to_owned()],
        ..job(39, "qwen-night", "a lighthouse at dawn")
    }
}

pub(crate) fn notice(seconds_ago: i64, level: &str, text: &str, job: Option<i64>) -> Notice {
    Notice { time: Timestamp(NOW.0 - seconds_ago * 1000), level: level.to_owned(), text: text.to_owned(), job: job.map(JobId) }
}

/// A line that is told behind those of [`log`].
pub(crate) fn log_line(seconds_ago: i64, level: &str, source: &str, text: &str) -> LogLine {
    let time = Timestamp(NOW.0 - seconds_ago * 1000);
    LogLine { seq: 1_000, time, level: level.to_owned(), source: source.to_owned(), text: text.to_owned() }
}

pub(crate) fn log() -> Vec<LogLine> {
    let mut lines = vec![
        log_line(3900, "info", "daemon", "listening on /run/user/1000/perilune/daemon.sock"),
        log_line(3890, "info", "cuda:0", "engine ready: NVIDIA GeForce RTX 4090, libtorch 2.11.0"),
        log_line(430, "error", "cuda:0", "job 40: out of memory on cuda:0 in the decoder"),
        log_line(211, "error", "daemon", "cuda:3 does not answer: fell off the bus (Xid 79)"),
        log_line(210, "warn", "daemon", "job 44 waits: cuda:3 does not answer"),
        log_line(40, "debug", "cuda:0", "residency: 60 blocks, 31 streamed"),
    ];
    lines.extend((1..=14).map(|n| log_line(30 - 2 * n, "info", "cuda:0", &format!("job 41: step {n} of 28, 1.5 s"))));
    (1..).zip(&mut lines).for_each(|(seq, line)| line.seq = seq);
    lines
}

pub(crate) fn models() -> Vec<ModelEntry> {
    let entry = |name: &str, folder: &str, size: f64, family| ModelEntry {
        name: name.to_owned(),
        folder: folder.to_owned(),
        path: PathBuf::from(format!("/models/{folder}/{name}.safetensors")),
        bytes: gib(size),
        family,
        variant: family.map(|_| "base".to_owned()),
        precision: None,
        components: Vec::new(),
        problem: None,
    };
    vec![
        entry("moonlet", "built in", 0.01, Some(Family::Sd15)),
        entry("qwen-night", "checkpoints", 2.0, Some(Family::Sd15)),
        entry("flux-dev", "checkpoints", 22.2, Some(Family::Flux)),
        ModelEntry { problem: Some("not a safetensors file".to_owned()), ..entry("old/dreams", "checkpoints", 3.9, None) },
        entry("vae-ft-mse", "vae", 0.3, None),
    ]
}

fn engine(index: u16, state: EngineState) -> EngineView {
    EngineView {
        device: DeviceId::Cuda(index),
        state,
        pid: Some(88_123 + u32::from(index)),
        about: Some("libtorch 2.11.0".to_owned()),
        retry_in_s: None,
        last_exit: None,
    }
}

/// A box on which nothing was done yet.
pub(crate) fn empty() -> Status {
    Status {
        version: "0.1.0".to_owned(),
        time: NOW,
        daemon: DaemonView { pid: 4242, uptime_s: 12.0 },
        devices: vec![
            gpu(0, "NVIDIA GeForce RTX 4090", 0.4, 24.0),
            DeviceReading { held: Vec::new(), memory: Some(memory(6.1, 125.6)), ..cpu() },
        ],
        host: host(),
        sets: Vec::new(),
        engines: vec![engine(0, EngineState::Ready)],
        cache: CacheView::default(),
        conversions: Vec::new(),
        queue: QueueView::default(),
        notices: Vec::new(),
    }
}

/// A box that works.
pub(crate) fn busy() -> Status {
    let held = JobView { state: JobState::Held, reason: Some(WaitReason::Operator), ..job(44, "qwen-night", "a harbour at noon") };
    let other = JobView {
        reason: Some(WaitReason::After(JobId(42))),
        spec: JobSpec { owner: "ci".to_owned(), priority: 0, ..spec("qwen-night", "contact sheet, 12 lighthouses") },
        ..job(43, "qwen-night", "")
    };
    Status {
        daemon: DaemonView { pid: 4242, uptime_s: 274_000.0 },
        devices: vec![
            busy_gpu(),
            gpu(1, "NVIDIA GeForce RTX 3090", 1.4, 24.0),
            DeviceReading {
                uuid: Some("MIG-77aa4d21-9c53-0000-0000-000000000000".to_owned()),
                utilization: None,
                power_w: None,
                pcie: Pcie::default(),
                why: BTreeMap::from([("utilization".to_owned(), "not told for MIG slices".to_owned())]),
                ..gpu(2, "NVIDIA A100 1g.20gb", 5.6, 19.6)
            },
            cpu(),
            disk(),
        ],
        sets: vec![SetView { used_by: Some(JobId(41)), ..set("qwen-night") }, SetView { device: DeviceId::Cuda(2), ..set("flux-dev") }],
        engines: vec![engine(0, EngineState::Busy), engine(1, EngineState::Ready), engine(2, EngineState::Ready)],
        queue: QueueView {
            paused: false,
            queued: 2,
            held: 1,
            running: 1,
            succeeded: 38,
            failed: 1,
            cancelled: 0,
            jobs: vec![running_job(), job(42, "flux-dev", "a red fox in snow, seen from above"), other, held, failed_job(), done_job()],
        },
        notices: vec![
            notice(1211, "info", "daemon 0.1.0 started", None),
            notice(430, "fail", "job 40 failed: out of memory on cuda:0 in the decoder; R tries it again", Some(40)),
            notice(61, "warn", "the donor cpu holds 12.0 GiB of 19.6 GiB planned for qwen-night", Some(39)),
        ],
        ..empty()
    }
}

/// A box in trouble: a card is gone, an engine cannot start, the driver of the rest is wrong.
pub(crate) fn broken() -> Status {
    let mut status = busy();
    status.devices.retain(|d| d.id != DeviceId::Cuda(2));
    status.devices.insert(2, lost_gpu());
    status.devices.push(DeviceReading { health: Health::Asleep, ..gpu(4, "NVIDIA GeForce RTX 3060", 0.0, 12.0) });
    status.devices.push(DeviceReading {
        memory: None,
        utilization: None,
        temperature_c: None,
        power_w: None,
        error: Some("no permission for /dev/nvidia5".to_owned()),
        ..gpu(5, "NVIDIA GeForce RTX 3060", 0.0, 12.0)
    });
    let dead = EngineView {
        retry_in_s: Some(4.0),
        last_exit: Some("killed by signal 9".to_owned()),
        pid: None,
        ..engine(1, EngineState::Backoff)
    };
    status.engines[1] = dead;
    status.queue.jobs[3] = JobView {
        state: JobState::Queued,
        reason: Some(WaitReason::Device),
        spec: JobSpec { compute: DeviceId::Cuda(3), ..spec("qwen-night", "a harbour at noon") },
        ..job(44, "qwen-night", "")
    };
    (status.queue.queued, status.queue.held) = (3, 0);
    status.notices.insert(2, notice(211, "crit", "cuda:3 fell off the bus (Xid 79); jobs that need it wait", None));
    status
}

/// A picture that becomes clearer: a light over a horizon.
pub(crate) fn preview(step: u32) -> Preview {
    use base64::Engine as _;
    let side = 48u32;
    let mut rgb = Vec::new();
    for (y, x) in (0..side).flat_map(|y| (0..side).map(move |x| (y, x))) {
        let light = 200u32.saturating_sub(8 * (x.abs_diff(24) + y.abs_diff(18)));
        let noise = (x * 7919 + y * 104_729 + step * 31) % 97 * (28 - step.min(28)) / 28;
        let sea = if y > 30 { 40 } else { 90 };
        rgb.extend([light + noise, light * 4 / 5 + noise, sea + noise].map(|v| u8::try_from(v).unwrap_or(u8::MAX)));
    }
    let rgb = base64::engine::general_purpose::STANDARD.encode(rgb);
    Preview { job: JobId(41), step, width: side, height: side, rgb }
}

/// What the tuner is told of a model of 3.2 GiB that is computed with on the processor, or on the first card, and loaded so
/// that every second block comes from elsewhere.
pub(crate) fn tune(compute: DeviceId) -> TuneView {
    let size = |n: u64| Bytes::mib(if n == 0 { 5 } else { 40 + (n * 37) % 90 });
    let count = 42;
    let unit = |n: u64| UnitCost {
        stay: if n == 0 { Stay::Pinned } else { Stay::Movable },
        ..UnitCost::plain(size(n), 0.02 + 0.001 * ((n * 53) % 17) as f64)
    };
    let block = |n: u64| TuneBlock {
        name: match n {
            0 => "time_embed".to_owned(),
            1..20 => format!("input_blocks.{}.{}", n / 2, n % 2),
            20..23 => format!("middle_block.{}", n - 20),
            _ => format!("output_blocks.{}.{}", (n - 23) / 2, (n - 23) % 2),
        },
        stored: size(n),
    };
    let room = |device, total: f64, free: f64| Room {
        device,
        total: gib(total),
        free: gib(free),
        reserve: gib(total / 20.0),
        committed: Bytes::ZERO,
    };
    let measured = |flops, bytes_per_second| Speed { flops, bytes_per_second, measured: true };
    let donor = if compute == DeviceId::Cpu { DeviceId::Disk } else { DeviceId::Cpu };
    let ask = OffloadAsk { virtual_vram: "1500MiB".parse().unwrap(), ..OffloadAsk::default() };
    let homes = (0..count).map(|n| if n % 2 == 0 { compute } else { donor }).collect();
    let units: Vec<UnitCost> = (0..count).map(unit).collect();
    let every_second = |first| (0..count).filter(|n| n % 2 == first).map(size).sum();
    let mut held = vec![Share { device: compute, bytes: every_second(0) }];
    if donor != DeviceId::Disk {
        held.push(Share { device: donor, bytes: every_second(1) });
    }
    TuneView {
        model: "qwen-night".to_owned(),
        family: "sd15".to_owned(),
        precision: Precision::Fp32,
        compute,
        size: Size::new(768, 512).unwrap(),
        batch: 1,
        blocks: (0..count).map(block).collect(),
        network: Model { units, stored_share: 1.0, grounds: Grounds::Steps, walks: 1, activations: Bytes::ZERO },
        machine: Machine {
            rooms: vec![room(DeviceId::Cuda(0), 24.0, 20.5), room(DeviceId::Cuda(1), 24.0, 22.6), room(DeviceId::Cpu, 31.2, 9.5)],
            speeds: vec![
                (DeviceId::Cpu, measured(3e11, 12e9)),
                (DeviceId::Disk, measured(0.0, 2.1e9)),
                (DeviceId::Cuda(0), measured(3e13, 20e9)),
            ],
            pace: Pace::assumed(compute),
            latencies: Vec::new(),
        },
        held,
        active: Some(Box::new(Placed {
            files: vec![PathBuf::from("/models/checkpoints/qwen-night.safetensors")],
            precision: Precision::Fp32,
            ask,
            plan: OffloadPlan { compute, homes },
            staging: None,
        })),
        history: Some(History { runs: 9, median_error: 0.064, of: Similar::Size }),
    }
}
