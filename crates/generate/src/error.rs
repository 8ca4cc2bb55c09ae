//! What can be wrong with a plan, its parameters, or the queries and keys that are analysed.

/// An error that names the field, the tensor or the file.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
#[expect(missing_docs, reason = "the messages say what the fields are")]
pub enum Error {
    /// Reading or writing failed below; the message names the file.
    #[error(transparent)]
    Data(#[from] tersor_data::Error),

    /// Attention was refused: a number that is not finite, or sizes that mean nothing.
    #[error(transparent)]
    Attention(#[from] tersor_kernels::attention::Error),

    /// Training failed; the message says at which step or setting.
    #[cfg(feature = "video")]
    #[error(transparent)]
    Train(#[from] tersor_train::Error),

    /// The file of a model, or of adapters, is not what it should be.
    #[error("{}: {place}: {why}", file.display())]
    Model { file: std::path::PathBuf, place: String, why: String },

    /// A parameter out of its range.
    #[error("{field} is {value}; it must be {range}")]
    Parameter { field: &'static str, value: String, range: &'static str },

    /// More tokens, frames or blocks than a plan may have.
    #[error("{field} is {value}; at most {most} are possible{hint}")]
    TooLarge { field: &'static str, value: String, most: u64, hint: &'static str },

    /// Tokens that are not those of the video and the text.
    #[error(
        "{what} has {tokens} tokens, but {frames} frames of {tokens_per_frame} tokens and {text} of text are {}",
        frames.saturating_mul(*tokens_per_frame).saturating_add(*text)
    )]
    Tokens { what: &'static str, tokens: usize, frames: usize, tokens_per_frame: usize, text: usize },

    /// A tensor of another shape than needed.
    #[error("{what} has the shape {found:?}; expected {expected}")]
    Shape { what: String, found: Vec<usize>, expected: String },

    /// A query or key that is no number.
    #[error("{what} is {value} in head {head}, token {token}, dimension {dimension}; weights of it mean nothing")]
    NotFinite { what: &'static str, head: usize, token: usize, dimension: usize, value: f32 },

    /// Finite queries and keys whose product is not.
    #[error("query {query} times key {key} is {value} in head {head}; weights of it mean nothing, smaller values do")]
    Overflow { head: usize, query: usize, key: usize, value: f32 },

    /// Queries or keys that cannot be clustered.
    #[error("{what}, head {head}: {why}")]
    Clustering { what: &'static str, head: usize, why: tersor_kernels::kmeans::Error },

    /// Two plans that speak of different tokens or blocks.
    #[error("the plans differ in {what}: {here} and {there}")]
    Unlike { what: &'static str, here: usize, there: usize },

    /// Rows of blocks that are no plan.
    #[error("{field}: {why}")]
    Malformed { field: &'static str, why: String },

    /// A peer of the bench that fails, or answers otherwise than we do.
    #[error("{name}: {why}")]
    Peer { name: String, why: String },

    /// A picture that cannot be drawn.
    #[error("the picture cannot be drawn: {0}")]
    Drawing(String),
}

impl Error {
    pub(crate) fn parameter(field: &'static str, value: impl ToString, range: &'static str) -> Self {
        Self::Parameter { field, value: value.to_string(), range }
    }

    /// An error of a count that must be 1 at least.
    pub(crate) fn zero(field: &'static str) -> Self {
        Self::parameter(field, 0, "at least 1")
    }
}
