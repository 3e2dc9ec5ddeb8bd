//! A node gets SIGKILL at moments spread evenly over the usual time of what it does, and is started again: others then see the
//! old state or the new one, and what a client was told is true (C1, C2, D2, D5, E2, E6).
//!
//! Operations of one node run at the same time, each begun so that the kill meets all of them at the same part of their times.

mod operations;

use std::{
    process::Child,
    time::{Duration, Instant},
};

use super::{Stage, step};
use crate::{
    Outcome,
    network::{Call, Member, Network, awake, wait},
    story::Step,
};
use operations::{Collection, Get, Put, Replication, Revoke, Update, verified};

/// Kills for each operation. Each costs some seconds: the others have to find the node again before all can be read.
const MOMENTS: u32 = 6;

/// A command that is to be running when its node is killed.
struct Command {
    client: Member,
    arguments: Vec<String>,
}

/// What a node is killed in the midst of.
trait Operation {
    fn title(&self) -> &'static str;

    /// Makes what one run needs; it is of the node that will be killed, or of another one that `victim` names.
    fn prepare(&mut self, stage: &Stage, victim: &Member) -> Outcome<Command>;

    /// Checks what is there after the node has been started again. `ended` is what the client was told.
    fn judge(&mut self, stage: &Stage, victim: &Member, ended: &Call) -> Outcome;
}

/// Operations that one node does at the same time.
struct Group {
    operations: Vec<Box<dyn Operation>>,
    victims: &'static [u64],
}

pub(super) fn play(stage: &mut Stage) -> Vec<Step> {
    let groups = [
        Group {
            operations: vec![Box::<Update>::default(), Box::<Revoke>::default(), Box::<Put>::default()],
            victims: &[1],
        },
        Group { operations: vec![Box::<Get>::default(), Box::<Collection>::default()], victims: &[2, 3, 4] },
        Group { operations: vec![Box::<Replication>::default()], victims: &[2, 3, 4] },
    ];
    groups.into_iter().flat_map(|group| group.play(stage)).collect()
}

impl Group {
    /// A line for each operation; the first failure ends the group.
    fn play(mut self, stage: &mut Stage) -> Vec<Step> {
        let titles: Vec<_> = self.operations.iter().map(|operation| operation.title()).collect();
        let whole = step("killed", || self.rounds(stage));
        let share = whole.seconds / titles.len() as f64;
        let of = |title| {
            let outcome = match &whole.outcome {
                Err(problem) if !problem.starts_with(title) => Err("ended with those beside it".to_owned()),
                outcome => outcome.clone(),
            };
            Step { title, seconds: share, outcome }
        };
        titles.into_iter().map(of).collect()
    }

    fn rounds(&mut self, stage: &mut Stage) -> Outcome<String> {
        let mut told = 0;
        let mut usual = vec![Duration::ZERO; self.operations.len()];
        for round in 0..=MOMENTS {
            let victim = self.victims[round as usize % self.victims.len()];
            let victim = stage.network.member(victim)?;
            let mut commands = Vec::new();
            for operation in &mut self.operations {
                commands.push(operation.prepare(stage, &victim)?);
            }
            // The first round is left in peace, and measured.
            let ended = match round.checked_sub(1) {
                None => {
                    let (ended, times) = undisturbed(&stage.network, &commands)?;
                    usual = times;
                    ended
                }
                Some(moment) => {
                    let part = (f64::from(moment) + 0.5) / f64::from(MOMENTS);
                    let moments: Vec<_> = usual.iter().map(|time| time.mul_f64(part)).collect();
                    killed(&mut stage.network, &victim, &commands, &moments)?
                }
            };
            for (operation, call) in self.operations.iter_mut().zip(&ended) {
                if round == 0 && call.code != 0 {
                    return Err(format!(
                        "{}: undisturbed, it ended with {}: {}",
                        operation.title(),
                        call.code,
                        call.error
                    ));
                }
                told += u32::from(call.code == 0);
                let judged = operation.judge(stage, &victim, call);
                judged.map_err(|e| format!("{}, kill {round} of {MOMENTS}: {e}", operation.title()))?;
            }
        }
        for member in &stage.network.members {
            verified(stage, member)?;
        }
        let times: Vec<_> = usual.iter().map(|time| format!("{:.2}", time.as_secs_f64())).collect();
        println!("   {MOMENTS} kills within {} s, {told} receipts", times.join(", "));
        Ok(format!("{MOMENTS} kills, old or new each time"))
    }
}

/// Runs the commands together, and takes their times.
fn undisturbed(network: &Network, commands: &[Command]) -> Outcome<(Vec<Call>, Vec<Duration>)> {
    let start = Instant::now();
    let mut running = Vec::new();
    for command in commands {
        running.push((spawn(network, command)?, None));
    }
    network.until("all commands end", |_| {
        for (child, time) in running.iter_mut().filter(|(_, time)| time.is_none()) {
            if child.try_wait().map_err(|e| e.to_string())?.is_some() {
                *time = Some(start.elapsed());
            }
        }
        Ok(running.iter().all(|(_, time)| time.is_some()).then_some(()))
    })?;
    let times = running.iter().filter_map(|(_, time)| *time).collect();
    Ok((outcomes(running.into_iter().map(|(child, _)| child))?, times))
}

/// Begins the commands so that the node is killed when each has run for its `moment`; returns when it is up again.
fn killed(
    network: &mut Network,
    victim: &Member,
    commands: &[Command],
    moments: &[Duration],
) -> Outcome<Vec<Call>> {
    let kill = moments.iter().max().copied().unwrap_or_default();
    let mut order: Vec<_> =
        moments.iter().enumerate().map(|(place, moment)| (kill - *moment, place)).collect();
    order.sort_unstable();
    let start = Instant::now();
    let mut running = Vec::new();
    for (delay, place) in order {
        wait(delay.saturating_sub(start.elapsed()));
        running.push((place, spawn(network, &commands[place])?));
    }
    wait(kill.saturating_sub(start.elapsed()));
    network.stop_node(&victim.home, "KILL")?;
    network.run_node(&victim.home)?;
    awake(network, victim)?;
    network.until("every client has its answer", |_| {
        for (_, child) in &mut running {
            if child.try_wait().map_err(|e| e.to_string())?.is_none() {
                return Ok(None);
            }
        }
        Ok(Some(()))
    })?;
    running.sort_unstable_by_key(|(place, _)| *place);
    outcomes(running.into_iter().map(|(_, child)| child))
}

fn spawn(network: &Network, command: &Command) -> Outcome<Child> {
    let arguments: Vec<_> = command.arguments.iter().map(String::as_str).collect();
    network.spawn(&command.client.home, &arguments)
}

fn outcomes(children: impl Iterator<Item = Child>) -> Outcome<Vec<Call>> {
    children.map(|child| Ok(Call::of(&child.wait_with_output().map_err(|e| e.to_string())?))).collect()
}
