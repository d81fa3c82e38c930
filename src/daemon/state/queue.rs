//! Jobs that are not finished, in the order in which they will run.
//!
//! Only light rows are kept; what a job is to do lies in the ledger. Every change goes through
//! `change`, which keeps the indexes right.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, HashMap};

use crate::jobs::{JobState, Move, Rank};
use crate::ledger::Entry;
use crate::units::{DeviceId, JobId, RunId};
use crate::wire::control::Counts;
use crate::workflow::Wish;

/// A job that is not finished.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Waiting {
    /// The ledger's row.
    pub entry: Entry,
    /// Whether an engine has been chosen and the ledger is being told.
    pub assigning: bool,
    /// The attempt that an engine works on.
    pub run: Option<RunId>,
    /// Whether the operator wants its engine to wait between two steps.
    pub pausing: bool,
}

/// The place of a waiting job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    priority: Reverse<i32>,
    rank: Rank,
    job: JobId,
}

/// Why a job cannot be moved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unmovable {
    /// It does not wait.
    NotWaiting(JobId),
}

/// New places in the queue: job, priority, rank.
pub type Places = Vec<(JobId, i32, Rank)>;

/// Jobs that are not finished.
#[derive(Debug, Default)]
pub struct Queue {
    jobs: HashMap<JobId, Waiting>,
    /// Waiting jobs, held ones too.
    order: BTreeSet<Place>,
    /// Jobs that could start, by device.
    ready: BTreeMap<DeviceId, BTreeSet<Place>>,
    /// Jobs that an engine has or is about to get.
    active: BTreeSet<JobId>,
    counts: Counts,
    /// Jobs that could start once their conversion is there, by what they wish.
    converting: BTreeMap<Wish, BTreeSet<Place>>,
}

impl Waiting {
    fn place(&self) -> Place {
        Place { priority: Reverse(self.entry.priority), rank: self.entry.rank, job: self.entry.job }
    }

    /// Returns what must be converted before it can start.
    #[must_use]
    pub fn lacks(&self) -> Option<&Wish> {
        self.entry.conversion.as_ref().filter(|c| c.result.is_none()).map(|c| &c.wish)
    }

    /// Returns whether it waits, and no engine has been chosen.
    #[must_use]
    pub fn is_waiting(&self) -> bool {
        !self.assigning && self.run.is_none()
    }
}

impl Queue {
    /// Returns a job that is not finished.
    #[must_use]
    pub fn get(&self, job: JobId) -> Option<&Waiting> {
        self.jobs.get(&job)
    }

    /// Returns how many jobs wait, are held and run. Finished ones are not known here.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// Takes a job in. One that is there already stays as it is.
    pub fn insert(&mut self, entry: Entry) {
        if self.jobs.contains_key(&entry.job) {
            return;
        }
        let job = Waiting { entry, assigning: false, run: None, pausing: false };
        self.file(&job);
        self.jobs.insert(job.entry.job, job);
    }

    /// Takes a job out.
    pub fn remove(&mut self, job: JobId) -> Option<Waiting> {
        let job = self.jobs.remove(&job)?;
        self.unfile(&job);
        Some(job)
    }

    /// Changes a job.
    pub fn change(&mut self, job: JobId, change: impl FnOnce(&mut Waiting)) {
        if let Some(mut waiting) = self.remove(job) {
            change(&mut waiting);
            self.file(&waiting);
            self.jobs.insert(job, waiting);
        }
    }

    /// Returns the next job for a device.
    #[must_use]
    pub fn next_for(&self, device: DeviceId) -> Option<JobId> {
        self.ready.get(&device)?.first().map(|place| place.job)
    }

    /// Returns all jobs that wait for a device and are not held, in their order.
    #[must_use]
    pub fn all_for(&self, device: DeviceId) -> Vec<JobId> {
        self.ready.get(&device).into_iter().flatten().map(|place| place.job).collect()
    }

    /// Returns the devices for which jobs could start.
    pub fn wanted(&self) -> impl Iterator<Item = DeviceId> {
        self.ready.keys().copied()
    }

    /// Returns what jobs that could start else wish to be converted, and the first place of those.
    pub fn wishes(&self) -> impl Iterator<Item = (&Wish, Place)> {
        self.converting.iter().filter_map(|(wish, places)| Some((wish, *places.first()?)))
    }

    /// Returns whether a job could start if this were there.
    #[must_use]
    pub fn is_lacked(&self, wish: &Wish) -> bool {
        self.converting.contains_key(wish)
    }

    /// Returns the jobs that could start if this were there, in their order.
    #[must_use]
    pub fn all_that_lack(&self, wish: &Wish) -> Vec<JobId> {
        self.converting.get(wish).into_iter().flatten().map(|place| place.job).collect()
    }

    /// Returns the job right before this one that waits for the same device.
    #[must_use]
    pub fn in_front_of(&self, job: &Waiting) -> Option<JobId> {
        self.ready.get(&job.entry.device)?.range(..job.place()).next_back().map(|place| place.job)
    }

