//! Exchanges blocks and keys with the other members over private IPFS.
