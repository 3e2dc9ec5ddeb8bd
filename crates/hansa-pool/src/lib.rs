//! Admits pending transactions and puts them in order.
