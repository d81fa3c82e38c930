//! The clockwork behind `simulate`: one pass over the streamed units after another.
//!
//! It keeps its scratch memory, so that a planner can ask it for hundreds of placements.

use super::simulate::{Link, Staging};

/// Steps that a full run has; the first [`WARM`] of them are not counted.
const STEPS: usize = 8;
const WARM: usize = 3;

/// Two states this close, relative to the step, are one: the steps repeat from here on.
const SAME: f64 = 1e-13;

/// What is noted on the way, where somebody wants to know more than the time of a step.
#[derive(Debug, Default)]
pub(super) struct Waits {
    pub(super) first_step_s: f64,
    sums: Vec<f64>,
}

impl Waits {
    pub(super) fn of(units: usize) -> Self {
        Self { first_step_s: 0.0, sums: vec![0.0; units] }
    }

    /// Returns the mean wait for each unit over the counted steps.
    pub(super) fn stalls_s(&self) -> Vec<f64> {
        self.sums.iter().map(|s| s / (STEPS - WARM) as f64).collect()
    }
}

/// A streamed unit, with the computing of the resident ones before it.
#[derive(Debug, Clone, Copy)]
struct Stop {
    unit: usize,
    link: usize,
    before_s: f64,
    copy_s: f64,
    seconds: f64,
}

#[derive(Debug)]
pub(super) struct Pipeline {
    seconds: Vec<f64>,
    bytes: Vec<u64>,
    links: usize,
    /// Seconds of a copy, by unit and then by link.
    copies: Vec<f64>,
    stops: Vec<Stop>,
    engines: Vec<f64>,
    busy: Vec<f64>,
    gate: Gate,
    state: Vec<f64>,
}

impl Pipeline {
    pub(super) fn new(seconds: &[f64], bytes: &[u64], links: &[Link], staging: Staging) -> Self {
        let copies = bytes.iter().flat_map(|b| links.iter().map(|l| l.latency_s + *b as f64 / l.bytes_per_second)).collect();
        let gate = match staging {
            // More slots than copies are as good as one for each.
            Staging::Slots(slots) => Gate::Slots { freed: vec![0.0; (slots as usize).clamp(1, 1 + STEPS * bytes.len())], next: 0 },
            Staging::Ring(bytes) | Staging::Flowing(bytes) => {
                let flows = matches!(staging, Staging::Flowing(_));
                Gate::Ring { size: bytes.get(), flows, cursor: 0, lying: Vec::new(), head: 0, open: 0.0 }
            }
        };
        Self {
            seconds: seconds.to_vec(),
            bytes: bytes.to_vec(),
            links: links.len(),
            copies,
            stops: Vec::new(),
            engines: vec![0.0; links.len()],
            busy: vec![0.0; links.len()],
            gate,
            state: Vec::new(),
        }
    }

    /// Returns how long each link copies in a step, with the homes asked about last.
    pub(super) fn busy_s(&self) -> &[f64] {
        &self.busy
    }

    /// Returns the seconds of a step in the steady state, or infinity as soon as it is clear that
    /// they exceed `limit`. A run that notes its waits goes over every step.
    ///
    /// A slower link can take many steps to fall behind the others, more than are counted. It does in the
    /// end, so a step never takes less than the busiest link.
    pub(super) fn step_s(&mut self, homes: &[Option<usize>], limit: f64, mut waits: Option<&mut Waits>) -> f64 {
        let tail_s = self.set_stops(homes);
        if self.stops.is_empty() {
            if let Some(waits) = waits {
                waits.first_step_s = tail_s;
            }
            return tail_s;
        }
        let busiest_s = self.busy.iter().copied().fold(0.0, f64::max);
        if busiest_s > limit {
            return f64::INFINITY;
        }
        let counted = (STEPS - WARM) as f64;
        let (mut now, mut sum) = (0.0, 0.0);
        for step in 0..STEPS {
            let begun = now;
            now = self.pass(now, step, waits.as_deref_mut()) + tail_s;
            let took = now - begun;
            if let Some(waits) = waits.as_deref_mut().filter(|_| step == 0) {
                waits.first_step_s = took;
            }
            if step >= WARM {
                sum += took;
                if sum > limit * counted {
                    return f64::INFINITY;
                }
            }
            let left = STEPS - 1 - step;
            if waits.is_none() && left > 0 && self.repeats(now, took) {
                let mean_s = (sum + took * left.min(STEPS - WARM) as f64) / counted;
                return mean_s.max(busiest_s);
            }
        }
        (sum / counted).max(busiest_s)
    }

