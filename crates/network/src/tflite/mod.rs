//! TensorFlow Lite files: [`read`] and [`write`].
//!
//! Source: the public schema, version 3d (`third_party/tflite-schema`). The bytes are verified before anything is
//! followed, and no count in the file is believed before it is checked against the bytes that are there.

mod options;
mod read;
mod write;

pub use read::{from_bytes, read};
pub use write::{to_bytes, write};
