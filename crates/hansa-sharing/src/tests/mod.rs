//! The service on the real contracts, ledger and block stores; only consensus and sockets are left out.

mod consortium;
mod crashes;
mod deposits;
mod doubles;
mod faults;
mod limited;
mod miner;
mod openings;
mod replicas;
mod sockets;
mod stories;
