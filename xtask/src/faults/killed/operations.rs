//! What each operation needs, and what must be true after its node was killed in the midst of it.
//!
//! Everything is told by its content, not by when it appears: a transaction that was sent before the kill may be final after it.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use serde_json::Value;

use super::{Command, Operation};
use crate::{
    Outcome,
    faults::Stage,
    files,
    network::{Call, Member, caught_up, shown, text},
};

/// Exit codes of the command line.
const REFUSED: i32 = 3;
const NOT_FOUND: i32 = 4;
const FEW_REPLICAS: i32 = 7;
/// The owner of all objects, a member they are shared with, and one that loses its grant.
const OWNER: u64 = 1;
const READER: u64 = 2;
const REVOKED: u64 = 3;
/// Each file has a length of its own, by which it is known.
const BYTES: usize = 2 << 20;

/// Files that were given to put or update.
#[derive(Default)]
struct Given(Vec<PathBuf>);

impl Given {
    /// Makes another one.
    fn next(&mut self, stage: &Stage, name: &str) -> Outcome<PathBuf> {
        let path = stage.file(&format!("{name}-{}", self.0.len()));
        files::generate(&path, BYTES + self.0.len())?;
        self.0.push(path.clone());
        Ok(path)
    }

    /// Which of them this file is.
    fn which(&self, path: &Path) -> Outcome<PathBuf> {
        let bytes = files::size(path)?;
        let place = usize::try_from(bytes).ok().and_then(|bytes| bytes.checked_sub(BYTES));
        let given =
            place.and_then(|place| self.0.get(place)).ok_or(format!("{bytes} bytes that nobody put"))?;
        files::same(given, path)?;
        Ok(given.clone())
    }
}

/// Whether the client was told that it is done.
fn is_receipt(ended: &Call) -> bool {
    ended.code == 0 || ended.code == FEW_REPLICAS
}

fn command(client: &Member, arguments: &[&str]) -> Command {
    Command { client: client.clone(), arguments: arguments.iter().map(|word| (*word).to_owned()).collect() }
}

/// A member reads a version, the newest where none is named, and gets this file.
fn read(stage: &Stage, member: &Member, id: &str, version: Option<&str>) -> Outcome<PathBuf> {
    let to = stage.file("read");
    let mut arguments = vec!["get", id, "--force", "-o", shown(&to)];
    arguments.extend(version.iter().flat_map(|version| ["--version", *version]));
    let network = &stage.network;
    // A node that has just been started may have no connections yet; whatever it says, nothing is left behind then.
    let mut last = String::new();
    network
        .until("the object can be read", |n| {
            let _ = fs::remove_file(&to);
            let call = n.call(&member.home, &arguments)?;
            if call.code == REFUSED || call.code == NOT_FOUND || call.code != 0 && to.exists() {
                return Err(format!("{} reads {id}: {} ({})", member.name, call.error, call.code));
            }
            last = call.error;
            Ok((call.code == 0).then_some(()))
        })
        .map_err(|e| format!("{e}; {} reads {id}: {last}", member.name))?;
    Ok(to)
}

/// The objects of the owner on the chain.
fn objects(stage: &Stage) -> Outcome<BTreeMap<String, Value>> {
    let list = stage.network.expect(&stage.network.member(OWNER)?.home, &["ls"])?;
    let all = list["objects"].as_array().into_iter().flatten();
    Ok(all
        .map(|object| (text(object, "id"), object.clone()))
        .filter(|(id, _)| id.starts_with("1/"))
        .collect())
}

/// Waits until the member has all that the owner's node has.
fn follow(stage: &Stage, member: &Member) -> Outcome {
    let owner = stage.network.member(OWNER)?;
    let height = &stage.network.expect(&owner.home, &["status"])?["head"]["number"];
    caught_up(&stage.network, member, &serde_json::json!({ "block": height }))
}

/// Shares an object, and waits until the member knows.
fn share(stage: &Stage, id: &str, with: &Member) -> Outcome {
    let owner = stage.network.member(OWNER)?;
    let shared = stage.network.expect(&owner.home, &["share", id, "--with", &with.dc.to_string()])?;
    caught_up(&stage.network, with, &shared)
}

