//! Serves a node's JSON-RPC and REST interfaces.
//!
//! Stateless: everything comes from the [`Ledger`](hansa_ledger::Ledger) and from the node's [`Service`](hansa_api::Service). JSON-RPC is
//! what Ethereum's tools need; REST is what the member's own people and systems need, and asks for the node's token.
//! Only here are HTTP status codes chosen, and nobody else uses axum or jsonrpsee.
#![cfg_attr(not(test), deny(clippy::unwrap_used, clippy::expect_used))]

mod config;
mod flow;
mod rest;
mod rpc;
mod serve;

#[cfg(fuzzing)]
pub mod fuzzing {
    //! Entry points for the fuzz targets of `fuzz/`.

    pub use crate::rest::fuzzing::{request, tar};
}

pub use config::{ConnectionLimits, RestLimits, RpcLimits};
pub use rest::{AUTHORISED, Endpoint, RestServer, Token, endpoints};
pub use rpc::{Called, Calls, Network, RpcServer};
