//! Where values begin to need a look, and where a hand: temperature, memory and load of devices.
//!
//! Themes and profiles write pairs, `temp: [80, 90]`: from the first on a value needs a look, from the second a hand.

use serde::{Deserialize, Serialize};

/// The highest temperature in °C that a device can tell of and still be there.
const HOTTEST: f64 = 150.0;

/// Where values begin to need a look, and where a hand.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Thresholds {
    /// Core temperature in °C.
    pub temp: [f64; 2],
    /// Used share of a memory or disk, 0…1.
    pub mem: [f64; 2],
    /// Busy share of a device, 0…1; nothing where a busy device is what one wants.
    pub util: Option<[f64; 2]>,
}

/// Where a value lies between its thresholds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Grade {
    /// Below both.
    Fine,
    /// Needs a look.
    Warn,
    /// Needs a hand.
    Crit,
}

/// Thresholds as far as a file says them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SaidThresholds {
    /// Core temperature in °C.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub temp: Option<[f64; 2]>,
    /// Used share of a memory or disk, 0…1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mem: Option<[f64; 2]>,
    /// Busy share of a device, 0…1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub util: Option<[f64; 2]>,
}

/// Thresholds that no value could lie between.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum ThresholdsError {
    /// The second is not above the first.
    #[error("{name} of thresholds: [{warn}, {crit}] must rise: a look is needed from the first on, a hand from the second")]
    Order {
        /// Of which value.
        name: &'static str,
        /// The first.
        warn: f64,
        /// The second.
        crit: f64,
    },
    /// A number that is no share.
    #[error("{name} of thresholds: {value} is no share of a whole; write 0.9 for 90 %")]
    Share {
        /// Of which value.
        name: &'static str,
        /// The number.
        value: f64,
    },
    /// A number that is no temperature of a device.
    #[error("temp of thresholds: {value} is no temperature of a device; write degrees Celsius from 1 to {HOTTEST}")]
    Temperature {
        /// The number.
        value: f64,
    },
}

impl Thresholds {
    /// The values where nobody says otherwise: throttling begins near 83 °C on consumer cards.
    pub const DEFAULT: Self = Self { temp: [80.0, 90.0], mem: [0.90, 0.97], util: None };

    /// Returns these with what a file says in their place.
    #[must_use]
    pub fn with(self, said: SaidThresholds) -> Self {
        Self { temp: said.temp.unwrap_or(self.temp), mem: said.mem.unwrap_or(self.mem), util: said.util.or(self.util) }
    }

    /// Returns the grade of a value.
    #[must_use]
    pub fn grade([warn, crit]: [f64; 2], value: f64) -> Grade {
        match value {
            v if v >= crit => Grade::Crit,
            v if v >= warn => Grade::Warn,
            _ => Grade::Fine,
        }
    }
}

impl SaidThresholds {
    /// Returns whether nothing is said.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Returns these with the others' values where nothing is said.
    #[must_use]
    pub fn over(self, below: Self) -> Self {
        Self { temp: self.temp.or(below.temp), mem: self.mem.or(below.mem), util: self.util.or(below.util) }
    }

    /// Returns these, if values can lie between them.
    pub fn checked(self) -> Result<Self, ThresholdsError> {
        if let Some(value) = self.temp.into_iter().flatten().find(|t| !(1.0..=HOTTEST).contains(t)) {
            return Err(ThresholdsError::Temperature { value });
        }
        for (name, pair) in [("mem", self.mem), ("util", self.util)] {
            if let Some(value) = pair.into_iter().flatten().find(|share| !(*share > 0.0 && *share <= 1.0)) {
                return Err(ThresholdsError::Share { name, value });
            }
        }
        for (name, pair) in [("temp", self.temp), ("mem", self.mem), ("util", self.util)] {
            if let Some([warn, crit]) = pair.filter(|[warn, crit]| warn >= crit) {
                return Err(ThresholdsError::Order { name, warn, crit });
            }
        }
        Ok(self)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn values_are_graded_at_their_thresholds() {
        let grade = |v| Thresholds::grade(Thresholds::DEFAULT.temp, v);
        assert_eq!([grade(79.9), grade(80.0), grade(90.0), grade(f64::NAN)], [Grade::Fine, Grade::Warn, Grade::Crit, Grade::Fine]);
        assert!(Grade::Crit > Grade::Warn);
    }

    #[test]
    fn what_is_said_wins_and_the_rest_stays() {
        let said = SaidThresholds { mem: Some([0.5, 0.6]), util: Some([0.7, 0.8]), ..SaidThresholds::default() };
        let both = Thresholds::DEFAULT.with(said);
        assert_eq!((both.temp, both.mem, both.util), ([80.0, 90.0], [0.5, 0.6], Some([0.7, 0.8])));
        let below = SaidThresholds { mem: Some([0.1, 0.2]), temp: Some([60.0, 70.0]), util: None };
        assert_eq!(said.over(below), SaidThresholds { temp: Some([60.0, 70.0]), ..said });
    }

    #[test]
    fn what_makes_no_sense_is_named() {
        let check = |text: &str, expected: &str| {
            let said: SaidThresholds = serde_yaml::from_str(text).unwrap();
            let message = said.checked().unwrap_err().to_string();
            assert!(message.contains(expected), "{text}: {message}");
        };
        check("temp: [90, 80]", "temp of thresholds: [90, 80] must rise");
        check("mem: [90, 97]", "mem of thresholds: 90 is no share of a whole; write 0.9 for 90 %");
        check("util: [0.9, 1.1]", "util of thresholds: 1.1 is no share");
        check("util: [0, 0.5]", "0 is no share");
        check("temp: [80, .nan]", "NaN is no temperature");
        check("temp: [-1, 80]", "write degrees Celsius from 1 to 150");
        assert!(serde_yaml::from_str::<SaidThresholds>("temperature: [1, 2]").is_err());
    }

    proptest! {
        #[test]
        fn every_value_lies_on_one_side_of_what_was_checked(pair in prop::array::uniform2(prop::num::f64::ANY), value in prop::num::f64::ANY) {
            let said = SaidThresholds { temp: Some(pair), ..SaidThresholds::default() };
            if said.checked().is_ok() {
                let grade = Thresholds::grade(pair, value);
                prop_assert_eq!(grade != Grade::Fine, value >= pair[0]);
                prop_assert_eq!(grade == Grade::Crit, value >= pair[1]);
            }
        }
    }
}