fn put(stage: &Stage, path: &Path) -> Outcome<Value> {
    let owner = stage.network.member(OWNER)?;
    stage.network.expect(&owner.home, &["put", shown(path)])
}

#[derive(Default)]
pub(super) struct Put {
    given: Given,
    /// What each object that was found is.
    found: BTreeMap<String, Option<PathBuf>>,
}

impl Operation for Put {
    fn title(&self) -> &'static str {
        "put, its node killed"
    }

    fn prepare(&mut self, stage: &Stage, victim: &Member) -> Outcome<Command> {
        if self.given.0.is_empty() {
            self.found = objects(stage)?.into_keys().map(|id| (id, None)).collect();
        }
        Ok(command(victim, &["put", shown(&self.given.next(stage, "put")?)]))
    }

    fn judge(&mut self, stage: &Stage, victim: &Member, ended: &Call) -> Outcome {
        let reader = stage.network.member(READER)?;
        for id in objects(stage)?.into_keys() {
            if self.found.contains_key(&id) {
                continue;
            }
            let path = self.given.which(&read(stage, victim, &id, None)?)?;
            share(stage, &id, &reader)?;
            files::same(&path, &read(stage, &reader, &id, None)?)?;
            if self.found.values().any(|earlier| earlier.as_ref() == Some(&path)) {
                return Err(format!("{} was put twice, the second time as {id}", path.display()));
            }
            self.found.insert(id, Some(path));
        }
        let told = text(&ended.json, "id");
        if is_receipt(ended) && self.found.get(&told).cloned().flatten().as_ref() != self.given.0.last() {
            return Err(format!("the receipt names {told}, which is not what was put"));
        }
        Ok(())
    }
}

#[derive(Default)]
pub(super) struct Update {
    given: Given,
    id: String,
}

impl Operation for Update {
    fn title(&self) -> &'static str {
        "update, its node killed"
    }

    fn prepare(&mut self, stage: &Stage, victim: &Member) -> Outcome<Command> {
        if self.id.is_empty() {
            self.id = text(&put(stage, &self.given.next(stage, "update")?)?, "id");
            share(stage, &self.id, &stage.network.member(READER)?)?;
        }
        Ok(command(victim, &["update", &self.id, shown(&self.given.next(stage, "update")?)]))
    }

    fn judge(&mut self, stage: &Stage, victim: &Member, ended: &Call) -> Outcome {
        let newest = objects(stage)?[&self.id]["version"].to_string();
        let path = self.given.which(&read(stage, victim, &self.id, Some(&newest))?)?;
        if is_receipt(ended) {
            let told = ended.json["version"].to_string();
            let of_told = read(stage, victim, &self.id, Some(&told))?;
            files::same(self.given.0.last().ok_or("nothing was given")?, &of_told)?;
        }
        let reader = stage.network.member(READER)?;
        follow(stage, &reader)?;
        files::same(&path, &read(stage, &reader, &self.id, Some(&newest))?).map(drop)
    }
}

#[derive(Default)]
pub(super) struct Revoke {
    given: Given,
    id: String,
}

impl Revoke {
    fn arguments(&self) -> [&str; 4] {
        ["revoke", &self.id, "--from", "3"]
    }
}

