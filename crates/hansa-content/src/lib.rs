//! Turns files into UnixFS blocks and back, and keeps blocks with their pins.
