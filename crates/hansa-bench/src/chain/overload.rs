//! `bench chain --overload`: more than the network can take, in an open loop beside the closed-loop peak.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use futures::future::try_join_all;
use parking_lot::Mutex;

use super::{Bench, Costs, Flight, MEMBERS, Options, Slice};
use crate::{
    BenchError,
    report::{self, Figure, Series, percentile},
    rpc::{Rpc, batch},
    wallet::{Signed, Supply},
};

/// Measurements of an open loop.
struct Pressed {
    slice: Slice,
    offers: usize,
    refusals: usize,
}

impl Bench {
    /// An open loop that offers `factor` times the closed-loop peak. Refused transactions are offered again. The peak is the
    /// mean of one measurement before and one after, since a chain grows slower as its state grows.
    pub(super) async fn overload(
        &mut self,
        factor: f64,
        options: &Options,
        json: bool,
    ) -> Result<(), BenchError> {
        let mut figures = [
            Figure::new("peak_tx_per_s", "1/s"),
            Figure::new("offered_tx_per_s", "1/s"),
            Figure::new("overload_tx_per_s", "1/s"),
            Figure::new("overload_to_peak", "ratio"),
            Figure::new("overload_p50_ms", "ms"),
            Figure::new("overload_p99_ms", "ms"),
            Figure::new("refused_share", "of offers"),
            Figure::new("peak_tx_per_cpu_s", "1/s"),
            Figure::new("overload_tx_per_cpu_s", "1/s"),
            Figure::new("peak_generator_cpu_share", "ratio"),
            Figure::new("overload_generator_cpu_share", "ratio"),
        ];
        for _ in 0..options.runs {
            self.stock().await?;
            let before = Slice::join(&self.full(options).await?);
            self.stock().await?;
            let pressed = self.press(before.per_second() * factor, options).await?;
            let Pressed { slice, offers, refusals } = pressed;
            self.stock().await?;
            let after = Slice::join(&self.full(options).await?);
            let at_peak = Slice::join(&[before, after]);
            let peak = at_peak.per_second();
            let values = [
                peak,
                offers as f64 / slice.seconds,
                slice.per_second(),
                slice.per_second() / peak,
                percentile(&slice.latencies_ms, 50.0),
                percentile(&slice.latencies_ms, 99.0),
                refusals as f64 / (offers as f64).max(1.0),
                at_peak.per_cpu_second(),
                slice.per_cpu_second(),
                at_peak.generator_share(),
                slice.generator_share(),
            ];
            for (figure, value) in figures.iter_mut().zip(values) {
                figure.push(value);
            }
        }
        report::print(&figures, &Series::default(), json);
        Ok(())
    }

    /// Offers so many transactions a second for the given time, after a warm-up, whether or not the network keeps up.
    async fn press(&mut self, offered_per_s: f64, options: &Options) -> Result<Pressed, BenchError> {
        let warm = Instant::now() + Duration::from_secs(options.seconds / 5 + 1);
        let end = warm + Duration::from_secs(options.seconds);
        let (flight, network) = (self.flight.clone(), &self.network);
        let counted = Mutex::new((0, 0));
        let between = Duration::from_secs_f64((options.batch * MEMBERS) as f64 / offered_per_s);
        let load = try_join_all(self.supplies.iter_mut().enumerate().map(|(member, (rpc, supply))| {
            press_one(member, rpc, supply, &flight, &counted, between, options.batch, end)
        }));
        let measure = async {
            tokio::time::sleep_until(warm.into()).await;
            flight.latencies_ms.lock().clear();
            *counted.lock() = (0, 0);
            let before = Costs::read(network);
            tokio::time::sleep_until(end.into()).await;
            let (offers, refusals) = *counted.lock();
            let latencies_ms = std::mem::take(&mut *flight.latencies_ms.lock());
            let after = Costs::read(network);
            let slice = after.since(&before, latencies_ms, Vec::new(), network.resident_bytes());
            Ok(Pressed { slice, offers, refusals })
        };
        let (_, pressed) = tokio::try_join!(load, measure)?;
        self.flight.rest().await;
        Ok(pressed)
    }
}

/// Offers one member's transactions in batches, one each `between`, until `end`; then those that were refused until all are
/// taken. `counted` holds offers and refusals.
#[expect(clippy::too_many_arguments, reason = "one member's part of a load, started in one place")]
async fn press_one(
    member: usize,
    rpc: &Rpc,
    supply: &mut Supply,
    flight: &Flight,
    counted: &Mutex<(usize, usize)>,
    between: Duration,
    size: usize,
    end: Instant,
) -> Result<(), BenchError> {
    let mut ticks = tokio::time::interval(between);
    let mut refused: VecDeque<Signed> = VecDeque::new();
    while Instant::now() < end || !refused.is_empty() {
        ticks.tick().await;
        let mut signed: Vec<Signed> = refused.drain(..refused.len().min(size)).collect();
        if Instant::now() < end {
            signed.extend(supply.take(size - signed.len()).await?);
        }
        flight.hand_over(member, &signed);
        let answers = rpc.submit(batch(signed.iter().map(|s| &*s.raw))).await?;
        let mut again: VecDeque<Signed> = VecDeque::new();
        let offers = signed.len();
        for (signed, answer) in signed.into_iter().zip(answers) {
            if answer.is_some() {
                flight.withdraw(&signed);
                again.push_back(signed);
            }
        }
        let mut counted = counted.lock();
        counted.0 += offers;
        counted.1 += again.len();
        drop(counted);
        again.append(&mut refused);
        refused = again;
    }
    Ok(())
}