impl Operation for Revoke {
    fn title(&self) -> &'static str {
        "revoke, its node killed"
    }

    fn prepare(&mut self, stage: &Stage, victim: &Member) -> Outcome<Command> {
        if self.id.is_empty() {
            self.id = text(&put(stage, &self.given.next(stage, "revoke")?)?, "id");
            share(stage, &self.id, &stage.network.member(READER)?)?;
        }
        share(stage, &self.id, &stage.network.member(REVOKED)?)?;
        Ok(command(victim, &self.arguments()))
    }

    fn judge(&mut self, stage: &Stage, victim: &Member, ended: &Call) -> Outcome {
        let (revoked, reader) = (stage.network.member(REVOKED)?, stage.network.member(READER)?);
        let shared = objects(stage)?[&self.id]["sharedWith"].clone();
        let is_shared = shared.as_array().into_iter().flatten().any(|dc| *dc == REVOKED);
        if ended.code == 0 && is_shared {
            return Err(format!("revoked by the receipt, and shared with {shared}"));
        }
        let again = stage.network.call(&victim.home, &self.arguments())?;
        if again.code != 0 && again.code != NOT_FOUND {
            return Err(format!("the second try ended with {}: {}", again.code, again.error));
        }
        follow(stage, &revoked)?;
        let to = stage.file("revoked");
        let refused = stage.network.call(&revoked.home, &["get", &self.id, "-o", shown(&to)])?;
        if refused.code != REFUSED || to.exists() {
            return Err(format!(
                "the revoked member's reading ended with {}: {}",
                refused.code, refused.error
            ));
        }
        self.given.which(&read(stage, &reader, &self.id, None)?).map(drop)
    }
}

/// Objects by the member that keeps no replica of them, whose reading so fetches them.
#[derive(Default)]
struct Strangers {
    spare: BTreeMap<u64, Vec<(String, PathBuf)>>,
    count: usize,
}

impl Strangers {
    /// An object that this member can read and does not keep; every other one is a folder.
    fn next(&mut self, stage: &Stage, name: &str, member: &Member) -> Outcome<(String, PathBuf)> {
        let object = loop {
            if let Some(object) = self.spare.get_mut(&member.dc).and_then(Vec::pop) {
                break object;
            }
            let path = stage.file(&format!("{name}-{}", self.count));
            if self.count.is_multiple_of(2) {
                files::generate(&path, 2 * BYTES + self.count)?;
            } else {
                fs::create_dir(&path).map_err(|e| format!("{}: {e}", path.display()))?;
                for part in 1..=3 {
                    files::generate(&path.join(format!("part-{part}")), part * BYTES / 3)?;
                }
            }
            self.count += 1;
            let receipt = put(stage, &path)?;
            for dc in 2..=4_u64 {
                if receipt["replicas"].as_array().is_some_and(|kept| kept.iter().all(|by| *by != dc)) {
                    self.spare.entry(dc).or_default().push((text(&receipt, "id"), path.clone()));
                }
            }
        };
        share(stage, &object.0, member)?;
        Ok(object)
    }
}

#[derive(Default)]
pub(super) struct Get {
    strangers: Strangers,
    id: String,
    path: PathBuf,
    /// A folder with nothing else in it.
    folder: PathBuf,
    rounds: usize,
}

impl Operation for Get {
    fn title(&self) -> &'static str {
        "get, its node killed"
    }

    fn prepare(&mut self, stage: &Stage, victim: &Member) -> Outcome<Command> {
        (self.id, self.path) = self.strangers.next(stage, "get", victim)?;
        self.rounds += 1;
        self.folder = stage.file(&format!("got-{}", self.rounds));
        fs::create_dir(&self.folder).map_err(|e| format!("{}: {e}", self.folder.display()))?;
        Ok(command(victim, &["get", &self.id, "-o", shown(&self.folder.join("object"))]))
    }

    fn judge(&mut self, stage: &Stage, victim: &Member, ended: &Call) -> Outcome {
        let to = self.folder.join("object");
        if ended.code == 0 || to.exists() {
            files::same(&self.path, &to)?;
        } else {
            stage.network.until("the object can be read", |n| {
                let call = n.call(&victim.home, &["get", &self.id, "-o", shown(&to)])?;
                if call.code != 0 && to.exists() {
                    return Err(format!("a get that ended with {} left something", call.code));
                }
                Ok((call.code == 0).then_some(()))
            })?;
            files::same(&self.path, &to)?;
        }
        let listed = fs::read_dir(&self.folder).map_err(|e| format!("{}: {e}", self.folder.display()))?;
        let names: Vec<_> = listed.flatten().map(|entry| entry.file_name()).collect();
        if names != ["object"] {
            return Err(format!("beside what was read there is more: {names:?}"));
        }
        Ok(())
    }
}

#[derive(Default)]
pub(super) struct Collection {
    strangers: Strangers,
    /// What each member has read and does not keep.
    read: BTreeMap<u64, (String, PathBuf)>,
}

