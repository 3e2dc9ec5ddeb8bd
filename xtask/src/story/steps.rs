//! The steps. Each returns the line of the closing table, or what was not as it should be.

use std::{
    fs,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    time::Instant,
};

use serde_json::Value;

use crate::{
    Outcome, files,
    network::{Call, Member, Network, awake, caught_up, heights, same_block, shown, text},
};

/// Exit codes of the command line that the story relies on.
const REFUSED: i32 = 3;
const NOT_FOUND: i32 = 4;
const ABNORMAL: i32 = 6;

/// What the steps hand on to one another.
pub(crate) struct Story {
    pub(crate) network: Network,
    paths: Vec<PathBuf>,
    received: PathBuf,
    objects: Vec<Object>,
}

#[derive(Clone)]
struct Object {
    path: PathBuf,
    id: String,
    bytes: u64,
    replicas: Vec<u64>,
}

impl Story {
    pub(crate) fn new(network: Network, paths: Vec<PathBuf>, received: PathBuf) -> Self {
        Self { network, paths, received, objects: Vec::new() }
    }

    pub(crate) fn member(&self, dc: u64) -> Outcome<Member> {
        self.network.member(dc)
    }

    fn largest(&self) -> Outcome<Object> {
        self.objects.iter().max_by_key(|o| o.bytes).cloned().ok_or("nothing was protected".into())
    }

    pub(crate) fn destination(&self, name: &str) -> PathBuf {
        self.received.join(name)
    }
}

pub(crate) fn agree(story: &mut Story) -> Outcome<String> {
    let network = &story.network;
    let height = network.until("all four nodes are at height 3", |n| {
        let heights: Vec<u64> = heights(n, &n.members)?;
        Ok(heights.iter().min().copied().filter(|h| *h >= 3))
    })?;
    let (hash, root) = same_block(network, &network.members, height)?;
    for member in &network.members {
        let status = network.expect(&member.home, &["status"])?;
        println!(
            "   {:<12} dcId {}  height {:<5} block to final p50 {:>6.1} ms",
            member.name,
            member.dc,
            status["head"]["number"],
            status["consensus"]["finalityMs"].as_f64().unwrap_or_default()
        );
    }
    println!("   block {height} is {hash} everywhere, state root {root}");
    Ok(format!("height {height}"))
}

pub(crate) fn admit(story: &mut Story) -> Outcome<String> {
    let home = story.network.dir.join("members/fifth");
    new_home(&story.network, &home, "fifth")?;
    let members = story.network.members.clone();
    let [first, second, third, ..] = members.as_slice() else { return Err("four members are needed".into()) };
    let card = home.join("card.json");
    let opened = story.network.expect(&second.home, &["member", "join", shown(&card)])?;
    let ballot = &opened["id"];
    for (votes, voter) in [first, second, third].into_iter().enumerate() {
        vote(&story.network, voter, ballot)?;
        story.network.until("the vote is final on the first member's node", |n| {
            Ok((votes_in_favour(n, first, ballot)? == votes as u64 + 1).then_some(()))
        })?;
        let count = member_count(&story.network, &first.home)?;
        println!("   ballot {ballot}: {} votes in favour, {count} members", votes + 1);
        let expected = if votes < 2 { 4 } else { 5 };
        if count != expected {
            return Err(format!("after {} votes there are {count} members, not {expected}", votes + 1));
        }
    }
    let invitation = home.join("invitation.json");
    story.network.expect(&first.home, &["member", "invitation", "5", "-o", shown(&invitation)])?;
    story.network.expect(&home, &["node", "join", shown(&invitation)])?;
    story.network.run_node(&home)?;
    let fifth = Member::own("fifth", 5, &home);
    let goal = heights(&story.network, &members)?.into_iter().max().unwrap_or_default();
    let height = story.network.until("the fifth node has caught up and joined the swarm", |n| {
        let status = n.call(&home, &["status"])?.json;
        let peers = status["swarm"]["peers"].as_u64().unwrap_or_default();
        Ok(status["head"]["number"].as_u64().filter(|height| *height >= goal && peers >= 4))
    })?;
    same_block(&story.network, &[first.clone(), fifth.clone()], height)?;
    println!("   the fifth node backfilled {height} blocks and is in the swarm");
    story.network.members.push(fifth);
    turn_away(story, &home)
}

