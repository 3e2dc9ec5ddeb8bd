//! What can be typed: the commands, their options and their help.

use std::path::{Path, PathBuf};

use clap::{Args, Parser, Subcommand, ValueEnum};
use hansa_types::{DcId, ObjectId, Role, Visibility};

use crate::values::{object_name, openings, time};

/// Shown below the list of commands.
const EXIT_CODES: &str = "Exit codes: 0 done, 1 failed, 2 misused, 3 refused, 4 not found, 5 unreachable, 6 damaged, \
    7 done with fewer replicas than asked for, \
    130 interrupted by Ctrl-C, 143 ended by SIGTERM";

/// Share business data between organisations that do not fully trust one another.
#[derive(Debug, Parser)]
#[command(name = "hansa", version, max_term_width = 100, after_help = EXIT_CODES)]
pub(crate) struct Cli {
    /// The member's home folder: configuration, keys, data
    #[arg(long, global = true, env = "HANSA_HOME", default_value = "hansa-home", value_name = "DIR")]
    pub(crate) home: PathBuf,
    /// Print results on standard output, and errors and notes on standard error, each as one line of JSON
    #[arg(long, global = true)]
    pub(crate) json: bool,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Start a local consortium and stay until Ctrl-C
    Up(Up),
    /// Run a member's node, or prepare it to join
    #[command(subcommand)]
    Node(Node),
    /// Make and show a member's keys
    #[command(subcommand)]
    Keys(Keys),
    /// The node's settings: values in force, problems, and the reference
    #[command(subcommand)]
    Config(Config),
    /// Members, and the ballots on them and on the consortium's limits
    #[command(subcommand)]
    Member(Member),
    /// Say what an error code means and what to do about it
    Explain {
        /// The code as errors show it: E2004, or 2004
        code: String,
    },
    /// Versions of the system contracts, and the ballots that replace them
    #[command(subcommand)]
    Upgrade(Upgrade),
    /// Protect a file, a folder, a pipe or standard input (-) as a new object
    ///
    /// Kept: content, names, empty folders, and whether a file's owner can run it. Not kept: owners, other rights,
    /// times, access lists, extended attributes, holes, and which files are hard links of one another. Links, devices,
    /// sockets, pipes inside a folder, unreadable files and names that are not UTF-8 are not stored: all of them are
    /// named and nothing is done, or they are left out with --skip-special.
    Put(Put),
    /// Protect a new version of an object; it keeps its name unless --name gives another
    ///
    /// Of files and folders the same is kept as by `hansa put`.
    Update(Update),
    /// List the consortium's objects, from the node's index
    Ls(Ls),
    /// The index that lists are answered from
    #[command(subcommand)]
    Index(Index),
    /// Open an object and write its content
    ///
    /// The destination is checked before the opening is asked for, and appears when its content is complete. Nothing
    /// that exists is replaced unless -o names it and --force is given; what else is in a folder stays.
    Get(Get),
    /// Let others open an object
    #[command(override_usage = "hansa share [OPTIONS] <OBJECT> <--with <DC>...|--all|--public>")]
    Share(Share),
    /// Take back a grant; versions already opened stay readable, all others are closed
    Revoke(Revoke),
    /// Check chain and replicas of an object, or of everything
    Verify(Verify),
    /// Fetch this node's damaged or missing blocks of an object from healthy replicas
    Repair(Repair),
    /// Tell an object's story: versions, grants, openings, refusals
    Log {
        /// The object, OWNER/NUMBER
        object: ObjectId,
    },
    /// Show the node's height, finality, peers and health
    Status(Status),
    /// Prove the chain's blocks, and look at the encrypted blocks that this node stores
    #[command(subcommand)]
    Block(Block),
    /// Print a completion script for a shell
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
}

