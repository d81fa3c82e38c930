//! A status as text for Prometheus: the exposition format 0.0.4, names and units as its conventions ask.
//!
//! Labels are names of devices, sets, parts, precisions and states: never prompts, users or paths. A value that cannot be
//! read has no sample. Counts that `queue clear` and `queue retry` bring down are gauges; a clear sets what is done back to 0,
//! which is what a counter's reset looks like.
//!
//! Conventions: <https://prometheus.io/docs/practices/naming/>.

use std::collections::BTreeMap;

use prometheus::{Counter, GaugeVec, Opts, Registry, TextEncoder};

use crate::devices::{DeviceReading, Health, Memory};
use crate::jobs::JobState;
use crate::units::Bytes;
use crate::wire::{ConversionView, EngineState, SetView, Status};
use crate::workflow::{Kind, Refusal};

/// What the text is, for HTTP.
pub const CONTENT_TYPE: &str = prometheus::TEXT_FORMAT;
/// What every name begins with.
const NAMESPACE: &str = "perilune";

/// Returns the text.
pub fn text(status: &Status) -> Result<String, Refusal> {
    encode(status).map_err(|e| Refusal::bare(Kind::Failed, format!("the metrics cannot be written: {e}")))
}

fn encode(status: &Status) -> prometheus::Result<String> {
    let page = Page(Registry::new_custom(Some(NAMESPACE.to_owned()), None)?);
    page.daemon(status)?;
    page.devices(&status.devices)?;
    page.device_memory(status)?;
    page.host(status)?;
    page.sets(&status.sets)?;
    page.engines(status)?;
    page.queue(status)?;
    page.conversions(status)?;
    TextEncoder::new().encode_to_string(&page.0.gather())
}

/// A sample: the values of the labels, and the value.
type Sample = (Vec<String>, f64);

/// What is gathered.
struct Page(Registry);

impl Page {
    /// A gauge with labels; a family without samples is left out.
    fn gauge(&self, name: &str, help: &str, labels: &[&str], samples: impl IntoIterator<Item = Sample>) -> prometheus::Result<()> {
        let family = GaugeVec::new(Opts::new(name, help), labels)?;
        for (values, value) in samples {
            let values: Vec<&str> = values.iter().map(String::as_str).collect();
            // What has the same labels is one thing in several pieces.
            family.get_metric_with_label_values(&values)?.add(value);
        }
        self.0.register(Box::new(family))
    }

    fn one(&self, name: &str, help: &str, value: f64) -> prometheus::Result<()> {
        self.gauge(name, help, &[], [(Vec::new(), value)])
    }

    fn counter(&self, name: &str, help: &str, value: f64) -> prometheus::Result<()> {
        let counter = Counter::with_opts(Opts::new(name, help))?;
        counter.inc_by(value);
        self.0.register(Box::new(counter))
    }

    fn daemon(&self, status: &Status) -> prometheus::Result<()> {
        let version = || vec![status.version.clone()];
        self.gauge("build_info", "The daemon's version; always 1.", &["version"], [(version(), 1.0)])?;
        self.one("daemon_uptime_seconds", "Seconds since the daemon started.", status.daemon.uptime_s)
    }

