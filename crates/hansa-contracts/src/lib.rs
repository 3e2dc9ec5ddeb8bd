//! Binds the contract suite: generated ABI, bytecode and typed-data hashes.
