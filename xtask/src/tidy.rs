//! Checks the house rules that no compiler knows: rows between crates, who may name which engine, file sizes,
//! headers.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use crate::{Outcome, shell};

/// Each crate's row: it may depend only on crates of a smaller one. Tests and tools stand above all.
const ROWS: &[(&str, u8)] = &[
    ("hansa-keccak", 0),
    ("hansa-types", 1),
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
    ("hansa-ledger", 5),
    ("hansa-consensus", 6),
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
    ("axum", "hansa-gateway"),
    ("jsonrpsee", "hansa-gateway"),
];

/// Production lines a source file may have, everything before its tests.
const LINES_MAX: usize = 600;

pub(crate) fn run() -> Outcome {
    let mut problems = dependencies()?;
    for folder in ["crates", "xtask"] {
        sources(&shell::root().join(folder), &mut problems)?;
    }
    for problem in &problems {
        println!("tidy: {problem}");
    }
    if problems.is_empty() { Ok(()) } else { Err(format!("{} house rules broken", problems.len())) }
}

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
            let owners = OWNERS.iter().filter(|(library, _)| used.starts_with(library));
            let owners: Vec<&str> = owners.map(|(_, owner)| *owner).collect();
            if !owners.is_empty() && !owners.contains(&name) && !for_tests {
                problems.push(format!("{name} names {used}, which belongs to {}", owners.join(" and ")));
            }
        }
    }
    Ok(problems)
}

fn sources(folder: &Path, problems: &mut Vec<String>) -> Outcome {
    for path in files(folder)? {
        let text = fs::read_to_string(&path).map_err(|e| format!("{}: {e}", path.display()))?;
        let shown = path.strip_prefix(shell::root()).unwrap_or(&path).display().to_string();
        let generated = text.starts_with("// @generated");
        if !text.starts_with("//!") && !generated {
            problems.push(format!("{shown} does not open with //! and what it is for"));
        }
        let is_test = shown.contains("/tests/") || shown.ends_with("tests.rs");
        let production = text.split("#[cfg(test)]").next().unwrap_or_default().lines().count();
        if production > LINES_MAX && !generated && !is_test {
            problems.push(format!("{shown} has {production} lines before its tests; at most {LINES_MAX}"));
        }
    }
    Ok(())
}

fn files(folder: &Path) -> Outcome<Vec<PathBuf>> {
    let mut found = Vec::new();
    let entries = fs::read_dir(folder).map_err(|e| format!("{}: {e}", folder.display()))?;
    for entry in entries.flatten() {
        let path = entry.path();
        if path.is_dir() {
            found.extend(files(&path)?);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}
