//! Stores ordered key-value pairs in atomic, durable batches.