    /// Returns waiting jobs in the order of the queue.
    pub fn waiting(&self) -> impl Iterator<Item = JobId> {
        self.order.iter().map(|place| place.job)
    }

    /// Returns jobs that an engine has or is about to get, in the order of their numbers.
    pub fn active(&self) -> impl Iterator<Item = JobId> {
        self.active.iter().copied()
    }

    /// Returns the places that a move leads to; none where nothing changes.
    pub fn places_after(&self, job: JobId, to: Move) -> Result<Places, Unmovable> {
        let place = self.waiting_place(job)?;
        let others = |priority| self.of_priority(priority).filter(move |p| p.job != job);
        let same = place.priority;
        let (priority, neighbours) = match to {
            Move::First if others(same).next().is_none_or(|first| first > place) => return Ok(Vec::new()),
            Move::First => (same, (None, others(same).next())),
            Move::Last if others(same).next_back().is_none_or(|last| last < place) => return Ok(Vec::new()),
            Move::Last => (same, (others(same).next_back(), None)),
            Move::Up => {
                let mut before = others(same).filter(|p| *p < place);
                let Some(passed) = before.next_back() else { return Ok(Vec::new()) };
                (same, (before.next_back(), Some(passed)))
            }
            Move::Down => {
                let mut behind = others(same).filter(|p| *p > place);
                let Some(passed) = behind.next() else { return Ok(Vec::new()) };
                (same, (Some(passed), behind.next()))
            }
            Move::Before(target) if target == job => return Ok(Vec::new()),
            Move::Before(target) => {
                let target = self.waiting_place(target)?;
                let priority = target.priority;
                let before = others(priority).rfind(|p| *p < target);
                if priority == same && place < target && before.is_none_or(|before| before < place) {
                    return Ok(Vec::new());
                }
                (priority, (before, Some(target)))
            }
        };
        let (before, after) = neighbours;
        if let Some(rank) = Rank::between(before.map(|p| p.rank), after.map(|p| p.rank)) {
            return Ok(vec![(job, priority.0, rank)]);
        }
        Ok(self.spread(job, priority, after))
    }

    /// Gives every job of a priority a new rank, since two neighbours touch.
    fn spread(&self, job: JobId, priority: Reverse<i32>, after: Option<Place>) -> Places {
        let mut order = Vec::new();
        for place in self.of_priority(priority).filter(|p| p.job != job) {
            if Some(place) == after {
                order.push(job);
            }
            order.push(place.job);
        }
        if after.is_none() {
            order.push(job);
        }
        order.into_iter().zip(0..).map(|(job, n)| (job, priority.0, Rank(n * Rank::GAP))).collect()
    }

    fn waiting_place(&self, job: JobId) -> Result<Place, Unmovable> {
        let waiting = self.jobs.get(&job).filter(|j| j.is_waiting());
        waiting.map(Waiting::place).ok_or(Unmovable::NotWaiting(job))
    }

    fn of_priority(&self, priority: Reverse<i32>) -> impl DoubleEndedIterator<Item = Place> {
        let first = Place { priority, rank: Rank(i64::MIN), job: JobId(i64::MIN) };
        let last = Place { priority, rank: Rank(i64::MAX), job: JobId(i64::MAX) };
        self.order.range(first..=last).copied()
    }

    fn file(&mut self, job: &Waiting) {
        *self.counter(job) += 1;
        if !job.is_waiting() {
            self.active.insert(job.entry.job);
            return;
        }
        self.order.insert(job.place());
        if job.entry.state == JobState::Queued {
            let places = match job.lacks() {
                Some(wish) => self.converting.entry(wish.clone()).or_default(),
                None => self.ready.entry(job.entry.device).or_default(),
            };
            places.insert(job.place());
        }
    }

    fn unfile(&mut self, job: &Waiting) {
        *self.counter(job) -= 1;
        self.order.remove(&job.place());
        self.active.remove(&job.entry.job);
        if let Some(ready) = self.ready.get_mut(&job.entry.device) {
            ready.remove(&job.place());
            if ready.is_empty() {
                self.ready.remove(&job.entry.device);
            }
        }
        if let Some(wish) = job.lacks()
            && let Some(places) = self.converting.get_mut(wish)
        {
            places.remove(&job.place());
            if places.is_empty() {
                self.converting.remove(wish);
            }
        }
    }

