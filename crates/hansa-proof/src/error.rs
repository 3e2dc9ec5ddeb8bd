//! Why a proof does not hold.

/// Why a proof is refused. None of these says that the block is *not* final: another proof of it may hold.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProofError {
    /// The genesis file has no group key, or a malformed one.
    #[error("the genesis file's group key cannot be used: {0}")]
    GroupKey(&'static str),
    /// The genesis block in the proof does not commit to the genesis file.
    #[error("the proof is of another network: its genesis block does not commit to this genesis file")]
    OtherNetwork,
    /// Bytes that are no header, certificate or consensus data.
    #[error("the proof is malformed: {0}")]
    Malformed(&'static str),
    /// More headers than a node puts into a proof.
    #[error("the proof has {0} headers in a row, more than a node puts into one")]
    TooLong(usize),
    /// A header is not the parent of the next, or the certificate is for none of them.
    #[error("the headers do not lead to the certified block: {0}")]
    Chain(&'static str),
    /// A signature that the group did not make.
    #[error("the {0} is not the group's signature")]
    Signature(&'static str),
    /// The consensus data does not fit the header.
    #[error("the consensus data is not the block's: {0}")]
    Consensus(&'static str),
    /// The committee's evidence is missing or is not that of the block's epoch.
    #[error("the validators of the block's epoch are not proven: {0}")]
    Committee(&'static str),
    /// The leader is not the validator that the randomness selects.
    #[error("the block's writer is not the validator that was drawn")]
    Draw,
    /// The nodes of a trie do not lead from the root to the value.
    #[error("the {0} is not proven by the trie's nodes")]
    Trie(&'static str),
}
