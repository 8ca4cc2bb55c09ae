//! Operators prepared one by one, over places and parts that the caller chooses: what executes a memory plan.

use std::ops::Range;
use std::sync::Arc;

use tersor_data::Elements;
use tersor_kernels::int8::fast::{Image, ImageMut, Region};

use super::local::{ByReference, Filled, Frame, Kernel, Local};
use super::{Call, Memory, Padded, Place, Preparation, operators};
use crate::error::Error;
use crate::graph::{Network, TensorId};
use crate::reference::Reference;

/// The operators of a network's main graph, to be prepared one by one.
pub struct Operators<'n> {
    network: &'n Network,
    reference: Reference,
    how: Preparation,
}

/// Where a part of an image lies in an arena.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// Its first byte.
    pub offset: usize,
    /// The rows and columns that it holds.
    pub region: Region,
    /// Rows kept at once: row `y` lies at `(y − region.rows.start) mod ring`.
    pub ring: usize,
}

/// A call of an operator in an arena.
pub struct Prepared(Call);

/// The arena, and what operators work in.
#[derive(Debug, Clone)]
pub struct Arena(Memory);

impl Part {
    fn bytes(&self, channels: usize) -> Range<usize> {
        self.offset..self.offset + self.ring * self.region.columns.len() * channels
    }

    fn image<'a>(&self, channels: usize, bytes: &'a [u8]) -> Image<'a> {
        Image::new(self.region.clone(), self.ring, channels, bytes)
    }
}

impl<'n> Operators<'n> {
    /// # Errors
    /// As [`Reference::prepare`].
    pub fn new(network: &'n Network, how: Preparation) -> Result<Self, Error> {
        how.isa.check();
        Ok(Self { network, reference: Reference::prepare(network, how.options)?, how })
    }

    fn fault(&self, node: usize, why: &str) -> Error {
        self.reference.fault(node, why.into())
    }

    fn site<'a>(&'a self, at: usize, places: &'a [Option<Place>], padded: Option<Padded>) -> operators::Site<'a> {
        let node = &self.network.main().nodes[at];
        let (reference, network, how) = (&self.reference, self.network, &self.how);
        operators::Site { reference, network, node, at, places, padded, how }
    }

    /// A whole operator; `offset` says where each tensor that it reads or writes lies.
    ///
    /// # Errors
    /// [`Error::Operator`] if its output would lie over its operands.
    pub fn whole(&self, node: usize, offset: impl Fn(TensorId) -> Option<usize>) -> Result<Prepared, Error> {
        let graph = self.network.main();
        let place = |(t, tensor): (usize, &crate::graph::Tensor)| {
            let (offset, element_type) = (offset(t)?, tensor.element_type()?);
            Some(Place { bytes: offset..offset + tensor.bytes() as usize, element_type })
        };
        let places: Vec<Option<Place>> = graph.tensors.iter().enumerate().map(place).collect();
        let of = |t: &TensorId| places[*t].as_ref().map(|p| p.bytes.clone());
        let reads: Vec<Range<usize>> = graph.nodes[node].inputs.iter().flatten().filter_map(of).collect();
        for write in graph.nodes[node].outputs.iter().filter_map(of) {
            if reads.iter().any(|read| meet(read, &write)) {
                return Err(self.fault(node, "its output lies over its operands"));
            }
        }
        Ok(Prepared(self.site(node, &places, None).call()))
    }

    /// An operator of which any part can be computed. With several `nodes`, each takes the output of the one before it;
    /// operands come in the order in which they are first read. `padding`: what a PAD that the first does puts before and
    /// after rows and columns.
    ///
    /// # Errors
    /// [`Error::Operator`] if an operator does not work on int8 images, or does not take what is done before it.
    pub fn local(&self, nodes: &[usize], padding: Option<[[usize; 2]; 2]>) -> Result<Local, Error> {
        let &[first, ref rest @ ..] = nodes else { panic!("a call does something") };
        let (mut local, mut done) = (self.one(first, padding)?, first);
        for &node in rest {
            local = self.then(local, done, node)?;
            done = node;
        }
        if !(1..=2).contains(&local.operands.len()) {
            return Err(self.fault(first, "takes neither one image nor two"));
        }
        Ok(local)
    }