    fn counter(&mut self, job: &Waiting) -> &mut u64 {
        match job.entry.state {
            JobState::Queued => &mut self.counts.queued,
            JobState::Held => &mut self.counts.held,
            JobState::Running | JobState::Paused => &mut self.counts.running,
            JobState::Done => &mut self.counts.succeeded,
            JobState::Failed => &mut self.counts.failed,
            JobState::Cancelled => &mut self.counts.cancelled,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::units::Timestamp;

    fn entry(job: i64, priority: i32, rank: i64) -> Entry {
        Entry {
            job: JobId(job),
            state: JobState::Queued,
            priority,
            rank: Rank(rank),
            device: DeviceId::Cpu,
            cancelling: false,
            crashes: 0,
            deaths: 0,
            created: Timestamp(0),
            conversion: None,
        }
    }

    fn of(entries: impl IntoIterator<Item = Entry>) -> Queue {
        let mut queue = Queue::default();
        entries.into_iter().for_each(|e| queue.insert(e));
        queue
    }

    fn order(queue: &Queue) -> Vec<i64> {
        queue.waiting().map(|j| j.0).collect()
    }

    fn moved(queue: &mut Queue, job: i64, to: Move) -> Vec<i64> {
        for (job, priority, rank) in queue.places_after(JobId(job), to).unwrap() {
            queue.change(job, |j| (j.entry.priority, j.entry.rank) = (priority, rank));
        }
        order(queue)
    }

    #[test]
    fn priority_first_then_rank_then_number() {
        assert_eq!(order(&of([entry(1, 0, 5), entry(2, 0, 5), entry(3, 1, 9), entry(4, -1, 0), entry(5, 0, 4)])), [3, 5, 1, 2, 4]);
    }

    #[test]
    fn moves_go_where_they_say() {
        let mut queue = of([entry(1, 0, 0), entry(2, 0, 10), entry(3, 0, 20), entry(4, 5, 0)]);
        assert_eq!(moved(&mut queue, 3, Move::Up), [4, 1, 3, 2]);
        assert_eq!(moved(&mut queue, 3, Move::Up), [4, 3, 1, 2]);
        assert_eq!(moved(&mut queue, 3, Move::Up), [4, 3, 1, 2], "it is the first of its priority");
        assert_eq!(moved(&mut queue, 1, Move::Down), [4, 3, 2, 1]);
        assert_eq!(moved(&mut queue, 3, Move::Last), [4, 2, 1, 3]);
        assert_eq!(moved(&mut queue, 1, Move::First), [4, 1, 2, 3]);
        // 4 has the higher priority; 1, 2, 3 stand in this order.
        for (job, to) in [(1, Move::First), (1, Move::Up), (3, Move::Last), (3, Move::Down), (2, Move::Before(JobId(3))), (4, Move::Last)] {
            assert_eq!(queue.places_after(JobId(job), to), Ok(Vec::new()), "{job} {to:?}: it is there already");
        }
        assert_eq!(moved(&mut queue, 3, Move::Before(JobId(4))), [3, 4, 1, 2]);
        assert_eq!(queue.get(JobId(3)).unwrap().entry.priority, 5);
        assert_eq!(queue.places_after(JobId(9), Move::Up), Err(Unmovable::NotWaiting(JobId(9))));
    }

    #[test]
    fn a_job_that_an_engine_has_does_not_wait() {
        let mut queue = of([entry(1, 0, 0), entry(2, 0, 1)]);
        queue.change(JobId(1), |j| j.assigning = true);
        assert_eq!((queue.next_for(DeviceId::Cpu), queue.active().collect::<Vec<_>>()), (Some(JobId(2)), vec![JobId(1)]));
        assert_eq!(queue.places_after(JobId(1), Move::Down), Err(Unmovable::NotWaiting(JobId(1))));
        queue.change(JobId(2), |j| j.entry.state = JobState::Held);
        assert_eq!((queue.next_for(DeviceId::Cpu), queue.counts().held, queue.counts().queued), (None, 1, 1));
    }

    fn a_move(n: i64) -> impl Strategy<Value = Move> {
        prop_oneof![Just(Move::Up), Just(Move::Down), Just(Move::First), Just(Move::Last), (0..n).prop_map(|j| Move::Before(JobId(j)))]
    }

    proptest! {
        /// Ranks run out between two neighbours now and then; no job may get lost over it.
        #[test]
        fn any_moves_keep_every_job_and_the_order_of_the_others(
            ranks in prop::collection::vec((-1..=1, 0i64..4), 1..12),
            moves in prop::collection::vec((0i64..12, a_move(12)), 0..40),
        ) {
            let n = i64::try_from(ranks.len()).unwrap();
            let mut queue = of(ranks.iter().zip(0..).map(|((p, r), job)| entry(job, *p, *r)));
            for (job, to) in moves {
                let before = order(&queue);
                let Ok(places) = queue.places_after(JobId(job), to) else {
                    let target = match to { Move::Before(t) => t.0, Move::Up | Move::Down | Move::First | Move::Last => job };
                    prop_assert!(job >= n || target >= n);
                    continue;
                };
                for (id, priority, rank) in places {
                    queue.change(id, |j| (j.entry.priority, j.entry.rank) = (priority, rank));
                }
                let after = order(&queue);
                let without = |list: &[i64]| list.iter().copied().filter(|j| *j != job).collect::<Vec<_>>();
                prop_assert_eq!(without(&before), without(&after));
                prop_assert_eq!(before.len(), after.len());
                if let Move::Before(target) = to && target.0 != job {
                    let at = |id| after.iter().position(|j| *j == id).unwrap();
                    prop_assert_eq!(at(job) + 1, at(target.0));
                }
            }
        }
    }
}
