//! What is said, and what it costs: messages as bits.
//!
//! | message | bits |
//! | --- | --- |
//! | ADD(u, v, level, weight) | 2 + 2b + 5 + W |
//! | DEL(u, v) | 2 + 2b, and r where there are parallel edges |
//! | LEVEL(u, v, level) | 2 + 2b + 5, and r where there are parallel edges |
//! | END | 2 |
//! | CLEAR | 2 + 2b: a DEL whose ends are equal |
//! | the start: seed, n, k, c, ε | 64 + 4·32 |
//!
//! b = ⌈log2 n⌉. W is 0 for graphs without weights. A site that has c > 1 parallel edges between u and v in the
//! sparsifier says which it means in r = ⌈log2 c⌉ bits, counted in the order in which they were added. Fields stand in
//! the order shown, each with its least significant bit first.

use serde::{Deserialize, Serialize};

use super::bits::{Bits, Reader};
use crate::Error;

const TYPE: u32 = 2;
const LEVEL: u32 = 5;

/// A message of a site.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Message {
    /// An edge joins the sparsifier, with its weight in the graph; there it weighs 2^level times as much.
    Add {
        /// The lower end.
        u: u32,
        /// The higher end.
        v: u32,
        /// Its level.
        level: u8,
        /// Its weight in the graph.
        weight: f64,
    },
    /// An edge leaves the sparsifier.
    Del {
        /// The lower end.
        u: u32,
        /// The higher end.
        v: u32,
        /// Which of the site's parallel edges, in the order in which they were added.
        rank: u32,
    },
    /// An edge of the sparsifier has a lower level.
    Level {
        /// The lower end.
        u: u32,
        /// The higher end.
        v: u32,
        /// The new level.
        level: u8,
        /// Which of the site's parallel edges, in the order in which they were added.
        rank: u32,
    },
    /// That is all for this turn.
    End,
    /// All edges of the site leave the sparsifier.
    Clear,
}

/// The kinds of messages, as they are counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[expect(missing_docs, reason = "as the messages")]
pub enum Kind {
    Add = 0,
    Del = 1,
    Level = 2,
    End = 3,
    Clear = 4,
}

impl Kind {
    /// All kinds.
    pub const ALL: [Self; 5] = [Self::Add, Self::Del, Self::Level, Self::End, Self::Clear];

    /// The kind's name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Add => "add",
            Self::Del => "del",
            Self::Level => "level",
            Self::End => "end",
            Self::Clear => "clear",
        }
    }
}

impl Message {
    /// What kind of message it is.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Add { .. } => Kind::Add,
            Self::Del { .. } => Kind::Del,
            Self::Level { .. } => Kind::Level,
            Self::End => Kind::End,
            Self::Clear => Kind::Clear,
        }
    }
}

/// How many messages of each kind there were, and how many bits they took.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Tally {
    messages: [u64; 5],
    bits: [u64; 5],
}

impl Tally {
    /// Counts a message.
    pub fn count(&mut self, kind: Kind, bits: u64) {
        self.messages[kind as usize] += 1;
        self.bits[kind as usize] += bits;
    }

    /// Adds another count.
    pub fn add(&mut self, other: &Self) {
        for kind in 0..5 {
            self.messages[kind] += other.messages[kind];
            self.bits[kind] += other.bits[kind];
        }
    }

    /// How many messages of a kind there were.
    pub fn messages(&self, kind: Kind) -> u64 {
        self.messages[kind as usize]
    }

    /// How many bits those of a kind took.
    pub fn bits(&self, kind: Kind) -> u64 {
        self.bits[kind as usize]
    }

    /// How many messages there were.
    pub fn all_messages(&self) -> u64 {
        self.messages.iter().sum()
    }

    /// How many bits they took.
    pub fn all_bits(&self) -> u64 {
        self.bits.iter().sum()
    }
}

/// How messages about a graph are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Codec {
    /// b: the bits of a vertex.
    pub id_bits: u32,
    /// How weights are written.
    pub weights: Weights,
    vertices: u32,
}

