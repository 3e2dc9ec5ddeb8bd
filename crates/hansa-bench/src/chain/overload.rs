//! `bench chain --overload`: more than the network can take, in an open loop beside the closed-loop peak.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use futures::future::try_join_all;
use parking_lot::Mutex;

use super::{Bench, Flight, MEMBERS, Options, Slice};
use crate::{
    BenchError,
    report::{self, Figure, Series, percentile},
    rpc::{Rpc, batch},
    wallet::{Signed, Supply},
};

/// Measurements of an open loop.
struct Pressed {
    seconds: f64,
    latencies_ms: Vec<f64>,
    offers: usize,
    refusals: usize,
}

impl Bench {
    /// The closed-loop peak, then an open loop that offers `factor` times as much. Refused transactions are offered again.
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
        ];
        for _ in 0..options.runs {
            self.stock().await?;
            let peak = Slice::join(&self.full(options).await?).per_second();
            self.stock().await?;
            let offered = peak * factor;
            let pressed = self.press(offered, options).await?;
            let per_second = pressed.latencies_ms.len() as f64 / pressed.seconds;
            let values = [
                peak,
                pressed.offers as f64 / pressed.seconds,
                per_second,
                per_second / peak,
                percentile(&pressed.latencies_ms, 50.0),
                percentile(&pressed.latencies_ms, 99.0),
                pressed.refusals as f64 / (pressed.offers as f64).max(1.0),
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
        let flight = self.flight.clone();
        let counted = Mutex::new((0, 0));
        let between = Duration::from_secs_f64((options.batch * MEMBERS) as f64 / offered_per_s);
        let load = try_join_all(self.supplies.iter_mut().enumerate().map(|(member, (rpc, supply))| {
            press_one(member, rpc, supply, &flight, &counted, between, options.batch, end)
        }));
        let measure = async {
            tokio::time::sleep_until(warm.into()).await;
            flight.latencies_ms.lock().clear();
            *counted.lock() = (0, 0);
            tokio::time::sleep_until(end.into()).await;
            let (offers, refusals) = *counted.lock();
            let latencies_ms = std::mem::take(&mut *flight.latencies_ms.lock());
            Ok(Pressed { seconds: (end - warm).as_secs_f64(), latencies_ms, offers, refusals })
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
