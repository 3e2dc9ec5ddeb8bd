//! Speaks a node's REST interface for the command line and for tests.