/// An unregistered node with everything but a registration: the genesis file and the right swarm key.
fn turn_away(story: &mut Story, of_member: &Path) -> Outcome<String> {
    let home = story.network.dir.join("members/outsider");
    new_home(&story.network, &home, "outsider")?;
    for file in ["genesis.json", "swarm.key"] {
        fs::copy(of_member.join(file), home.join(file)).map_err(|e| format!("{file}: {e}"))?;
    }
    story.network.run_node(&home)?;
    let first = story.member(1)?;
    story.network.until("the swarm has turned the outsider away", |n| {
        let refused = n.expect(&first.home, &["status"])?["swarm"]["refused"].as_u64();
        Ok(refused.filter(|count| *count > 0))
    })?;
    let status = story.network.until("the outsider's node answers", |n| {
        let call = n.call(&home, &["status"])?;
        Ok((call.code == 0).then_some(call.json))
    })?;
    story.network.stop_node(&home, "TERM")?;
    let (consensus, swarm) = (&status["consensus"]["peers"], &status["swarm"]["peers"]);
    if status["head"]["number"] != 0 || consensus != 0 || swarm != 0 {
        return Err(format!("the outsider got in: {status}"));
    }
    println!("   the outsider has {consensus} consensus peers, {swarm} swarm peers, height 0");
    Ok("admitted by the third vote; outsider turned away from both networks".into())
}

pub(crate) fn protect(story: &mut Story) -> Outcome<String> {
    let first = story.member(1)?;
    println!("   {:<22} {:>7} {:>12} {:>7} {:>8}  {:<16} tx", "file", "object", "bytes", "s", "MB/s", "CID");
    let mut total = 0;
    for path in story.paths.clone() {
        let report = story.network.expect(&first.home, &["put", shown(&path)])?;
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let bytes = report["size"].as_u64().unwrap_or_default();
        println!(
            "   {:<22} {:>7} {:>12} {:>7.2} {:>8.1}  {:.16} {:.18} in block {}",
            name,
            text(&report, "id"),
            bytes,
            report["seconds"].as_f64().unwrap_or_default(),
            report["mbPerS"].as_f64().unwrap_or_default(),
            text(&report, "cid"),
            text(&report, "transaction"),
            report["block"]
        );
        let replicas: Vec<u64> =
            report["replicas"].as_array().into_iter().flatten().filter_map(Value::as_u64).collect();
        if replicas.iter().filter(|dc| **dc != 1).count() < 2 {
            return Err(format!("{name} is kept by {replicas:?}, not by two other members"));
        }
        total += bytes;
        story.objects.push(Object { path, id: text(&report, "id"), bytes, replicas });
    }
    Ok(format!("{} objects, {total} bytes, each on two other members", story.objects.len()))
}

pub(crate) fn share(story: &mut Story) -> Outcome<String> {
    let (first, second) = (story.member(1)?, story.member(2)?);
    let mut total = 0;
    for object in story.objects.clone() {
        let granted = story.network.expect(&first.home, &["share", &object.id, "--with", "2"])?;
        caught_up(&story.network, &second, &granted)?;
        let to = story.destination(&object.id.replace('/', "-"));
        let report = story.network.expect(&second.home, &["get", &object.id, "-o", shown(&to)])?;
        total += files::same(&object.path, &to)?;
        println!("   {:>7} opened by {}: {} bytes equal", object.id, second.name, report["bytes"]);
    }
    // Without the owner: the key was deposited with the grant, the ciphertext comes from the replicas.
    let away = story.member(4)?;
    let object = story
        .objects
        .iter()
        .filter(|o| !o.replicas.contains(&away.dc))
        .max_by_key(|o| o.bytes)
        .or(story.objects.first())
        .cloned()
        .ok_or("nothing was protected")?;
    let granted = story.network.expect(&first.home, &["share", &object.id, "--with", "4", "--deposit"])?;
    caught_up(&story.network, &away, &granted)?;
    story.network.stop_node(&first.home, "TERM")?;
    let to = story.destination("owner-away");
    let got = story.network.expect(&away.home, &["get", &object.id, "-o", shown(&to)]);
    story.network.run_node(&first.home)?;
    got?;
    files::same(&object.path, &to)?;
    let log = story.network.expect(&away.home, &["log", &object.id])?;
    let mut events = log["events"].as_array().into_iter().flatten();
    if !events.any(|event| event["kind"] == "opened" && event["dcId"] == away.dc) {
        return Err(format!("the key of {} was released without an opening on the chain", object.id));
    }
    println!(
        "   {:>7} opened by {} with the owner's node stopped: a quorum of validators released the key for the recorded opening",
        object.id, away.name
    );
    awake(&story.network, &first)?;
    Ok(format!("{total} bytes equal; also with the owner's node stopped"))
}