    fn devices(&self, devices: &[DeviceReading]) -> prometheus::Result<()> {
        let info = devices.iter().map(|d| {
            let text = |text: &Option<String>| text.clone().unwrap_or_default();
            let simulated = d.simulated.to_string();
            (vec![d.id.to_string(), text(&d.name), text(&d.uuid), d.source.clone(), simulated], 1.0)
        });
        self.gauge("device_info", "What a device is; always 1.", &["device", "name", "uuid", "source", "simulated"], info)?;
        let up = devices.iter().map(|d| (vec![d.id.to_string()], f64::from(u8::from(answers(d)))));
        self.gauge("device_up", "Whether a device answers: 1, or 0 where it is lost, asleep or unreadable.", &["device"], up)?;
        let age = devices.iter().map(|d| (vec![d.id.to_string()], d.age_s));
        self.gauge("device_reading_age_seconds", "Seconds since a device's values were taken.", &["device"], age)?;
        // What a lost device last said is no reading of now.
        let live: Vec<&DeviceReading> = devices.iter().filter(|d| answers(d)).collect();
        let each = |value: fn(&DeviceReading) -> Option<f64>| {
            live.iter().filter_map(|d| Some((vec![d.id.to_string()], value(d)?))).collect::<Vec<_>>()
        };
        let device = &["device"][..];
        self.gauge("device_utilization_ratio", "Busy share of the last sampling period.", device, each(|d| d.utilization))?;
        self.gauge("device_temperature_celsius", "Temperature of the core.", device, each(|d| d.temperature_c))?;
        self.gauge("device_power_watts", "Power drawn.", device, each(|d| d.power_w))?;
        self.gauge("device_power_limit_watts", "Power allowed.", device, each(|d| d.power_limit_w))?;
        self.gauge("device_fan_speed_ratio", "Intended fan speed.", device, each(|d| d.fan))?;
        let pcie = ["device", "direction"];
        let traffic = live.iter().flat_map(|d| [("rx", d.pcie.rx_bps, d), ("tx", d.pcie.tx_bps, d)]);
        let traffic = traffic.filter_map(|(way, rate, d)| Some((vec![d.id.to_string(), way.to_owned()], rate?)));
        self.gauge("device_pcie_bytes_per_second", "Traffic over the bus, as the device sees it.", &pcie, traffic)?;
        self.gauge("device_pcie_generation", "Generation of the link in use.", device, each(|d| d.pcie.generation.map(f64::from)))?;
        self.gauge("device_pcie_lanes", "Lanes of the link in use.", device, each(|d| d.pcie.width.map(f64::from)))?;
        let clocks = live.iter().flat_map(|d| [("sm", d.clocks.sm_mhz, d), ("memory", d.clocks.mem_mhz, d)]);
        let clocks = clocks.filter_map(|(clock, mhz, d)| Some((vec![d.id.to_string(), clock.to_owned()], f64::from(mhz?) * 1e6)));
        self.gauge("device_clock_hertz", "Present clock rate.", &["device", "clock"], clocks)
    }

    fn device_memory(&self, status: &Status) -> prometheus::Result<()> {
        let live = || status.devices.iter().filter(|d| answers(d));
        let read = || live().filter_map(|d| Some((d, d.memory?)));
        let size = read().map(|(d, memory)| (vec![d.id.to_string()], bytes(memory.total)));
        self.gauge("device_memory_size_bytes", "All the memory of a device.", &["device"], size)?;
        let split = read().flat_map(|(d, memory)| {
            let parts = split(d, memory, &status.sets);
            parts.map(|(part, held)| (vec![d.id.to_string(), part.to_owned()], bytes(held)))
        });
        let help = "What holds a device's memory: weights, weights donated to another device, activations, others; or free.";
        self.gauge("device_memory_bytes", help, &["device", "part"], split)?;
        let held = live().flat_map(|d| d.processes.iter().filter_map(|p| Some((vec![d.id.to_string(), p.owner.clone()], bytes(p.bytes?)))));
        let help = "Memory that processes hold, by what they are to this daemon: its engines, others, those of other pid namespaces.";
        self.gauge("device_process_memory_bytes", help, &["device", "owner"], held)
    }

    fn host(&self, status: &Status) -> prometheus::Result<()> {
        let host = &status.host;
        let none = &[][..];
        let ratio = host.cpu_utilization.map(|share| (Vec::new(), share));
        self.gauge("host_cpu_utilization_ratio", "Busy share of all processor cores.", none, ratio)?;
        self.gauge("host_load1", "Load average over one minute.", none, host.load.map(|[one, ..]| (Vec::new(), one)))?;
        self.gauge("host_swap_used_bytes", "Swap space in use.", none, host.swap.map(|swap| (Vec::new(), bytes(swap.used))))
    }

    fn sets(&self, sets: &[SetView]) -> prometheus::Result<()> {
        let parts = |value: fn(&crate::wire::status::PartView) -> Bytes| {
            let of_set = move |set: &SetView| {
                let name = plain_name(&set.name);
                let row = set.components.iter().map(move |p| {
                    (vec![name.clone(), p.role.name().to_owned(), p.precision.clone(), p.device.to_string()], bytes(value(p)))
                });
                row.collect::<Vec<_>>()
            };
            sets.iter().flat_map(of_set).collect::<Vec<_>>()
        };
        let labels = &["set", "component", "precision", "device"];
        self.gauge("set_bytes", "Bytes of a loaded set's weights, where they are.", labels, parts(|p| p.bytes))?;
        self.gauge("set_planned_bytes", "Bytes of a loaded set's weights, where its plan puts them.", labels, parts(|p| p.planned))?;
        let used = sets.iter().map(|s| (vec![plain_name(&s.name), s.device.to_string()], f64::from(u8::from(s.used_by.is_some()))));
        self.gauge("set_in_use", "Whether a job uses a loaded set now.", &["set", "device"], used)
    }

