//! A disk that fills up: what is refused, what stops the node (invariant 12), and that nothing acknowledged is lost (E5, H6).

use std::{
    fs,
    io::Write as _,
    path::{Path, PathBuf},
    process::Command,
};

use super::{Stage, step};
use crate::{
    Outcome, files,
    network::{Call, Member, Network, awake, caught_up, heights, log_file, shown, text},
    shell,
    story::Step,
};

/// The member whose disk it is.
const VICTIM: u64 = 4;
/// Another one, which goes on.
const OTHER: u64 = 1;
const MIB: u64 = 1 << 20;
/// The volume's size. A node leaves an eighth of so small a disk to the chain.
const VOLUME: u64 = 768 * MIB;
/// What the member can put until its puts are refused, about.
const LEFT: u64 = VOLUME / 8 + 40 * MIB;
/// The length of each object.
const OBJECT: usize = 12 << 20;
/// More puts than there is room for.
const PUTS_MAX: usize = 20;
/// The error code of a full disk.
const DISK_FULL: &str = "E5002";

pub(super) fn play(stage: &mut Stage) -> Vec<Step> {
    vec![
        step("the disk is full, and has room again", || full(stage)),
        step("a write fails in the objects' store alone", || failed_write(stage)),
    ]
}

/// A folder that was moved to a small volume.
struct Volume {
    folder: PathBuf,
    aside: PathBuf,
}

impl Volume {
    /// Moves a folder to a new volume of so many bytes.
    fn mount(folder: &Path, bytes: u64) -> Outcome<Self> {
        let volume = Self { folder: folder.into(), aside: folder.with_extension("aside") };
        fs::rename(folder, &volume.aside).map_err(|e| format!("{}: {e}", folder.display()))?;
        fs::create_dir(folder).map_err(|e| format!("{}: {e}", folder.display()))?;
        let options = format!("size={bytes},mode=0700");
        shell::run(Command::new("mount").args(["-t", "tmpfs", "-o", &options, "none"]).arg(folder))?;
        copy(&volume.aside, folder)?;
        remove(&volume.aside)?;
        Ok(volume)
    }

    /// Moves it back to where it was.
    fn unmount(self) -> Outcome {
        fs::create_dir(&self.aside).map_err(|e| format!("{}: {e}", self.aside.display()))?;
        copy(&self.folder, &self.aside)?;
        shell::run(Command::new("umount").arg(&self.folder))?;
        remove(&self.folder)?;
        fs::rename(&self.aside, &self.folder).map_err(|e| format!("{}: {e}", self.aside.display()))
    }
}

fn copy(from: &Path, to: &Path) -> Outcome {
    shell::run(Command::new("cp").arg("-a").arg(from.join(".")).arg(to))
}

fn remove(folder: &Path) -> Outcome {
    fs::remove_dir_all(folder).map_err(|e| format!("{}: {e}", folder.display()))
}

fn full(stage: &mut Stage) -> Outcome<String> {
    let (victim, other) = (stage.network.member(VICTIM)?, stage.network.member(OTHER)?);
    stage.network.stop_node(&victim.home, "TERM")?;
    let volume = Volume::mount(&victim.home, VOLUME)?;
    stage.network.run_node(&victim.home)?;
    awake(&stage.network, &victim)?;

    let filler = victim.home.join("filler");
    fill(&filler, free(&stage.network, &victim)?.saturating_sub(LEFT))?;
    let mut kept = Vec::new();
    let refused = loop {
        let path = stage.file(&format!("full-{}", kept.len()));
        files::generate(&path, OBJECT + kept.len())?;
        let call = stage.network.call(&victim.home, &["put", shown(&path)])?;
        if call.code != 0 {
            break call;
        }
        kept.push((text(&call.json, "id"), path));
        if kept.len() > PUTS_MAX {
            return Err("the disk does not fill up".into());
        }
    };
    tells_disk(&refused)?;
    println!("   after {} puts: {}", kept.len(), refused.error);
    if kept.is_empty() {
        return Err("not one put was taken".into());
    }
    let on_chain = owned(&stage.network, &victim)?;
    if on_chain.len() != kept.len() {
        return Err(format!(
            "{} puts were acknowledged, {} objects are on the chain",
            kept.len(),
            on_chain.len()
        ));
    }

    // The rest of the disk goes to somebody else: the next write fails.
    let rest = victim.home.join("rest");
    fill(&rest, VOLUME)?;
    let data = victim.home.join("data");
    stopped(stage, &victim, &["the disk is full", shown(&data)])?;
    goes_on(stage, &other, "while-full")?;
    stage.network.run_node(&victim.home)?;
    stopped(stage, &victim, &["the disk is full", shown(&data)])?;

    for file in [&filler, &rest] {
        fs::remove_file(file).map_err(|e| format!("{}: {e}", file.display()))?;
    }
    stage.network.run_node(&victim.home)?;
    whole_again(stage, &victim, &kept)?;
    stage.network.stop_node(&victim.home, "TERM")?;
    volume.unmount()?;
    stage.network.run_node(&victim.home)?;
    awake(&stage.network, &victim)?;
    Ok(format!("{} puts kept, the next refused; stopped with the cause, whole again with room", kept.len()))
}

