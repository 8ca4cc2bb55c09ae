//! The non-zeros of a matrix, row by row (CSR): what every layout is packed from.

/// Row r has the columns `columns[starts[r]..starts[r + 1]]`, ascending, and the values beside them.
#[derive(Debug, Clone)]
pub(super) struct NonZeros {
    pub inputs: usize,
    starts: Vec<usize>,
    columns: Vec<u32>,
    values: Vec<f32>,
}

impl NonZeros {
    /// Of `weights` `[outputs][inputs]`; a weight that equals 0 is absent.
    pub fn of(weights: &[f32], outputs: usize, inputs: usize) -> Self {
        let mut this =
            Self { inputs, starts: Vec::with_capacity(outputs + 1), columns: Vec::new(), values: Vec::new() };
        this.starts.push(0);
        for row in 0..outputs {
            let row = &weights[row * inputs..][..inputs];
            for (column, &value) in (0..).zip(row) {
                if value != 0.0 {
                    this.columns.push(column);
                    this.values.push(value);
                }
            }
            this.starts.push(this.values.len());
        }
        this
    }

    pub fn outputs(&self) -> usize {
        self.starts.len() - 1
    }

    pub fn count(&self) -> usize {
        self.values.len()
    }

    /// Columns and values of a row; none beyond the last row.
    pub fn row(&self, row: usize) -> (&[u32], &[f32]) {
        if row >= self.outputs() {
            return (&[], &[]);
        }
        let range = self.starts[row]..self.starts[row + 1];
        (&self.columns[range.clone()], &self.values[range])
    }
}