#[derive(Debug, Args)]
pub(crate) struct Up {
    /// Keep the network's data here; started again, the same network goes on
    #[arg(long, value_name = "DIR")]
    pub(crate) dir: Option<PathBuf>,
    /// Founding members, all validators: 4 to 16
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u8).range(4..=16))]
    pub(crate) members: u8,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Node {
    /// Run the node of this home until Ctrl-C
    ///
    /// Logs to standard error. HANSA_LOG filters what is logged (RUST_LOG where it is not set), for example
    /// HANSA_LOG=debug,libp2p=warn. Settings are in hansa.toml; HANSA_REST_LISTEN, HANSA_RPC__LOGS and the other names in
    /// capitals, with two underscores after a section, override them. `hansa config show` lists all.
    Run,
    /// Make this member's home folder anew from its backup and its recovery key, which is read from standard input
    ///
    /// Any other member fetches the backup: `hansa get OBJECT -o backup`, with the object that `hansa keys recovery` named. The
    /// node then catches up by itself and fetches the member's objects with their keys.
    Recover {
        /// The backup's file
        backup: PathBuf,
        /// Port of the REST interface on loopback; 0 picks a free one
        #[arg(long, default_value_t = 7180)]
        rest_port: u16,
        /// Port of the JSON-RPC interface on loopback; 0 picks a free one
        #[arg(long, default_value_t = 8545)]
        rpc_port: u16,
        /// File with the passphrase for the key store; made with a random one if it does not exist
        #[arg(long, env = "HANSA_PASSPHRASE_FILE", default_value = "passphrase")]
        passphrase_file: PathBuf,
    },
    /// Take over the genesis file and swarm key from a member's invitation
    Join {
        /// The file that `hansa member invitation` wrote
        invitation: PathBuf,
    },
    /// Take part in founding a consortium: write the genesis draft that all founders must share
    Found(Found),
}

