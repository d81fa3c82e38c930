//! One quantity over a minute, ten minutes and an hour, for graphs that sweep.
//!
//! A span has so many slots; time says which slot a sample falls into, and slot `n` stands at place `n mod slots`. Samples that
//! fall into one slot are averaged, and the largest of them is kept beside that; a slot of a time in which nothing was read is
//! empty.

use std::collections::VecDeque;

use crate::units::Timestamp;

/// How far back a graph looks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Span {
    /// A minute.
    #[default]
    Minute,
    /// Ten minutes.
    TenMinutes,
    /// An hour.
    Hour,
}

impl Span {
    /// Returns the next longer one, or the shortest again.
    #[must_use]
    pub fn next(self) -> Self {
        match self {
            Self::Minute => Self::TenMinutes,
            Self::TenMinutes => Self::Hour,
            Self::Hour => Self::Minute,
        }
    }

    /// Returns its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Minute => "1 min",
            Self::TenMinutes => "10 min",
            Self::Hour => "1 h",
        }
    }

    /// Milliseconds of a slot, and how many slots there are.
    fn slots(self) -> (i64, usize) {
        match self {
            Self::Minute => (1_000, 60),
            Self::TenMinutes => (5_000, 120),
            Self::Hour => (30_000, 120),
        }
    }
}

/// Samples of one moment of a span.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Slot {
    /// When.
    number: i64,
    sum: f32,
    count: u16,
    most: f32,
}

/// Samples of one span.
#[derive(Debug, Clone, Default, PartialEq)]
struct Slots {
    /// Those that hold something, the oldest first.
    filled: VecDeque<Slot>,
    /// The newest slot, also where nothing could be read.
    newest: i64,
}

impl Slots {
    fn push(&mut self, span: Span, now: Timestamp, value: Option<f32>) {
        let (each, kept) = span.slots();
        let slot = now.0.div_euclid(each);
        // A clock that was set back begins anew.
        if slot < self.newest {
            self.filled.clear();
        }
        self.newest = slot;
        self.filled.retain(|filled| slot - filled.number < kept as i64);
        let Some(value) = value else { return };
        match self.filled.back_mut() {
            Some(last) if last.number == slot => {
                last.sum += value;
                last.count = last.count.saturating_add(1);
                last.most = last.most.max(value);
            }
            Some(_) | None => self.filled.push_back(Slot { number: slot, sum: value, count: 1, most: value }),
        }
    }

    fn columns(&self, span: Span, width: usize) -> Vec<Option<f32>> {
        let (_, kept) = span.slots();
        let place = |n: i64| usize::try_from(n.rem_euclid(kept as i64)).unwrap_or(0);
        let mut sums = vec![(0.0_f32, 0_u16); width];
        // The place behind the newest stays empty: there the sweep is.
        for slot in self.filled.iter().filter(|slot| self.newest - slot.number < kept as i64 - 1) {
            let at = place(slot.number);
            let first = at * width / kept;
            let end = ((at + 1) * width / kept).max(first + 1);
            for column in sums.iter_mut().take(end).skip(first) {
                *column = (column.0 + slot.sum / f32::from(slot.count), column.1 + 1);
            }
        }
        sums.into_iter().map(|(sum, count)| (count > 0).then(|| sum / f32::from(count))).collect()
    }
}

/// One quantity, as it was read.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Trail {
    minute: Slots,
    ten_minutes: Slots,
    hour: Slots,
}

impl Trail {
    /// Adds a sample; `None` where it could not be read.
    pub fn push(&mut self, now: Timestamp, value: Option<f64>) {
        let value = value.map(|v| v as f32);
        self.minute.push(Span::Minute, now, value);
        self.ten_minutes.push(Span::TenMinutes, now, value);
        self.hour.push(Span::Hour, now, value);
    }

    /// Returns what stands in each column of a graph so wide.
    #[must_use]
    pub fn columns(&self, span: Span, width: usize) -> Vec<Option<f32>> {
        self.of(span).columns(span, width)
    }

    /// Returns the largest sample of a span.
    #[must_use]
    pub fn most(&self, span: Span) -> Option<f32> {
        self.of(span).filled.iter().map(|slot| slot.most).max_by(f32::total_cmp)
    }

    fn of(&self, span: Span) -> &Slots {
        match span {
            Span::Minute => &self.minute,
            Span::TenMinutes => &self.ten_minutes,
            Span::Hour => &self.hour,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn trail(samples: impl IntoIterator<Item = (i64, f64)>) -> Trail {
        let mut trail = Trail::default();
        for (second, value) in samples {
            trail.push(Timestamp(second * 1000), Some(value));
        }
        trail
    }

    #[test]
    fn a_sample_stands_where_its_time_says() {
        let columns = trail([(60, 1.0), (61, 2.0), (63, 4.0)]).columns(Span::Minute, 60);
        assert_eq!(columns[..5], [Some(1.0), Some(2.0), None, Some(4.0), None]);
        let round = trail((0..=60).map(|s| (s, s as f64))).columns(Span::Minute, 60);
        assert_eq!((round[0], round[1], round[2]), (Some(60.0), None, Some(2.0)), "the place behind the newest is empty");
    }

    #[test]
    fn longer_spans_average_and_forget_later() {
        let long = trail((0..600).map(|s| (s, f64::from(u8::from(s % 10 < 5)))));
        let columns = long.columns(Span::TenMinutes, 120);
        assert_eq!(columns[2..6], [Some(1.0), Some(0.0), Some(1.0), Some(0.0)]);
        assert_eq!(long.most(Span::TenMinutes), Some(1.0));
        let short = trail((0..60).map(|s| (s, if s == 31 { 0.9 } else { 0.1 })));
        assert_eq!(short.most(Span::Hour), Some(0.9), "the largest that was read, not the largest mean");
        assert_eq!(long.columns(Span::Hour, 120).iter().flatten().count(), 20);
        assert_eq!(long.columns(Span::Minute, 60).iter().flatten().count(), 59);
        assert!(trail([(100, 1.0), (5, 2.0)]).columns(Span::Hour, 40).iter().flatten().count() == 1, "the clock was set back");
    }

    proptest! {
        #[test]
        fn any_width_will_do(seconds in prop::collection::vec(0i64..5000, 0..50), width in 0usize..200) {
            let trail = trail(seconds.into_iter().map(|s| (s, 1.0)));
            for span in [Span::Minute, Span::TenMinutes, Span::Hour] {
                prop_assert_eq!(trail.columns(span, width).len(), width);
            }
        }
    }
}