impl Codec {
    /// For a graph of so many vertices.
    pub fn new(vertices: usize, weights: Weights) -> Self {
        let id_bits = vertices.max(1).next_power_of_two().trailing_zeros();
        Self { id_bits, weights, vertices: vertices as u32 }
    }

    /// Writes a message; `parallel` is how many edges of that site the sparsifier has between those ends.
    pub fn write(&self, bits: &mut Bits, message: &Message, parallel: usize) {
        let mut head = |kind: u64, u: u32, v: u32| {
            bits.push(kind, TYPE);
            bits.push(u.into(), self.id_bits);
            bits.push(v.into(), self.id_bits);
        };
        match *message {
            Message::Add { u, v, level, weight } => {
                head(Kind::Add as u64, u, v);
                bits.push(level.into(), LEVEL);
                bits.push(self.weights.encode(weight), self.weights.bits());
            }
            Message::Del { u, v, rank } => {
                head(Kind::Del as u64, u, v);
                bits.push(rank.into(), rank_bits(parallel));
            }
            Message::Level { u, v, level, rank } => {
                head(Kind::Level as u64, u, v);
                bits.push(level.into(), LEVEL);
                bits.push(rank.into(), rank_bits(parallel));
            }
            Message::Clear => head(Kind::Del as u64, 0, 0),
            Message::End => bits.push(Kind::End as u64, TYPE),
        }
    }

    /// The next message; `parallel` says how many edges of that site the sparsifier has between two ends.
    ///
    /// # Errors
    /// What is wrong: bits that end within a message, a vertex or rank that does not exist, no weight, ends not in order.
    pub fn read(&self, bits: &mut Reader<'_>, parallel: impl Fn(u32, u32) -> usize) -> Result<Message, String> {
        let kind = take(bits, TYPE)?;
        if kind == Kind::End as u64 {
            return Ok(Message::End);
        }
        let (u, v) = (self.vertex(bits)?, self.vertex(bits)?);
        if kind == Kind::Del as u64 && u == v {
            return Ok(Message::Clear);
        }
        if u >= v {
            return Err(format!("an edge between {u} and {v}: the lower end comes first"));
        }
        if kind == Kind::Add as u64 {
            let (level, weight) = (take(bits, LEVEL)? as u8, take(bits, self.weights.bits())?);
            let weight = self.weights.decode(weight).ok_or_else(|| format!("the edge {u} - {v} has no weight"))?;
            return Ok(Message::Add { u, v, level, weight });
        }
        let level = if kind == Kind::Level as u64 { Some(take(bits, LEVEL)? as u8) } else { None };
        let parallel = parallel(u, v);
        let rank = take(bits, rank_bits(parallel))? as u32;
        if rank as usize >= parallel {
            return Err(format!("edge {rank} of {parallel} between {u} and {v}"));
        }
        Ok(match level {
            Some(level) => Message::Level { u, v, level, rank },
            None => Message::Del { u, v, rank },
        })
    }

    fn vertex(&self, bits: &mut Reader<'_>) -> Result<u32, String> {
        let vertex = take(bits, self.id_bits)? as u32;
        let known = vertex < self.vertices;
        if known { Ok(vertex) } else { Err(format!("vertex {vertex} of {}", self.vertices)) }
    }

    /// The bits of one update, shipped as it is: whether it comes or goes, its ends, its weight.
    pub fn write_update(&self, bits: &mut Bits, insert: bool, (u, v): (u32, u32), weight: f64) {
        bits.push((!insert).into(), 1);
        bits.push(u.into(), self.id_bits);
        bits.push(v.into(), self.id_bits);
        bits.push(self.weights.encode(weight), self.weights.bits());
    }

    /// The next update: whether it comes or goes, its ends, its weight.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub fn read_update(&self, bits: &mut Reader<'_>) -> Result<(bool, (u32, u32), f64), String> {
        let insert = take(bits, 1)? == 0;
        let (u, v) = (self.vertex(bits)?, self.vertex(bits)?);
        let weight = self.weights.decode(take(bits, self.weights.bits())?);
        let weight = weight.ok_or_else(|| format!("the edge {u} - {v} has no weight"))?;
        if u < v { Ok((insert, (u, v), weight)) } else { Err(format!("an edge between {u} and {v}")) }
    }

    /// How many bits an update takes, shipped as it is.
    pub fn update_bits(&self) -> u64 {
        u64::from(1 + 2 * self.id_bits + self.weights.bits())
    }
}

