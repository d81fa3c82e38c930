//! What a conversion lost, in words and numbers.

use super::journal::Loss;
use super::output::Output;
use crate::cache::{Errors, Worst};

/// How many tensors are named.
pub(super) const NAMED: usize = 10;

/// Returns what storing the weights cost: by tensor, and all together.
#[must_use]
pub fn errors(output: &Output, losses: &[Loss]) -> Errors {
    let mut all = Loss::default();
    let mut worst = Vec::new();
    for (job, loss) in output.jobs.iter().zip(losses) {
        all.join(*loss);
        if loss.error > 0.0 {
            worst.push(Worst { tensor: job.feed.name.clone(), rel_l2: loss.relative() });
        }
    }
    worst.sort_by(|a, b| b.rel_l2.total_cmp(&a.rel_l2).then_with(|| a.tensor.cmp(&b.tensor)));
    worst.truncate(NAMED);
    Errors {
        rel_l2_max: worst.first().map_or(0.0, |w| w.rel_l2),
        rel_l2_mean: all.relative(),
        clipped: all.clipped,
        not_a_number: all.not_a_number,
        worst,
    }
}
