//! The executor on a clock that only counts: what [`stream`](super::stream) does with copies that take as long as the
//! simulator says must take as long as the simulator says.

use proptest::prelude::*;

use super::simulate::{Link, Load, Staging, simulate};
use super::stream::{Mover, Place, Stream, Streamed};
use crate::units::{BlockIndex, Bytes};

/// Copies on one engine for each link, each after the other.
struct Clock<'a> {
    loads: &'a [Load],
    links: &'a [Link],
    now: f64,
    /// When each link has done what it was given.
    free_at: Vec<f64>,
    /// When each block is there.
    there_at: Vec<f64>,
}

impl Mover for Clock<'_> {
    type Error = std::convert::Infallible;

    fn begin(&mut self, block: BlockIndex, _: Place) -> Result<(), Self::Error> {
        let load = &self.loads[block.0 as usize];
        let link = load.link.unwrap();
        let done = self.free_at[link].max(self.now) + self.links[link].seconds(load.bytes);
        (self.free_at[link], self.there_at[block.0 as usize]) = (done, done);
        Ok(())
    }

    fn arrive(&mut self, block: BlockIndex) -> Result<(), Self::Error> {
        self.now = self.now.max(self.there_at[block.0 as usize]);
        Ok(())
    }

    fn leave(&mut self, _: BlockIndex) {}
}

/// Returns the seconds of a step once steps repeat.
fn executed(loads: &[Load], links: &[Link], ring: Bytes) -> f64 {
    const WARM: usize = 12;
    const STEPS: usize = 24;
    let streamed = (0..).map(BlockIndex).zip(loads).filter(|(_, l)| l.link.is_some());
    let order: Vec<Streamed> = streamed.map(|(block, load)| Streamed { block, size: load.bytes.get() as usize }).collect();
    let is_empty = order.is_empty();
    let mut stream = Stream::new(order, ring.get() as usize);
    let mut clock = Clock { loads, links, now: 0.0, free_at: vec![0.0; links.len()], there_at: vec![0.0; loads.len()] };
    let mut warm = 0.0;
    for step in 0..WARM + STEPS {
        if step == WARM {
            warm = clock.now;
        }
        for (index, load) in (0u32..).map(BlockIndex).zip(loads) {
            match load.link {
                Some(_) => drop(stream.acquire(index, &mut clock).unwrap()),
                None if is_empty => {}
                None => stream.move_on(&mut clock).unwrap(),
            }
            clock.now += load.seconds;
        }
    }
    (clock.now - warm) / STEPS as f64
}

fn check(loads: &[Load], links: &[Link], ring: Bytes) -> Result<(), TestCaseError> {
    let simulated = simulate(loads, links, Staging::Ring(ring)).step_s;
    let executed = executed(loads, links, ring);
    prop_assert!((executed / simulated - 1.0).abs() <= 0.02, "{executed} s, but {simulated} s were foretold");
    Ok(())
}

proptest! {
    /// More is streamed than there is room for: blocks that all have room at once are fetched once, and never again.
    #[test]
    fn the_executor_takes_as_long_as_the_simulator_says(
        units in prop::collection::vec((1u64..200, 1u32..100, any::<bool>()), 12..60),
        more in 0u64..600,
        speed in 1e7..1e10f64,
    ) {
        let link = Link { bytes_per_second: speed, latency_s: 1e-4 };
        let load = |(mib, ms, streamed): (u64, u32, bool)| Load {
            bytes: Bytes::mib(mib),
            seconds: f64::from(ms) / 1e3,
            link: streamed.then_some(0),
        };
        let loads: Vec<Load> = units.into_iter().map(load).collect();
        let streamed = || loads.iter().filter(|l| l.link.is_some()).map(|l| l.bytes);
        let ring = streamed().max().unwrap_or_default() + Bytes::mib(more);
        prop_assume!(streamed().sum::<Bytes>() > ring);
        check(&loads, &[link], ring)?;
    }
}

#[test]
fn evenly_streamed_blocks_hide_behind_the_others() {
    let link = Link { bytes_per_second: (1u64 << 30) as f64, latency_s: 0.0 };
    let loads: Vec<Load> = (0..60).map(|n| Load { bytes: Bytes::gib(2), seconds: 1.0, link: (n % 3 == 0).then_some(0) }).collect();
    assert!((executed(&loads, &[link], Bytes::gib(4)) - 60.0).abs() < 1e-9);
    check(&loads, &[link], Bytes::gib(4)).unwrap();
}
