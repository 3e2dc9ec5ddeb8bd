//! Checks the house rules that no compiler knows. This file holds the rows between crates and the one crate that may name each
//! big library; every other rule has a file below `tidy/`, and a test with a sample that breaks it.
//!
//! The rules read text, not syntax trees: they hold what can be told from a file without a compiler. A list of exceptions in a
//! rule may only shrink: an entry that is not needed is itself a finding.

mod circles;
mod fallbacks;
mod files;
mod functions;
mod paths;
mod requirements;
mod sentences;
mod source;

use std::collections::BTreeMap;

use crate::{Outcome, shell};

/// Each crate's row: it may depend only on crates of a smaller one. Tests and tools stand above all.
const ROWS: &[(&str, u8)] = &[
    ("hansa-keccak", 0),
    ("hansa-types", 1),
    ("hansa-api", 2),
    ("hansa-contracts", 2),
    ("hansa-kv", 2),
    ("hansa-ecdsa", 2),
    ("hansa-proof", 3),
    ("hansa-envelope", 3),
    ("hansa-content", 3),
    ("hansa-trie", 3),
    ("hansa-swarm", 4),
    ("hansa-evm", 4),
    ("hansa-pool", 4),
    ("hansa-ports", 4),
    ("hansa-ledger", 5),
    ("hansa-adapters", 6),
    ("hansa-consensus", 6),
    ("hansa-feed", 6),
    ("hansa-index", 7),
    ("hansa-sharing", 7),
    ("hansa-client", 7),
    ("hansa-gateway", 8),
    ("hansa-node", 9),
    ("hansa", 10),
    ("hansa-bench", 10),
    ("xtask", 10),
];

/// Big libraries and the crate that knows each; an entry matches by prefix. Arkworks has an owner for each curve.
const OWNERS: &[(&str, &str)] = &[
    ("commonware-", "hansa-consensus"),
    ("revm", "hansa-evm"),
    ("alloy-evm", "hansa-evm"),
    ("ark-", "hansa-ecdsa"),
    ("ark-", "hansa-proof"),
    ("libp2p", "hansa-swarm"),
    ("fjall", "hansa-kv"),
    ("sqlx", "hansa-index"),
    ("axum", "hansa-gateway"),
    ("jsonrpsee", "hansa-gateway"),
];

/// Crates that reach the rest of the node through ports alone. Their tests may name more.
const PORTS_ONLY: &[&str] = &["hansa-feed", "hansa-index", "hansa-sharing"];

/// Crates behind the ports. Libraries behind them have owners already.
const BEHIND_PORTS: &[&str] =
    &["hansa-swarm", "hansa-pool", "hansa-ledger", "hansa-adapters", "hansa-consensus"];

/// Reads the repository and reports every broken rule.
pub(crate) fn run() -> Outcome {
    let root = shell::root();
    let sources = source::read_all(&root, &["crates", "xtask"])?;
    let mut problems = dependencies()?;
    problems.extend(files::check(&sources));
    problems.extend(functions::check(&sources));
    problems.extend(fallbacks::check(&sources));
    problems.extend(circles::check(&sources));
    problems.extend(sentences::check(&sources));
    problems.extend(requirements::check(&root, &sources)?);
    for problem in &problems {
        println!("tidy: {problem}");
    }
    if problems.is_empty() { Ok(()) } else { Err(format!("{} house rules broken", problems.len())) }
}

/// Compares the manifests with the two tables.
fn dependencies() -> Outcome<Vec<String>> {
    let text =
        shell::capture(shell::cargo().args(["metadata", "--format-version", "1", "--no-deps", "--locked"]))?;
    let metadata: serde_json::Value = serde_json::from_str(&text).map_err(|e| e.to_string())?;
    let rows: BTreeMap<&str, u8> = ROWS.iter().copied().collect();
    let mut problems = Vec::new();
    for package in metadata["packages"].as_array().into_iter().flatten() {
        let name = package["name"].as_str().unwrap_or_default();
        let Some(row) = rows.get(name) else {
            problems.push(format!("{name} has no row: add it to xtask/src/tidy.rs and ARCHITECTURE.md"));
            continue;
        };
        for dependency in package["dependencies"].as_array().into_iter().flatten() {
            let used = dependency["name"].as_str().unwrap_or_default();
            let for_tests = dependency["kind"].as_str() == Some("dev");
            if rows.get(used).is_some_and(|other| other >= row) && !for_tests {
                problems.push(format!("{name} (row {row}) uses {used}, which is not above it"));
            }
            if PORTS_ONLY.contains(&name) && BEHIND_PORTS.contains(&used) && !for_tests {
                problems.push(format!("{name} uses {used}, which it may reach only through hansa-ports"));
            }
            let owners = OWNERS.iter().filter(|(library, _)| used.starts_with(library));
            let owners: Vec<&str> = owners.map(|(_, owner)| *owner).collect();
            if !owners.is_empty() && !owners.contains(&name) && !for_tests {
                problems.push(format!("{name} names {used}, which belongs to {}", owners.join(" and ")));
            }
        }
    }
    Ok(problems)
}
