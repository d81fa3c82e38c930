//! A file of cases: models, machines, strings, and what the original made of them.
//!
//! Such a file may come from a stranger, so that what it asks for is bounded before anything is worked out.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;

use super::error::{CasesError, CompatError};
use super::question::{Answer, Held, Leaf, Question, Role, Rules, Totals};
use crate::units::Bytes;

/// Longest allocation, in bytes; nobody types as much.
const MAX_ALLOCATION: usize = 4096;

/// Most bytes of a model or machine: every whole number up to here is a number to the original, too.
const MAX_BYTES: u64 = 1 << 53;

/// Most blocks times devices of all cases together, which is what the time to work them out grows with.
const MAX_WORK: u64 = 50_000_000;

/// A file of cases.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CaseFile {
    /// Where the cases come from.
    #[serde(default)]
    pub source: Option<String>,
    /// The models by name.
    pub models: BTreeMap<String, Vec<Leaf>>,
    /// The cases.
    pub examples: Vec<Case>,
}

/// One case.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Case {
    /// Its name.
    pub id: String,
    /// The model's name.
    pub model: String,
    /// The machine.
    pub devices_total_bytes: Totals,
    /// The string.
    pub allocation: String,
    /// Whether the model is a text encoder.
    #[serde(default)]
    pub is_clip: bool,
    /// What each device holds in the end, where that is known.
    #[serde(default)]
    pub expected: Option<BTreeMap<String, Held>>,
    /// The name of what is raised, where that is known.
    #[serde(default)]
    pub error: Option<String>,
}

/// What came of a case.
#[derive(Debug, Clone, PartialEq)]
pub struct Verdict {
    /// The placement, or why there is none.
    pub outcome: Result<Answer, CompatError>,
    /// What each device holds, nothing where there is no placement.
    pub held: BTreeMap<String, Held>,
    /// Whether it is as the case expects, where it does expect something.
    pub matches: Option<bool>,
}

impl CaseFile {
    /// Reads a file of cases.
    pub fn parse(text: &[u8]) -> Result<Self, CasesError> {
        let file: Self = serde_json::from_slice(text).map_err(|e| CasesError::Shape { reason: e.to_string() })?;
        let mut work = 0u64;
        for case in &file.examples {
            let blocks = case.check(&file)?.leaves.len() as u64;
            work = work.saturating_add(blocks.saturating_mul(case.devices_total_bytes.len() as u64));
        }
        if work > MAX_WORK {
            return Err(CasesError::TooMuch { limit: MAX_WORK });
        }
        file.models.iter().try_for_each(|(model, leaves)| names_are_apart(model, leaves))?;
        Ok(file)
    }

    /// Works out a case of this file by these rules.
    pub fn judge(&self, case: &Case, rules: Rules) -> Result<Verdict, CasesError> {
        let question = case.question(self)?;
        let outcome = rules.place(&question);
        let held = outcome.as_ref().map(|answer| answer.held(question.leaves)).unwrap_or_default();
        let matches = match (&outcome, &case.expected, &case.error) {
            (_, None, None) => None,
            (Ok(_), Some(expected), _) => Some(something(&held).eq(something(expected))),
            (Err(error), _, Some(kind)) => Some(error.kind() == kind),
            (Ok(_), None, Some(_)) | (Err(_), Some(_), None) => Some(false),
        };
        Ok(Verdict { outcome, held, matches })
    }
}

/// An expected result tells blocks by their names.
fn names_are_apart(model: &str, leaves: &[Leaf]) -> Result<(), CasesError> {
    let mut names = BTreeSet::new();
    match leaves.iter().find(|leaf| !names.insert(&leaf.name)) {
        Some(leaf) => Err(CasesError::TwoBlocks { model: model.to_owned(), block: leaf.name.clone() }),
        None => Ok(()),
    }
}

/// The devices that hold something: to expect nothing of a device is as good as not to name it.
fn something(held: &BTreeMap<String, Held>) -> impl Iterator<Item = (&String, &Held)> {
    held.iter().filter(|(_, held)| held.bytes > Bytes::ZERO || !held.blocks.is_empty())
}

impl Case {
    /// Returns what it asks the original.
    pub fn question<'a>(&'a self, file: &'a CaseFile) -> Result<Question<'a>, CasesError> {
        let no_model = || CasesError::NoModel { case: self.id.clone(), model: self.model.clone() };
        let leaves = file.models.get(&self.model).ok_or_else(no_model)?;
        let role = if self.is_clip { Role::TextEncoder } else { Role::Network };
        Ok(Question { leaves, totals: &self.devices_total_bytes, allocation: &self.allocation, role })
    }