#[derive(Debug, Args)]
pub(crate) struct Found {
    /// The founders' cards in the order of their future dcIds
    #[arg(required = true, num_args = 4..)]
    pub(crate) cards: Vec<PathBuf>,
    /// EIP-155 chain id, for good; wallets take 1 to 4503599627370476
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..=hansa_types::CHAIN_ID_MAX))]
    pub(crate) chain_id: u64,
    /// Where to write the genesis draft; the swarm's key is written beside it, as swarm.key with mode 0600
    #[arg(short, long, default_value = "genesis.json")]
    pub(crate) output: PathBuf,
    /// Replace the two files where they exist
    #[arg(long)]
    pub(crate) force: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Config {
    /// Show every setting in force and where its value comes from: the default, hansa.toml or a variable
    ///
    /// Settings are in hansa.toml; a variable HANSA_SECTION__NAME overrides the file, for example HANSA_RPC__LOGS=5000. No secret is
    /// a setting.
    Show,
    /// Check hansa.toml and the environment, and name all problems at once
    ///
    /// Exit code 1 where there are any. A running node is neither asked nor changed: it reads its settings when it starts.
    Check,
    /// Print the reference of all settings, as in docs/reference/configuration.md
    Reference,
    /// Print the JSON schema of hansa.toml, for editors
    Schema,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Keys {
    /// Make a home with new keys and the card that others register
    New(NewKeys),
    /// Print the member's card: its public keys and endpoints
    Show,
    /// Make new keys beside the present ones, because those leaked; prints their card for `hansa member reset`
    Renew,
    /// Take the new keys into use, once the ballot on them is carried; the node must be stopped
    Adopt,
    /// Back the member's keys up in the swarm, and print once the recovery key that opens the backup
    ///
    /// The backup is a public object of this member, sealed to the recovery key: any member can fetch it, nobody can read it. Run
    /// it again after new keys; the earlier backup then serves no more.
    Recovery,
    /// Change the key store's passphrase
    Passphrase {
        /// File with the new passphrase in its first line; the configuration names it from then on
        #[arg(long, value_name = "FILE")]
        new_file: PathBuf,
    },
    /// Write the account's secret key as plain hex, for Ethereum tools in development
    ExportAccount {
        /// The file to write, mode 0600
        #[arg(short, long)]
        output: PathBuf,
        /// Replace the file where it exists
        #[arg(long)]
        force: bool,
    },
}

#[derive(Debug, Args)]
pub(crate) struct NewKeys {
    /// The organisation's name
    #[arg(long)]
    pub(crate) name: String,
    /// The cluster it belongs to
    #[arg(long, default_value_t = 1)]
    pub(crate) cluster: u32,
    /// IP address or host name that others reach this node at; goes into the card. With a name, the node listens on all addresses
    #[arg(long, default_value = "127.0.0.1")]
    pub(crate) host: hansa_types::Host,
    /// Port of the consensus network; 0 picks a free one
    #[arg(long, default_value_t = 0)]
    pub(crate) consensus_port: u16,
    /// Port of the swarm; 0 picks a free one
    #[arg(long, default_value_t = 0)]
    pub(crate) swarm_port: u16,
    /// Port of the REST interface on loopback; 0 picks a free one
    #[arg(long, default_value_t = 7180)]
    pub(crate) rest_port: u16,
    /// Port of the JSON-RPC interface on loopback; 0 picks a free one
    #[arg(long, default_value_t = 8545)]
    pub(crate) rpc_port: u16,
    /// File with the passphrase for the key store; made with a random one if it does not exist
    #[arg(long, env = "HANSA_PASSPHRASE_FILE", default_value = "passphrase")]
    pub(crate) passphrase_file: PathBuf,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Member {
    /// List the consortium's members
    List,
    /// Open a ballot on the admission of the organisation with this card
    Join {
        /// The applicant's card file
        card: PathBuf,
    },
    /// Open a ballot on suspending a member: it stays connected and may not act
    Suspend(Subject),
    /// Open a ballot on letting a suspended member act again
    Reinstate(Subject),
    /// Open a ballot on removing a member for good: it is cut off from both networks
    Remove(Subject),
    /// Open a ballot on new keys for a member that lost its own, or whose keys leaked
    Reset {
        #[command(flatten)]
        subject: Subject,
        /// The member's new card, as `hansa keys new` or `hansa keys renew` writes it
        card: PathBuf,
    },
    /// Open a ballot on giving a member a seat among the validators, or taking it; from the fourth epoch after on
    Seat {
        #[command(flatten)]
        subject: Subject,
        /// validator or participant
        #[arg(value_parser = role)]
        role: Role,
    },
    /// Open a ballot on how long ballots stay open from then on, in seconds
    BallotTime {
        /// 1 second to 10 years
        seconds: u64,
        /// Open nothing; show the votes needed and what refuses it
        #[arg(long)]
        dry_run: bool,
    },
    /// Show what each member may still make all nodes store, or open a ballot on how much that is
    Quota {
        /// Bytes of transactions, logs and code for each member in a second; 0 for no limit
        #[arg(long, value_name = "N", conflicts_with = "slots_per_second")]
        bytes_per_second: Option<u64>,
        /// Storage slots and accounts for each member in a second; 0 for no limit
        #[arg(long, value_name = "N")]
        slots_per_second: Option<u64>,
        /// Open nothing; show the votes needed and what refuses it
        #[arg(long)]
        dry_run: bool,
    },
    /// Change where this member's node is reached; no ballot is needed
    Address {
        /// HOST:PORT of the consensus network; the host is an IP address or a name
        #[arg(long, value_name = "HOST:PORT")]
        consensus: String,
        /// Multiaddr of the swarm: /ip4/ADDRESS/tcp/PORT, /ip6/ADDRESS/tcp/PORT or /dns/NAME/tcp/PORT
        #[arg(long, value_name = "MULTIADDR")]
        swarm: String,
    },
    /// Vote on a ballot
    Vote {
        /// The ballot's number
        ballot: u64,
        /// yes or no
        #[arg(value_parser = clap::builder::BoolishValueParser::new(), action = clap::ArgAction::Set, hide_possible_values = true)]
        support: bool,
    },
    /// List ballots with their tallies
    Ballots,
    /// Write an invitation with which an admitted member's node can start
    Invitation {
        /// The admitted member's dcId
        member: DcId,
        /// The file to write, mode 0600; only that member can use it
        #[arg(short, long, default_value = "invitation.json")]
        output: PathBuf,
        /// Replace the file where it exists
        #[arg(long)]
        force: bool,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum Upgrade {
    /// Show the version in force, the pending upgrade, and the later versions that this node can run
    Status,
    /// Check a suite's file and put it into the home folder; a node that is started after that can run it
    Add {
        /// The suite's file
        suite: PathBuf,
    },
    /// Open a ballot on replacing the system contracts; a quorum of the validators must have announced the version
    Open {
        /// A version that this node can run
        version: u32,
        /// The first block under it; at least eight blocks after the deciding vote
        #[arg(long)]
        height: u64,
        /// Open nothing; show the votes needed and what refuses it
        #[arg(long)]
        dry_run: bool,
    },
    /// Open a ballot on taking back the pending upgrade
    Withdraw {
        /// Open nothing; show the votes needed and what refuses it
        #[arg(long)]
        dry_run: bool,
    },
}

fn role(text: &str) -> Result<Role, String> {
    match text {
        "validator" => Ok(Role::Validator),
        "participant" => Ok(Role::Participant),
        _ => Err("a member is a validator or a participant".to_owned()),
    }
}

/// Whom a ballot concerns.
#[derive(Debug, Args)]
pub(crate) struct Subject {
    /// The member's dcId
    pub(crate) member: DcId,
    /// Open nothing; show the votes needed, the validators and their quorum before and after, and what refuses it
    #[arg(long)]
    pub(crate) dry_run: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Put {
    /// A file, a folder, a pipe as <(command) makes it, or - for standard input
    pub(crate) path: PathBuf,
    /// The object's name inside its encrypted manifest; default: for a new object the file's, `stdin` or `pipe`; for an
    /// update the object's own
    #[arg(long, value_parser = object_name)]
    pub(crate) name: Option<String>,
    /// Leave out what cannot be stored of a folder: links, devices, pipes, sockets, unreadable files
    #[arg(long)]
    pub(crate) skip_special: bool,
    /// Have this many other members keep a replica, and wait for them; fewer in the end are an error (exit code 7), though
    /// the object is recorded. Default: two, where there are so many other members
    #[arg(long)]
    pub(crate) replicas: Option<u32>,
}

#[derive(Debug, Args)]
pub(crate) struct Update {
    /// The object, OWNER/NUMBER
    pub(crate) object: ObjectId,
    #[command(flatten)]
    pub(crate) put: Put,
}

#[derive(Debug, Args)]
pub(crate) struct Get {
    /// The object, OWNER/NUMBER
    pub(crate) object: ObjectId,
    /// The version; default: the latest
    #[arg(long = "version", value_name = "VERSION")]
    pub(crate) at: Option<u32>,
    /// Where to write; - for standard output; default: the object's own name in the current folder, with a number behind
    /// it where that is taken
    #[arg(short, long)]
    pub(crate) output: Option<PathBuf>,
    /// Replace the file that -o names; into a folder that it names, a folder's files are merged and a single file is
    /// added
    #[arg(long, requires = "output")]
    pub(crate) force: bool,
    /// Ask the owner's node for the key without an opening on the chain; it refuses, and records that no access was granted
    #[arg(long, hide = true)]
    pub(crate) ask_owner: bool,
}

impl Get {
    /// Whether the content goes to standard output.
    pub(crate) fn to_stdout(&self) -> bool {
        self.output.as_deref() == Some(Path::new("-"))
    }
}

#[derive(Debug, Args)]
pub(crate) struct Ls {
    /// Only this owner's objects
    #[arg(long, value_name = "DC")]
    pub(crate) owner: Option<DcId>,
    /// Only objects with this visibility
    #[arg(long)]
    pub(crate) visibility: Option<Seen>,
    /// Only objects with a grant for this member
    #[arg(long, value_name = "DC")]
    pub(crate) grantee: Option<DcId>,
    /// Only objects whose names have words that begin with the words of this text
    #[arg(long, value_name = "TEXT")]
    pub(crate) name: Option<String>,
    /// The order
    #[arg(long, default_value = "newest")]
    pub(crate) sort: Sort,
    /// Most objects
    #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) limit: u32,
    /// Continue a list where it stopped, in the same order
    #[arg(long)]
    pub(crate) cursor: Option<String>,
    /// Wait until the index holds this height; otherwise what is final now
    #[arg(long, value_name = "HEIGHT")]
    pub(crate) at_least: Option<u64>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Sort {
    Newest,
    Oldest,
    Number,
    Name,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Seen {
    Public,
    Members,
    Listed,
}

impl From<Seen> for Visibility {
    fn from(seen: Seen) -> Self {
        match seen {
            Seen::Public => Self::Public,
            Seen::Members => Self::Members,
            Seen::Listed => Self::Listed,
        }
    }
}

#[derive(Debug, Subcommand)]
pub(crate) enum Index {
    /// Show how far it is
    Status,
    /// Empty it and read the chain again from its genesis block; waits for the end
    Rebuild,
}

#[derive(Debug, Args)]
pub(crate) struct Share {
    /// The object, OWNER/NUMBER
    pub(crate) object: ObjectId,
    #[command(flatten)]
    pub(crate) audience: Audience,
    /// Deposit the wrapped key with the grant, so that the object can be opened while this node is offline. With an end or a
    /// number of openings: its newest version, and later ones for up to 32 such grantees
    #[arg(long, requires = "with")]
    pub(crate) deposit: bool,
    /// The grant ends at this time: 2027-01-31T12:00:00Z, 2027-01-31, 30d (also w, h, m, s) from now on, or Unix seconds
    #[arg(long, requires = "with", value_name = "TIME", value_parser = time)]
    pub(crate) expires_at: Option<u64>,
    /// The grant allows this many openings, at least 1; default: any number
    #[arg(long, requires = "with", value_name = "COUNT", value_parser = openings)]
    pub(crate) max_openings: Option<u32>,
}

#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub(crate) struct Audience {
    /// These members, by dcId
    #[arg(long, num_args = 1.., value_delimiter = ',', value_name = "DC")]
    pub(crate) with: Vec<DcId>,
    /// Every member
    #[arg(long)]
    pub(crate) all: bool,
    /// Everyone, members or not; cannot be undone for what has been read
    #[arg(long)]
    pub(crate) public: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Revoke {
    /// The object, OWNER/NUMBER
    pub(crate) object: ObjectId,
    /// The member that loses its grant
    #[arg(long, value_name = "DC")]
    pub(crate) from: DcId,
}

#[derive(Debug, Args)]
pub(crate) struct Verify {
    /// The object; default: every object of this member, and every replica that this node keeps for others
    pub(crate) object: Option<ObjectId>,
}

#[derive(Debug, Args)]
pub(crate) struct Repair {
    /// The object; default: everything this node stores
    pub(crate) object: Option<ObjectId>,
}

#[derive(Debug, Args)]
pub(crate) struct Status {
    /// Show the block at this height as well
    #[arg(long, value_name = "HEIGHT")]
    pub(crate) block: Option<u64>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Block {
    /// List the stored blocks of an object's latest version
    Ls {
        /// The object, OWNER/NUMBER
        object: ObjectId,
    },
    /// Remove blocks that no version needs: of failed imports, and fetched only to be read
    Gc,
    /// Fetch the proof that a block of the chain is final and who wrote it, and check it
    ///
    /// Checked against the home's genesis file, without trust in the node. Exit code 6 when the proof does not hold.
    Proof(BlockNumber),
    /// Check a proof that `hansa block proof -o` wrote; needs no node and no home
    Verify {
        /// The file with the proof
        file: PathBuf,
        /// The network's genesis file; the home's when missing
        #[arg(long, value_name = "FILE")]
        genesis: Option<PathBuf>,
    },
}

#[derive(Debug, Args)]
pub(crate) struct BlockNumber {
    /// The block's height, from 1
    #[arg(value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) number: u64,
    /// Write the proof here, for others to check
    #[arg(short, long, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
    /// Replace the file that -o names
    #[arg(long, requires = "output")]
    pub(crate) force: bool,
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory as _, Parser as _, error::ErrorKind};

    use super::*;

    fn error(arguments: &[&str]) -> Option<ErrorKind> {
        let program = ["hansa"].iter().chain(arguments);
        Cli::try_parse_from(program).err().map(|error| error.kind())
    }

    #[test]
    fn the_definition_is_consistent() {
        Cli::command().debug_assert();
    }

    /// Zero on the chain is "any number" and "for ever": no option may let it through.
    #[test]
    fn a_limit_of_zero_is_refused() {
        let share = |option: &str, value: &str| error(&["share", "1/1", "--with", "2", option, value]);
        for (option, value, refused) in [
            ("--max-openings", "0", true),
            ("--max-openings", "-1", true),
            ("--max-openings", "1", false),
            ("--expires-at", "0", true),
            ("--expires-at", "1790000000000", true),
            ("--expires-at", "tomorrow", true),
            ("--expires-at", "1790000000", false),
            ("--expires-at", "2027-01-31T12:00:00Z", false),
            ("--expires-at", "2027-01-31", false),
            ("--expires-at", "2027-02-30", true),
            ("--expires-at", "30d", false),
            ("--expires-at", "+12h", false),
            ("--expires-at", "++1d", true),
            ("--expires-at", "d", true),
            ("--expires-at", "99999999999999999999w", true),
            ("--expires-at", "9999999999w", true),
            ("--expires-at", "3€", true),
        ] {
            assert_eq!(share(option, value).is_some(), refused, "{option} {value}");
        }
    }

    #[test]
    fn a_name_that_no_object_can_have_is_refused() {
        for (name, refused) in [("a/b", true), ("", true), ("..", true), ("größe & name", false)] {
            assert_eq!(error(&["put", "x", "--name", name]).is_some(), refused, "{name:?}");
        }
    }

    /// Without `-o` the name comes from the owner, who must not choose what is replaced.
    #[test]
    fn only_a_named_destination_is_replaced() {
        assert_eq!(error(&["get", "1/1", "--force"]), Some(ErrorKind::MissingRequiredArgument));
        assert_eq!(error(&["get", "1/1", "--force", "-o", "x"]), None);
    }
}
