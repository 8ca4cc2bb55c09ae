//! Arcs as a file lists them, before they are a graph.

use super::decimal::Decimals;
use super::fault::Fault;
use super::ids::Ids;
use super::lines::Lines;
use crate::{Arc, Error};

/// What a reader has gathered.
#[derive(Debug, Default)]
pub(super) struct Listing {
    pub arcs: Vec<Arc>,
    pub ids: Ids,
    pub decimals: Decimals,
    /// Each edge stands for both directions.
    pub undirected: bool,
    /// The file says that 1 was added to all ids.
    pub zero_based: bool,
    /// The line that declares how many vertices there are, or the one with the largest id.
    pub header: u64,
    /// How many arcs or edges were listed.
    pub listed: u64,
}

impl Listing {
    /// Nothing yet, of ids from `first` on.
    pub fn from(first: u32, relabel: bool) -> Self {
        Self { ids: Ids::from(first, relabel), ..Self::default() }
    }

    /// The file's line `header` declares so many vertices.
    pub fn declare(&mut self, header: u64, vertices: u64) -> Result<(), Fault> {
        self.header = header;
        self.ids.declare(vertices)
    }

    /// An arc, by the file's ids.
    #[inline]
    pub fn add(&mut self, from: u64, to: u64, length: f64) -> Result<(), Fault> {
        let (from, to) = (self.ids.vertex(from)?, self.ids.vertex(to)?);
        self.arcs.push(Arc { from, to, length });
        self.listed += 1;
        Ok(())
    }

    /// An edge, which is two arcs, by the file's ids.
    pub fn add_edge(&mut self, a: u64, b: u64, length: f64) -> Result<(), Fault> {
        self.add(a, b, length)?;
        if a != b {
            let Arc { from, to, length } = self.arcs[self.arcs.len() - 1];
            self.arcs.push(Arc { from: to, to: from, length });
        }
        Ok(())
    }

    /// One more may be listed.
    #[inline]
    pub fn within(&self, what: &'static str, declared: Option<u64>) -> Result<(), Fault> {
        match declared {
            Some(declared) if self.listed >= declared => Err(Fault::Count { what, declared, found: self.listed + 1 }),
            _ => Ok(()),
        }
    }

    /// At the end: there was a header, and as much as it declared.
    pub fn complete(
        &self,
        lines: &Lines,
        expected: &'static str,
        what: &'static str,
        declared: Option<u64>,
    ) -> Result<(), Error> {
        match declared {
            None => Err(lines.fault(lines.number().max(1), Fault::Header { expected })),
            Some(declared) if declared != self.listed => {
                Err(lines.fault(self.header, Fault::Count { what, declared, found: self.listed }))
            }
            Some(_) => Ok(()),
        }
    }
}