pub(crate) fn refuse(story: &mut Story) -> Outcome<String> {
    let third = story.member(3)?;
    let object = story.largest()?;
    let to = story.destination("refused");
    for (arguments, by) in [(vec!["get"], "the chain"), (vec!["get", "--ask-owner"], "the owner's node")] {
        let mut call = arguments.clone();
        call.extend([object.id.as_str(), "-o", shown(&to)]);
        let ended = story.network.call(&third.home, &call)?;
        refused(&ended, &to)?;
        println!("   by {by}: {}", ended.error.lines().next().unwrap_or_default());
    }
    let first = story.member(1)?;
    let refusals = story.network.until("both refusals are on the chain", |n| {
        let log = n.expect(&first.home, &["log", &object.id])?;
        let count = log["events"]
            .as_array()
            .into_iter()
            .flatten()
            .filter(|event| event["kind"] == "refused" && event["dcId"] == 3)
            .count();
        Ok((count >= 2).then_some(count))
    })?;
    Ok(format!("{refusals} refusals of {} recorded", third.name))
}

pub(crate) fn revoke(story: &mut Story) -> Outcome<String> {
    let (first, second) = (story.member(1)?, story.member(2)?);
    let object = story.objects.first().cloned().ok_or("nothing was protected")?;
    let changed = story.destination("changed");
    files::amended(&object.path, &changed)?;
    let updated = story.network.expect(&first.home, &["update", &object.id, shown(&changed)])?;
    caught_up(&story.network, &second, &updated)?;
    for (version, original) in [("1", &object.path), ("2", &changed)] {
        let to = story.destination(&format!("version-{version}"));
        story.network.expect(&second.home, &["get", &object.id, "--version", version, "-o", shown(&to)])?;
        files::same(original, &to)?;
        println!("   version {version} opened by {}: equal", second.name);
    }
    story.network.expect(&first.home, &["revoke", &object.id, "--from", "2"])?;
    let updated = story.network.expect(&first.home, &["update", &object.id, shown(&object.path)])?;
    caught_up(&story.network, &second, &updated)?;
    let to = story.destination("version-3");
    let ended = story.network.call(&second.home, &["get", &object.id, "--version", "3", "-o", shown(&to)])?;
    refused(&ended, &to)?;
    println!("   version 3, after the revocation: {}", ended.error.lines().next().unwrap_or_default());
    let again = story.destination("version-1-again");
    story.network.expect(&second.home, &["get", &object.id, "--version", "1", "-o", shown(&again)])?;
    files::same(&object.path, &again)?;
    println!("   version 1, opened before the revocation: still equal");
    Ok("versions 1 and 2 readable, version 3 closed to the second".into())
}

pub(crate) fn repair(story: &mut Story) -> Outcome<String> {
    let object = story.largest()?;
    let first = story.member(1)?;
    let holder = object.replicas.iter().copied().find(|dc| *dc != 1).ok_or("no replica")?;
    let holder = story.member(holder)?;
    let blocks = story.network.expect(&holder.home, &["block", "ls", &object.id])?;
    let largest = blocks["blocks"]
        .as_array()
        .into_iter()
        .flatten()
        .filter(|block| block["file"].is_object())
        .max_by_key(|block| block["bytes"].as_u64())
        .ok_or("the object has no block of 64 KiB or more")?;
    let (path, cid) = (text(&largest["file"], "path"), text(largest, "cid"));
    let number = |value: &Value| value.as_u64().ok_or_else(|| format!("block ls said {largest}"));
    let (offset, length) = (number(&largest["file"]["offset"])?, number(&largest["bytes"])?);
    flip(Path::new(&path), offset + length / 2).map_err(|e| format!("{path}: {e}"))?;
    println!("   one byte flipped in {cid} on {}", holder.name);
    let ended = story.network.call(&first.home, &["verify", &object.id])?;
    let fault = &ended.json["faults"][0];
    println!("   {}", ended.error.lines().next().unwrap_or_default());
    if ended.code != ABNORMAL
        || fault["cid"] != cid.as_str()
        || fault["dcId"] != holder.dc
        || fault["layer"] != "ipfs"
    {
        return Err(format!("verify ended with {} and said {}", ended.code, ended.json));
    }
    story.network.expect(&holder.home, &["repair", &object.id])?;
    story.network.expect(&first.home, &["verify", &object.id])?;
    println!("   repaired from another member, and verified clean");
    Ok(format!("named layer ipfs, node {}, block {cid:.16}…; repaired", holder.name))
}

