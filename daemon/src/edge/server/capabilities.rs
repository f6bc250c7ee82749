//! What this daemon can do beyond the first daemons of its protocol.

/// Words of `Hello.capabilities`, each explained in the protocol guide. A word never changes its meaning.
pub(super) const CAPABILITIES: [&str; 6] = [
    "daemon-watch",
    "fork",
    "queue-editing",
    "search",
    "snapshots",
    "worlds",
];
