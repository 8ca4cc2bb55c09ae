//! What lies in Flash besides code: weights, multipliers, tables, each stored once.

use std::collections::HashMap;

/// Position in [`Firmware::constants`].
pub type ConstantId = usize;

/// Data for Flash, of one type.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Constant {
    /// Weights, shifts, constant operands.
    I8(Vec<i8>),
    /// Tables of 8-bit values and other bytes.
    U8(Vec<u8>),
    /// Source rows and columns.
    U16(Vec<u16>),
    /// Biases, mantissas, weights of interpolation.
    I32(Vec<i32>),
}

impl Constant {
    /// Bytes in Flash.
    pub fn bytes(&self) -> usize {
        match self {
            Self::I8(v) => v.len(),
            Self::U8(v) => v.len(),
            Self::U16(v) => 2 * v.len(),
            Self::I32(v) => 4 * v.len(),
        }
    }
}

/// Constants, each stored once.
#[derive(Default)]
pub(super) struct Store {
    pub(super) all: Vec<Constant>,
    known: HashMap<Constant, ConstantId>,
}

impl Store {
    /// The position of `constant`, which is stored if it is new.
    pub(super) fn keep(&mut self, constant: Constant) -> ConstantId {
        if let Some(&id) = self.known.get(&constant) {
            return id;
        }
        self.all.push(constant.clone());
        self.known.insert(constant, self.all.len() - 1);
        self.all.len() - 1
    }
}