/// Flips a bit of one byte of a file.
fn flip(path: &Path, offset: u64) -> std::io::Result<()> {
    let file = fs::File::options().read(true).write(true).open(path)?;
    let mut byte = [0];
    file.read_exact_at(&mut byte, offset)?;
    file.write_all_at(&byte.map(|byte| byte ^ 1), offset)
}

pub(crate) fn survive(story: &mut Story) -> Outcome<String> {
    let (first, second, victim) = (story.member(1)?, story.member(2)?, story.member(4)?);
    let small = story.destination("note.txt");
    fs::write(&small, "written while a validator dies\n").map_err(|e| e.to_string())?;
    let start = Instant::now();
    let mut writers = Vec::new();
    for round in 0..6 {
        if round == 1 {
            story.network.stop_node(&victim.home, "KILL")?;
            println!("   {} killed during writes", victim.name);
        }
        for member in [&first, &second] {
            writers.push(story.network.spawn(&member.home, &["put", "--replicas", "0", shown(&small)])?);
        }
    }
    let mut written = Vec::new();
    for writer in writers {
        let ended = Call::of(&writer.wait_with_output().map_err(|e| e.to_string())?);
        if ended.code != 0 {
            return Err(format!("a write failed: {}", ended.error));
        }
        written.push(text(&ended.json, "id"));
    }
    println!("   {} of 12 writes final after {:.1} s", written.len(), start.elapsed().as_secs_f64());
    story.network.run_node(&victim.home)?;
    awake(&story.network, &victim)?;
    let goal = heights(&story.network, std::slice::from_ref(&first))?.into_iter().max().unwrap_or_default();
    story.network.until("the killed validator has caught up", |n| {
        let status = n.call(&victim.home, &["status"])?.json;
        Ok(status["head"]["number"].as_u64().filter(|height| *height >= goal))
    })?;
    let members = story.network.members.clone();
    let (hash, root) = same_block(&story.network, &members, goal)?;
    for object in &written {
        let log = story.network.expect(&victim.home, &["log", object])?;
        if log["events"].as_array().is_none_or(Vec::is_empty) {
            return Err(format!("{object} is lost on {}", victim.name));
        }
    }
    println!("   block {goal} is {hash} on all {} nodes, state root {root}", members.len());
    let (proven, skipped) = prove(story, &victim, &first, goal)?;
    println!(
        "   {proven} blocks up to it proven to an outsider with their writers, {skipped} skipped views among them"
    );
    Ok(format!("12 of 12 writes final; {} back with equal head and state root", victim.name))
}

/// Has a node prove the last blocks up to `goal`, and checks each proof as an outsider does, with another member's genesis file. How many
/// blocks there were, and how many views were skipped before them.
fn prove(story: &Story, prover: &Member, other: &Member, goal: u64) -> Outcome<(u64, u64)> {
    let (file, genesis) = (story.destination("block.proof.json"), other.home.join("genesis.json"));
    let (mut proven, mut skipped) = (0, 0);
    for number in goal.saturating_sub(19).max(1)..=goal {
        let number = number.to_string();
        let fetch = ["block", "proof", &number, "-o", shown(&file), "--force"];
        // The certificate of the newest block may arrive a moment after the block.
        let own = story.network.until("the node has a certificate", |n| {
            let call = n.call(&prover.home, &fetch)?;
            match call.code {
                0 => Ok(Some(call.json)),
                NOT_FOUND => Ok(None),
                code => Err(format!("the proof of block {number} ended with {code}: {}", call.error)),
            }
        })?;
        let check = ["block", "verify", shown(&file), "--genesis", shown(&genesis)];
        let outside = story.network.expect(&story.destination("nobody"), &check)?;
        if (&own["hash"], &own["writer"]) != (&outside["hash"], &outside["writer"]) {
            return Err(format!("the node says {own}, an outsider sees {outside}"));
        }
        proven += 1;
        skipped += outside["writer"]["viewsSkipped"].as_u64().ok_or("the proof names no writer")?;
    }
    let proof = fs::read_to_string(&file).map_err(|e| e.to_string())?;
    // Another digit in its place, so that the proof is read and found to be wrong.
    let digit = proof.find("0x").map_or(0, |at| at + 2);
    let other_digit = if proof[digit..].starts_with('0') { "1" } else { "0" };
    let damaged = [&proof[..digit], other_digit, &proof[digit + 1..]].concat();
    fs::write(&file, damaged).map_err(|e| e.to_string())?;
    let call = story.network.call(
        &story.destination("nobody"),
        &["block", "verify", shown(&file), "--genesis", shown(&genesis)],
    )?;
    if call.code != ABNORMAL {
        return Err(format!("a damaged proof ended with {}: {}", call.code, call.error));
    }
    Ok((proven, skipped))
}

