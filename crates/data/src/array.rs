//! A typed array in row-major order: what every reader returns and every writer takes.

use half::f16;
use serde::{Deserialize, Serialize};

/// Calls `$body` with `$v` bound to the typed vector inside an [`Elements`], whatever its type.
#[macro_export]
macro_rules! for_each_type {
    ($elements:expr, $v:ident => $body:expr) => {
        match $elements {
            $crate::Elements::Bool($v) => $body,
            $crate::Elements::I8($v) => $body,
            $crate::Elements::U8($v) => $body,
            $crate::Elements::I16($v) => $body,
            $crate::Elements::U16($v) => $body,
            $crate::Elements::I32($v) => $body,
            $crate::Elements::U32($v) => $body,
            $crate::Elements::I64($v) => $body,
            $crate::Elements::U64($v) => $body,
            $crate::Elements::F16($v) => $body,
            $crate::Elements::F32($v) => $body,
            $crate::Elements::F64($v) => $body,
        }
    };
}

/// The type of an array's elements.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[expect(missing_docs, reason = "the names say it")]
pub enum ElementType {
    Bool,
    I8,
    U8,
    I16,
    U16,
    I32,
    U32,
    I64,
    U64,
    F16,
    F32,
    F64,
}

impl ElementType {
    /// Bytes that one element takes.
    pub const fn bytes(self) -> usize {
        match self {
            Self::Bool | Self::I8 | Self::U8 => 1,
            Self::I16 | Self::U16 | Self::F16 => 2,
            Self::I32 | Self::U32 | Self::F32 => 4,
            Self::I64 | Self::U64 | Self::F64 => 8,
        }
    }

    /// NumPy's name of the type (`int8`, `float32`, …).
    pub const fn name(self) -> &'static str {
        match self {
            Self::Bool => "bool",
            Self::I8 => "int8",
            Self::U8 => "uint8",
            Self::I16 => "int16",
            Self::U16 => "uint16",
            Self::I32 => "int32",
            Self::U32 => "uint32",
            Self::I64 => "int64",
            Self::U64 => "uint64",
            Self::F16 => "float16",
            Self::F32 => "float32",
            Self::F64 => "float64",
        }
    }
}

impl std::fmt::Display for ElementType {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// Elements of one type.
#[derive(Debug, Clone, PartialEq)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Elements {
    Bool(Vec<bool>),
    I8(Vec<i8>),
    U8(Vec<u8>),
    I16(Vec<i16>),
    U16(Vec<u16>),
    I32(Vec<i32>),
    U32(Vec<u32>),
    I64(Vec<i64>),
    U64(Vec<u64>),
    F16(Vec<f16>),
    F32(Vec<f32>),
    F64(Vec<f64>),
}

impl Elements {
    /// The type of the elements.
    pub fn element_type(&self) -> ElementType {
        match self {
            Self::Bool(_) => ElementType::Bool,
            Self::I8(_) => ElementType::I8,
            Self::U8(_) => ElementType::U8,
            Self::I16(_) => ElementType::I16,
            Self::U16(_) => ElementType::U16,
            Self::I32(_) => ElementType::I32,
            Self::U32(_) => ElementType::U32,
            Self::I64(_) => ElementType::I64,
            Self::U64(_) => ElementType::U64,
            Self::F16(_) => ElementType::F16,
            Self::F32(_) => ElementType::F32,
            Self::F64(_) => ElementType::F64,
        }
    }

