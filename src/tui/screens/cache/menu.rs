//! What opens above the list: rules by which files go, and the two lists of a conversion.

use crate::quant::precision::Target;
use crate::tui::known::Known;
use crate::tui::screens::compose::{Field, pick};
use crate::units::Bytes;
use crate::wire::CleanAsk;
use crate::workflow::quote;

/// What is open above the list.
#[derive(Debug, Clone)]
pub enum Menu {
    /// Rules by which files go.
    Rules(Rules),
    /// What is to be converted, and to what.
    Convert(Convert),
}

/// Rules, each with the amount that is chosen of it.
#[derive(Debug, Clone, Default)]
pub struct Rules {
    /// The selected rule.
    pub cursor: usize,
    amounts: [usize; 4],
}

const DAY: u64 = 86_400;
/// Days that something was not used.
const DAYS: [u64; 6] = [30, 60, 90, 1, 7, 14];
/// Files of a source that stay.
const KEPT: [u64; 3] = [1, 2, 3];
/// What is to be freed, in GiB.
const FREED: [u64; 7] = [10, 20, 50, 100, 200, 1, 5];

impl Rules {
    /// How many there are.
    pub const COUNT: usize = 4;

    /// Takes another amount of the selected rule.
    pub fn step(&mut self, by: isize) {
        let count = match self.cursor {
            1 => DAYS.len(),
            2 => KEPT.len(),
            3 => FREED.len(),
            _ => 1,
        };
        let amount = &mut self.amounts[self.cursor.min(Self::COUNT - 1)];
        *amount = (*amount).cast_signed().saturating_add(by).rem_euclid(count.cast_signed()).cast_unsigned();
    }

    /// Returns a rule in words: before, the amount, behind.
    #[must_use]
    pub fn words(&self, rule: usize) -> (&'static str, String, &'static str) {
        match rule {
            1 => ("not used for ", format!("{} days", DAYS[self.amounts[1]]), ""),
            2 => ("all but the newest ", KEPT[self.amounts[2]].to_string(), " of each source"),
            3 => ("to free ", Bytes::gib(FREED[self.amounts[3]]).to_string(), ", what is cheapest to miss first"),
            _ => ("what cannot be used: damaged, stale, unfinished, its source gone", String::new(), ""),
        }
    }

    /// Returns what is asked by the selected rule. Nothing goes yet.
    #[must_use]
    pub fn ask(&self) -> CleanAsk {
        let dry = CleanAsk { dry_run: true, ..CleanAsk::default() };
        match self.cursor {
            1 => CleanAsk { older_than_s: Some(DAYS[self.amounts[1]] * DAY), ..dry },
            2 => CleanAsk { keep: Some(KEPT[self.amounts[2]]), ..dry },
            3 => CleanAsk { to_free: Some(Bytes::gib(FREED[self.amounts[3]])), ..dry },
            _ => CleanAsk { useless: true, ..dry },
        }
    }
}

/// Returns the command that does what is asked. With a rule the files are those that were shown.
#[must_use]
pub fn command(ask: &CleanAsk) -> String {
    let rule = [
        ask.useless.then(|| "--useless".to_owned()),
        ask.keep.map(|keep| format!("--keep {keep}")),
        ask.older_than_s.map(|seconds| format!("--older-than {}d", seconds / DAY)),
        ask.to_free.map(|bytes| format!("--to-free {}b", bytes.get())),
    ];
    let files = ask.files.iter().filter(|_| !ask.has_rule()).map(|file| quote(&file.to_string_lossy()).into_owned());
    let words: Vec<String> = rule.into_iter().flatten().chain(files).collect();
    format!("perilune cache clean {} --yes", words.join(" "))
}

/// What is to be converted, and to what.
#[derive(Debug, Clone, Default)]
pub struct Convert {
    /// What is typed, and where the operator is among what was found.
    pub pick: pick::Pick,
    /// The model, once it is chosen.
    pub source: Option<String>,
}

impl Convert {
    /// Returns what is chosen from now.
    #[must_use]
    pub fn choices(&self, known: &Known) -> Vec<pick::Choice> {
        if self.source.is_none() {
            return pick::models(known);
        }
        let converts = |c: &pick::Choice| Target::named(&c.value).is_some();
        pick::choices(Field::Precision, known).into_iter().filter(converts).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_are_commands() {
        let mut rules = Rules::default();
        let mut commands = Vec::new();
        for cursor in 0..Rules::COUNT {
            rules.cursor = cursor;
            rules.step(1);
            commands.push(command(&rules.ask()));
        }
        assert_eq!(
            commands,
            [
                "perilune cache clean --useless --yes",
                "perilune cache clean --older-than 60d --yes",
                "perilune cache clean --keep 2 --yes",
                "perilune cache clean --to-free 21474836480b --yes"
            ]
        );
        let named = CleanAsk { files: vec!["/a b.gguf".into()], ..CleanAsk::default() };
        assert_eq!(command(&named), "perilune cache clean '/a b.gguf' --yes");
        rules.cursor = 2;
        rules.step(-2);
        assert_eq!(rules.words(2).1, "3");
    }
}
