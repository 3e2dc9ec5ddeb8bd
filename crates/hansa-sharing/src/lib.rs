//! Does what members do with data: protect, share, open, verify, recover.
