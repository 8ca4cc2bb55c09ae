//! How parties reach each other: the protocols see this trait alone, so every transport carries the same bits.
//!
//! | file | idea |
//! | --- | --- |
//! | [`threads`] | parties are threads of one process |
//! | `mpi` | parties are ranks of an MPI job (Cargo feature `mpi`) |

use std::fmt;

use serde::Serialize;

use super::bits::Bits;
use crate::Error;

#[cfg(feature = "mpi")]
pub mod mpi;
pub mod threads;

/// Someone who takes part.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Party {
    /// Who must know the clusters, and keeps the board.
    Coordinator,
    /// Who watches a part of the graph, from 0.
    Site(usize),
}

impl fmt::Display for Party {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Coordinator => f.write_str("the coordinator"),
            Self::Site(site) => write!(f, "site {site}"),
        }
    }
}

/// Who hears what is said.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reach {
    /// Messages: a site is heard by the coordinator alone, the coordinator by every site, each at its own price.
    Messages,
    /// A board: whatever is written, all others read, at the price of one writing.
    Board,
}

impl Reach {
    /// How many times something said to `hearers` parties is sent.
    fn times(self, hearers: usize) -> u64 {
        match self {
            Self::Messages => hearers as u64,
            Self::Board => 1,
        }
    }
}

/// Bytes that travel before a message's own: what it is (1) and its length in bits (8).
pub const HEADER: usize = 9;

/// A party's door to the others.
///
/// What one party writes, each that hears it reads once, in order: a program knows from whom it reads next.
pub trait Link {
    /// Says `bits` to all that hear this party.
    ///
    /// # Errors
    /// [`Error::Lost`] naming a party that is gone.
    fn write(&mut self, bits: &Bits) -> Result<(), Error>;

    /// What `from` says next.
    ///
    /// # Errors
    /// [`Error::Lost`] if `from` is gone, [`Error::Silent`] if it gave no sign of life for the time-out,
    /// [`Error::Garbled`] if its bytes are no message.
    fn read(&mut self, from: Party) -> Result<Bits, Error>;

    /// A sign of life to all that hear this party, for the time of long work; no bits of the protocol.
    ///
    /// The coordinator gives them by itself while it reads: other sites wait for it then, and it waits for a site.
    ///
    /// # Errors
    /// As [`write`](Self::write).
    fn alive(&mut self) -> Result<(), Error>;

    /// Bytes that this party's writes took: of each its own and the [`HEADER`], once for each that hears it, on a board
    /// once. Signs of life, as many as the work took time, are not counted.
    fn wire_bytes(&self) -> u64;
}