    fn engines(&self, status: &Status) -> prometheus::Result<()> {
        let engines = status.engines.iter().map(|e| (vec![e.device.to_string(), state_of_engine(e.state).to_owned()], 1.0));
        self.gauge("engine_state", "The state that an engine is in; 1 for that one.", &["device", "state"], engines)
    }

    fn queue(&self, status: &Status) -> prometheus::Result<()> {
        let queue = &status.queue;
        // The counts have those that are held at a step border among the running ones.
        let states = [
            (JobState::Queued, queue.queued),
            (JobState::Held, queue.held),
            (JobState::Running, queue.running),
            (JobState::Done, queue.succeeded),
            (JobState::Failed, queue.failed),
            (JobState::Cancelled, queue.cancelled),
        ];
        let jobs = states.map(|(state, count)| (vec![state.name().to_owned()], count as f64));
        self.gauge("jobs", "Jobs in the queue and its history, by state.", &["state"], jobs)?;
        self.counter("jobs_done_total", "Jobs whose pictures are saved; `queue clear` sets it back.", queue.succeeded as f64)?;
        self.one("queue_paused", "Whether the operator keeps new jobs from starting.", f64::from(u8::from(queue.paused)))
    }

    fn conversions(&self, status: &Status) -> prometheus::Result<()> {
        let mut states = BTreeMap::from([("paused", 0.0), ("running", 0.0), ("waiting", 0.0)]);
        for conversion in &status.conversions {
            *states.entry(state_of_conversion(conversion)).or_default() += 1.0;
        }
        let states = states.into_iter().map(|(state, count)| (vec![state.to_owned()], count));
        self.gauge("conversions", "Conversions that are not there yet, by state.", &["state"], states)?;
        let left: Bytes = status.conversions.iter().map(|c| c.bytes.saturating_sub(c.done)).sum();
        self.one(
            "conversions_left_bytes",
            "Bytes that running and waiting conversions still have to read, where that is known.",
            bytes(left),
        )?;
        self.one("cache_files", "Conversions that are kept.", status.cache.count as f64)?;
        let kept = status.cache.by_precision.iter().map(|(precision, size)| (vec![precision.clone()], bytes(*size)));
        self.gauge("cache_bytes", "Bytes of the conversions that are kept, by precision.", &["precision"], kept)
    }
}

fn bytes(bytes: Bytes) -> f64 {
    bytes.get() as f64
}

fn answers(device: &DeviceReading) -> bool {
    matches!(device.health, Health::Ok | Health::Degraded { .. }) && device.error.is_none()
}

/// Splits a memory as the dashboard's bars do. Weights count as donated where a set computes on another device.
fn split(device: &DeviceReading, memory: Memory, sets: &[SetView]) -> [(&'static str, Bytes); 5] {
    // A set that is not known any more computes here, as far as anybody can tell.
    let is_own = |set: &str| {
        let mut homes = sets.iter().filter(|s| s.name == set).map(|s| s.device).peekable();
        homes.peek().is_none() || homes.any(|home| home == device.id)
    };
    let held = |own: bool| device.held.iter().filter(|h| is_own(&h.set) == own).map(|h| h.bytes).sum::<Bytes>().min(memory.used);
    let weights = held(true);
    let donated = held(false).min(memory.used.saturating_sub(weights));
    let activations = device.activations.unwrap_or(Bytes::ZERO).min(memory.used.saturating_sub(weights).saturating_sub(donated));
    let others = memory.used.saturating_sub(weights).saturating_sub(donated).saturating_sub(activations);
    [("weights", weights), ("donated", donated), ("activations", activations), ("others", others), ("free", memory.free)]
}

/// A set may be called as its file is; a path is nobody's label.
fn plain_name(name: &str) -> String {
    name.rsplit('/').next().unwrap_or(name).to_owned()
}

fn state_of_engine(state: EngineState) -> &'static str {
    match state {
        EngineState::Starting => "starting",
        EngineState::Ready => "ready",
        EngineState::Busy => "busy",
        EngineState::Backoff => "backoff",
        EngineState::Broken => "broken",
    }
}

fn state_of_conversion(conversion: &ConversionView) -> &'static str {
    match (conversion.paused, conversion.running) {
        (true, _) => "paused",
        (false, true) => "running",
        (false, false) => "waiting",
    }
}