    /// Node `at` on images: by a fast kernel if there is one, else by the reference's.
    fn one(&self, at: usize, padding: Option<[[usize; 2]; 2]>) -> Result<Local, Error> {
        let node = &self.network.main().nodes[at];
        // What the first operand is called does not matter here; its place is given.
        let source = node.inputs.first().copied().flatten().unwrap_or_default();
        let padded = padding.map(|around| Padded { source, around });
        let site = self.site(at, &[], padded);
        match site.local() {
            Some(local) if Some(local.output) == site.frame(node.outputs[0]) => Ok(local),
            _ => self.by_reference(at, padding),
        }
    }

    fn by_reference(&self, at: usize, padding: Option<[[usize; 2]; 2]>) -> Result<Local, Error> {
        let graph = self.network.main();
        let node = &graph.nodes[at];
        let constants = &self.reference.graphs[0].constants;
        let site = self.site(at, &[], None);
        let frame = |t: TensorId| site.frame(t).ok_or_else(|| self.fault(at, "its tensors are not int8"));
        let (mut operands, mut images) = (Vec::new(), Vec::new());
        for (i, &t) in node.inputs.iter().enumerate() {
            let constant = t.and_then(|t| constants.get(&t)).cloned();
            operands.push(match (t, constant) {
                (Some(t), None) => {
                    let whole = frame(t)?;
                    let around = padding.filter(|_| i == 0).unwrap_or_default();
                    let [[top, bottom], [left, right]] = around;
                    let zero = graph.tensors[t].quantization.as_ref().and_then(|q| q.affine());
                    let inner = whole.height.checked_sub(top + bottom).zip(whole.width.checked_sub(left + right));
                    let (height, width) = inner.ok_or_else(|| self.fault(at, "is padded beyond its input"))?;
                    images.push(Frame { height, width, channels: whole.channels });
                    Filled::Image {
                        operand: images.len() - 1,
                        bytes: whole.bytes(),
                        width: whole.width,
                        before: [top, left],
                        fill: zero.map_or(0, |q| q.zero_point) as i8,
                    }
                }
                (_, constant) => Filled::Constant(constant.unwrap_or_else(|| Elements::U8(Vec::new()).into())),
            });
        }
        let output = frame(node.outputs[0])?;
        let kernel = Kernel::Reference(ByReference { kernel: self.reference.kernel(at), operands });
        Ok(Local { kernel, operands: images, output, row_work: 0 })
    }

    /// `local`, which computes what `done` gives, and then node `at` on it.
    fn then(&self, local: Local, done: usize, at: usize) -> Result<Local, Error> {
        let graph = self.network.main();
        let constants = &self.reference.graphs[0].constants;
        let second = self.one(at, None)?;
        let given: Vec<TensorId> =
            graph.nodes[at].inputs.iter().flatten().copied().filter(|t| !constants.contains_key(t)).collect();
        let position = given.iter().position(|t| graph.nodes[done].outputs.contains(t));
        let position = position.filter(|&i| second.operands[i] == local.output);
        let position = position.ok_or_else(|| self.fault(at, "does not take what is done before it"))?;
        let mut operands = local.operands.clone();
        operands.extend(second.operands.iter().enumerate().filter(|(i, _)| *i != position).map(|(_, frame)| *frame));
        let (output, row_work) = (second.output, local.row_work + second.row_work);
        Ok(Local { kernel: Kernel::Then(Box::new(local), Box::new(second), position), operands, output, row_work })
    }
}

