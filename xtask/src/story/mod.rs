//! Tells the main job from beginning to end on real processes: found, admit, protect, share, refuse, revoke, repair,
//! survive. Every step goes through the command line, and every claim of a step is checked.

mod governance;
mod steps;

use std::{
    fs,
    path::{Path, PathBuf},
    time::Instant,
};

use crate::{
    Outcome, files,
    network::Network,
    shell,
    tally::{self, Tally},
};

/// What to tell the story on.
pub(crate) struct Options {
    paths: Vec<PathBuf>,
    dir: Option<PathBuf>,
    generated_bytes: usize,
}

impl Options {
    /// Reads `--story [PATH…]` and `--dir DIR`.
    pub(crate) fn parse(words: &[&str]) -> Outcome<Self> {
        let mut options = Self { paths: Vec::new(), dir: None, generated_bytes: 300 << 20 };
        let mut rest = words.iter();
        while let Some(word) = rest.next() {
            match *word {
                "--story" => {}
                "--dir" => options.dir = Some(rest.next().ok_or("--dir needs a folder")?.into()),
                flag if flag.starts_with("--") => return Err(format!("the story has no option {flag}")),
                path => options.paths.push(path.into()),
            }
        }
        for path in &options.paths {
            if !path.exists() {
                return Err(format!("{} does not exist", path.display()));
            }
        }
        Ok(options)
    }
}

/// One line of the closing table.
pub(crate) struct Step {
    pub(crate) title: &'static str,
    pub(crate) seconds: f64,
    pub(crate) outcome: Result<String, String>,
}

type Tell = fn(&mut steps::Story) -> Outcome<String>;

const STEPS: [(&str, Tell); 12] = [
    ("four members agree on blocks", steps::agree),
    ("a fifth joins by ballot, an outsider does not", steps::admit),
    ("the first member protects every file", steps::protect),
    ("shared with the second, also while the owner is away", steps::share),
    ("the third is refused, on the chain and by the owner", steps::refuse),
    ("updated, revoked, and the next version is closed", steps::revoke),
    ("a flipped byte is named and repaired", steps::repair),
    ("a validator is killed, nothing stops or is lost", steps::survive),
    ("the contracts are replaced by ballot under load", governance::upgrade),
    ("the fifth loses its disk and is restored from its recovery key", governance::recover),
    ("the fifth is removed by ballot and cut off", steps::remove),
    ("the second gets new keys by ballot, the old ones can do nothing", governance::reset),
];

/// Tells the story and prints a summary; an error if any step did not do what it should.
pub(crate) fn tell(hansa: &Path, options: &Options) -> Outcome {
    let steps = play(hansa, options)?;
    summary(&steps);
    match steps.iter().filter(|step| step.outcome.is_err()).count() {
        0 if steps.len() == STEPS.len() => Ok(()),
        0 => Err("the story stopped early".into()),
        failed => Err(format!("{failed} of {} steps failed", STEPS.len())),
    }
}

/// The story as a test: the same steps on a smaller generated file.
pub(crate) fn test() -> Outcome<Tally> {
    let hansa = shell::build_binary("hansa")?;
    let options = Options { paths: Vec::new(), dir: None, generated_bytes: 20 << 20 };
    let steps = play(&hansa, &options)?;
    summary(&steps);
    let passed = steps.iter().filter(|step| step.outcome.is_ok()).count() as u64;
    Ok(Tally { passed, failed: STEPS.len() as u64 - passed })
}

/// `cast`, viem and ethers against a live network.
pub(crate) fn rpc_test() -> Outcome<Tally> {
    let hansa = shell::build_binary("hansa")?;
    let scripts = shell::root().join("tests-js");
    shell::run(
        shell::command("npm").args(["ci", "--no-audit", "--no-fund", "--silent"]).current_dir(&scripts),
    )?;
    let folder = scratch()?;
    let network = Network::start(&hansa, &folder.join("network"))?;
    let tally = tally::counted(
        shell::command("node")
            .args(["--test", "--test-reporter=tap"])
            .current_dir(&scripts)
            .env("HANSA_NETWORK", network.description())
            .env("CAST", shell::root().join("contracts/node_modules/.bin/cast")),
        tap_counts,
    );
    drop(network);
    fs::remove_dir_all(&folder).map_err(|e| e.to_string())?;
    tally
}

