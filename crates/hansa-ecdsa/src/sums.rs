//! Sums of points of secp256k1, many at a time.
//!
//! To add two points in affine coordinates takes an inversion, which costs as much as 200 multiplications; for many sums at
//! a time it takes one inversion in all (Montgomery's trick) and six multiplications each, half of what projective
//! coordinates need.

use ark_ff::{Field, Zero};
use ark_secp256k1::{Affine, Fq};

/// A sum that is being formed.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Sum {
    /// The point at infinity.
    Zero,
    /// Any other point.
    Point(Affine),
    /// The two points to be added had one abscissa: twice a point, or nothing. That happens by design or never, and is given
    /// up here.
    Lost,
}

/// Sums, and the buffers that forming them takes.
pub(crate) struct Sums {
    sums: Vec<Sum>,
    pending: Vec<Pending>,
}

/// An addition in the midst of the step: where, of what, and the product of all differences before it.
struct Pending {
    at: usize,
    addend: Affine,
    difference: Fq,
    before: Fq,
}

impl Sums {
    /// So many, all zero.
    pub(crate) fn new(count: usize) -> Self {
        Self { sums: vec![Sum::Zero; count], pending: Vec::with_capacity(count) }
    }

    /// Adds to each sum what is given for it.
    pub(crate) fn add(&mut self, addends: impl Iterator<Item = Option<Affine>>) {
        let mut product = Fq::ONE;
        for (at, addend) in addends.take(self.sums.len()).enumerate() {
            let Some(addend) = addend else { continue };
            match self.sums[at] {
                Sum::Zero => self.sums[at] = Sum::Point(addend),
                Sum::Lost => {}
                Sum::Point(sum) => {
                    let difference = addend.x - sum.x;
                    if difference.is_zero() {
                        self.sums[at] = Sum::Lost;
                        continue;
                    }
                    self.pending.push(Pending { at, addend, difference, before: product });
                    product *= difference;
                }
            }
        }
        // No factor is zero.
        let mut inverse = product.inverse().unwrap_or_default();
        for Pending { at, addend, difference, before } in self.pending.drain(..).rev() {
            let slope_divisor = inverse * before;
            inverse *= difference;
            if let Sum::Point(sum) = self.sums[at] {
                let slope = (addend.y - sum.y) * slope_divisor;
                let x = slope.square() - sum.x - addend.x;
                let y = slope * (sum.x - x) - sum.y;
                self.sums[at] = Sum::Point(Affine::new_unchecked(x, y));
            }
        }
    }

    /// Adds up each two neighbours.
    pub(crate) fn fold(mut self) -> Self {
        let count = self.sums.len() / 2;
        let pair = |at: usize| (self.sums[2 * at], self.sums[2 * at + 1]);
        let addends: Vec<Option<Affine>> = (0..count)
            .map(|at| match pair(at) {
                (_, Sum::Point(addend)) => Some(addend),
                _ => None,
            })
            .collect();
        let folded = (0..count).map(|at| match pair(at) {
            (_, Sum::Lost) => Sum::Lost,
            (sum, _) => sum,
        });
        self.sums = folded.collect();
        self.add(addends.into_iter());
        self
    }

    pub(crate) fn into_inner(self) -> Vec<Sum> {
        self.sums
    }
}