impl Local {
    /// The computation of `region` in an arena, from parts of the operands to a part of the output; `None` if a part lies
    /// outside its image.
    ///
    /// What the region needs must be in the parts: that is seen when it runs.
    pub fn part(self: &Arc<Self>, reads: &[Part], write: &Part, region: Region) -> Option<Prepared> {
        let (local, frames) = (self.clone(), self.operands.clone());
        let within = |part: &Part, frame: &Frame| {
            let (rows, columns) = (&part.region.rows, &part.region.columns);
            rows.end <= frame.height && columns.end <= frame.width && !rows.is_empty() && !columns.is_empty()
        };
        let output = local.output();
        let inside = region.rows.start >= write.region.rows.start
            && region.rows.end <= write.region.rows.end
            && region.columns.start >= write.region.columns.start
            && region.columns.end <= write.region.columns.end;
        let fit = reads.len() == frames.len() && reads.iter().zip(&frames).all(|(part, frame)| within(part, frame));
        if !fit || !within(write, &output) || !inside {
            return None;
        }
        let (reads, write) = (reads.to_vec(), write.clone());
        let to = write.bytes(output.channels);
        let apart = reads.iter().zip(&frames).all(|(part, frame)| !meet(&part.bytes(frame.channels), &to));
        if apart {
            return Some(Prepared(Box::new(move |memory| {
                let Memory { bytes, workspaces, .. } = memory;
                let (before, rest) = bytes.split_at_mut(to.start);
                let (out, after) = rest.split_at_mut(to.len());
                let image = |i: usize| {
                    let span = reads[i].bytes(frames[i].channels);
                    let bytes = if span.start < to.start {
                        &before[span]
                    } else {
                        &after[span.start - to.end..span.end - to.end]
                    };
                    reads[i].image(frames[i].channels, bytes)
                };
                let out = ImageMut::new(write.region.clone(), write.ring, output.channels, out);
                match frames.len() {
                    1 => local.apply(&[image(0)], out, &region, workspaces),
                    _ => local.apply(&[image(0), image(1)], out, &region, workspaces),
                }
            })));
        }
        // Where the output overlaps an operand, firmware goes pixel by pixel; here the part is computed beside the arena.
        Some(Prepared(Box::new(move |memory| {
            let Memory { bytes, workspaces, beside, .. } = memory;
            let size = region.rows.len() * region.columns.len() * output.channels;
            beside.resize(beside.len().max(size), 0);
            let image = |i: usize| {
                let channels = frames[i].channels;
                reads[i].image(channels, &bytes[reads[i].bytes(channels)])
            };
            let out = ImageMut::new(region.clone(), region.rows.len(), output.channels, beside);
            match frames.len() {
                1 => local.apply(&[image(0)], out, &region, workspaces)?,
                _ => local.apply(&[image(0), image(1)], out, &region, workspaces)?,
            }
            let from = Image::new(region.clone(), region.rows.len(), output.channels, beside);
            let mut out = ImageMut::new(write.region.clone(), write.ring, output.channels, &mut bytes[to.clone()]);
            copy(&from, &mut out, &region);
            Ok(())
        })))
    }
}

fn meet(a: &Range<usize>, b: &Range<usize>) -> bool {
    a.start < b.end && b.start < a.end
}

fn copy(from: &Image, to: &mut ImageMut, region: &Region) {
    match (from.run(region), to.run(region)) {
        (Some(from), Some(to)) => to.copy_from_slice(from),
        _ => {
            for y in region.rows.clone() {
                to.span(y, region.columns.clone()).copy_from_slice(from.span(y, region.columns.clone()));
            }
        }
    }
}

impl Prepared {
    /// Computes in `arena`.
    ///
    /// # Errors
    /// Why the values cannot be computed.
    pub fn run(&self, arena: &mut Arena) -> Result<(), String> {
        (self.0)(&mut arena.0)
    }
}

impl Arena {
    /// An arena of `bytes` zeros, for operators on `threads` threads.
    pub fn new(bytes: usize, threads: usize) -> Self {
        Self(Memory::new(bytes, threads))
    }

    /// Bytes of tensors; int8 as `x + 128`.
    pub fn bytes(&self) -> &[u8] {
        &self.0.bytes
    }

    /// As [`bytes`](Self::bytes), to be written.
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.0.bytes
    }
}
