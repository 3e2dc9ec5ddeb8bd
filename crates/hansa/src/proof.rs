//! `hansa block proof` and `hansa block verify`: what an outsider needs of a block, and the check that an outsider makes.
//!
//! Both trust the genesis file and nothing else. A proof that does not hold is an error, and nothing of it is printed or written.

use std::path::{Path, PathBuf};

use alloy_primitives::{Address, B256};
use hansa_client::{Client, Destination};
use hansa_node::Home;
use hansa_proof::{BlockProof, ProvenBlock, Verifier};
use hansa_types::{Genesis, NetworkKey, printable, utc};
use serde::Serialize;

use crate::{cli::BlockNumber, output::Output, problem::CliError};

/// What a proof shows.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Shown {
    number: u64,
    hash: B256,
    state_root: B256,
    timestamp: u64,
    writer: Writer,
    certificate: Certified,
    /// Where the proof was written.
    #[serde(skip_serializing_if = "Option::is_none")]
    file: Option<PathBuf>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Writer {
    /// The name in the genesis file, where the writer's key is a founder's.
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    account: Address,
    network_key: NetworkKey,
    epoch: u64,
    view: u64,
    views_skipped: u64,
}

/// The round whose certificate makes the block final.
#[derive(Serialize)]
struct Certified {
    hash: B256,
    epoch: u64,
    view: u64,
}

/// Fetches the proof of a block, checks it against the home's genesis file, and writes it where asked.
pub(crate) async fn fetch(
    client: &Client,
    home: &Home,
    options: &BlockNumber,
    output: Output,
) -> Result<(), CliError> {
    let destination = options.output.as_deref().map(|file| Destination::of_file(file, options.force));
    let (destination, genesis) = (destination.transpose()?, read_genesis(&home.genesis_file())?);
    let proof = client.block_proof(options.number).await?;
    let block = check(&genesis, &proof, &format!("the node's proof of block {}", options.number))?;
    if block.header.number != options.number {
        let other = block.header.number;
        return Err(CliError::Abnormal(format!(
            "the node proved block {other} instead of {}",
            options.number
        )));
    }
    if let Some(destination) = destination {
        destination.write(format!("{}\n", serde_json::json!(proof)).as_bytes())?;
    }
    show(&genesis, &block, options.output.clone(), output);
    Ok(())
}

/// Checks a proof in a file. Needs no node.
pub(crate) fn verify(file: &Path, genesis: &Path, output: Output) -> Result<(), CliError> {
    let genesis = read_genesis(genesis)?;
    let text = hansa_node::read_text(file)?;
    let proof = serde_json::from_str(&text).map_err(|error| CliError::BadFile {
        path: file.to_owned(),
        expected: "a proof as `hansa block proof` writes it",
        problem: error.to_string(),
    })?;
    let block = check(&genesis, &proof, &format!("the proof in {}", file.display()))?;
    show(&genesis, &block, None, output);
    Ok(())
}

fn read_genesis(path: &Path) -> Result<Genesis, CliError> {
    Genesis::from_json(&hansa_node::read_text(path)?).map_err(|error| CliError::BadFile {
        path: path.to_owned(),
        expected: "a genesis file",
        problem: error.to_string(),
    })
}

fn check(genesis: &Genesis, proof: &BlockProof, which: &str) -> Result<ProvenBlock, CliError> {
    let checked = Verifier::new(genesis).and_then(|verifier| verifier.block(proof));
    checked.map_err(|error| CliError::Abnormal(format!("{which} does not hold: {error}")))
}

fn show(genesis: &Genesis, block: &ProvenBlock, file: Option<PathBuf>, output: Output) {
    let hansa_proof::Writer { network_key, account, epoch, view, views_skipped } = block.writer;
    let founder = genesis.founders.iter().find(|card| card.network_key == network_key);
    let name = founder.map(|card| card.name.clone());
    let shown = Shown {
        number: block.header.number,
        hash: block.hash,
        state_root: block.header.state_root,
        timestamp: block.header.timestamp,
        writer: Writer { name, account, network_key, epoch, view, views_skipped },
        certificate: Certified {
            hash: block.certificate.hash,
            epoch: block.certificate.epoch,
            view: block.certificate.view,
        },
        file,
    };
    output.result(&shown, text);
}

fn text(shown: &Shown) -> String {
    let Writer { name, account, network_key, epoch, view, views_skipped } = &shown.writer;
    let name = name.as_deref().map_or(String::new(), |name| format!("{}, ", printable(name)));
    let skipped = match views_skipped {
        0 => String::new(),
        1 => ", after a view without a block".to_owned(),
        many => format!(", after {many} views without a block"),
    };
    let Certified { hash, epoch: final_epoch, view: final_view } = &shown.certificate;
    let of = if *hash == shown.hash { String::new() } else { format!(", of its descendant {hash}") };
    let mut lines = vec![
        format!("block      {} {} is final", shown.number, shown.hash),
        format!("state      root {}, {}", shown.state_root, utc(shown.timestamp)),
        format!("writer     {name}account {account}, network key {network_key}"),
        format!("drawn for  epoch {epoch}, view {view}{skipped}"),
        format!("certified  in epoch {final_epoch}, view {final_view}{of}"),
    ];
    lines.extend(shown.file.as_ref().map(|file| format!("proof in   {}", file.display())));
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The vectors of `hansa-proof`.
    fn vector(name: &str) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../hansa-proof/vectors").join(name)
    }

    #[test]
    fn a_file_is_checked_against_a_genesis_file_alone() {
        let (genesis, folder) = (vector("genesis.json"), tempfile::tempdir().unwrap());
        let check = |file: &Path| verify(file, &genesis, Output::new(true));
        check(&vector("skipped.json")).unwrap();
        let text = std::fs::read_to_string(vector("skipped.json")).unwrap();
        let forged = folder.path().join("forged.json");
        std::fs::write(&forged, text.replace("\"parentView\": ", "\"parentView\": 1")).unwrap();
        let error = check(&forged).unwrap_err();
        assert!(error.to_string().contains("does not hold: the certificate's signature"), "{error}");
        assert_eq!(error.exit_code(), crate::problem::exit::ABNORMAL);
        std::fs::write(&forged, "{}").unwrap();
        assert!(matches!(check(&forged), Err(CliError::BadFile { .. })));
        assert!(matches!(verify(&forged, &forged, Output::new(true)), Err(CliError::BadFile { .. })));
    }
}
