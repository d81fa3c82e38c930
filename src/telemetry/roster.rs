//! Which GPU is `cuda:N`.
//!
//! CUDA, asked to go by PCI address, counts the GPUs it may use; so do we. A number once given stays
//! with its device while we live, so that a GPU that falls off the bus does not rename the others.
//! Slices of split GPUs come after all whole ones. Pure.

use crate::telemetry::card::Identity;
use crate::units::DeviceId;

/// A device to be numbered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) identity: Identity,
    /// Whether it may be used; CUDA does not count the others.
    pub(super) usable: bool,
}

/// The numbers given so far.
#[derive(Debug, Clone, Default)]
pub(super) struct Roster {
    given: Vec<(Identity, DeviceId)>,
}

impl Roster {
    /// Returns the number of each entry, in the order of the entries.
    pub(super) fn number(&mut self, entries: &[Entry]) -> Vec<DeviceId> {
        let mut order: Vec<usize> = (0..entries.len()).collect();
        order.sort_by_key(|i| (!entries[*i].usable, &entries[*i].identity.pci, *i));
        let mut ids = vec![DeviceId::Cuda(0); entries.len()];
        for i in order {
            ids[i] = self.id_of(&entries[i].identity);
        }
        ids
    }

    fn id_of(&mut self, identity: &Identity) -> DeviceId {
        if let Some((known, id)) = self.given.iter_mut().find(|(known, _)| known.is_same(identity)) {
            known.learn(identity.clone());
            return *id;
        }
        let id = DeviceId::Cuda(u16::try_from(self.given.len()).unwrap_or(u16::MAX));
        self.given.push((identity.clone(), id));
        id
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(uuid: Option<&str>, pci: &str, usable: bool) -> Entry {
        let identity = Identity { name: None, uuid: uuid.map(str::to_owned), pci: Some(pci.to_owned()), index: None };
        Entry { identity, usable }
    }

    fn cuda(numbers: &[u16]) -> Vec<DeviceId> {
        numbers.iter().copied().map(DeviceId::Cuda).collect()
    }

    #[test]
    fn numbers_follow_the_pci_address_and_skip_what_may_not_be_used() {
        let mut roster = Roster::default();
        let found = [
            entry(Some("b"), "0000:41:00.0", true),
            entry(None, "0000:01:00.0", false),
            entry(Some("a"), "0000:02:00.0", true),
            entry(Some("c"), "0001:01:00.0", true),
        ];
        assert_eq!(roster.number(&found), cuda(&[1, 3, 0, 2]));
    }

    #[test]
    fn a_lost_gpu_renames_nobody_and_gets_its_number_back() {
        let mut roster = Roster::default();
        let (a, b) = (entry(Some("a"), "0000:01:00.0", true), entry(Some("b"), "0000:02:00.0", true));
        assert_eq!(roster.number(&[a.clone(), b.clone()]), cuda(&[0, 1]));
        assert_eq!(roster.number(std::slice::from_ref(&b)), cuda(&[1]));
        let moved = entry(Some("a"), "0000:09:00.0", true);
        assert_eq!(roster.number(&[b, moved]), cuda(&[1, 0]));
    }

    #[test]
    fn a_sleeping_gpu_is_the_same_when_it_wakes() {
        let mut roster = Roster::default();
        assert_eq!(roster.number(&[entry(None, "0000:01:00.0", true)]), cuda(&[0]));
        assert_eq!(roster.number(&[entry(Some("a"), "0000:01:00.0", true)]), cuda(&[0]));
        assert_eq!(roster.number(&[entry(Some("other"), "0000:01:00.0", true)]), cuda(&[1]), "the card was exchanged");
    }

    #[test]
    fn a_gpu_that_was_lost_from_the_start_keeps_its_number_when_it_comes_back() {
        let mut roster = Roster::default();
        let at = |index, entry: Entry| Entry { identity: Identity { index: Some(index), ..entry.identity }, ..entry };
        let nameless = Entry { identity: Identity { index: Some(0), ..Identity::default() }, usable: false };
        let other = at(1, entry(Some("b"), "0000:02:00.0", true));
        assert_eq!(roster.number(&[nameless.clone(), other.clone()]), cuda(&[1, 0]));
        assert_eq!(roster.number(&[nameless, other.clone()]), cuda(&[1, 0]));
        assert_eq!(roster.number(&[at(0, entry(Some("a"), "0000:01:00.0", true)), other]), cuda(&[1, 0]));
    }

    #[test]
    fn slices_of_one_gpu_differ() {
        let mut roster = Roster::default();
        let parts = [entry(Some("MIG-1"), "0000:01:00.0", true), entry(Some("MIG-2"), "0000:01:00.0", true)];
        assert_eq!(roster.number(&parts), cuda(&[0, 1]));
    }
}