    fn check<'a>(&'a self, file: &'a CaseFile) -> Result<Question<'a>, CasesError> {
        let question = self.question(file)?;
        let case = || self.id.clone();
        if self.allocation.len() > MAX_ALLOCATION {
            return Err(CasesError::LongAllocation { case: case(), limit: MAX_ALLOCATION });
        }
        if self.expected.is_some() && self.error.is_some() {
            return Err(CasesError::TwoOutcomes { case: case() });
        }
        let machine: Bytes = self.devices_total_bytes.values().copied().sum();
        if question.model().max(machine) > Bytes(MAX_BYTES) {
            return Err(CasesError::TooManyBytes { case: case(), limit: MAX_BYTES });
        }
        Ok(question)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    const EXAMPLES: &[u8] = include_bytes!("../../../tests/fixtures/distorch_examples.json");

    #[test]
    fn every_case_that_was_run_with_the_original_comes_out_the_same() {
        let file = CaseFile::parse(EXAMPLES).unwrap();
        assert_eq!(file.examples.len(), 48);
        for case in &file.examples {
            let verdict = file.judge(case, Rules::Distorch2).unwrap();
            assert_eq!(verdict.matches, Some(true), "{}: {} gives {:?} {:?}", case.id, case.allocation, verdict.held, verdict.outcome);
        }
    }

    #[test]
    fn what_is_not_as_expected_is_told() {
        let file = CaseFile::parse(EXAMPLES).unwrap();
        for (what, change) in CHANGES {
            let mut changed = 0;
            for case in &file.examples {
                let mut other = case.clone();
                if change(&mut other).is_some() {
                    assert_eq!(file.judge(&other, Rules::Distorch2).unwrap().matches, Some(false), "{what}: {}", case.id);
                    changed += 1;
                }
            }
            assert!(changed > 0, "{what}");
        }
    }

    /// Changes what is expected, where it can be changed so.
    type Change = fn(&mut Case) -> Option<()>;

    const CHANGES: [(&str, Change); 13] = [
        ("a byte more", |case| first(case).map(|held| held.bytes += Bytes(1))),
        ("a byte elsewhere", |case| {
            let mut held = all(case);
            let [one, other, ..] = &mut held[..] else { return None };
            (one.bytes, other.bytes) = (one.bytes + Bytes(1), other.bytes.saturating_sub(Bytes(1)));
            Some(())
        }),
        ("a block of another name", |case| first(case)?.blocks.first_mut().map(|name| name.push('x'))),
        ("a block less", |case| first(case)?.blocks.pop().map(drop)),
        ("a block more", |case| first(case).map(|held| held.blocks.push("x".to_owned()))),
        ("a block twice", |case| first(case).map(|held| held.blocks.push(held.blocks[0].clone()))),
        ("blocks in another order", |case| first(case).filter(|held| held.blocks.len() > 1).map(|held| held.blocks.swap(0, 1))),
        ("a block elsewhere", |case| {
            let mut held = all(case);
            let [one, other, ..] = &mut held[..] else { return None };
            other.blocks.push(one.blocks.pop()?);
            Some(())
        }),
        ("another device", |case| {
            let (_, held) = case.expected.as_mut()?.pop_first()?;
            case.expected.as_mut()?.insert("xpu".to_owned(), held).is_none().then_some(())
        }),
        ("a device less", |case| case.expected.as_mut()?.pop_last().map(drop)),
        ("a device more", |case| {
            let held = Held { bytes: Bytes::ZERO, blocks: vec!["x".to_owned()] };
            case.expected.as_mut()?.insert("xpu".to_owned(), held).is_none().then_some(())
        }),
        ("the other outcome", |case| {
            let error = case.error.is_none().then(|| "ValueError".to_owned());
            case.expected = error.is_none().then(BTreeMap::new);
            case.error = error;
            Some(())
        }),
        ("another error", |case| case.error.as_mut().map(|error| "MemoryError".clone_into(error))),
    ];

    /// What is expected of each device.
    fn all(case: &mut Case) -> Vec<&mut Held> {
        case.expected.iter_mut().flat_map(BTreeMap::values_mut).collect()
    }

    fn first(case: &mut Case) -> Option<&mut Held> {
        case.expected.as_mut()?.values_mut().next()
    }

    fn a_file() -> Value {
        json!({
            "models": {"A": [{"name": "b0", "bytes": 10, "has_bias_attr": true}]},
            "examples": [{"id": "1", "model": "A", "devices_total_bytes": {"cpu": 64, "cuda:0": 8}, "allocation": "#cuda:0;1;cpu"}],
        })
    }

    #[test]
    fn a_case_that_expects_nothing_is_worked_out_all_the_same() {
        let file = CaseFile::parse(a_file().to_string().as_bytes()).unwrap();
        let verdict = file.judge(&file.examples[0], Rules::Distorch2).unwrap();
        assert_eq!((verdict.matches, verdict.held["cpu"].bytes), (None, Bytes(10)));
    }

    #[test]
    fn a_device_of_which_nothing_is_expected_may_be_named() {
        let mut file = a_file();
        let matches = |file: &Value| {
            let file = CaseFile::parse(file.to_string().as_bytes()).unwrap();
            file.judge(&file.examples[0], Rules::Distorch2).unwrap().matches
        };
        let (all, nothing) = (json!({"bytes": 10, "blocks": ["b0"]}), json!({"bytes": 0, "blocks": []}));
        file["examples"][0]["expected"] = json!({"cpu": all, "cuda:0": nothing, "disk": nothing});
        assert_eq!(matches(&file), Some(true));
        file["examples"][0]["expected"] = json!({"cpu": nothing, "cuda:0": all});
        assert_eq!(matches(&file), Some(false));
        file["examples"][0]["expected"] = json!({"cuda:0": nothing});
        assert_eq!(matches(&file), Some(false));
    }

    #[track_caller]
    fn refused(change: impl Fn(&mut Value), message: &str) {
        let mut file = a_file();
        change(&mut file);
        let error = CaseFile::parse(file.to_string().as_bytes()).unwrap_err();
        assert!(error.to_string().starts_with(message), "{error}");
        assert!(!error.hint().is_empty());
    }

    #[test]
    fn files_that_ask_for_nonsense_are_refused_by_name() {
        let shape = "not a file of placement cases: ";
        refused(|f| *f = json!([]), shape);
        refused(|f| f["examples"] = Value::Null, shape);
        refused(|f| f["more"] = json!(1), shape);
        refused(|f| f["models"]["A"][0]["bytes"] = json!(-1), shape);
        refused(|f| f["models"]["A"][0]["bytes"] = json!(1.5), shape);
        refused(|f| f["examples"][0]["model"] = json!("B"), "case `1` is about the model `B`, which the file does not describe");
        refused(
            |f| f["models"]["A"][0]["bytes"] = json!(u64::MAX),
            "the sizes that case `1` speaks of add up to more than 9007199254740992",
        );
        refused(|f| f["examples"][0]["devices_total_bytes"]["cpu"] = json!(u64::MAX), "the sizes that case `1` speaks of");
        refused(|f| f["examples"][0]["allocation"] = json!("x".repeat(4097)), "the allocation of case `1` is longer than 4096 bytes");
        refused(|f| f["models"]["A"] = json!([f["models"]["A"][0], f["models"]["A"][0]]), "the model `A` has two blocks `b0`");
        let both = |f: &mut Value| {
            f["examples"][0]["error"] = json!("ValueError");
            f["examples"][0]["expected"] = json!({});
        };
        refused(both, "case `1` expects both");
        let many = |f: &mut Value| {
            f["models"]["A"] = json!(vec![f["models"]["A"][0].clone(); 30_000]);
            f["examples"] = json!(vec![f["examples"][0].clone(); 900]);
        };
        refused(many, "the cases are too many");
        let deep = "[".repeat(10_000);
        assert!(matches!(CaseFile::parse(deep.as_bytes()), Err(CasesError::Shape { .. })));
    }

    proptest! {
        /// Whatever is asked, every module has one home and no byte is lost.
        #[test]
        fn any_string_is_placed_or_refused(
            allocation in "((cpu|cuda:0|cuda:1|mps| |),([0-9]{0,3}(gb|mb|%|\\.5|k|\\*|)|.{0,3});?){0,4}(#(cpu|cuda:0|cuda:1|)(;[0-9.]{0,3};(cpu|cuda:1|,){0,3})?)?",
            sizes in prop::collection::vec(0..u64::MAX >> 20, 0..20),
        ) {
            let leaves: Vec<Leaf> = sizes.iter().enumerate()
                .map(|(i, n)| Leaf { name: i.to_string(), bytes: Bytes(*n), has_bias_attr: i % 5 != 0, kind: None }).collect();
            let totals = Totals::from(["cpu", "cuda:0", "cuda:1"].map(|name| (name.to_owned(), Bytes::gib(24))));
            let question = Question { leaves: &leaves, totals: &totals, allocation: &allocation, role: Role::Network };
            for rules in [Rules::Distorch2, Rules::Distorch1] {
                if let Ok(answer) = rules.place(&question) {
                    prop_assert_eq!(answer.homes.len(), leaves.len());
                    let held = answer.held(&leaves);
                    prop_assert_eq!(held.values().map(|h| h.bytes).sum::<Bytes>(), question.model());
                    prop_assert_eq!(held.values().map(|h| h.blocks.len()).sum::<usize>(), leaves.len());
                }
            }
        }
    }
}