impl Operation for Collection {
    fn title(&self) -> &'static str {
        "collection, its node killed"
    }

    fn prepare(&mut self, stage: &Stage, victim: &Member) -> Outcome<Command> {
        if !self.read.contains_key(&victim.dc) {
            let object = self.strangers.next(stage, "garbage", victim)?;
            self.read.insert(victim.dc, object);
        }
        self.reads(stage, victim)?;
        Ok(command(victim, &["block", "gc"]))
    }

    fn judge(&mut self, stage: &Stage, victim: &Member, _: &Call) -> Outcome {
        stage.network.expect(&victim.home, &["block", "gc"])?;
        self.reads(stage, victim)?;
        verified(stage, victim)
    }
}

impl Collection {
    /// Fetches what this member has read before, if it was collected.
    fn reads(&self, stage: &Stage, member: &Member) -> Outcome {
        let (id, path) = self.read.get(&member.dc).ok_or("nothing was read")?;
        let to = stage.file("fetched");
        let _ = fs::remove_file(&to);
        let _ = fs::remove_dir_all(&to);
        stage.network.until("the object can be fetched again", |n| {
            Ok((n.call(&member.home, &["get", id, "-o", shown(&to)])?.code == 0).then_some(()))
        })?;
        files::same(path, &to).map(drop)
    }
}

/// The member's node finds all that it keeps whole, here and there.
pub(super) fn verified(stage: &Stage, member: &Member) -> Outcome {
    let mut last = String::new();
    let verify = |n: &crate::network::Network| {
        let call = n.call(&member.home, &["verify"])?;
        last = call.error;
        Ok((call.code == 0).then_some(()))
    };
    let outcome = stage.network.until("everything verifies", verify);
    outcome.map_err(|e| format!("{e} on {}: {last}", member.name))
}

#[derive(Default)]
pub(super) struct Replication {
    given: Given,
}

impl Operation for Replication {
    fn title(&self) -> &'static str {
        "replication, a keeper killed"
    }

    fn prepare(&mut self, stage: &Stage, _: &Member) -> Outcome<Command> {
        let path = self.given.next(stage, "replica")?;
        Ok(command(&stage.network.member(OWNER)?, &["put", "--replicas", "3", shown(&path)]))
    }

    fn judge(&mut self, stage: &Stage, victim: &Member, ended: &Call) -> Outcome {
        if !is_receipt(ended) {
            return Err(format!(
                "the owner's node runs, and its put ended with {}: {}",
                ended.code, ended.error
            ));
        }
        let (id, owner) = (text(&ended.json, "id"), stage.network.member(OWNER)?);
        let kept: Vec<u64> =
            ended.json["replicas"].as_array().into_iter().flatten().filter_map(Value::as_u64).collect();
        caught_up(&stage.network, victim, &ended.json)?;
        if kept.contains(&victim.dc) {
            let [whole, there] = [&owner, victim].map(|member| blocks(stage, member, &id));
            if whole? != there? {
                return Err(format!("the receipt says that {} keeps {id}; it does not", victim.name));
            }
        }
        stage.network.until("two other members keep it, and those of the receipt", |n| {
            let call = n.call(&owner.home, &["verify", &id])?;
            let nodes: Vec<u64> =
                call.json["nodes"].as_array().into_iter().flatten().filter_map(Value::as_u64).collect();
            let reached = nodes.len() >= 3 && kept.iter().all(|dc| nodes.contains(dc));
            Ok((call.code == 0 && reached).then_some(()))
        })?;
        share(stage, &id, victim)?;
        self.given.which(&read(stage, victim, &id, None)?).map(drop)
    }
}

/// The blocks of an object on a member's node.
fn blocks(stage: &Stage, member: &Member, id: &str) -> Outcome<Vec<String>> {
    let listed = stage.network.expect(&member.home, &["block", "ls", id])?;
    let mut cids: Vec<_> =
        listed["blocks"].as_array().into_iter().flatten().map(|block| text(block, "cid")).collect();
    cids.sort();
    Ok(cids)
}
