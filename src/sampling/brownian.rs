//! Noise that belongs together because its intervals overlap.

use super::solver::Linear;

/// Turns fresh draws into noise of one Brownian motion, whose variance grows with σ as in
/// k-diffusion's tree.
///
/// Of all solvers here `dpmpp_sde` alone needs it, and it may stand before any of them. It keeps the
/// interval asked for last. Where the next one starts at the same level and goes on beyond its end,
/// the fresh draw is for the rest only and the answer is both together; everywhere else the fresh draw
/// is the answer. So there is one draw a call, in an order that the sigmas alone decide:
///
/// ```text
/// (σ, σ_mid)   draw a                 → a
/// (σ, σ')      draw b for (σ_mid, σ') → (a·√(σ − σ_mid) + b·√(σ_mid − σ')) / √(σ − σ')
/// ```
#[derive(Debug, Clone)]
pub struct Brownian<V> {
    last: Option<Interval<V>>,
}

#[derive(Debug, Clone)]
struct Interval<V> {
    from: f64,
    to: f64,
    noise: V,
}

impl<V> Default for Brownian<V> {
    fn default() -> Self {
        Self { last: None }
    }
}

impl<V: Linear> Brownian<V> {
    /// Returns unit noise for the interval, made from `fresh` unit noise and what came before.
    pub fn noise(&mut self, from: f64, to: f64, fresh: V) -> V {
        let noise = match &self.last {
            // Equality is meant: the solver hands over the same number twice.
            Some(last) if last.from.to_bits() == from.to_bits() && to < last.to => {
                bridge((last.from - last.to, &last.noise), (last.to - to, &fresh))
            }
            Some(_) | None => fresh,
        };
        self.last = Some(Interval { from, to, noise: noise.clone() });
        noise
    }
}

/// Returns unit noise for two neighbouring intervals, each given as its length and its own unit noise.
pub fn bridge<V: Linear>(first: (f64, &V), second: (f64, &V)) -> V {
    let whole = first.0 + second.0;
    V::sum(&[((first.0 / whole).sqrt(), first.1), ((second.0 / whole).sqrt(), second.1)])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interval_that_goes_on_keeps_what_was_drawn() {
        let mut motion = Brownian::default();
        assert_eq!(motion.noise(9.0, 6.0, vec![1.0, 0.0]), [1.0, 0.0]);
        // Lengths 3 and 5 of 8; the squares of the weights sum to 1, so the variance stays 1.
        let whole = motion.noise(9.0, 1.0, vec![0.0, 1.0]);
        assert!((whole[0] - (3.0_f64 / 8.0).sqrt()).abs() < 1e-15);
        assert!((whole[1] - (5.0_f64 / 8.0).sqrt()).abs() < 1e-15);
        assert!((whole[0].hypot(whole[1]) - 1.0).abs() < 1e-15);
    }

    #[test]
    fn other_intervals_are_fresh() {
        let mut motion = Brownian::default();
        motion.noise(9.0, 6.0, vec![1.0]);
        assert_eq!(motion.noise(6.0, 4.0, vec![2.0]), [2.0], "the next step");
        assert_eq!(motion.noise(6.0, 5.0, vec![3.0]), [3.0], "an end before the last one");
    }
}
