//! What the terms of a forecast rest on: what was measured of them, how, and how long ago.

use crate::placement::{Files, Finding, Grounds, Learned, Origin, Planned, Subject, Walk};
use crate::units::{DeviceId, Timestamp};
use crate::wire::plan::{Ground, RestsOn};

/// What is known, and of when.
#[derive(Debug, Clone, Copy)]
pub(super) struct Evidence<'a> {
    pub(super) known: &'a [Learned],
    pub(super) files: Files,
    pub(super) now: Timestamp,
}

impl Evidence<'_> {
    /// Returns what computing such a walk, and each link of a plan, rests on.
    pub(super) fn of(&self, planned: &Planned, walk: &Walk, grounds: Grounds) -> Vec<RestsOn> {
        let links = planned.predicted.links.iter().flat_map(|link| self.subjects(link.device)).map(|subject| self.link(subject));
        std::iter::once(self.computing(walk, grounds)).chain(links).collect()
    }

    fn computing(&self, walk: &Walk, grounds: Grounds) -> RestsOn {
        let (on, found) = match grounds {
            Grounds::Steps => (Ground::Steps, self.nearest(walk)),
            Grounds::OtherSizes => (Ground::OtherSizes, self.nearest(walk)),
            Grounds::Kinds => (Ground::Kinds, self.find(|l| matches!(l.finding, Finding::Speed(Subject::Kind(_), _)))),
            Grounds::Assumed => (Ground::Assumed, None),
        };
        self.rests("computing".to_owned(), on, found)
    }

    /// The walk through such a network that is the least larger or smaller.
    fn nearest(&self, walk: &Walk) -> Option<&Learned> {
        let away = |l: &&Learned| match l.finding {
            Finding::Step(sample) if sample.walk.is_like(walk) => (sample.walk.flops / walk.flops).ln().abs(),
            Finding::Step(_) | Finding::Speed(..) => f64::INFINITY,
        };
        self.known.iter().filter(|l| away(l).is_finite()).min_by(|a, b| away(a).total_cmp(&away(b)))
    }

    /// What a donor's bytes come from: those of files that lie in memory in part, from both.
    fn subjects(&self, donor: DeviceId) -> Vec<Subject> {
        match (donor, self.files) {
            (DeviceId::Disk, Files::Cached) => vec![Subject::PageCache],
            (DeviceId::Disk, Files::Partly(_)) => vec![Subject::PageCache, Subject::Device(donor)],
            (device, Files::Cached | Files::Partly(_) | Files::OnDisk) => vec![Subject::Device(device)],
        }
    }

    fn link(&self, subject: Subject) -> RestsOn {
        let found = self.find(|l| matches!(l.finding, Finding::Speed(of, _) if of == subject));
        self.rests(subject.to_string(), if found.is_some() { Ground::Link } else { Ground::Assumed }, found)
    }

    /// The newest that is like this.
    fn find(&self, is_it: impl Fn(&Learned) -> bool) -> Option<&Learned> {
        self.known.iter().rev().find(|l| is_it(l))
    }

    fn rests(&self, what: String, on: Ground, found: Option<&Learned>) -> RestsOn {
        let origin: Option<Origin> = found.map(|l| l.origin);
        RestsOn { what, on, origin, age_s: found.map(|l| self.now.since(l.found).as_secs_f64()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_from_files_rests_on_where_they_are() {
        let subjects = |files, donor| Evidence { known: &[], files, now: Timestamp(0) }.subjects(donor);
        let (disk, cache) = (Subject::Device(DeviceId::Disk), Subject::PageCache);
        assert_eq!(subjects(Files::Cached, DeviceId::Disk), [cache]);
        assert_eq!(subjects(Files::OnDisk, DeviceId::Disk), [disk]);
        assert_eq!(subjects(Files::Partly(0.9), DeviceId::Disk), [cache, disk]);
        assert_eq!(subjects(Files::Partly(0.9), DeviceId::Cpu), [Subject::Device(DeviceId::Cpu)]);
    }
}
