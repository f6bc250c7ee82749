//! The picker without a terminal or a daemon.
