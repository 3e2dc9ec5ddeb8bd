//! The steps in which the members change the network itself: its contracts, and a member's keys.

use std::{
    fs,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use crate::{
    Outcome, contracts,
    network::{Caller, Member, Network, awake, caught_up, heights, log_file, same_block, shown, text},
};

use super::steps::{Story, vote};

/// Blocks from the opening of the ballot to the upgrade.
const NOTICE_BLOCKS: u64 = 100;
/// No block may be this late: all validators know the new suite.
const PAUSE_MAX: Duration = Duration::from_secs(2);
/// `begunAt()` of the sharing contract's next version, and where that suite's new contract is.
const BEGUN_AT: &str = "0x2c098a25";
const SHARING: &str = "0x0000000000000000000000000000000000001003";
const NOTICES: &str = "0x0000000000000000000000000000000000001021";

/// An upgrade by ballot under load; the fifth member's node, which has no seat, does not know the new suite (B12).
pub(crate) fn upgrade(story: &mut Story) -> Outcome<String> {
    let old = story.member(5)?;
    let others: Vec<Member> = story.network.members.iter().filter(|m| m.dc != old.dc).cloned().collect();
    let suite = contracts::next_suite_file();
    for member in &others {
        story.network.expect(&member.home, &["upgrade", "add", shown(&suite)])?;
        restart(&mut story.network, member)?;
    }
    let first = story.member(1)?;
    story.network.until("a quorum has announced the new version", |n| {
        let known = n.expect(&first.home, &["upgrade", "status"])?["known"][0].clone();
        let ready = known["ready"].as_array().map_or(0, Vec::len);
        Ok((known["version"] == 2 && ready >= others.len()).then_some(()))
    })?;
    println!("   {} nodes can run version 2 and have announced it; {} cannot", others.len(), old.name);
    let file = story.destination("load.txt");
    fs::write(&file, "written during the upgrade\n").map_err(|e| e.to_string())?;
    let load =
        Load { caller: story.network.caller(), home: first.home.clone(), file, stop: AtomicBool::new(false) };
    let (height, pause, written) = thread::scope(|scope| {
        let writers = [0; 2].map(|_| scope.spawn(|| load.run()));
        let done = decide_and_watch(story, &first);
        load.stop.store(true, Ordering::Relaxed);
        let mut written = 0;
        for writer in writers {
            written += writer.join().map_err(|_| "a writer failed")??;
        }
        done.map(|(height, pause)| (height, pause, written))
    })?;
    println!(
        "   version 2 since block {height}; the longest pause between blocks was {} ms; {written} puts, none failed",
        pause.as_millis()
    );
    if pause > PAUSE_MAX {
        return Err(format!("no block came for {} ms", pause.as_millis()));
    }
    outdated(story, &old, height)?;
    let members = story.network.members.clone();
    for member in &members {
        begun(&story.network, member, height)?;
    }
    let goal = heights(&story.network, std::slice::from_ref(&first))?.into_iter().max().unwrap_or_default();
    let (_, root) = same_block(&story.network, &members, goal)?;
    println!("   block {goal} has the state root {root} on all {} nodes", members.len());
    Ok(format!("block {height}, {written} puts meanwhile, longest pause {} ms", pause.as_millis()))
}

/// Stops a node and starts it again; returns when it answers.
fn restart(network: &mut Network, member: &Member) -> Outcome {
    network.stop_node(&member.home, "TERM")?;
    network.run_node(&member.home)?;
    awake(network, member)
}

/// Opens the ballot, carries it, and follows the chain beyond the upgrade's height. Returns the height and the longest pause.
fn decide_and_watch(story: &Story, first: &Member) -> Outcome<(u64, Duration)> {
    let network = &story.network;
    let head = heights(network, std::slice::from_ref(first))?.into_iter().max().unwrap_or_default();
    let height = head + NOTICE_BLOCKS;
    let opened = network.expect(&first.home, &["upgrade", "open", "2", "--height", &height.to_string()])?;
    for dc in 1..=3 {
        vote(network, &story.member(dc)?, &opened["id"])?;
    }
    let (mut seen, mut at, mut longest) = (0, Instant::now(), Duration::ZERO);
    network.until("the chain is beyond the upgrade", |n| {
        let now = heights(n, std::slice::from_ref(first))?.into_iter().max().unwrap_or_default();
        if now > seen {
            // Pauses count around the upgrade.
            if seen + 5 > height {
                longest = longest.max(at.elapsed());
            }
            (seen, at) = (now, Instant::now());
        }
        Ok((now >= height + 5).then_some(()))
    })?;
    Ok((height, longest))
}

/// Puts the same file again and again.
struct Load {
    caller: Caller,
    home: std::path::PathBuf,
    file: std::path::PathBuf,
    stop: AtomicBool,
}

impl Load {
    /// How many objects were put; the first failure ends it.
    fn run(&self) -> Outcome<u64> {
        let mut written = 0;
        while !self.stop.load(Ordering::Relaxed) {
            let call = self.caller.call(&self.home, &["put", "--replicas", "0", shown(&self.file)])?;
            if call.code != 0 {
                return Err(format!("a put during the upgrade failed: {}", call.error));
            }
            written += 1;
        }
        Ok(written)
    }
}

/// The node without the suite has stopped by itself and said why; with the suite it goes on.
fn outdated(story: &mut Story, member: &Member, height: u64) -> Outcome {
    let code = story.network.ended_node(&member.home)?;
    let log = fs::read_to_string(log_file(&member.home)).map_err(|e| e.to_string())?;
    let told = format!("block {height} begins version 2 of the system contracts");
    if code == 0 || !log.contains(&told) {
        return Err(format!("{} ended with {code} and did not say that {told}", member.name));
    }
    story.network.expect(&member.home, &["upgrade", "add", shown(&contracts::next_suite_file())])?;
    story.network.run_node(&member.home)?;
    awake(&story.network, member)?;
    println!("   {} stopped before block {height} with a message, and goes on with the suite", member.name);
    Ok(())
}

/// The new field and the new contract, through a member's own node.
fn begun(network: &Network, member: &Member, height: u64) -> Outcome {
    network.until("the node has the upgrade's block", |n| {
        let status = n.expect(&member.home, &["upgrade", "status"])?;
        Ok((status["version"] == 2).then_some(()))
    })?;
    let call = json!([{ "to": SHARING, "data": BEGUN_AT }, "latest"]);
    let field = network.rpc(member, "eth_call", &call)?;
    let code = network.rpc(member, "eth_getCode", &json!([NOTICES, "latest"]))?;
    let begun = field.as_str().and_then(|word| u64::from_str_radix(word.trim_start_matches("0x"), 16).ok());
    if begun != Some(height) || code.as_str().is_none_or(|code| code.len() < 10) {
        return Err(format!("{} has the field {field} and the code {code}", member.name));
    }
    Ok(())
}

/// The fifth member loses its home folder. Its recovery key and another member bring it back with all its objects (C7).
pub(crate) fn recover(story: &mut Story) -> Outcome<String> {
    let (first, fifth) = (story.member(1)?, story.member(5)?);
    let mut objects = Vec::new();
    for number in 1..=3 {
        let file = story.destination(&format!("precious-{number}.txt"));
        fs::write(&file, format!("the fifth member's own, number {number}\n")).map_err(|e| e.to_string())?;
        objects.push((text(&story.network.expect(&fifth.home, &["put", shown(&file)])?, "id"), file));
    }
    let made = story.network.expect(&fifth.home, &["keys", "recovery"])?;
    let (key, backup) = (text(&made, "recoveryKey"), text(&made, "backup"));
    story.network.stop_node(&fifth.home, "TERM")?;
    fs::remove_dir_all(&fifth.home).map_err(|e| e.to_string())?;
    println!(
        "   {}'s home folder is deleted; {} fetches its backup, object {backup}",
        fifth.name, first.name
    );
    let file = story.destination("backup");
    story.network.expect(&first.home, &["get", &backup, "-o", shown(&file)])?;
    let wrong = "0".repeat(72);
    let arguments = ["node", "recover", shown(&file), "--rest-port", "0", "--rpc-port", "0"];
    if story.network.caller().call_with(&fifth.home, &arguments, &wrong)?.code == 0 || fifth.home.exists() {
        return Err("a wrong recovery key made a home".into());
    }
    let recovered = story.network.caller().call_with(&fifth.home, &arguments, &key)?;
    if recovered.code != 0 {
        return Err(format!("`hansa node recover` ended with {}: {}", recovered.code, recovered.error));
    }
    story.network.expect(&fifth.home, &["upgrade", "add", shown(&contracts::next_suite_file())])?;
    story.network.run_node(&fifth.home)?;
    awake(&story.network, &fifth)?;
    for (object, original) in &objects {
        let to = story.destination("regained");
        story.network.until("the member opens its object again", |n| {
            let got = n.call(&fifth.home, &["get", object, "-o", shown(&to), "--force"])?;
            Ok((got.code == 0).then_some(()))
        })?;
        crate::files::same(original, &to)?;
    }
    let (object, file) = &objects[0];
    story.network.until("the member goes on writing", |n| {
        Ok((n.call(&fifth.home, &["update", object, shown(file), "--replicas", "0"])?.code == 0)
            .then_some(()))
    })?;
    println!("   {} reads its {} objects and goes on writing", fifth.name, objects.len());
    Ok(format!("{} objects back with their keys", objects.len()))
}

/// The second member's keys have leaked: a ballot gives it others while an object is shared with it (A3).
pub(crate) fn reset(story: &mut Story) -> Outcome<String> {
    let (first, second) = (story.member(1)?, story.member(2)?);
    let file = story.destination("secret.txt");
    fs::write(&file, "for the second member only\n").map_err(|e| e.to_string())?;
    let object = text(&story.network.expect(&first.home, &["put", shown(&file)])?, "id");
    let granted = story.network.expect(&first.home, &["share", &object, "--with", "2", "--deposit"])?;
    caught_up(&story.network, &second, &granted)?;
    story.network.expect(&second.home, &["keys", "renew"])?;
    let card = second.home.join("card-next.json");
    let opened = story.network.expect(&first.home, &["member", "reset", "2", shown(&card)])?;
    for dc in [1, 3, 4] {
        vote(&story.network, &story.member(dc)?, &opened["id"])?;
    }
    story.network.until("the old keys are cut off from both networks", |n| {
        let status = n.call(&second.home, &["status"])?.json;
        let peers = ["consensus", "swarm"].map(|network| status[network]["peers"].as_u64());
        Ok((peers == [Some(0); 2]).then_some(()))
    })?;
    let put = story.network.call(&second.home, &["put", "--replicas", "0", shown(&file)])?;
    if put.code == 0 {
        return Err("the old account recorded an object".into());
    }
    println!("   the old keys have no peers, and their put is refused");
    story.network.stop_node(&second.home, "TERM")?;
    story.network.expect(&second.home, &["keys", "adopt"])?;
    story.network.run_node(&second.home)?;
    awake(&story.network, &second)?;
    story.network.until("the owner's node has wrapped the key anew, unasked", |n| {
        let log = n.expect(&first.home, &["log", &object])?;
        let grants = log["events"].as_array().into_iter().flatten();
        let granted = grants.filter(|event| event["kind"] == "shared").count();
        Ok((granted >= 2).then_some(()))
    })?;
    let to = story.destination("secret-again.txt");
    story.network.until("the second member opens with its new keys", |n| {
        let got = n.call(&second.home, &["get", &object, "-o", shown(&to)])?;
        Ok((got.code == 0).then_some(()))
    })?;
    crate::files::same(&file, &to)?;
    let members: Value = story.network.expect(&first.home, &["member", "list"])?;
    let account = members["members"].as_array().and_then(|all| all.iter().find(|m| m["dcId"] == 2));
    println!(
        "   member 2 has the account {} and reads what is shared with it",
        text(account.unwrap_or(&Value::Null), "account")
    );
    Ok("old keys cut off, share readable with the new ones".into())
}
