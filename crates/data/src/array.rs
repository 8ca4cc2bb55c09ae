//! A typed array in row-major order: what every reader returns and every writer takes.

use half::f16;
use serde::{Deserialize, Serialize};

/// A type that an array's elements may have.
pub trait Element: Copy + Default + PartialEq + Send + Sync + 'static {
    /// Bytes that one element takes.
    const BYTES: usize = size_of::<Self>();

    /// The element from its little-endian bytes, of which there are [`BYTES`](Self::BYTES).
    fn read_le(bytes: &[u8]) -> Self;

    /// Adds the element's little-endian bytes.
    fn put_le(self, to: &mut Vec<u8>);
}

impl Element for bool {
    fn read_le(bytes: &[u8]) -> Self {
        bytes[0] != 0
    }

    fn put_le(self, to: &mut Vec<u8>) {
        to.push(u8::from(self));
    }
}

macro_rules! number {
    ($($type:ty)*) => {
        $(impl Element for $type {
            fn read_le(bytes: &[u8]) -> Self {
                Self::from_le_bytes(bytes.try_into().expect("as many bytes as the type has"))
            }

            fn put_le(self, to: &mut Vec<u8>) {
                to.extend_from_slice(&self.to_le_bytes());
            }
        })*
    };
}
number!(i8 u8 i16 u16 i32 u32 i64 u64 f16 f32 f64);

/// Everything that knows all the types is written once, from the table below.
macro_rules! element_types {
    ($($variant:ident $type:ty, $name:literal, $as:ident;)*) => {
        /// The type of an array's elements.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
        #[serde(rename_all = "lowercase")]
        #[expect(missing_docs, reason = "the names say it")]
        pub enum ElementType {
            $($variant,)*
        }

        impl ElementType {
            /// Bytes that one element takes.
            pub const fn bytes(self) -> usize {
                match self {
                    $(Self::$variant => <$type>::BYTES,)*
                }
            }

            /// NumPy's name of the type (`int8`, `float32`, …).
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                }
            }
        }

        /// Elements of one type.
        #[derive(Debug, Clone, PartialEq)]
        #[expect(missing_docs, reason = "the names say it")]
        pub enum Elements {
            $($variant(Vec<$type>),)*
        }

        impl Elements {
            /// The type of the elements.
            pub fn element_type(&self) -> ElementType {
                match self {
                    $(Self::$variant(_) => ElementType::$variant,)*
                }
            }

            /// How many elements there are.
            pub fn len(&self) -> usize {
                match self {
                    $(Self::$variant(v) => v.len(),)*
                }
            }

            /// `count` zeros (`false` for booleans).
            pub fn zeros(element_type: ElementType, count: usize) -> Self {
                match element_type {
                    $(ElementType::$variant => Self::$variant(vec![<$type>::default(); count]),)*
                }
            }

            /// Elements from their little-endian bytes; `None` if `bytes` is not a whole number of elements.
            pub fn from_le_bytes(element_type: ElementType, bytes: &[u8]) -> Option<Self> {
                let size = element_type.bytes();
                bytes.len().is_multiple_of(size).then(|| match element_type {
                    $(ElementType::$variant => {
                        Self::$variant(bytes.chunks_exact(size).map(<$type>::read_le).collect())
                    })*
                })
            }

            /// The elements' little-endian bytes.
            pub fn to_le_bytes(&self) -> Vec<u8> {
                let mut bytes = Vec::with_capacity(self.len() * self.element_type().bytes());
                match self {
                    $(Self::$variant(v) => v.iter().for_each(|x| x.put_le(&mut bytes)),)*
                }
                bytes
            }

            /// The elements from `start` to `end`.
            ///
            /// # Panics
            /// If the range lies outside.
            pub fn slice(&self, start: usize, end: usize) -> Self {
                match self {
                    $(Self::$variant(v) => Self::$variant(v[start..end].to_vec()),)*
                }
            }

            /// Adds the elements of `other` behind these; `false`, and nothing added, if their types differ.
            pub fn append(&mut self, other: Self) -> bool {
                match (self, other) {
                    $((Self::$variant(v), Self::$variant(mut more)) => v.append(&mut more),)*
                    _ => return false,
                }
                true
            }

            $(#[doc = concat!("The elements, if they are `", stringify!($type), "`.")]
            pub fn $as(&self) -> Option<&[$type]> {
                match self {
                    Self::$variant(v) => Some(v),
                    _ => None,
                }
            })*
        }

        $(impl From<Vec<$type>> for Elements {
            fn from(v: Vec<$type>) -> Self {
                Self::$variant(v)
            }
        })*
    };
}

element_types! {
    Bool bool, "bool", as_bool;
    I8 i8, "int8", as_i8;
    U8 u8, "uint8", as_u8;
    I16 i16, "int16", as_i16;
    U16 u16, "uint16", as_u16;
    I32 i32, "int32", as_i32;
    U32 u32, "uint32", as_u32;
    I64 i64, "int64", as_i64;
    U64 u64, "uint64", as_u64;
    F16 f16, "float16", as_f16;
    F32 f32, "float32", as_f32;
    F64 f64, "float64", as_f64;
}

impl std::fmt::Display for ElementType {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

impl Elements {
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
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
