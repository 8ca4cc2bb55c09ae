//! A graph and what is kept of it, as a map: G light, H dark, sources as dots.
//!
//! Arcs there and back are one line, thin where H keeps one of them. Lines that fall on the same pixels are drawn once
//! and strung together, so that the file grows with what can be seen, not with the graph. Of still more lines, one stands
//! for all that run between the same two squares of a grid, as coarse as need be.

use std::collections::HashMap;

use plotters::coord::Shift;
use plotters::prelude::*;

use crate::file::GraphFile;
use crate::{Digraph, Error};

/// The longer side of the map, in pixels.
const SIDE: f64 = 1600.0;
const MARGIN: i32 = 36;
/// Above the map: what it shows.
const HEAD: i32 = 60;
/// Most lines of one layer.
const MOST: usize = 150_000;

const GRAPH: RGBColor = RGBColor(178, 188, 199);
const KEPT: RGBColor = RGBColor(20, 84, 136);
const SOURCE: RGBColor = RGBColor(214, 82, 18);
const INK: RGBColor = RGBColor(40, 48, 56);

type Drawn<T> = Result<T, Box<dyn std::error::Error>>;
type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
type Place = (i32, i32);
/// Between two places, the lesser first.
type Line = (Place, Place);

/// An SVG of the graph in `file` by its coordinates, with `kept`, a part of it, and `sources`; `title` stands above.
///
/// # Errors
/// [`Error::NoCoordinates`]; [`Error::Drawing`] if there is no vertex.
pub fn svg(file: &GraphFile, kept: &Digraph, sources: &[u32], title: &str) -> Result<String, Error> {
    let coordinates = file.coordinates.as_ref().ok_or(Error::NoCoordinates)?;
    let map = Map::of(coordinates).ok_or_else(|| Error::Drawing("the graph has no vertices".into()))?;
    let mut text = String::new();
    draw(file, kept, sources, title, &map, &mut text).map_err(|error| Error::Drawing(error.to_string()))?;
    Ok(text)
}

fn draw(file: &GraphFile, kept: &Digraph, sources: &[u32], title: &str, map: &Map, text: &mut String) -> Drawn<()> {
    let (width, height) = map.size;
    let area = SVGBackend::with_string(text, (width as u32, height as u32)).into_drawing_area();
    area.fill(&WHITE)?;
    let (all, dark) = (Layer::of(&file.graph, map), Layer::of(kept, map));
    let beneath: Vec<_> = all.lines.iter().map(|line| line.0).filter(|line| dark.find(*line).is_none()).collect();
    let [one_way, both_ways] = [false, true]
        .map(|both| dark.lines.iter().filter(|line| line.1 == both).map(|line| line.0).collect::<Vec<_>>());
    strokes(&area, &beneath, GRAPH.stroke_width(1))?;
    let [thin, thick] = match dark.lines.len() {
        0..=2_000 => [2, 4],
        2_001..=60_000 => [1, 2],
        _ => [1, 1],
    };
    strokes(&area, &one_way, KEPT.stroke_width(thin))?;
    strokes(&area, &both_ways, KEPT.stroke_width(thick))?;
    let radius = match sources.len() {
        0..=30 => 7,
        31..=300 => 5,
        301..=3_000 => 3,
        _ => 2,
    };
    for &source in sources {
        let at = map.place(source);
        area.draw(&Circle::new(at, radius + 1, WHITE.filled()))?;
        area.draw(&Circle::new(at, radius, SOURCE.filled()))?;
    }
    area.draw(&Text::new(title.to_owned(), (MARGIN, 28), ("sans-serif", 30).into_font().color(&INK)))?;
    legend(&area, width)?;
    area.present()?;
    Ok(())
}

/// What the lines mean, at the upper right; the title speaks of the dots.
fn legend(area: &Area, width: i32) -> Drawn<()> {
    const COLUMN: i32 = 150;
    let entries = [("the graph", GRAPH, 2), ("kept one way", KEPT, 1), ("both ways", KEPT, 3)];
    let left = width - MARGIN - entries.len() as i32 * COLUMN;
    if left < width / 2 {
        return Ok(()); // the title stands there
    }
    for ((name, color, stroke), at) in entries.into_iter().zip(0..) {
        let x = left + at * COLUMN;
        area.draw(&PathElement::new([(x, 46), (x + 22, 46)], color.stroke_width(stroke)))?;
        area.draw(&Text::new(name, (x + 30, 36), ("sans-serif", 19).into_font().color(&INK)))?;
    }
    Ok(())
}

/// Draws lines, strung together where one goes on from another.
fn strokes(area: &Area, lines: &[Line], style: ShapeStyle) -> Drawn<()> {
    for string in strung(lines) {
        area.draw(&PathElement::new(string, style))?;
    }
    Ok(())
}

/// Where vertices lie on the drawing.
struct Map<'a> {
    coordinates: &'a [[f64; 2]],
    least: [f64; 2],
    scale: f64,
    size: Place,
}

impl<'a> Map<'a> {
    fn of(coordinates: &'a [[f64; 2]]) -> Option<Self> {
        let end = |axis: usize, of: fn(f64, f64) -> f64| coordinates.iter().map(|at| at[axis]).reduce(of);
        let least = [end(0, f64::min)?, end(1, f64::min)?];
        let extent = [end(0, f64::max)? - least[0], end(1, f64::max)? - least[1]];
        let longer = extent[0].max(extent[1]);
        let scale = if longer > 0.0 && longer.is_finite() { SIDE / longer } else { 0.0 };
        let [width, height] = extent.map(|extent| (extent * scale).min(SIDE).round() as i32);
        let size = (width.max(600) + 2 * MARGIN, height + 2 * MARGIN + HEAD);
        Some(Self { coordinates, least, scale, size })
    }

