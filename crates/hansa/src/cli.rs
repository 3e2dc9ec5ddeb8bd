//! What can be typed: the commands, their options and their help.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use hansa_types::{DcId, ObjectId};

/// Share business data between organisations that do not fully trust one another.
#[derive(Debug, Parser)]
#[command(name = "hansa", version, max_term_width = 100)]
pub(crate) struct Cli {
    /// The member's home folder: configuration, keys, data
    #[arg(long, global = true, env = "HANSA_HOME", default_value = "hansa-home", value_name = "DIR")]
    pub(crate) home: PathBuf,
    /// Print one line of JSON instead of text
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
    /// Members and the ballots that admit them
    #[command(subcommand)]
    Member(Member),
    /// Protect a file, a folder or standard input (-) as a new object
    Put(Put),
    /// Protect a new version of an object
    Update(Update),
    /// List this member's objects and those shared with it
    Ls,
    /// Open an object and write its content
    Get(Get),
    /// Let others open an object
    Share(Share),
    /// Take back a grant; what has been readable stays readable, the next version is closed
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
    /// Show the node's height, finality and peers
    Status(Status),
    /// Look at the encrypted blocks that this node stores
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
    /// Founding members, all validators
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u8).range(4..=16))]
    pub(crate) members: u8,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Node {
    /// Run the node of this home until Ctrl-C
    Run,
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
    /// EIP-155 chain id
    #[arg(long)]
    pub(crate) chain_id: u64,
    /// Where to write the genesis draft
    #[arg(short, long, default_value = "genesis.json")]
    pub(crate) output: PathBuf,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Keys {
    /// Make a home with new keys and the card that others register
    New(NewKeys),
    /// Print the member's card: its public keys and endpoints
    Show,
    /// Write the account's secret key as plain hex, for Ethereum tools in development
    ExportAccount {
        /// The file to write, mode 0600
        #[arg(short, long)]
        output: PathBuf,
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
    /// IP address that others reach this node at
    #[arg(long, default_value = "127.0.0.1")]
    pub(crate) host: std::net::IpAddr,
    /// Port of the consensus network; 0 picks a free one
    #[arg(long, default_value_t = 0)]
    pub(crate) consensus_port: u16,
    /// Port of the swarm; 0 picks a free one
    #[arg(long, default_value_t = 0)]
    pub(crate) swarm_port: u16,
    /// Port of the REST interface on loopback; 0 picks a free one
    #[arg(long, default_value_t = 0)]
    pub(crate) rest_port: u16,
    /// Port of the JSON-RPC interface on loopback; 0 picks a free one
    #[arg(long, default_value_t = 0)]
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
    /// Vote on a ballot
    Vote {
        /// The ballot's number
        ballot: u64,
        /// yes or no
        #[arg(value_parser = clap::builder::BoolishValueParser::new(), action = clap::ArgAction::Set)]
        support: bool,
    },
    /// List ballots with their tallies
    Ballots,
    /// Write an invitation with which an admitted member's node can start
    Invitation {
        /// The admitted member's dcId
        member: DcId,
        /// The file to write; only that member can use it
        #[arg(short, long, default_value = "invitation.json")]
        output: PathBuf,
    },
}

#[derive(Debug, Args)]
pub(crate) struct Put {
    /// A file, a folder, or - for standard input
    pub(crate) path: PathBuf,
    /// The object's name inside its encrypted manifest; default: the file's
    #[arg(long)]
    pub(crate) name: Option<String>,
    /// Wait until this many other members keep a replica
    #[arg(long, default_value_t = 2)]
    pub(crate) replicas: u32,
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
    #[arg(long = "version")]
    pub(crate) at: Option<u32>,
    /// Where to write; - for standard output; default: the object's own name in the current folder
    #[arg(short, long)]
    pub(crate) output: Option<PathBuf>,
    /// Overwrite what is there
    #[arg(long)]
    pub(crate) force: bool,
    /// Ask the owner's node for the key without an opening on the chain; the owner decides and records it
    #[arg(long, hide = true)]
    pub(crate) ask_owner: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Share {
    /// The object, OWNER/NUMBER
    pub(crate) object: ObjectId,
    #[command(flatten)]
    pub(crate) audience: Audience,
    /// Deposit the wrapped key with the grant, so that it can be opened while this node is offline
    #[arg(long, requires = "with")]
    pub(crate) deposit: bool,
    /// The grant ends at this Unix time in seconds
    #[arg(long, requires = "with", value_name = "SECONDS")]
    pub(crate) expires_at: Option<u64>,
    /// The grant allows this many openings
    #[arg(long, requires = "with")]
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
    /// The object; default: every object this member owns
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
}
