//! Says why a command waits: while it runs, the node's health is asked for.

use std::{future::Future, pin::pin, time::Duration};

use hansa_api::{Health, Standing};
use hansa_client::Client;

use crate::output::Output;

/// How often the node is asked. Commands that do not wait end before the first time.
const INTERVAL: Duration = Duration::from_secs(3);
/// The same complaint is repeated after this many times.
const REPEAT: usize = 10;

/// Runs a command to its end; says meanwhile what keeps the node from doing its work.
pub(crate) async fn attended<T>(client: &Client, output: Output, work: impl Future<Output = T>) -> T {
    let ask = || async {
        tokio::time::sleep(INTERVAL).await;
        client.health().await.ok()
    };
    attend(ask, |text| output.note(text), work).await
}

async fn attend<T, A>(ask: impl Fn() -> A, say: impl Fn(&str), work: impl Future<Output = T>) -> T
where
    A: Future<Output = Option<Health>>,
{
    let mut work = pin!(work);
    let (mut said, mut since) = (Vec::new(), 0_usize);
    loop {
        let health = tokio::select! {
            biased;
            outcome = &mut work => return outcome,
            health = ask() => health,
        };
        // A node that does not answer is the command's own affair.
        let Some(health) = health else { continue };
        let (text, causes) = complaints(&health);
        since = since.saturating_add(1);
        if !causes.is_empty() && (causes != said || since >= REPEAT) {
            say(&text);
            since = 0;
        }
        said = causes;
    }
}

/// What keeps the node from its work: a sentence, and what tells it from another.
fn complaints(health: &Health) -> (String, Vec<String>) {
    let failed: Vec<_> =
        health.complaints().into_iter().filter(|complaint| complaint.status == Standing::Failed).collect();
    let reasons: Vec<&str> = failed.iter().map(|complaint| complaint.reason).collect();
    let causes = failed.iter().map(|complaint| format!("{} {}", complaint.check, complaint.next)).collect();
    (format!("waiting: {}", reasons.join("; ")), causes)
}

#[cfg(test)]
mod tests {
    use std::cell::{Cell, RefCell};

    use hansa_api::{Check, Checks, ConsensusFigures};

    use super::*;

    #[tokio::test]
    async fn a_cause_is_told_when_it_begins_and_when_it_changes() {
        let health = |seconds: u32| {
            let missing = if seconds < 6 { "riga" } else { "riga, visby" };
            let standing = if (2..9).contains(&seconds) { Standing::Failed } else { Standing::Warning };
            let reason = format!("the chain stands still for {seconds} s; missing: {missing}");
            let consensus =
                Check::not_ok(standing, reason, format!("start {missing}"), ConsensusFigures::default());
            Health::of("1", Checks { consensus, ..Checks::default() })
        };
        let (asked, said) = (Cell::new(0_u32), RefCell::new(Vec::new()));
        let ask = || {
            asked.set(asked.get() + 1);
            let answer = (asked.get() != 4).then(|| health(asked.get()));
            std::future::ready(answer)
        };
        let done = std::future::poll_fn(|context| {
            context.waker().wake_by_ref();
            if asked.get() < 12 { std::task::Poll::Pending } else { std::task::Poll::Ready(7) }
        });
        let outcome = attend(ask, |text| said.borrow_mut().push(text.to_owned()), done).await;
        assert_eq!(outcome, 7);
        assert_eq!(
            said.into_inner(),
            [
                "waiting: the chain stands still for 2 s; missing: riga",
                "waiting: the chain stands still for 6 s; missing: riga, visby",
            ]
        );
    }
}