/// The blocks' files are on a volume of their own, so that nothing else fails.
fn failed_write(stage: &mut Stage) -> Outcome<String> {
    let (victim, other) = (stage.network.member(VICTIM)?, stage.network.member(OTHER)?);
    let before = stage.file("before");
    files::generate(&before, OBJECT)?;
    let kept = stage.network.expect(&victim.home, &["put", shown(&before)])?;
    stage.network.stop_node(&victim.home, "TERM")?;
    let segments = victim.home.join("data/blocks/segments");
    let volume = Volume::mount(&segments, files::size(&segments)? + 4 * MIB)?;
    stage.network.run_node(&victim.home)?;
    awake(&stage.network, &victim)?;
    let path = stage.file("too-large");
    files::generate(&path, 2 * OBJECT)?;
    let refused = stage.network.call(&victim.home, &["put", shown(&path)])?;
    tells_disk(&refused)?;
    println!("   {}", refused.error);
    stopped(stage, &victim, &["No space left", shown(&segments)])?;
    goes_on(stage, &other, "while-stopped")?;
    volume.unmount()?;
    stage.network.run_node(&victim.home)?;
    whole_again(stage, &victim, &[(text(&kept, "id"), before)])?;
    Ok("the node stopped with the cause, and is whole after its start".into())
}

/// Writes a file of so many bytes, or as many as there is room for.
fn fill(path: &Path, bytes: u64) -> Outcome {
    let mut file = fs::File::create(path).map_err(|e| format!("{}: {e}", path.display()))?;
    let mut left = bytes;
    // The last pages too.
    for piece in [vec![1; 1 << 20], vec![1; 4096]] {
        while left > 0 && file.write_all(&piece).is_ok() {
            left = left.saturating_sub(piece.len() as u64);
        }
    }
    Ok(())
}

fn free(network: &Network, member: &Member) -> Outcome<u64> {
    let status = network.expect(&member.home, &["status"])?;
    status["health"]["checks"]["disk"]["freeBytes"].as_u64().ok_or(format!("no free bytes in {status}"))
}

/// The objects of a member that its own node finds on the chain.
fn owned(network: &Network, member: &Member) -> Outcome<Vec<String>> {
    let list = network.expect(&member.home, &["ls"])?;
    let ids = list["objects"].as_array().into_iter().flatten().map(|object| text(object, "id"));
    Ok(ids.filter(|id| id.starts_with(&format!("{}/", member.dc))).collect())
}

/// The client was told that the disk is full, and what to do.
fn tells_disk(call: &Call) -> Outcome {
    let hint = text(&call.problem, "hint");
    if call.code != 1 || call.problem["code"] != DISK_FULL || !hint.contains("Free space") {
        return Err(format!("a put to a full disk ended with {} and {}", call.code, call.problem));
    }
    Ok(())
}

/// The node ends by itself, and says why.
fn stopped(stage: &mut Stage, member: &Member, why: &[&str]) -> Outcome {
    let code = stage.network.ended_node(&member.home)?;
    let log = log_file(&member.home);
    let said = fs::read_to_string(&log).map_err(|e| format!("{}: {e}", log.display()))?;
    // With the lines that name its causes.
    let last = said.rfind("\nerror: ").and_then(|at| said.get(at..)).unwrap_or_default().trim();
    println!("   the node: {last}");
    if code != 1 || !why.iter().all(|word| last.contains(word)) {
        return Err(format!("the node ended with {code} and said: {last}"));
    }
    Ok(())
}

/// The other members take puts meanwhile.
fn goes_on(stage: &Stage, member: &Member, name: &str) -> Outcome {
    let path = stage.file(name);
    files::generate(&path, 1000)?;
    stage.network.expect(&member.home, &["put", shown(&path)]).map(drop)
}

/// The member's node has caught up, has everything that was acknowledged, and takes puts.
fn whole_again(stage: &Stage, member: &Member, kept: &[(String, PathBuf)]) -> Outcome {
    let network = &stage.network;
    awake(network, member)?;
    let others: Vec<Member> = network.members.iter().filter(|other| other.dc != member.dc).cloned().collect();
    let goal = heights(network, &others)?.into_iter().max().unwrap_or_default();
    caught_up(network, member, &serde_json::json!({ "block": goal }))?;
    let reader = network.member(2)?;
    for (id, path) in kept {
        let to = stage.file("back");
        network.expect(&member.home, &["get", id, "--force", "-o", shown(&to)])?;
        files::same(path, &to)?;
        let shared = network.expect(&member.home, &["share", id, "--with", "2"])?;
        caught_up(network, &reader, &shared)?;
        network.expect(&reader.home, &["get", id, "--force", "-o", shown(&to)])?;
        files::same(path, &to)?;
    }
    network.until("the member's replicas are whole", |n| {
        Ok((n.call(&member.home, &["verify"])?.code == 0).then_some(()))
    })?;
    goes_on(stage, member, "with-room")
}
