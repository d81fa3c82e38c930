//! What is asked of the planner for a job: what is to live where, on the machine as it is now.

use super::EngineError;
use super::loading::{Asked, Asks};
use super::runner::Runner;
use crate::families::Role;
use crate::library::{network, page_cache};
use crate::placement::{Files, Machine, OffloadAsk};
use crate::units::Bytes;
use crate::workflow::JobSpec;

/// The parts of a job that are planned. A step of the diffusion network is foretold whatever is asked.
fn asked_roles(spec: &JobSpec) -> impl Iterator<Item = Role> {
    let roles = spec.set.components.iter().map(|component| component.role);
    roles.filter(|role| *role == Role::Denoiser || !spec.ask_of(*role).is_nothing())
}

/// Returns what is asked for each part, with nothing known of the machine.
pub(super) fn wishes_for(spec: &JobSpec) -> Asks {
    let asked = |role| (role, Asked { ask: spec.ask_of(role), machine: Machine::default(), work: spec.work() });
    Asks(asked_roles(spec).map(asked).collect())
}

impl Runner {
    /// Returns what is asked for each part, with the machine as it is now.
    pub(super) fn asks(&self, spec: &JobSpec) -> Result<Asks, EngineError> {
        let asked = |role| {
            let ask = spec.ask_of(role);
            let machine = self.machine(spec, role, &ask, Bytes::ZERO)?;
            Ok((role, Asked { ask, machine, work: spec.work() }))
        };
        asked_roles(spec).map(asked).collect::<Result<_, _>>().map(Asks)
    }

    /// Returns the machine as it is now for what is asked of a part, with what `held` takes of the compute device counted as free.
    pub(super) fn machine(&self, spec: &JobSpec, role: Role, ask: &OffloadAsk, held: Bytes) -> Result<Machine, EngineError> {
        let stored = spec.set.component(role).filter(|_| !ask.is_nothing());
        let files = stored.map_or(Ok(Files::Cached), |part| page_cache::files(&part.files))?;
        let precision = spec.computes_in();
        let mut machine = self.speeds.machine(&self.compute, precision, files);
        if let Some(simulated) = &self.compute.simulated {
            machine = simulated.seen(machine, &self.compute.floors, network::beside(spec, role, precision)?);
        }
        self.count_what_others_hold(&mut machine);
        for room in machine.rooms.iter_mut().filter(|room| room.device == self.compute.id) {
            room.free = (room.free + held).min(room.total);
        }
        Ok(machine)
    }
}
