//! The first DisTorch, for GGUF: devices get a share of the number of modules, whatever these weigh.

use super::error::CompatError;
use super::fractions::{self, Fractions};
use super::question::{Answer, Home, Question, Reason};

/// The most of a GPU's memory that is counted on.
const USABLE: f64 = 0.9;

/// Places every module.
pub(super) fn place(question: &Question<'_>) -> Result<Answer, CompatError> {
    let compute = question.compute();
    let (expert, rest) = question.parts();
    let fractions = match rest {
        Some(rest) if expert.is_empty() => of_virtual_vram(question, rest)?,
        Some(_) | None => fractions::of_memory(question, expert)?,
    };
    question.total(compute)?;
    let homes = assign(question, compute, &fractions)?;
    Ok(Answer { compute: compute.to_owned(), fractions, homes })
}

/// What does not fit the recipient is moved without being asked for; what no GPU can take, main memory takes.
fn of_virtual_vram(question: &Question<'_>, text: &str) -> Result<Fractions, CompatError> {
    let asked = fractions::virtual_vram(text)?;
    let model = question.model().get() as f64;
    let excess = (model - USABLE * question.total(asked.recipient)?).max(0.0);
    let mut rest = excess + asked.bytes;
    let mut given = Fractions::default();
    given.set(asked.recipient, (model - rest).max(0.0));
    for donor in asked.donors.into_iter().filter(|d| *d != "cpu") {
        let bytes = rest.min(USABLE * question.total(donor)?);
        if rest > 0.0 {
            given.set(donor, bytes);
            rest -= bytes;
        }
    }
    if rest > 0.0 {
        given.set("cpu", rest);
    }
    given.of_bytes(question)
}

fn assign(question: &Question<'_>, compute: &str, fractions: &Fractions) -> Result<Vec<Home>, CompatError> {
    let mut shares: Vec<(&str, f64)> = Vec::new();
    for (device, fraction) in fractions.iter().filter(|(_, fraction)| *fraction > 0.0) {
        shares.push((device, fraction * question.total(device)?));
    }
    let sum: f64 = shares.iter().map(|(_, share)| share).sum();
    let all = question.leaves.len();
    let last = shares.last().map_or((compute, Reason::Orphan), |(device, _)| (*device, Reason::Fits));
    let mut homes = Vec::with_capacity(all);
    for (device, share) in &shares {
        #[expect(clippy::cast_sign_loss, reason = "shares are positive")]
        let count = (share / sum * all as f64) as usize;
        for _ in 0..count.min(all - homes.len()) {
            homes.push(Home { device: (*device).to_owned(), reason: Reason::Fits });
        }
    }
    homes.resize(all, Home { device: last.0.to_owned(), reason: last.1 });
    Ok(homes)
}

#[cfg(test)]
mod tests {
    use super::super::question::{Leaf, Role, Totals};
    use super::*;
    use crate::units::Bytes;

    /// Ten modules of a gibibyte each; `cuda:0` has 8 GiB, `cuda:1` 4, main memory 64.
    fn placed(allocation: &str) -> Result<String, &'static str> {
        let leaf = |i| Leaf { name: format!("b{i}"), bytes: Bytes::gib(1), has_bias_attr: i % 2 == 0, kind: None };
        let leaves: Vec<Leaf> = (0..10).map(leaf).collect();
        let totals = Totals::from([("cuda:0", 8), ("cuda:1", 4), ("cpu", 64)].map(|(name, n)| (name.to_owned(), Bytes::gib(n))));
        let answer = place(&Question { leaves: &leaves, totals: &totals, allocation, role: Role::TextEncoder }).map_err(|e| e.kind())?;
        let counts: Vec<String> = answer.homes.chunk_by(|a, b| a == b).map(|run| format!("{}×{}", run[0].device, run.len())).collect();
        Ok(format!("{} {}", answer.fractions, counts.join(" ")))
    }

    #[test]
    fn counts_follow_the_shares_from_the_front_and_the_last_takes_the_rest() {
        // 2 + 1 + 1 of 4 GiB: half, a quarter, and what is left.
        let expert = "cuda:0,0.25;cuda:1,0.25;cpu,0.0156#cuda:0";
        assert_eq!(placed(expert).as_deref(), Ok("cuda:0,0.2500;cuda:1,0.2500;cpu,0.0156 cuda:0×5 cuda:1×2 cpu×3"));
        assert_eq!(placed("cuda:0,0.5;cuda:1,0;cpu,0#cuda:0").as_deref(), Ok("cuda:0,0.5000;cuda:1,0.0000;cpu,0.0000 cuda:0×10"));
        assert_eq!(placed("").as_deref(), Ok(" cuda:0×10"));
        // A share that is written is not rounded, and 0.9996 of a module is none.
        assert_eq!(placed("cuda:0,0.09996;cpu,0.1125#cuda:0").as_deref(), Ok("cuda:0,0.09996;cpu,0.1125 cpu×10"));
    }

    #[test]
    fn gpus_give_nine_tenths_and_main_memory_the_rest_unasked() {
        // 10 GiB do not fit 7.2: 2.8 move before the 4 that are asked for, 3.6 of them to the other GPU.
        let moved = placed("#cuda:0;4.0;cuda:1");
        assert_eq!(moved.as_deref(), Ok("cuda:0,0.4000;cuda:1,0.9000;cpu,0.0500 cuda:0×3 cuda:1×3 cpu×4"));
        assert_eq!(placed("#cuda:0;4.0;cpu").as_deref(), Ok("cuda:0,0.4000;cpu,0.1062 cuda:0×3 cpu×7"));
    }

    #[test]
    fn units_and_percents_are_no_numbers_yet() {
        assert_eq!(placed("cuda:0,2gb#cuda:0"), Err("ValueError"));
        assert_eq!(placed("cuda:0,20%#cuda:0"), Err("ValueError"));
        assert_eq!(placed("cuda:7,0.2#cuda:0"), Err("RuntimeError"));
    }
}
