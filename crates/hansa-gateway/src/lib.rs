//! Serves a node's JSON-RPC and REST interfaces.