    /// The second coordinate grows upwards.
    fn place(&self, vertex: u32) -> Place {
        let at = self.coordinates[vertex as usize];
        let [x, y] = [0, 1].map(|axis| ((at[axis] - self.least[axis]) * self.scale).clamp(0.0, SIDE).round() as i32);
        (MARGIN + x, self.size.1 - MARGIN - y)
    }
}

/// The lines of a graph, ascending, each once, with whether it is walked both ways.
struct Layer {
    lines: Vec<(Line, bool)>,
}

impl Layer {
    fn of(graph: &Digraph, map: &Map) -> Self {
        let mut grain = 1;
        loop {
            let layer = Self::grained(graph, map, grain);
            if layer.lines.len() <= MOST || grain > 64 {
                return layer;
            }
            grain *= 2;
        }
    }

    /// With one line between any two squares of `grain` pixels.
    fn grained(graph: &Digraph, map: &Map, grain: i32) -> Self {
        let square = |(x, y): Place| (x / grain, y / grain);
        let line = |arc: crate::Arc| {
            let (from, to) = (map.place(arc.from), map.place(arc.to));
            let (line, forth) = ((from.min(to), from.max(to)), from < to);
            let ends = (square(line.0), square(line.1));
            (ends.0.min(ends.1), ends.0.max(ends.1), line, forth)
        };
        let mut ways: Vec<_> = graph.list().map(line).filter(|(from, to, ..)| from != to).collect();
        ways.sort_unstable();
        let both = |ways: &[(Place, Place, Line, bool)]| {
            ways.iter().any(|way| (way.2, way.3) == (ways[0].2, true) && !ways[0].3)
        };
        let lines = ways.chunk_by(|a, b| (a.0, a.1) == (b.0, b.1)).map(|ways| (ways[0].2, both(ways)));
        let mut lines: Vec<_> = lines.collect();
        lines.sort_unstable();
        Self { lines }
    }

    fn find(&self, line: Line) -> Option<usize> {
        self.lines.binary_search_by_key(&line, |line| line.0).ok()
    }
}

/// The lines as walks: each line once, each walk as long as it finds a line to go on with, at either end.
fn strung(lines: &[Line]) -> Vec<Vec<Place>> {
    let mut open: HashMap<Place, Vec<usize>> = HashMap::new();
    for (number, &(a, b)) in lines.iter().enumerate() {
        open.entry(a).or_default().push(number);
        open.entry(b).or_default().push(number);
    }
    let mut used = vec![false; lines.len()];
    let mut walks = Vec::new();
    for first in 0..lines.len() {
        if used[first] {
            continue;
        }
        used[first] = true;
        let mut walk = vec![lines[first].0, lines[first].1];
        for _end in 0..2 {
            let mut here = walk[walk.len() - 1];
            while let Some(number) =
                open.get_mut(&here).and_then(|open| std::iter::from_fn(|| open.pop()).find(|&number| !used[number]))
            {
                used[number] = true;
                here = if lines[number].0 == here { lines[number].1 } else { lines[number].0 };
                walk.push(here);
            }
            walk.reverse();
        }
        walks.push(walk);
    }
    walks
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::Arc;
    use crate::file::Format;

    fn square() -> GraphFile {
        let arcs = [(0, 1, 1.0), (1, 0, 1.0), (1, 2, 1.0), (2, 3, 1.0), (3, 0, 1.0)].map(Arc::from).to_vec();
        let mut file = GraphFile::new(Digraph::from_arcs(4, arcs).unwrap().0, Format::Dimacs);
        file.coordinates = Some(vec![[0.0, 0.0], [2.0, 0.0], [2.0, 1.0], [0.0, 1.0]]);
        file
    }

    #[test]
    fn what_is_kept_is_dark_and_the_rest_light() {
        let file = square();
        let kept = [(0, 1, 1.0), (1, 0, 1.0), (1, 2, 1.0)].map(Arc::from).to_vec();
        let text = svg(&file, &Digraph::from_arcs(4, kept).unwrap().0, &[2], "a square").unwrap();
        let with = |what: &str| text.lines().filter(|line| line.contains(what)).count();
        // The top and the left side, strung together; the side that is kept both ways; the one kept one way; the dot.
        assert_eq!((with("stroke=\"#B2BCC7\""), with("stroke=\"#145488\"")), (1 + 1, 2 + 2)); // and the legend
        assert!(
            text.contains("points=\"36,896 1636,896 \"") && text.contains("points=\"1636,96 1636,896 \""),
            "{text}"
        );
        assert_eq!((with("<circle"), with("fill=\"#D65212\"")), (2, 1));
        assert!(text.contains("a square"));
    }

    #[test]
    fn without_places_there_is_no_map() {
        let mut file = square();
        let none = Digraph::from_arcs(4, Vec::new()).unwrap().0;
        file.coordinates = Some(vec![[7.0, 7.0]; 4]); // all in one place: nothing to see, nothing to fail
        assert!(svg(&file, &none, &[0], "").is_ok());
        file.coordinates = None;
        assert!(matches!(svg(&file, &none, &[], ""), Err(Error::NoCoordinates)));
    }

    proptest! {
        #[test]
        fn every_line_is_drawn_once(lines in prop::collection::btree_set((0i32..9, 0i32..9), 0..60)) {
            let lines: Vec<Line> = lines.into_iter().filter(|(a, b)| a < b).map(|(a, b)| ((a, 0), (b, 0))).collect();
            let mut drawn = Vec::new();
            for walk in strung(&lines) {
                drawn.extend(walk.windows(2).map(|step| (step[0].min(step[1]), step[0].max(step[1]))));
            }
            drawn.sort_unstable();
            prop_assert_eq!(drawn, lines);
        }
    }
}
