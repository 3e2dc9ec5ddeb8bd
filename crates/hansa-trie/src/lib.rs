//! Keeps Ethereum's state trie over a key-value store.
