//! Circles of files: a file that uses another which uses the first, directly or by way of others.
//!
//! A use is a path that begins with `crate` or `super` in production code. It counts for the file that holds what is named,
//! also where a module above re-exports it. What a module uses of its own children does not count: from outside they are one.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::{
    paths::{self, Path},
    source::{Source, words},
};

/// Crates by their folder, and their files that are in a circle. Entries go, none comes.
const KNOWN: &[(&str, &[&str])] = &[
    ("crates/hansa-bench", &["chain.rs", "network.rs", "wallet.rs"]),
    (
        "crates/hansa-consensus",
        &["block.rs", "ceremony.rs", "genesis.rs", "handle.rs", "peers.rs", "types.rs"],
    ),
    (
        "crates/hansa-content",
        &[
            "block.rs",
            "buffer.rs",
            "dag.rs",
            "error.rs",
            "hold.rs",
            "import.rs",
            "pins.rs",
            "quarantine.rs",
            "segments.rs",
            "store.rs",
            "visited.rs",
            "writer.rs",
        ],
    ),
    ("crates/hansa-envelope", &["keys.rs", "manifest.rs", "version_keys.rs"]),
    ("crates/hansa-evm", &["block_state.rs", "call.rs", "executor.rs", "overrides.rs"]),
    (
        "crates/hansa-ledger",
        &[
            "accounts.rs",
            "chain.rs",
            "execute.rs",
            "finalise.rs",
            "ledger.rs",
            "log_search.rs",
            "logs.rs",
            "members.rs",
            "propose.rs",
            "query.rs",
            "records.rs",
            "upgrade.rs",
        ],
    ),
    (
        "crates/hansa-sharing",
        &[
            "contracts.rs",
            "effect.rs",
            "history.rs",
            "releases.rs",
            "replicate/mod.rs",
            "responder.rs",
            "rewrap.rs",
            "scrub.rs",
            "sharing.rs",
        ],
    ),
    ("crates/hansa-swarm", &["actor.rs", "handle.rs"]),
    (
        "crates/hansa-trie",
        &[
            "account.rs",
            "arena.rs",
            "branch.rs",
            "cache.rs",
            "node.rs",
            "nodes.rs",
            "page.rs",
            "rlp.rs",
            "store.rs",
            "view.rs",
        ],
    ),
];

pub(crate) fn check(sources: &[Source]) -> Vec<String> {
    check_with(sources, KNOWN)
}

fn check_with(sources: &[Source], known: &[(&str, &[&str])]) -> Vec<String> {
    let mut problems = Vec::new();
    let mut left: BTreeSet<String> = known
        .iter()
        .flat_map(|(package, files)| files.iter().map(move |file| format!("{package}/src/{file}")))
        .collect();
    for files in by_crate(sources).values() {
        let uses = Modules::new(files).uses();
        for file in uses.keys() {
            let Some(circle) = circle(&uses, file) else { continue };
            if !left.remove(*file) {
                let shown: Vec<&str> =
                    circle.iter().map(|name| name.rsplit("/src/").next().unwrap_or(name)).collect();
                problems.push(format!("{file} is in a circle: {}", shown.join(" → ")));
            }
        }
    }
    problems.extend(
        left.iter().map(|file| format!("{file} is in no circle: take it off the list in tidy/circles.rs")),
    );
    problems
}

fn by_crate(sources: &[Source]) -> BTreeMap<&str, Vec<&Source>> {
    let mut crates: BTreeMap<&str, Vec<&Source>> = BTreeMap::new();
    for source in sources.iter().filter(|source| !source.is_test()) {
        if let Some((package, _)) = source.name.split_once("/src/") {
            crates.entry(package).or_default().push(source);
        }
    }
    crates
}

/// The modules of one crate, each by its path below the crate; the root's is empty.
struct Modules<'a>(BTreeMap<Path, Module<'a>>);

struct Module<'a> {
    name: &'a str,
    code: String,
    /// Names that the module re-exports, and where they come from.
    exports: BTreeMap<String, Path>,
}