/// Reads node's closing `# pass 3` and `# fail 0`.
fn tap_counts(line: &str) -> Option<(u64, u64)> {
    let number = |prefix: &str| line.strip_prefix(prefix)?.trim().parse::<u64>().ok();
    number("# pass ").map(|n| (n, 0)).or_else(|| number("# fail ").map(|n| (0, n)))
}

/// The seventh step flips a byte of a block in a file, as a node keeps blocks from 64 KiB on.
const SIZE_MIN: u64 = 128 << 10;
/// What is added where all of the given files are smaller.
const COMPANION_BYTES: usize = 1 << 20;

fn largest(paths: &[PathBuf]) -> Outcome<u64> {
    paths.iter().try_fold(0, |largest, path| Ok(files::size(path)?.max(largest)))
}

fn play(hansa: &Path, options: &Options) -> Outcome<Vec<Step>> {
    let folder = scratch()?;
    let generated = folder.join("measurements.bin");
    let mut paths = options.paths.clone();
    if paths.is_empty() {
        paths = entries(&shell::root().join("examples"))?;
        files::generate(&generated, options.generated_bytes)?;
        paths.push(generated);
    } else if largest(&paths)? < SIZE_MIN {
        files::generate(&generated, COMPANION_BYTES)?;
        println!("All of the given files are small: {} of 1 MiB goes with them.", generated.display());
        paths.push(generated);
    }
    let dir = options.dir.clone().unwrap_or_else(|| folder.join("network"));
    println!("The story, in {}", dir.display());
    let network = Network::start(hansa, &dir)?;
    let received = folder.join("received");
    fs::create_dir_all(&received).map_err(|e| format!("{}: {e}", received.display()))?;
    let mut story = steps::Story::new(network, paths, received);
    let mut told = Vec::new();
    for (number, (title, tell)) in STEPS.iter().enumerate() {
        println!("\n{}. {title}", number + 1);
        let start = Instant::now();
        let outcome = tell(&mut story);
        if let Err(problem) = &outcome {
            println!("   FAILED: {problem}");
        }
        let stop = outcome.is_err();
        told.push(Step { title, seconds: start.elapsed().as_secs_f64(), outcome });
        if stop {
            println!("   logs: {}", dir.display());
            break;
        }
    }
    let failed = told.iter().any(|step| step.outcome.is_err());
    drop(story);
    if !failed {
        fs::remove_dir_all(&folder).map_err(|e| format!("{}: {e}", folder.display()))?;
    }
    Ok(told)
}

/// Prints the closing table.
pub(crate) fn summary(steps: &[Step]) {
    println!("\n   {:<54} {:>8}  outcome", "step", "seconds");
    for (number, step) in steps.iter().enumerate() {
        let (mark, words) = match &step.outcome {
            Ok(words) => ("ok", words.as_str()),
            Err(problem) => ("FAILED", problem.as_str()),
        };
        println!("{:>2} {:<54} {:>8.1}  {mark}: {words}", number + 1, step.title, step.seconds);
    }
    println!();
}

fn entries(folder: &Path) -> Outcome<Vec<PathBuf>> {
    let entries = fs::read_dir(folder).map_err(|e| format!("{}: {e}", folder.display()))?;
    let mut paths: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    paths.sort();
    Ok(paths)
}

/// A fresh folder of this process's own.
pub(crate) fn scratch() -> Outcome<PathBuf> {
    let nanos =
        std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default().as_nanos();
    let folder = std::env::temp_dir().join(format!("hansa-{}-{nanos}", std::process::id()));
    fs::create_dir_all(&folder).map_err(|e| format!("{}: {e}", folder.display()))?;
    Ok(folder)
}
