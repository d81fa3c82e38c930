//! The unified predictor-corrector of order 3 with B(h) = h ("bh1"). Zhao et al. 2023,
//! equations 3 and 8.
//!
//! The paper and ComfyUI work on `x/√(1+σ²)`. Written for `x` itself both `α` fall out: with
//! `λ = −ln σ`, `h = λ' − λ`, newest estimate `m₀` and older ones `mⱼ` at `rⱼ = (λⱼ − λ)/h`,
//!
//! ```text
//! x' = σ'/σ · x − φ·m₀ − B·Σ ρⱼ·(mⱼ − m₀)/rⱼ      φ = e^{−h} − 1,  B = −h
//! ```
//!
//! The estimate at `x'` comes with the next step's own call of the denoiser. It first corrects `x'`,
//! as one more point with r = 1, and is then the next `m₀`: one call a step.

use std::collections::VecDeque;

use super::solver::{Field, Linear, towards};

/// Highest order of the predictor; the corrector has one more point.
const ORDER: usize = 3;
/// Where the last step ends in place of 0, whose λ is infinite. ComfyUI, `comfy/extra_samplers/uni_pc.py`.
const NEARLY_ZERO: f64 = 0.001;

/// A clean estimate and where it was made.
struct Point<V> {
    lambda: f64,
    denoised: V,
}

/// What the corrector needs to do a step again.
struct Taken<V> {
    start: V,
    leg: Leg,
}

/// One step's interval and order.
#[derive(Clone, Copy)]
struct Leg {
    from: f64,
    to: f64,
    order: usize,
}

/// Solves with the corrector after every step but the last. Its single step has no order left and is Euler's.
pub(super) fn unipc<V: Linear, F: Field<V>>(sigmas: &[f64], mut x: V, field: &mut F) -> Result<V, F::Error> {
    let count = sigmas.len().saturating_sub(1);
    let top_order = ORDER.min(count.saturating_sub(1));
    let mut history: VecDeque<Point<V>> = VecDeque::with_capacity(ORDER + 1);
    let mut taken: Option<Taken<V>> = None;
    for (index, pair) in sigmas.windows(2).enumerate() {
        let denoised = field.denoise(&x, pair[0])?;
        if top_order == 0 {
            x = towards(&denoised, &x, pair[1] / pair[0]);
            field.finished_step(index, &x, &denoised)?;
            continue;
        }
        if let Some(taken) = taken.take() {
            x = advance(&taken.start, taken.leg, &history, Some(&denoised));
        }
        history.push_front(Point { lambda: -pair[0].ln(), denoised });
        history.truncate(ORDER);

        let to = if pair[1] > 0.0 { pair[1] } else { NEARLY_ZERO };
        // Orders grow from 1 as points come in, and fall to 1 again at the end.
        let leg = Leg { from: pair[0], to, order: top_order.min(index + 1).min(count - index) };
        let ahead = advance(&x, leg, &history, None);
        taken = Some(Taken { start: std::mem::replace(&mut x, ahead), leg });
        if let Some(newest) = history.front() {
            field.finished_step(index, &x, &newest.denoised)?;
        }
    }
    Ok(x)
}

/// Returns `x` at the end of the leg: predicted from `history`, newest first, or corrected by the
/// estimate found there.
fn advance<V: Linear>(x: &V, leg: Leg, history: &VecDeque<Point<V>>, found: Option<&V>) -> V {
    let Some(newest) = history.front() else { return x.clone() };
    let h = (leg.from / leg.to).ln();
    let b = -h;
    let older: Vec<(f64, &V)> = history.iter().skip(1).take(leg.order - 1).map(|p| ((p.lambda - newest.lambda) / h, &p.denoised)).collect();

    let mut points: Vec<(f64, &V)> = older;
    points.extend(found.map(|denoised| (1.0, denoised)));
    let ratios: Vec<f64> = points.iter().map(|(r, _)| *r).collect();
    let shares = shares(&ratios, h);

    let mut of_newest = -(-h).exp_m1();
    let mut terms = vec![(leg.to / leg.from, x)];
    for ((ratio, denoised), share) in points.into_iter().zip(shares) {
        let weight = b * share / ratio;
        of_newest += weight;
        terms.push((-weight, denoised));
    }
    terms.push((of_newest, &newest.denoised));
    V::sum(&terms)
}

/// Returns the ρ of each point: those with which the formula is exact for polynomials in λ.
fn shares(ratios: &[f64], h: f64) -> Vec<f64> {
    // A single point gets ½, the limit for small steps. The paper, after equation 9.
    if ratios.len() == 1 {
        return vec![0.5];
    }
    let (hh, b) = (-h, -h);
    let mut phi = hh.exp_m1() / hh - 1.0;
    let mut factorial = 1.0;
    let mut rows = Vec::with_capacity(ratios.len());
    for k in 1..=ratios.len() {
        factorial *= k as f64;
        let mut row: Vec<f64> = ratios.iter().map(|r| r.powi(i32::try_from(k).unwrap_or(i32::MAX) - 1)).collect();
        row.push(phi * factorial / b);
        rows.push(row);
        phi = phi / hh - 1.0 / (factorial * (k + 1) as f64);
    }
    eliminate(rows)
}

/// Solves a square system, given as rows with the right-hand side at the end, by elimination with pivots.
fn eliminate(mut rows: Vec<Vec<f64>>) -> Vec<f64> {
    let n = rows.len();
    for column in 0..n {
        let pivot = (column..n).max_by(|a, b| rows[*a][column].abs().total_cmp(&rows[*b][column].abs())).unwrap_or(column);
        rows.swap(column, pivot);
        let (done, rest) = rows.split_at_mut(column + 1);
        let top = &done[column];
        for row in rest {
            let factor = row[column] / top[column];
            for (value, above) in row.iter_mut().zip(top) {
                *value -= factor * above;
            }
        }
    }
    let mut solution = vec![0.0; n];
    for i in (0..n).rev() {
        let known: f64 = (i + 1..n).map(|j| rows[i][j] * solution[j]).sum();
        solution[i] = (rows[i][n] - known) / rows[i][i];
    }
    solution
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elimination_solves_a_system_that_needs_its_pivots() {
        // x = 1, y = −2, z = 3.
        let rows = vec![vec![0.0, 2.0, 1.0, -1.0], vec![1.0, 1.0, 1.0, 2.0], vec![2.0, -1.0, 1.0, 7.0]];
        let solution = eliminate(rows);
        for (got, expected) in solution.iter().zip([1.0, -2.0, 3.0]) {
            assert!((got - expected).abs() < 1e-12, "{solution:?}");
        }
    }
}