    /// How many elements there are.
    pub fn len(&self) -> usize {
        for_each_type!(self, v => v.len())
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// `count` zeros (`false` for booleans).
    pub fn zeros(element_type: ElementType, count: usize) -> Self {
        match element_type {
            ElementType::Bool => Self::Bool(vec![false; count]),
            ElementType::I8 => Self::I8(vec![0; count]),
            ElementType::U8 => Self::U8(vec![0; count]),
            ElementType::I16 => Self::I16(vec![0; count]),
            ElementType::U16 => Self::U16(vec![0; count]),
            ElementType::I32 => Self::I32(vec![0; count]),
            ElementType::U32 => Self::U32(vec![0; count]),
            ElementType::I64 => Self::I64(vec![0; count]),
            ElementType::U64 => Self::U64(vec![0; count]),
            ElementType::F16 => Self::F16(vec![f16::ZERO; count]),
            ElementType::F32 => Self::F32(vec![0.0; count]),
            ElementType::F64 => Self::F64(vec![0.0; count]),
        }
    }

    /// Elements from their little-endian bytes; `None` if `bytes` is not a whole number of elements.
    pub fn from_le_bytes(element_type: ElementType, bytes: &[u8]) -> Option<Self> {
        /// Splits into arrays of `N` bytes and converts each.
        fn each<const N: usize, T>(bytes: &[u8], convert: fn([u8; N]) -> T) -> Vec<T> {
            let (chunks, _) = bytes.as_chunks::<N>();
            chunks.iter().map(|chunk| convert(*chunk)).collect()
        }
        if !bytes.len().is_multiple_of(element_type.bytes()) {
            return None;
        }
        Some(match element_type {
            ElementType::Bool => Self::Bool(bytes.iter().map(|&b| b != 0).collect()),
            ElementType::I8 => Self::I8(bytes.iter().map(|&b| b as i8).collect()),
            ElementType::U8 => Self::U8(bytes.to_vec()),
            ElementType::I16 => Self::I16(each(bytes, i16::from_le_bytes)),
            ElementType::U16 => Self::U16(each(bytes, u16::from_le_bytes)),
            ElementType::I32 => Self::I32(each(bytes, i32::from_le_bytes)),
            ElementType::U32 => Self::U32(each(bytes, u32::from_le_bytes)),
            ElementType::I64 => Self::I64(each(bytes, i64::from_le_bytes)),
            ElementType::U64 => Self::U64(each(bytes, u64::from_le_bytes)),
            ElementType::F16 => Self::F16(each(bytes, f16::from_le_bytes)),
            ElementType::F32 => Self::F32(each(bytes, f32::from_le_bytes)),
            ElementType::F64 => Self::F64(each(bytes, f64::from_le_bytes)),
        })
    }

    /// The elements' little-endian bytes.
    pub fn to_le_bytes(&self) -> Vec<u8> {
        match self {
            Self::Bool(v) => v.iter().map(|&b| b as u8).collect(),
            Self::I8(v) => v.iter().map(|&b| b as u8).collect(),
            Self::U8(v) => v.clone(),
            Self::I16(v) => v.iter().flat_map(|x| x.to_le_bytes()).collect(),
            Self::U16(v) => v.iter().flat_map(|x| x.to_le_bytes()).collect(),
            Self::I32(v) => v.iter().flat_map(|x| x.to_le_bytes()).collect(),
            Self::U32(v) => v.iter().flat_map(|x| x.to_le_bytes()).collect(),
            Self::I64(v) => v.iter().flat_map(|x| x.to_le_bytes()).collect(),
            Self::U64(v) => v.iter().flat_map(|x| x.to_le_bytes()).collect(),
            Self::F16(v) => v.iter().flat_map(|x| x.to_le_bytes()).collect(),
            Self::F32(v) => v.iter().flat_map(|x| x.to_le_bytes()).collect(),
            Self::F64(v) => v.iter().flat_map(|x| x.to_le_bytes()).collect(),
        }
    }

    /// The elements from `start` to `end`.
    ///
    /// # Panics
    /// If the range lies outside.
    pub fn slice(&self, start: usize, end: usize) -> Self {
        match self {
            Self::Bool(v) => Self::Bool(v[start..end].to_vec()),
            Self::I8(v) => Self::I8(v[start..end].to_vec()),
            Self::U8(v) => Self::U8(v[start..end].to_vec()),
            Self::I16(v) => Self::I16(v[start..end].to_vec()),
            Self::U16(v) => Self::U16(v[start..end].to_vec()),
            Self::I32(v) => Self::I32(v[start..end].to_vec()),
            Self::U32(v) => Self::U32(v[start..end].to_vec()),
            Self::I64(v) => Self::I64(v[start..end].to_vec()),
            Self::U64(v) => Self::U64(v[start..end].to_vec()),
            Self::F16(v) => Self::F16(v[start..end].to_vec()),
            Self::F32(v) => Self::F32(v[start..end].to_vec()),
            Self::F64(v) => Self::F64(v[start..end].to_vec()),
        }
    }
}

impl Elements {
    /// Adds the elements of `other` behind these; `false`, and nothing added, if their types differ.
    pub fn append(&mut self, other: Self) -> bool {
        macro_rules! typed {
            ($($variant:ident)*) => {
                match (self, other) {
                    $((Self::$variant(v), Self::$variant(mut more)) => v.append(&mut more),)*
                    _ => return false,
                }
            };
        }
        typed!(Bool I8 U8 I16 U16 I32 U32 I64 U64 F16 F32 F64);
        true
    }
}

/// An array: its shape (row-major, outermost first) and its elements.
///
/// The number of elements is always the product of the shape; an empty shape is one scalar.
#[derive(Debug, Clone, PartialEq)]
pub struct Array {
    shape: Vec<usize>,
    elements: Elements,
}

impl Array {
    /// An array of `elements` laid out in `shape`; `None` if their numbers differ.
    pub fn new(shape: impl Into<Vec<usize>>, elements: Elements) -> Option<Self> {
        let shape = shape.into();
        let count = shape.iter().try_fold(1usize, |n, &d| n.checked_mul(d))?;
        (count == elements.len()).then_some(Self { shape, elements })
    }

    /// Lengths of the axes, outermost first.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// The elements in row-major order.
    pub fn elements(&self) -> &Elements {
        &self.elements
    }

    /// The elements, without the shape.
    pub fn into_elements(self) -> Elements {
        self.elements
    }

    /// The type of the elements.
    pub fn element_type(&self) -> ElementType {
        self.elements.element_type()
    }

    /// How many elements there are.
    pub fn len(&self) -> usize {
        self.elements.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.elements.is_empty()
    }

    /// The same elements in another shape; `None` if the number of elements differs.
    pub fn reshaped(self, shape: impl Into<Vec<usize>>) -> Option<Self> {
        Self::new(shape, self.elements)
    }
}

/// Typed access, `None` when the elements have another type.
macro_rules! typed {
    ($($name:ident $variant:ident $t:ty),*) => {
        impl Elements {
            $(#[doc = concat!("The elements, if they are `", stringify!($t), "`.")]
            pub fn $name(&self) -> Option<&[$t]> {
                match self {
                    Self::$variant(v) => Some(v),
                    _ => None,
                }
            })*
        }
        $(impl From<Vec<$t>> for Elements {
            fn from(v: Vec<$t>) -> Self {
                Self::$variant(v)
            }
        })*
    };
}
typed!(as_bool Bool bool, as_i8 I8 i8, as_u8 U8 u8, as_i16 I16 i16, as_u16 U16 u16, as_i32 I32 i32, as_u32 U32 u32,
    as_i64 I64 i64, as_u64 U64 u64, as_f16 F16 f16, as_f32 F32 f32, as_f64 F64 f64);
