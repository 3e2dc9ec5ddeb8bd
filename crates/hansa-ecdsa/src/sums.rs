//! Sums of points of secp256k1, many at a time.
//!
//! An addition in affine coordinates needs an inversion, which costs as much as 200 multiplications. A batch of additions shares one
//! inversion (Montgomery's trick) and needs six multiplications each, half as many as projective coordinates. Doubling is not
//! supported.

use ark_ff::{Field, Zero};
use ark_secp256k1::{Affine, Fq};

/// An intermediate sum.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Sum {
    /// The point at infinity.
    Zero,
    /// Any other point.
    Point(Affine),
    /// Both operands had the same abscissa: a doubling or a sum of zero, which the formula does not cover. Only crafted input gets
    /// here, and falls back to the library.
    Degenerate,
}

/// Sums and the buffers of a batch of additions.
pub(crate) struct Sums {
    sums: Vec<Sum>,
    pending: Vec<Pending>,
}

/// An addition that waits for the shared inversion; `before` is the product of all earlier differences.
struct Pending {
    at: usize,
    addend: Affine,
    difference: Fq,
    before: Fq,
}

impl Sums {
    /// `count` sums of zero.
    pub(crate) fn new(count: usize) -> Self {
        Self { sums: vec![Sum::Zero; count], pending: Vec::with_capacity(count) }
    }

    /// Adds to each sum the point at its index.
    pub(crate) fn add(&mut self, addends: impl Iterator<Item = Option<Affine>>) {
        let mut product = Fq::ONE;
        for (at, addend) in addends.take(self.sums.len()).enumerate() {
            let Some(addend) = addend else { continue };
            match self.sums[at] {
                Sum::Zero => self.sums[at] = Sum::Point(addend),
                Sum::Degenerate => {}
                Sum::Point(sum) => {
                    let difference = addend.x - sum.x;
                    if difference.is_zero() {
                        self.sums[at] = Sum::Degenerate;
                        continue;
                    }
                    self.pending.push(Pending { at, addend, difference, before: product });
                    product *= difference;
                }
            }
        }
        // Every factor is non-zero, so the product has an inverse.
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

    /// Adds each pair of neighbours.
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
            (_, Sum::Degenerate) => Sum::Degenerate,
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
