//! The checksum that ties each event to the one before it.
//!
//! SQLite itself notices few flipped bits, and a flipped write-ahead log silently becomes a shorter
//! history. A chain tells both: every link covers the event's bytes, its place and its predecessor.

use quire_proto::id::SessionId;
use rusqlite::{
    ToSql,
    types::{FromSql, FromSqlError, FromSqlResult, ToSqlOutput, ValueRef},
};
use sha2::{Digest, Sha256};

/// The first 16 bytes of a SHA-256: enough against rot, which is not an adversary.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Chain([u8; 16]);

impl Chain {
    /// Before the first event.
    pub(super) const START: Self = Self([0; 16]);

    /// The link after this one.
    pub(super) fn next(self, session: &SessionId, seq: u64, body: &[u8]) -> Self {
        let digest = Sha256::new()
            .chain_update(self.0)
            .chain_update(session.as_str())
            .chain_update(seq.to_le_bytes())
            .chain_update(body)
            .finalize();
        let mut link = [0; 16];
        link.copy_from_slice(&digest[..16]);
        Self(link)
    }

    /// As it is kept outside the database.
    pub(super) fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }

    /// What [`as_bytes`](Self::as_bytes) gave.
    pub(super) fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }
}

impl ToSql for Chain {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(ValueRef::Blob(&self.0)))
    }
}

impl FromSql for Chain {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        let bytes = value.as_blob()?;
        let link = bytes
            .try_into()
            .map_err(|_| FromSqlError::InvalidBlobSize {
                expected_size: 16,
                blob_size: bytes.len(),
            })?;
        Ok(Self(link))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_input_changes_the_link() {
        let (one, two) = (SessionId::random(), SessionId::random());
        let link = Chain::START.next(&one, 1, b"body");
        let others = [
            Chain::START.next(&two, 1, b"body"),
            Chain::START.next(&one, 2, b"body"),
            Chain::START.next(&one, 1, b"bodx"),
            link.next(&one, 1, b"body"),
        ];
        for (index, other) in others.into_iter().enumerate() {
            assert_ne!(link, other, "for input {index}");
        }
        assert_eq!(link, Chain::START.next(&one, 1, b"body"));
    }
}