impl<'a> Modules<'a> {
    fn new(files: &[&'a Source]) -> Self {
        let mut modules = BTreeMap::new();
        for file in files {
            let code = file.production();
            let module = Module { name: &file.name, exports: exports(&code), code };
            modules.insert(module_path(&file.name), module);
        }
        Self(modules)
    }

    /// For each file the others that it uses.
    fn uses(&self) -> BTreeMap<&'a str, BTreeSet<&'a str>> {
        self.0.iter().map(|(path, module)| (module.name, self.used_by(path, module))).collect()
    }

    fn used_by(&self, path: &Path, module: &Module<'a>) -> BTreeSet<&'a str> {
        let mut used = BTreeSet::new();
        for word in ["crate", "super"] {
            for place in words(&module.code, word) {
                for named in paths::expand(&module.code[place..]) {
                    let Some(target) = self.resolve(path, &named) else { continue };
                    let is_child = target.len() > path.len() && target.starts_with(path);
                    if target != *path && !is_child {
                        used.insert(self.0[&target].name);
                    }
                }
            }
        }
        used
    }

    /// The module that holds what a path names, seen from the module `from`.
    fn resolve(&self, from: &Path, named: &Path) -> Option<Path> {
        let mut base = match named.first()?.as_str() {
            "crate" => Path::new(),
            "super" => from.split_last()?.1.to_vec(),
            _ => return None,
        };
        let mut rest = &named[1..];
        if rest.is_empty() {
            return None;
        }
        while let Some((first, after)) = rest.split_first() {
            rest = after;
            if first == "super" {
                base = base.split_last()?.1.to_vec();
                continue;
            }
            let child = [base.as_slice(), std::slice::from_ref(first)].concat();
            if self.0.contains_key(&child) {
                base = child;
                continue;
            }
            return Some(self.origin(base, first));
        }
        Some(base)
    }

    /// Follows re-exports from a module to the one that holds a name.
    fn origin(&self, module: Path, name: &str) -> Path {
        let mut at = module;
        // No chain of re-exports is longer than the modules are many.
        for _ in 0..self.0.len() {
            let Some(export) = self.0.get(&at).and_then(|module| module.exports.get(name)) else { break };
            let first = export.first().map(String::as_str);
            let next = match first {
                Some("crate" | "super") => self.resolve(&at, export),
                Some("self") => self.below(&at, &export[1..]),
                _ => self.below(&at, export),
            };
            match next {
                Some(next) if next != at => at = next,
                _ => break,
            }
        }
        at
    }

    /// The module that `path` names below `base`: the longest part of it that is a module.
    fn below(&self, base: &Path, path: &[String]) -> Option<Path> {
        (1..=path.len())
            .rev()
            .map(|length| [base.as_slice(), &path[..length]].concat())
            .find(|module| self.0.contains_key(module))
    }
}

/// `crates/x/src/a/b.rs` is `a::b`; `lib.rs`, `main.rs` and `mod.rs` are what they are in.
fn module_path(file: &str) -> Path {
    let inside = file.split_once("/src/").map_or(file, |(_, inside)| inside).trim_end_matches(".rs");
    let mut path: Path = inside.split('/').map(str::to_owned).collect();
    if path.last().is_some_and(|last| last == "mod") || matches!(inside, "lib" | "main") {
        path.pop();
    }
    path
}

/// What `pub use` and `pub(crate) use` make available under another path.
fn exports(code: &str) -> BTreeMap<String, Path> {
    let mut found = BTreeMap::new();
    for place in words(code, "use") {
        let line = code[..place].rsplit('\n').next().unwrap_or_default().trim();
        if !line.starts_with("pub") {
            continue;
        }
        for path in paths::expand(&code[place + 3..]) {
            if let Some(name) = path.last() {
                found.insert(name.clone(), path.clone());
            }
        }
    }
    found
}

/// The shortest way from a file back to itself.
fn circle<'a>(uses: &BTreeMap<&'a str, BTreeSet<&'a str>>, file: &'a str) -> Option<Vec<&'a str>> {
    let mut waiting = VecDeque::from([vec![file]]);
    let mut seen = BTreeSet::new();
    while let Some(way) = waiting.pop_front() {
        for next in way.last().and_then(|last| uses.get(last)).into_iter().flatten() {
            let longer = [way.as_slice(), &[*next]].concat();
            if *next == file {
                return Some(longer);
            }
            if seen.insert(*next) {
                waiting.push_back(longer);
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::{Source, check_with};

    fn sources(files: &[(&str, &str)]) -> Vec<Source> {
        files.iter().map(|(name, text)| Source::new(format!("crates/x/src/{name}"), *text)).collect()
    }

    #[test]
    fn circles_are_found_also_through_exports_and_parents() {
        let check = |expected: usize, files: &[(&str, &str)]| {
            let problems = check_with(&sources(files), &[]);
            assert_eq!(problems.len(), expected, "{files:?}: {problems:?}");
        };
        check(2, &[("a.rs", "use crate::b::B;"), ("b.rs", "fn b() -> crate::a::A {}")]);
        check(3, &[("a.rs", "use crate::b::B;"), ("b.rs", "use crate::c::C;"), ("c.rs", "use super::a::A;")]);
        check(
            2,
            &[("lib.rs", "pub use b::B;"), ("a.rs", "use crate::{B};"), ("b.rs", "use crate::a::{self, A};")],
        );
        check(
            0,
            &[
                ("a.rs", "use crate::b::B;"),
                ("b.rs", "// crate::a\n#[cfg(test)]\nmod tests { use crate::a::A; }"),
            ],
        );
        check(0, &[("a/mod.rs", "use crate::a::b::B;"), ("a/b.rs", "use super::A;")]);
    }

    #[test]
    fn a_file_on_the_list_that_is_in_no_circle_is_a_finding() {
        let circle = sources(&[("a.rs", "use crate::b::B;"), ("b.rs", "use crate::a::A;")]);
        assert_eq!(check_with(&circle, &[("crates/x", &["a.rs", "b.rs"])]).len(), 0);
        assert_eq!(check_with(&circle, &[("crates/x", &["a.rs", "b.rs", "c.rs"])]).len(), 1);
    }
}
