//! Composes one node from its parts and runs it.
