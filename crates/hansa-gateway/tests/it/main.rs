//! The node's interfaces over a real ledger in memory, driven block by block, and over sockets.

mod callers;
mod calls;
mod chain;
mod connections;
mod errors;
mod reads;
mod rest;
mod rest_content;
mod rest_requests;
mod submissions;
mod subscriptions;
mod vault;
mod ws;
