//! Upgrades of the system contracts, as far as they are this node's business: the suites it can run, that the others hear of them, and that it
//! stops before a block that it cannot execute.
//!
//! A suite comes with the program or as a file in the home folder's `suites`. A file needs no trust: the digest that the members voted on
//! names its content. Which suite comes when is decided on the chain.

use std::{collections::BTreeSet, path::Path, sync::Arc, time::Duration};

use alloy_sol_types::SolCall as _;
use hansa_adapters::LedgerChain;
use hansa_api::{KnownSuite, PendingUpgrade, SuiteStatus};
use hansa_contracts::{GOVERNANCE, abi};
use hansa_ledger::{FinalisedBlock, Ledger, LedgerError};
use hansa_ports::{Chain as _, ChainError};
use hansa_types::{DcId, Member, MemberStatus, Suite};
use tokio::sync::broadcast::{Receiver, error::RecvError};

use crate::{Home, NodeError, config::read_text};

/// The largest file that is read as a suite.
const FILE_BYTES_MAX: u64 = 16 << 20;
/// How long the node waits before it announces a suite again.
const PATIENCE: Duration = Duration::from_secs(5);

/// Reads a suite's file.
///
/// # Errors
/// When it cannot be read, or is no suite.
pub fn read_suite(path: &Path) -> Result<Suite, NodeError> {
    let bad = |problem: String| NodeError::Config { path: path.to_owned(), problem };
    let size =
        std::fs::metadata(path).map_err(|source| NodeError::Read { path: path.to_owned(), source })?.len();
    if size > FILE_BYTES_MAX {
        return Err(bad(format!("{size} bytes are more than a suite of system contracts has")));
    }
    let suite: Suite = serde_json::from_str(&read_text(path)?)
        .map_err(|e| bad(format!("not a suite of system contracts: {e}")))?;
    if suite.version == 0 || suite.code.is_empty() {
        return Err(bad("a suite has a version of at least 1 and at least one contract".into()));
    }
    Ok(suite)
}

/// The suites in the home folder.
pub(crate) fn known(home: &Home) -> Result<Vec<Suite>, NodeError> {
    let folder = home.suites();
    let failed = |source| NodeError::Read { path: folder.clone(), source };
    let entries = match std::fs::read_dir(&folder) {
        Err(source) if source.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(failed)?,
    };
    let mut suites = Vec::new();
    for entry in entries {
        let path = entry.map_err(failed)?.path();
        if path.extension().is_some_and(|extension| extension == "json") {
            suites.push(read_suite(&path)?);
        }
    }
    Ok(suites)
}

/// Ends when the next block begins a suite that this node cannot run.
pub(crate) async fn outdated(ledger: Ledger, mut blocks: Receiver<Arc<FinalisedBlock>>) -> NodeError {
    loop {
        if let Some(error) = next_is_unknown(&ledger) {
            return error;
        }
        if let Err(RecvError::Closed) = blocks.recv().await {
            return std::future::pending().await;
        }
    }
}

/// The error to stop with, if the block after the head begins a suite that this node cannot run.
pub(crate) fn next_is_unknown(ledger: &Ledger) -> Option<NodeError> {
    match ledger.check_next_suite() {
        Err(error @ LedgerError::SuiteMissing { .. }) => Some(NodeError::Outdated(error)),
        // A store at fault raises its own alarm.
        _ => None,
    }
}

/// Tells the chain which later suites this node can run, so that a ballot on them can be opened. Ends when all are announced.
pub(crate) async fn announce(ledger: Ledger, chain: Arc<LedgerChain>, account: alloy_primitives::Address) {
    loop {
        match announce_once(&ledger, &chain, account).await {
            Ok(true) => return,
            Ok(false) => {}
            Err(problem) => {
                tracing::debug!(%problem, "the suites that this node can run are not announced yet")
            }
        }
        tokio::time::sleep(PATIENCE).await;
    }
}

async fn announce_once(
    ledger: &Ledger,
    chain: &LedgerChain,
    account: alloy_primitives::Address,
) -> Result<bool, ChainError> {
    let members = ledger.members();
    let acts = |member: &&Member| member.card.account == account && member.status == MemberStatus::Active;
    let Some(me) = members.iter().find(acts).map(|member| member.dc_id) else {
        return Ok(ledger.known_suites().next().is_none());
    };
    let status = status(ledger, chain).await?;
    for suite in status.known.iter().filter(|suite| !suite.ready.contains(&me)) {
        let call = abi::Governance::announceSuiteCall { version: suite.version, digest: suite.digest };
        chain.submit(GOVERNANCE, call.abi_encode().into()).await?;
        tracing::info!(version = suite.version, digest = %suite.digest, "announced that this node can run a suite");
    }
    Ok(true)
}

/// The suite in force, the pending one, and those that this node can run.
pub(crate) async fn status(ledger: &Ledger, chain: &LedgerChain) -> Result<SuiteStatus, ChainError> {
    let state = ledger.suite().map_err(|error| ChainError::Unavailable(error.to_string()))?;
    let digests: BTreeSet<_> = ledger.known_suites().map(|suite| (suite.version, suite.digest())).collect();
    let mut known = Vec::new();
    for &(version, digest) in digests.iter().filter(|(version, _)| *version > state.version) {
        let call = abi::Governance::readyForCall { version, digest };
        let answer = chain.call(GOVERNANCE, call.abi_encode().into()).await?;
        let ready = abi::Governance::readyForCall::abi_decode_returns(&answer).map_err(|error| {
            ChainError::Unavailable(format!("a contract's answer cannot be read ({error})"))
        })?;
        let ready =
            (1..=255).filter(|bit| ready.bit(*bit)).filter_map(|bit| DcId::new(u32::try_from(bit).ok()?));
        known.push(KnownSuite { version, digest, ready: ready.collect() });
    }
    let pending = (state.pending != 0).then(|| PendingUpgrade {
        version: state.pending,
        digest: state.digest,
        height: state.height,
        known: digests.contains(&(state.pending, state.digest)),
    });
    Ok(SuiteStatus { version: state.version, pending, known })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn suites_are_read_from_the_home_and_bad_files_are_named() {
        let folder = tempfile::tempdir().unwrap();
        let home = Home::new(folder.path().join("acme"));
        assert!(known(&home).unwrap().is_empty(), "no folder, no suites");
        fs::create_dir_all(home.suites()).unwrap();
        let good =
            r#"{"version":2,"code":{"0x0000000000000000000000000000000000001001":"0x6000"},"calls":[]}"#;
        fs::write(home.suites().join("2.json"), good).unwrap();
        fs::write(home.suites().join("README"), "not read").unwrap();
        assert_eq!(known(&home).unwrap()[0].version, 2);
        for bad in
            ["", "{}", r#"{"version":0,"code":{},"calls":[]}"#, r#"{"version":2,"code":{},"calls":[]}"#]
        {
            fs::write(home.suites().join("bad.json"), bad).unwrap();
            let error = known(&home).unwrap_err().to_string();
            assert!(error.contains("bad.json"), "{error}");
        }
    }
}