/// The fifth member, a participant, is removed; how a founder's removal would go is only looked at.
pub(crate) fn remove(story: &mut Story) -> Outcome<String> {
    let (first, fifth) = (story.member(1)?, story.member(5)?);
    let founder = story.network.expect(&first.home, &["member", "remove", "4", "--dry-run"])?;
    let validators = |preview: &Value, when: &str| preview[when]["names"].as_array().map(Vec::len);
    if (validators(&founder, "before"), validators(&founder, "after")) != (Some(4), Some(3)) {
        return Err(format!("the removal of a founder was foreseen as {founder}"));
    }
    let opened = story.network.expect(&first.home, &["member", "remove", "5"])?;
    let ballot = &opened["id"];
    for dc in 1..=3 {
        vote(&story.network, &story.member(dc)?, ballot)?;
    }
    story.network.until("the removed member is cut off from both networks", |n| {
        let status = n.call(&fifth.home, &["status"])?.json;
        let peers = ["consensus", "swarm"].map(|network| status[network]["peers"].as_u64());
        Ok((peers == [Some(0); 2]).then_some(()))
    })?;
    let file = story.destination("late.txt");
    fs::write(&file, "too late\n").map_err(|e| e.to_string())?;
    let put = story.network.call(&fifth.home, &["put", "--replicas", "0", shown(&file)])?;
    if put.code == 0 {
        return Err("a removed member recorded an object".into());
    }
    story.network.expect(&first.home, &["put", shown(&file)])?;
    Ok(format!("ballot {ballot}; {} is cut off, its put refused; the others go on", fifth.name))
}

/// Has a member vote in favour, once its node knows the ballot.
pub(crate) fn vote(network: &Network, voter: &Member, ballot: &Value) -> Outcome {
    network.until("the voter's node has the ballot's block", |n| {
        let known = n.expect(&voter.home, &["member", "ballots"])?;
        let is_known = known["ballots"].as_array().is_some_and(|b| b.iter().any(|b| b["id"] == *ballot));
        Ok(is_known.then_some(()))
    })?;
    network.expect(&voter.home, &["member", "vote", &ballot.to_string(), "yes"]).map(|_| ())
}

fn votes_in_favour(network: &Network, at: &Member, ballot: &Value) -> Outcome<u64> {
    let known = network.expect(&at.home, &["member", "ballots"])?;
    let found = known["ballots"].as_array().and_then(|all| all.iter().find(|b| b["id"] == *ballot));
    found
        .and_then(|found| found["tally"]["inFavour"].as_u64())
        .ok_or(format!("{} has no ballot {ballot}", at.name))
}

fn refused(ended: &Call, to: &Path) -> Outcome {
    if ended.code != REFUSED {
        return Err(format!("the command ended with {}, not with a refusal: {}", ended.code, ended.error));
    }
    if to.exists() {
        return Err(format!("{} exists although the object was refused", to.display()));
    }
    Ok(())
}

fn new_home(network: &Network, home: &Path, name: &str) -> Outcome {
    network.expect(home, &["keys", "new", "--name", name, "--rest-port", "0", "--rpc-port", "0"]).map(|_| ())
}

fn member_count(network: &Network, home: &Path) -> Outcome<usize> {
    let list = network.expect(home, &["member", "list"])?;
    list["members"].as_array().map(Vec::len).ok_or("member list printed no members".into())
}