fn take(bits: &mut Reader<'_>, width: u32) -> Result<u64, String> {
    bits.take(width).ok_or_else(|| format!("the bits end within a message, after {}", bits.position()))
}

/// ⌈log2 parallel⌉
fn rank_bits(parallel: usize) -> u32 {
    parallel.max(1).next_power_of_two().trailing_zeros()
}

/// How weights are written: in 0 bits where all are 1, as an f32 in 32, an f64 in 64, or cut in between.
///
/// Weights are above 0, so other widths write no sign: up to 31 bits are 8 of the exponent and the first ones of an
/// f32's mantissa, 33 to 63 are 11 of the exponent and the first ones of an f64's mantissa.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Weights(u32);

impl Weights {
    /// All weights are 1 and none is written.
    pub const NONE: Self = Self(0);
    /// Weights are written as f32.
    pub const F32: Self = Self(32);

    /// In so many bits, 8 to 64.
    ///
    /// # Errors
    /// [`Error::Parameter`].
    pub fn new(bits: u32) -> Result<Self, Error> {
        let value = f64::from(bits);
        let wrong = Error::Parameter { what: "weight bits", value, range: "8 to 64" };
        if (8..=64).contains(&bits) { Ok(Self(bits)) } else { Err(wrong) }
    }

    /// How many bits a weight takes.
    pub fn bits(self) -> u32 {
        self.0
    }

    /// The nearest weight that can be written: the one that everyone uses. Nothing if there is none above 0.
    pub fn round(self, weight: f64) -> Option<f64> {
        if !(weight > 0.0 && weight.is_finite()) {
            return None;
        }
        self.decode(self.encode(weight))
    }

    fn encode(self, weight: f64) -> u64 {
        // Half of the last bit that stays is added first: the nearest, and the next exponent where the mantissa is full.
        let cut = |pattern: u64, dropped: u32| (pattern + (1 << dropped >> 1)) >> dropped;
        match self.0 {
            0 => 0,
            bits @ ..=31 => cut((weight as f32).to_bits().into(), 31 - bits),
            32 => (weight as f32).to_bits().into(),
            bits @ ..=63 => cut(weight.to_bits(), 63 - bits),
            _ => weight.to_bits(),
        }
    }

    fn decode(self, code: u64) -> Option<f64> {
        let weight = match self.0 {
            0 => 1.0,
            bits @ ..=31 => f64::from(f32::from_bits((code << (31 - bits)) as u32)),
            32 => f64::from(f32::from_bits(code as u32)),
            bits @ ..=63 => f64::from_bits(code << (63 - bits)),
            _ => f64::from_bits(code),
        };
        (weight > 0.0 && weight.is_finite()).then_some(weight)
    }
}

/// What everyone must know before the first message.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Start {
    /// The public seed.
    pub seed: u64,
    /// n
    pub vertices: u32,
    /// k
    pub clusters: u32,
    /// How many times its leverage an edge is kept.
    pub c: f32,
    /// The error that c was chosen for, or 0.
    pub eps: f32,
}

impl Start {
    /// 192 bits.
    pub fn write(&self) -> Bits {
        let mut bits = Bits::default();
        bits.push(self.seed, 64);
        for word in [self.vertices, self.clusters, self.c.to_bits(), self.eps.to_bits()] {
            bits.push(word.into(), 32);
        }
        bits
    }

