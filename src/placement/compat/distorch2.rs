//! The second DisTorch: shares of memory, filled with modules from the last to the first.
//!
//! The device that computes has no place of its own in the order: devices are filled by name, `cpu` last, so
//! whether it gets the model's end or its beginning is a matter of names, and `cuda:10` comes before `cuda:2`.

use std::collections::BTreeMap;

use super::error::CompatError;
use super::fractions::{self, Fractions};
use super::question::{Answer, Home, Leaf, Question, Reason, Role};

/// A module below this share of the model is never moved.
const TINY: f64 = 0.0001;

/// What the names of a text encoder's embeddings contain.
const EMBEDDINGS: [&str; 5] = ["embed", "wte", "wpe", "token_embedding", "position_embedding"];

/// Places every module.
pub(super) fn place(question: &Question<'_>) -> Result<Answer, CompatError> {
    let compute = question.compute();
    let (expert, rest) = question.parts();
    let fractions = match rest {
        Some(rest) if expert.is_empty() => of_virtual_vram(question, rest)?,
        Some(_) | None => fractions::of_expert(question, expert)?,
    };
    question.total(compute)?;
    let homes = assign(question, compute, &fractions);
    Ok(Answer { compute: compute.to_owned(), fractions, homes })
}

/// What donors cannot take is forgotten.
fn of_virtual_vram(question: &Question<'_>, text: &str) -> Result<Fractions, CompatError> {
    let asked = fractions::virtual_vram(text)?;
    let mut given = Fractions::default();
    question.total(asked.recipient)?;
    given.set(asked.recipient, (question.model().get() as f64 - asked.bytes).max(0.0));
    let mut rest = asked.bytes;
    for donor in asked.donors {
        let bytes = rest.min(question.total(donor)?);
        if rest > 0.0 {
            given.set(donor, bytes);
            rest -= bytes;
        }
    }
    given.of_bytes(question)
}

fn assign(question: &Question<'_>, compute: &str, fractions: &Fractions) -> Vec<Home> {
    let threshold = question.model().get() as f64 * TINY;
    let mut rest: BTreeMap<(bool, &str), f64> = BTreeMap::new();
    for (device, total) in question.totals {
        rest.insert((device == "cpu", device), fractions.of(device) * total.get() as f64);
    }
    if let Some(quota) = rest.get_mut(&(compute == "cpu", compute)) {
        *quota -= question.leaves.iter().filter(|l| is_head(question, l)).map(|l| l.bytes.get() as f64).sum::<f64>();
    }
    let mut homes: Vec<Home> = question.leaves.iter().rev().map(|leaf| home(question, leaf, compute, threshold, &mut rest)).collect();
    homes.reverse();
    homes
}

fn home(question: &Question<'_>, leaf: &Leaf, compute: &str, threshold: f64, rest: &mut BTreeMap<(bool, &str), f64>) -> Home {
    let size = leaf.bytes.get() as f64;
    let (device, reason) = if is_head(question, leaf) {
        (compute, Reason::Head)
    } else if size < threshold || !leaf.has_bias_attr {
        (compute, Reason::Tiny)
    } else if let Some((&(_, device), left)) = rest.iter_mut().find(|(_, left)| **left >= size) {
        *left -= size;
        (device, Reason::Fits)
    } else {
        (compute, Reason::Orphan)
    };
    Home { device: device.to_owned(), reason }
}

fn is_head(question: &Question<'_>, leaf: &Leaf) -> bool {
    match question.role {
        Role::TextEncoder => EMBEDDINGS.iter().any(|word| leaf.name.contains(word)),
        Role::Network => false,
    }
}

#[cfg(test)]
mod tests {
    use super::super::question::Totals;
    use super::*;
    use crate::units::Bytes;

    fn placed(allocation: &str) -> Result<String, &'static str> {
        let leaves: Vec<Leaf> =
            (0..4).map(|i| Leaf { name: format!("b{i}"), bytes: Bytes::gib(1), has_bias_attr: true, kind: None }).collect();
        let totals =
            Totals::from([("cuda:0".to_owned(), Bytes::gib(8)), ("cpu".to_owned(), Bytes::gib(64)), ("none".to_owned(), Bytes(0))]);
        let answer = place(&Question { leaves: &leaves, totals: &totals, allocation, role: Role::Network }).map_err(|e| e.kind())?;
        Ok(answer.fractions.to_string())
    }

    #[test]
    fn every_mode_comes_down_to_shares_of_four_decimals() {
        assert_eq!(placed("cuda:0,2.25gb;cpu,*#cuda:0").as_deref(), Ok("cuda:0,0.2812;cpu,0.0273"));
        assert_eq!(placed("#cuda:0;3.0;cpu").as_deref(), Ok("cuda:0,0.1250;cpu,0.0469"));
        assert_eq!(placed("cuda:0,1;cpu,0.33333#cuda:0").as_deref(), Ok("cuda:0,1.0000;cpu,0.3333"));
        assert_eq!(placed("cuda:0,1%;cpu,3%#cuda:0").as_deref(), Ok("cuda:0,0.1250;cpu,0.0469"));
        assert_eq!(placed("nonsense;cuda:0,1g#cuda:0").as_deref(), Ok("cuda:0,0.1250;cpu,0.0469"));
        assert_eq!(placed("#cuda:0;-1;cpu").as_deref(), Ok("cuda:0,0.6250"));
        assert_eq!(placed("").as_deref(), Ok(""));
    }

    #[test]
    fn errors_are_of_the_original_s_kinds() {
        for (allocation, kind) in [
            ("#cuda:0", "ValueError"),
            ("#cuda:0;4", "ValueError"),
            ("#cuda:0;4;cpu;cpu", "ValueError"),
            ("#cuda:0;four;cpu", "ValueError"),
            ("#cuda:9;4;cpu", "RuntimeError"),
            ("#cuda:0;4;", "RuntimeError"),
            ("cuda:0,0%;cpu,0%#cuda:0", "ZeroDivisionError"),
            ("none,1gb#cuda:0", "ZeroDivisionError"),
            ("cpu,1#cuda:9", "RuntimeError"),
        ] {
            assert_eq!(placed(allocation), Err(kind), "{allocation}");
        }
    }
}
