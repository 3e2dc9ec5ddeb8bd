//! The node's interfaces over a real ledger in memory, driven block by block, and over sockets.

mod chain;
mod errors;
mod reads;
mod rest;
mod rest_content;
mod submissions;
mod subscriptions;
mod vault;
mod ws;