    /// Lists the streamed units, and returns the computing after the last of them.
    fn set_stops(&mut self, homes: &[Option<usize>]) -> f64 {
        self.stops.clear();
        self.busy.fill(0.0);
        let mut before_s = 0.0;
        for (unit, home) in homes.iter().enumerate() {
            if let Some(link) = *home {
                let copy_s = self.copies[unit * self.links + link];
                self.busy[link] += copy_s;
                self.stops.push(Stop { unit, link, before_s, copy_s, seconds: self.seconds[unit] });
                before_s = 0.0;
            } else {
                before_s += self.seconds[unit];
            }
        }
        self.engines.fill(0.0);
        self.state.clear();
        self.gate.clear();
        before_s
    }

    fn pass(&mut self, mut now: f64, step: usize, mut waits: Option<&mut Waits>) -> f64 {
        for stop in &self.stops {
            now += stop.before_s;
            let engine = &mut self.engines[stop.link];
            let done = self.gate.copied(self.bytes[stop.unit], *engine, stop.copy_s);
            *engine = done;
            if done > now {
                if let Some(waits) = waits.as_deref_mut().filter(|_| step >= WARM) {
                    waits.sums[stop.unit] += done - now;
                }
                now = done;
            }
            now += stop.seconds;
            self.gate.leave(now);
        }
        now
    }

    /// Returns whether everything is, relative to `now`, as it was after the step before.
    fn repeats(&mut self, now: f64, took: f64) -> bool {
        let Gate::Slots { freed, next } = &self.gate else { return false };
        let known = self.state.len() == self.engines.len() + freed.len();
        self.state.resize(self.engines.len() + freed.len(), 0.0);
        let (newer, older) = freed.split_at(*next);
        // An engine that is long idle differs from step to step and matters to nobody.
        let first = older.iter().chain(newer).next().copied().unwrap_or(now);
        let engines = self.engines.iter().map(|e| e.max(first));
        let mut same = known;
        for (kept, at) in self.state.iter_mut().zip(engines.chain(older.iter().chain(newer).copied())) {
            let relative = at - now;
            same &= (relative - *kept).abs() <= SAME * (took + now);
            *kept = relative;
        }
        same
    }
}

/// Who may enter staging memory, and when.
#[derive(Debug)]
enum Gate {
    /// The time at which each slot was last left; `next` is the one whose turn it is.
    Slots { freed: Vec<f64>, next: usize },
    /// `lying` has, for each unit that came, where it begins on an endless tape and when it left;
    /// those before `head` are known to be out of the way since `open`.
    Ring { size: u64, flows: bool, cursor: u64, lying: Vec<(u64, f64)>, head: usize, open: f64 },
}

impl Gate {
    fn clear(&mut self) {
        match self {
            Self::Slots { freed, next } => {
                freed.fill(0.0);
                *next = 0;
            }
            Self::Ring { size: _, flows: _, cursor, lying, head, open } => {
                (*cursor, *head, *open) = (0, 0, 0.0);
                lying.clear();
            }
        }
    }

    /// Returns when the next unit has come, of which a free engine brings all in `copy_s`.
    fn copied(&mut self, bytes: u64, engine: f64, copy_s: f64) -> f64 {
        match self {
            Self::Slots { freed, next } => engine.max(freed[*next]) + copy_s,
            Self::Ring { size, flows, cursor, lying, head, open } => {
                let into = if *size == 0 { 0 } else { *cursor % *size };
                let start = if into > 0 && *size - into < bytes { *cursor + (*size - into) } else { *cursor };
                let end = start + bytes;
                let (mut at, mut come) = (engine, 0);
                while let Some((begin, left)) = lying.get(*head).filter(|(begin, _)| begin.saturating_add(*size) < end) {
                    let free = (begin + *size).saturating_sub(start);
                    if *flows && free > come {
                        at = at.max(*open) + copy_s * (free - come) as f64 / bytes as f64;
                        come = free;
                    }
                    *open = *left;
                    *head += 1;
                }
                *cursor = end;
                lying.push((start, f64::INFINITY));
                let rest = if come == 0 { copy_s } else { copy_s * (bytes - come) as f64 / bytes as f64 };
                at.max(*open) + rest
            }
        }
    }

    /// Notes that the unit that entered last has computed.
    fn leave(&mut self, now: f64) {
        match self {
            Self::Slots { freed, next } => {
                freed[*next] = now;
                *next = if *next + 1 == freed.len() { 0 } else { *next + 1 };
            }
            Self::Ring { size: _, flows: _, cursor: _, lying, head: _, open: _ } => {
                if let Some(last) = lying.last_mut() {
                    last.1 = now;
                }
            }
        }
    }
}
