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
    // Its nodes leave a model alone for which there is no string; of an empty one, nothing can be read.
    let fractions =
        if expert.is_empty() { of_virtual_vram(question, rest.unwrap_or_default())? } else { fractions::of_expert(question, expert)? };
    let homes = assign(question, compute, &fractions);
    // Nobody asks for the device that computes before something stays there.
    if !question.totals.contains_key(compute) && homes.iter().any(|home| home.device == compute) {
        return Err(CompatError::UnknownCompute { device: compute.to_owned() });
    }
    Ok(Answer { compute: compute.to_owned(), fractions, homes })
}

/// What donors cannot take is forgotten. Of a device that is named twice, the last word counts, be it that nothing is left to
/// take; the device that computes may be named, too.
fn of_virtual_vram(question: &Question<'_>, text: &str) -> Result<Fractions, CompatError> {
    let asked = fractions::virtual_vram(text)?;
    let mut given = Fractions::default();
    question.total(asked.recipient)?;
    given.set(asked.recipient, (question.model().get() as f64 - asked.bytes).max(0.0));
    let mut rest = asked.bytes;
    for donor in asked.donors {
        let total = question.total(donor)?;
        // What is no number is less than nothing, and stays what it is.
        let bytes = if total < rest { total } else { rest };
        given.set(donor, bytes);
        rest -= bytes;
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
        Role::TextEncoder => {
            let name = leaf.name.to_lowercase();
            EMBEDDINGS.iter().any(|word| name.contains(word))
        }
        Role::Network => false,
    }
}

#[cfg(test)]
mod tests {
    use super::super::question::Totals;
    use super::*;
    use crate::units::Bytes;