    /// Reads them, unless there are more or fewer bits.
    pub fn read(bits: &Bits) -> Option<Self> {
        let mut reader = bits.read();
        let seed = reader.take(64)?;
        let mut word = || reader.take(32).map(|word| word as u32);
        let (vertices, clusters, c, eps) = (word()?, word()?, f32::from_bits(word()?), f32::from_bits(word()?));
        (reader.left() == 0).then_some(Self { seed, vertices, clusters, c, eps })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_bits_of_the_papers_table_by_hand() {
        // n = 1000, b = 10, no weights: 3 ADD + 1 DEL + 2 END = 3·27 + 22 + 4 = 107.
        let codec = Codec::new(1000, Weights::NONE);
        let mut bits = Bits::default();
        let add = |v| Message::Add { u: 0, v, level: 3, weight: 1.0 };
        for message in [add(1), add(2), Message::End, Message::Del { u: 0, v: 2, rank: 0 }, add(999), Message::End] {
            codec.write(&mut bits, &message, 1);
        }
        assert_eq!((codec.id_bits, bits.len()), (10, 107));
        let start = Start { seed: 7, vertices: 1000, clusters: 4, c: 1.5, eps: 0.0 };
        assert_eq!((start.write().len(), Start::read(&start.write())), (192, Some(start)));
        assert_eq!(codec.update_bits(), 21);
        assert_eq!(Codec::new(1024, Weights::F32).update_bits(), 53);
    }

    #[test]
    fn weights_are_rounded_to_the_nearest_and_stay_there() {
        for bits in 8..=64 {
            let weights = Weights::new(bits).unwrap();
            for weight in [1.0, 0.1, 1e-30, 12345.678, 1e30, 0.999_999_999_999] {
                let round = weights.round(weight).unwrap();
                let mantissa = if bits <= 31 {
                    bits - 8
                } else if bits == 32 {
                    23
                } else {
                    (bits - 11).min(52)
                };
                let error = (round / weight - 1.0).abs();
                assert!(error <= 0.5f64.powi(mantissa as i32 + 1) * 1.000_001, "{bits}: {weight} {round}");
                assert_eq!(weights.round(round), Some(round));
            }
        }
        assert_eq!(Weights::F32.round(0.1), Some(f64::from(0.1f32)));
        assert_eq!([f64::NAN, 0.0, -1.0, f64::INFINITY, 1e300, 1e-300].map(|w| Weights::F32.round(w)), [None; 6]);
        assert!(Weights::new(7).is_err() && Weights::new(65).is_err());
    }

    fn messages() -> impl Strategy<Value = (Message, usize)> {
        let ends = (0u32..999).prop_flat_map(|u| (Just(u), u + 1..1000));
        (0..5, ends, 0u8..32, 1e-30f32..1e30, 1usize..9, 0u32..8).prop_map(|(kind, (u, v), level, weight, c, rank)| {
            let rank = rank % c as u32;
            let message = match kind {
                0 => Message::Add { u, v, level, weight: weight.into() },
                1 => Message::Del { u, v, rank },
                2 => Message::Level { u, v, level, rank },
                3 => Message::End,
                _ => Message::Clear,
            };
            (message, c)
        })
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(messages in proptest::collection::vec(messages(), 0..50)) {
            let codec = Codec::new(1000, Weights::F32);
            let mut bits = Bits::default();
            for (message, parallel) in &messages {
                codec.write(&mut bits, message, *parallel);
            }
            let mut reader = bits.read();
            for (message, parallel) in &messages {
                prop_assert_eq!(codec.read(&mut reader, |_, _| *parallel), Ok(*message));
            }
            prop_assert_eq!(reader.left(), 0);
        }

        #[test]
        fn any_bits_are_messages_or_a_fault(bytes in proptest::collection::vec(any::<u8>(), 0..60), n in 0usize..3000) {
            let length = 8 * bytes.len() as u64;
            let bits = Bits::from_bytes(bytes, length).unwrap();
            for weights in [Weights::NONE, Weights::F32, Weights(64), Weights(9)] {
                let (codec, mut reader) = (Codec::new(n, weights), bits.read());
                while reader.left() > 0 && codec.read(&mut reader, |u, v| (u + v) as usize % 4).is_ok() {}
                let mut reader = bits.read();
                while reader.left() > 0 && codec.read_update(&mut reader).is_ok() {}
            }
        }
    }
}
