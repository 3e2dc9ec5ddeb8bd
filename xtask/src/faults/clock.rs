//! A clock that is set off and back: the others go on, the member's own status names the clock, and with the clock right its node
//! takes part again (B10, H6).

use std::{
    fs,
    io::Write as _,
    path::{Path, PathBuf},
    time::{SystemTime, UNIX_EPOCH},
};

use super::{Stage, step};
use crate::{
    Outcome,
    network::{Member, Network, awake, heights, same_block},
    shell,
    story::Step,
};

/// The member whose clock it is.
const VICTIM: u64 = 4;
const HOUR: i64 = 3600;
/// Blocks that the others make meanwhile.
const BLOCKS: u64 = 3;
/// Seconds that a block's time may be from the clock; members' clocks may differ by ten.
const SECONDS_MAX: u64 = 15;

pub(super) fn play(stage: &mut Stage) -> Vec<Step> {
    let mut clock = None;
    vec![
        step("a clock an hour ahead at the start, and set right", || {
            let made = clock.insert(Clock::make(stage)?);
            made.start(stage, HOUR)?;
            made.off_and_right(stage)
        }),
        step("a clock an hour behind at the start, and set right", || {
            let made = clock.as_ref().ok_or("there is no clock to set")?;
            made.start(stage, -HOUR)?;
            made.off_and_right(stage)
        }),
        step("a clock set an hour ahead under a running node", || {
            let made = clock.as_ref().ok_or("there is no clock to set")?;
            made.set(HOUR)?;
            made.off_and_right(stage)
        }),
    ]
}

/// The clock of one member's node.
struct Clock {
    library: PathBuf,
    /// Holds by how many seconds it is off.
    offset: PathBuf,
    member: Member,
}

impl Clock {
    /// Compiles what is preloaded. The suite has a C compiler.
    fn make(stage: &Stage) -> Outcome<Self> {
        let library = stage.file("clock.so");
        let source = shell::root().join("xtask/src/faults/clock.c");
        shell::run(shell::command("cc").args(["-shared", "-fPIC", "-O1", "-o"]).arg(&library).arg(source))?;
        Ok(Self { library, offset: stage.file("clock.offset"), member: stage.network.member(VICTIM)? })
    }

    /// Sets the clock.
    fn set(&self, seconds: i64) -> Outcome {
        let failed = |e: std::io::Error| format!("{}: {e}", self.offset.display());
        let mut file = fs::File::options()
            .write(true)
            .create(true)
            .truncate(false)
            .open(&self.offset)
            .map_err(failed)?;
        file.write_all(&seconds.to_ne_bytes()).map_err(failed)
    }

    /// Starts the node anew with its clock off.
    fn start(&self, stage: &mut Stage, seconds: i64) -> Outcome {
        self.set(seconds)?;
        stage.network.stop_node(&self.member.home, "TERM")?;
        let variables: [(&str, &Path); 2] =
            [("LD_PRELOAD", &self.library), ("HANSA_CLOCK_FILE", &self.offset)];
        stage.network.run_node_with(&self.member.home, &variables)?;
        awake(&stage.network, &self.member)
    }

    /// With the clock off: the others go on and the member is told. With the clock right: it takes part.
    fn off_and_right(&self, stage: &Stage) -> Outcome<String> {
        let network = &stage.network;
        let others: Vec<Member> =
            network.members.iter().filter(|m| m.dc != self.member.dc).cloned().collect();
        let before = height(network, &others)?;
        let told = network.until("the member's status names the clock", |n| {
            let status = n.call(&self.member.home, &["status"])?;
            let clock = &status.json["health"]["checks"]["clock"];
            let reason = clock["reason"].as_str().filter(|reason| reason.contains("this node's clock is"));
            Ok(reason.map(str::to_owned))
        })?;
        println!("   {told}");
        network.until("the others make blocks", |n| {
            Ok((height(n, &others)? >= before + BLOCKS).then_some(()))
        })?;
        self.set(0)?;
        network.until("the node takes part again", |n| {
            let status = n.call(&self.member.home, &["status"])?.json;
            let checks = &status["health"]["checks"];
            let well = ["clock", "consensus", "sync"].iter().all(|check| checks[*check]["status"] == "ok");
            let validates = status["consensus"]["validating"] == true;
            Ok((well && validates).then_some(()))
        })?;
        let end = height(network, &others)?;
        let members = [&others[..], std::slice::from_ref(&self.member)].concat();
        same_block(network, &members, end)?;
        times(network, &self.member, before, end)?;
        Ok(format!("{told}; right again, blocks {before} to {end} have right times"))
    }
}

/// The height that all of these nodes have reached.
fn height(network: &Network, members: &[Member]) -> Outcome<u64> {
    Ok(heights(network, members)?.into_iter().min().unwrap_or_default())
}

/// Checks the times of some blocks: none before the one before it, none off by more than clocks may be.
fn times(network: &Network, member: &Member, first: u64, last: u64) -> Outcome {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_err(|e| e.to_string())?.as_secs();
    let mut before: Option<u64> = None;
    for number in first..=last {
        let block = network.expect(&member.home, &["status", "--block", &number.to_string()])?;
        let time = block["block"]["timestamp"].as_u64().ok_or(format!("no time in {}", block["block"]))?;
        let early = before.is_some_and(|before| time < before);
        // The first one was made within this scene's two waits.
        if early || time > now + SECONDS_MAX || time + 2 * 120 + SECONDS_MAX < now {
            return Err(format!(
                "block {number} has the time {time}, the clock {now}, the block before {before:?}"
            ));
        }
        before = Some(time);
    }
    Ok(())
}