    fn placed(allocation: &str) -> Result<String, &'static str> {
        let answer = answer(&equal(4, Bytes::gib(1)), allocation, Role::Network).map_err(|e| e.kind())?;
        Ok(answer.fractions.to_string())
    }

    fn equal(n: usize, bytes: Bytes) -> Vec<Leaf> {
        (0..n).map(|i| Leaf { name: format!("b{i}"), bytes, has_bias_attr: true, kind: None }).collect()
    }

    /// On a machine with 8 GiB on `cuda:0`, 64 of main memory, and a device that has none.
    fn answer(leaves: &[Leaf], allocation: &str, role: Role) -> Result<Answer, CompatError> {
        let totals = Totals::from([("cuda:0", 8), ("cpu", 64), ("none", 0)].map(|(name, n)| (name.to_owned(), Bytes::gib(n))));
        place(&Question { leaves, totals: &totals, allocation, role })
    }

    /// Of eight modules of a gibibyte each: those on each device, by their numbers.
    fn homes(allocation: &str) -> String {
        let answer = answer(&equal(8, Bytes::gib(1)), allocation, Role::Network).unwrap();
        let runs = answer.homes.chunk_by(|a, b| a.device == b.device).map(|run| format!("{}×{}", run[0].device, run.len()));
        runs.collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn every_mode_comes_down_to_shares() {
        assert_eq!(placed("cuda:0,2.25gb;cpu,*#cuda:0").as_deref(), Ok("cuda:0,0.2812;cpu,0.0273"));
        assert_eq!(placed("#cuda:0;3.0;cpu").as_deref(), Ok("cuda:0,0.1250;cpu,0.0469"));
        assert_eq!(placed("cuda:0,1;cpu,0.33333#cuda:0").as_deref(), Ok("cuda:0,1.0000;cpu,0.33333"));
        assert_eq!(placed("cuda:0,1%;cpu,3%#cuda:0").as_deref(), Ok("cuda:0,0.1250;cpu,0.0469"));
        assert_eq!(placed("nonsense;cuda:0,1g#cuda:0").as_deref(), Ok("cuda:0,0.1250;cpu,0.0469"));
        assert_eq!(placed("#cuda:0;-1;cpu").as_deref(), Ok("cuda:0,0.6250;cpu,-0.0156"));
        assert_eq!(placed(" ").as_deref(), Ok(""));
        assert_eq!(placed("#cuda:0;nan;cpu").as_deref(), Ok("cuda:0,0.0000;cpu,NaN"));
    }

    #[test]
    fn a_share_that_is_written_is_not_rounded() {
        let answer = answer(&equal(20, Bytes::mib(256)), "cuda:0,0.28125;cpu,1#cuda:0", Role::Network).unwrap();
        assert_eq!(answer.homes.iter().filter(|home| home.device == "cuda:0").count(), 9, "2.25 GiB, to the byte");
    }

    #[test]
    fn nothing_is_no_entry() {
        assert_eq!(homes("cuda:0,2gb;cuda:0,0gb;cpu,*#cuda:0"), "cpu×6 cuda:0×2");
        assert_eq!(homes("cuda:7,0gb;cpu,*#cuda:0"), "cpu×8");
        assert_eq!(homes("cpu,99gb;cuda:7,1gb#cuda:0"), "cpu×8", "nothing is left for a device that there is not");
        // A part of a byte is something: it takes the place of what stood there, and the bytes of that are nobody's.
        assert_eq!(homes("cuda:0,2gb;cuda:0,0.5;cpu,*#cuda:0"), "cuda:0×3 cpu×5");
    }

    #[test]
    fn a_donor_s_last_word_counts() {
        assert_eq!(homes("#cuda:0;4.0;cpu"), "cpu×4 cuda:0×4");
        assert_eq!(homes("#cuda:0;4.0;cpu,cpu"), "cuda:0×8");
        assert_eq!(homes("#cuda:0;4.0;cpu,cuda:0"), "cuda:0×4 cpu×4");
        assert_eq!(homes("#cuda:0;4.0;cuda:0,cpu"), "cuda:0×8");
    }

    #[test]
    fn a_device_without_memory_is_passed_over_unless_it_is_a_donor() {
        assert_eq!(homes("none,1gb;cpu,*#cuda:0"), "cuda:0×1 cpu×7");
        assert_eq!(homes("none,1%;cpu,1%#cuda:0"), "cuda:0×4 cpu×4");
        assert_eq!(homes("none,1;cpu,1#cuda:0"), "cpu×8");
    }

    #[test]
    fn the_device_that_computes_is_looked_for_where_something_stays_there() {
        assert_eq!(homes("cpu,50gb#cuda:9"), "cpu×8");
        assert_eq!(homes("cpu,1#cuda:9"), "cpu×8");
        assert_eq!(homes("cpu,0.001#"), "cuda:0×8", "the first GPU where none is named");
    }

    #[test]
    fn embeddings_are_known_whatever_the_case_of_their_names() {
        let mut leaves = equal(2, Bytes::gib(1));
        "Token_Embedding".clone_into(&mut leaves[0].name);
        let devices = |role| {
            let homes = answer(&leaves, "#cuda:0;99;cpu", role).unwrap().homes;
            homes.into_iter().map(|home| home.device).collect::<Vec<_>>()
        };
        assert_eq!(devices(Role::TextEncoder), ["cuda:0", "cpu"]);
        assert_eq!(devices(Role::Network), ["cpu", "cpu"]);
    }

    #[test]
    fn errors_are_of_the_original_s_kinds() {
        for (allocation, kind) in [
            ("", "ValueError"),
            ("#", "ValueError"),
            ("#cuda:0", "ValueError"),
            ("#cuda:0;4", "ValueError"),
            ("#cuda:0;4;cpu;cpu", "ValueError"),
            ("#cuda:0;four;cpu", "ValueError"),
            ("#cuda:9;4;cpu", "RuntimeError"),
            ("#cuda:0;4;", "RuntimeError"),
            ("cuda:9,1;cpu,*#cuda:0", "RuntimeError"),
            ("cuda:9,1%;cpu,*%#cuda:0", "ValueError"),
            ("cuda:0,0%;cpu,0%#cuda:0", "ZeroDivisionError"),
            ("#cuda:0;4;none", "ZeroDivisionError"),
            ("#cuda:0;4;cpu,none", "ZeroDivisionError"),
            ("#none;4;cpu", "ZeroDivisionError"),
            ("50%#cuda:0", "IndexError"),
            ("cpu,nan%#cuda:0", "ValueError"),
            ("cuda:9,inf%;cpu,1%#cuda:0", "RuntimeError"),
            ("cpu,0.03#cuda:9", "KeyError"),
            ("cuda:0,1gb;none,*#;4;cpu", "KeyError"),
        ] {
            assert_eq!(placed(allocation), Err(kind), "{allocation}");
        }
    }
}
