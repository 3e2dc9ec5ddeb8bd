//! Proposes, verifies and finalises blocks; the only writer of state.
