//! Ids of a file, as vertices `0..n`.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use super::fault::Fault;

/// [`Digraph`](crate::Digraph) holds fewer vertices.
const TOO_MANY: u64 = u32::MAX as u64;

/// Turns the ids of a file into vertices while it is read, and knows how many there are.
#[derive(Debug, Default)]
pub struct Ids {
    /// The id of vertex 0.
    pub first: u64,
    /// How many vertices the file declares.
    declared: Option<u64>,
    /// One more than the largest vertex seen.
    seen: u64,
    appearance: Option<Appearance>,
}

/// Ids numbered by their first appearance.
#[derive(Debug, Default)]
struct Appearance {
    vertices: HashMap<u64, u32>,
    ids: Vec<u64>,
}

impl Ids {
    /// Ids from `first` on; with `relabel` they are numbered by first appearance. A file whose ids begin with 1 declares
    /// how many there are.
    pub fn from(first: u32, relabel: bool) -> Self {
        Self { first: first.into(), appearance: relabel.then(Appearance::default), ..Self::default() }
    }

    /// The file declares so many vertices.
    ///
    /// # Errors
    /// [`Fault::IdTooLarge`].
    pub fn declare(&mut self, vertices: u64) -> Result<(), Fault> {
        self.declared = Some(vertices);
        let last = vertices.saturating_add(self.first);
        if last >= TOO_MANY && self.appearance.is_none() { Err(Fault::IdTooLarge { id: last }) } else { Ok(()) }
    }

    /// Whether the file declares how many vertices there are.
    pub fn is_declared(&self) -> bool {
        self.declared.is_some()
    }

    /// The vertex with this id.
    ///
    /// # Errors
    /// [`Fault::IdRange`], [`Fault::IdTooLarge`].
    #[inline]
    pub fn vertex(&mut self, id: u64) -> Result<u32, Fault> {
        let vertex = id.wrapping_sub(self.first);
        if let Some(vertices) = self.declared
            && vertex >= vertices
        {
            return Err(Fault::IdRange { id, first: self.first, vertices });
        }
        if let Some(appearance) = &mut self.appearance {
            return appearance.vertex(id);
        }
        if vertex >= TOO_MANY - 1 {
            return Err(Fault::IdTooLarge { id });
        }
        self.seen = self.seen.max(vertex + 1);
        Ok(vertex as u32)
    }

    /// How many vertices there are.
    pub fn vertices(&self) -> u64 {
        match &self.appearance {
            Some(appearance) => appearance.ids.len() as u64,
            None => self.declared.unwrap_or(self.seen),
        }
    }

    /// Refuses a file of so few `lines` that most vertices can have no arc: it would take memory without bound.
    ///
    /// # Errors
    /// [`Fault::Sparse`].
    pub fn check_density(&self, lines: u64) -> Result<(), Fault> {
        let vertices = self.vertices();
        if vertices > 1_000_000 + 64 * lines { Err(Fault::Sparse { vertices, lines }) } else { Ok(()) }
    }

    /// The id of each vertex, if they were numbered by appearance.
    pub fn into_labels(self) -> Option<Vec<u64>> {
        self.appearance.map(|appearance| appearance.ids)
    }
}

impl Appearance {
    fn vertex(&mut self, id: u64) -> Result<u32, Fault> {
        match self.vertices.entry(id) {
            Entry::Occupied(known) => Ok(*known.get()),
            Entry::Vacant(unknown) => {
                let next = u32::try_from(self.ids.len()).ok().filter(|&next| u64::from(next) < TOO_MANY - 1);
                let next = next.ok_or(Fault::IdTooLarge { id })?;
                self.ids.push(id);
                Ok(*unknown.insert(next))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_stay_in_their_range() {
        let mut given = Ids::from(0, false);
        assert_eq!((given.vertex(0).unwrap(), given.vertex(6).unwrap(), given.vertices()), (0, 6, 7));
        for large in [u64::from(u32::MAX) - 1, 1 << 32, u64::MAX] {
            assert!(matches!(given.vertex(large), Err(Fault::IdTooLarge { .. })));
        }
        let mut declared = Ids::from(1, false);
        declared.declare(9).unwrap();
        assert!(declared.vertex(9).is_ok() && declared.vertices() == 9);
        for wrong in [0, 10, u64::MAX] {
            assert!(matches!(declared.vertex(wrong), Err(Fault::IdRange { .. })));
        }
    }

    #[test]
    fn ids_far_apart_are_numbered_by_appearance() {
        let mut ids = Ids::from(0, true);
        assert_eq!([u64::MAX - 1, 5, u64::MAX - 1, 0].map(|id| ids.vertex(id).unwrap()), [0, 1, 0, 2]);
        assert_eq!((ids.vertices(), ids.into_labels()), (3, Some(vec![u64::MAX - 1, 5, 0])));
    }
}
