//! Plans and decay, drawn: a mask as a grid, a pixel or a cell for each block, and weights over distance.

use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::Color;
use tersor_data::picture::Picture;

use crate::decay::{Curve, Decay};
use crate::mask::BlockMask;
use crate::quality::{self, Quality};
use crate::{Error, Grid};

const INK: RGBColor = RGBColor(40, 48, 56);
const READ: RGBColor = RGBColor(31, 95, 139);
const FITTED: RGBColor = RGBColor(200, 82, 0);
const NOTHING: RGBColor = RGBColor(238, 241, 244);

/// The side of a drawn grid, in pixels.
const SIDE: usize = 720;
const MARGIN: i32 = 20;
const HEAD: i32 = 44;
/// Cells along a side of a drawn grid, at most; of more blocks, several are one cell.
const CELLS: usize = 240;

type Drawn = Result<(), Box<dyn std::error::Error>>;
type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

fn svg(size: (u32, u32), draw: impl FnOnce(&Area) -> Drawn) -> Result<String, Error> {
    let mut text = String::new();
    let area = SVGBackend::with_string(&mut text, size).into_drawing_area();
    let drawn = area.fill(&WHITE).map_err(Into::into).and_then(|()| draw(&area)).and_then(|()| Ok(area.present()?));
    drop(area);
    drawn.map_err(|error| Error::Drawing(error.to_string()))?;
    Ok(text)
}

/// The mask as an SVG: queries down, keys across, the darker the more of a cell is read; `title` stands above.
///
/// # Errors
/// [`Error::Drawing`].
pub fn mask(mask: &BlockMask, title: &str) -> Result<String, Error> {
    let (down, across) = (mask.rows().min(CELLS), mask.across().min(CELLS));
    let side = (SIDE as i32 + 2 * MARGIN) as u32;
    svg((side, side + HEAD as u32), |area| {
        area.draw(&Text::new(title.to_owned(), (MARGIN, 16), ("sans-serif", 18).into_font().color(&INK)))?;
        let edge = |cell: usize, of: usize| (cell * SIDE / of) as i32;
        let all = [(MARGIN, HEAD + MARGIN), (MARGIN + SIDE as i32, HEAD + MARGIN + SIDE as i32)];
        area.draw(&Rectangle::new(all, NOTHING.filled()))?;
        for row in 0..down {
            let shares = cells(mask, row, down, across);
            let (top, bottom) = (HEAD + MARGIN + edge(row, down), HEAD + MARGIN + edge(row + 1, down));
            // Neighbours of one shade are one rectangle, so that the file grows with what can be seen.
            let mut from = 0;
            for run in shares.chunk_by(|a, b| a == b) {
                let corners = [(MARGIN + edge(from, across), top), (MARGIN + edge(from + run.len(), across), bottom)];
                from += run.len();
                if run[0] > 0 {
                    area.draw(&Rectangle::new(corners, READ.mix(f64::from(run[0]) / 16.0).filled()))?;
                }
            }
        }
        Ok(())
    })
}

/// The shares, in sixteenths rounded up, of the blocks in each cell of a row of cells that are read.
fn cells(mask: &BlockMask, row: usize, down: usize, across: usize) -> Vec<u8> {
    let mut read = vec![0usize; across];
    let rows = row * mask.rows() / down..(row + 1) * mask.rows() / down;
    for row in rows.clone() {
        for &column in mask.row(row) {
            // The cell `c` whose blocks `c·n/across` to `(c + 1)·n/across` hold this one.
            read[((column as usize + 1) * across - 1) / mask.across()] += 1;
        }
    }
    let blocks = |cell: usize| rows.len() * ((cell + 1) * mask.across() / across - cell * mask.across() / across);
    read.iter().enumerate().map(|(cell, read)| (16 * read).div_ceil(blocks(cell)) as u8).collect()
}

/// The mask as a picture, a pixel for each block: dark is read.
///
/// # Errors
/// [`Error::Drawing`].
pub fn mask_pixels(mask: &BlockMask) -> Result<Picture, Error> {
    let colour = |read: bool| if read { [READ.0, READ.1, READ.2] } else { [255; 3] };
    let rgb = mask.grid().into_iter().flat_map(colour).collect();
    let picture = Picture::new(mask.across(), mask.rows(), rgb);
    picture.ok_or_else(|| Error::Drawing("the grid is no picture".into()))
}

/// Mean weights over distance in time and in space, each with its exponential; the axis of weights is logarithmic.
///
/// # Errors
/// [`Error::Drawing`] if no weight is above 0.
pub fn decay(decay: &Decay, title: &str) -> Result<String, Error> {
    svg((960, 440), |area| {
        area.draw(&Text::new(title.to_owned(), (MARGIN, 14), ("sans-serif", 18).into_font().color(&INK)))?;
        let area = area.margin(HEAD, 8, 8, 8);
        let (left, right) = area.split_horizontally(472);
        curve(&left, &decay.all.temporal, "distance in time, frames", "α")?;
        curve(&right, &decay.all.spatial, "distance in space, tokens", "β")
    })
}

fn curve(area: &Area, curve: &Curve, across: &str, rate: &str) -> Drawn {
    let points: Vec<_> = curve.points.iter().filter(|point| point.weight > 0.0).collect();
    let logs = points.iter().map(|point| (point.distance as f64, point.weight.log10())).collect::<Vec<_>>();
    let (Some(first), Some(last)) = (logs.first(), logs.last()) else { return Err("no weight is above 0".into()) };
    let (low, high) = logs.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(a, b), (_, y)| (a.min(*y), b.max(*y)));
    let mut chart = ChartBuilder::on(area)
        .margin(10)
        .x_label_area_size(40)
        .y_label_area_size(56)
        .build_cartesian_2d(first.0..last.0.max(first.0 + 1.0), low - 0.1..high + 0.1)?;
    let power = |y: &f64| format!("{:.1e}", 10f64.powf(*y));
    let mesh = &mut chart.configure_mesh();
    mesh.light_line_style(WHITE).x_desc(across).y_desc("mean weight").y_label_formatter(&power).draw()?;
    chart.draw_series(LineSeries::new(logs.iter().copied(), READ.stroke_width(2)).point_size(3))?;
    if let Some(fit) = &curve.fit {
        let line = [first.0, last.0].map(|x| (x, fit.weight(x).log10()));
        let label = format!("{rate} = {:.3}, R² = {:.3}", fit.rate, fit.r2);
        chart
            .draw_series(LineSeries::new(line, FITTED.stroke_width(1)))?
            .label(label)
            .legend(|(x, y)| PathElement::new([(x, y), (x + 18, y)], FITTED));
        chart
            .configure_series_labels()
            .background_style(WHITE.mix(0.85))
            .border_style(NOTHING)
            .position(SeriesLabelPosition::UpperRight)
            .label_font(("sans-serif", 14))
            .draw()?;
    }
    Ok(())
}

/// The side of a token in a picture of clusters, and what lies between two frames, in pixels.
const TOKEN: usize = 6;

/// Clusters painted on the frames, in rows from left to right: a square for each token, a colour for each cluster. Tokens
/// behind those of the grid are not shown.
///
/// # Errors
/// [`Error::Tokens`] if there are fewer labels than the grid has tokens, [`Error::Parameter`] naming what is 0.
pub fn clusters(labels: &[u32], grid: &Grid) -> Result<Picture, Error> {
    let (tokens, s) = (grid.tokens()?, grid.tokens_per_frame()?);
    if labels.len() < tokens {
        let (frames, tokens) = (grid.frames, labels.len());
        return Err(Error::Tokens { what: "labels", tokens, frames, tokens_per_frame: s, text: 0 });
    }
    let across = grid.frames.isqrt() + usize::from(grid.frames.isqrt().pow(2) < grid.frames);
    let frame = [(grid.width + 1) * TOKEN, (grid.height + 1) * TOKEN];
    let (width, height) = (across * frame[0] - TOKEN, grid.frames.div_ceil(across) * frame[1] - TOKEN);
    let mut rgb = vec![255; 3 * width * height];
    for (y, line) in rgb.chunks_exact_mut(3 * width).enumerate() {
        for (x, pixel) in line.as_chunks_mut::<3>().0.iter_mut().enumerate() {
            let number = y / frame[1] * across + x / frame[0];
            let (row, column) = (y % frame[1] / TOKEN, x % frame[0] / TOKEN);
            if number < grid.frames && row < grid.height && column < grid.width {
                *pixel = colour(labels[number * s + row * grid.width + column]);
            }
        }
    }
    Picture::new(width, height, rgb).ok_or_else(|| Error::Drawing("the frames are no picture".into()))
}

/// Colours that are far apart for numbers that are near: hues by the golden section, in three shades.
fn colour(number: u32) -> [u8; 3] {
    let hue = (f64::from(number) * 0.618_033_988_749_895).fract();
    let (r, g, b) = HSLColor(hue, 0.65, [0.5, 0.35, 0.68][number as usize % 3]).rgb();
    [r, g, b]
}

/// The colours of methods.
const METHODS: [RGBColor; 8] = [
    READ,
    FITTED,
    RGBColor(46, 125, 50),
    RGBColor(123, 63, 152),
    RGBColor(130, 130, 130),
    RGBColor(176, 137, 0),
    RGBColor(0, 151, 167),
    RGBColor(194, 24, 91),
];

/// What plans keep over what they read: the share of the weight, and the error of the output; a line for each method.
///
/// # Errors
/// [`Error::Drawing`] if there are no points.
pub fn quality(curves: &[quality::Curve], title: &str) -> Result<String, Error> {
    svg((1140, 440), |area| {
        area.draw(&Text::new(title.to_owned(), (MARGIN, 14), ("sans-serif", 18).into_font().color(&INK)))?;
        let area = area.margin(HEAD, 8, 8, 8);
        let (left, rest) = area.split_horizontally(472);
        let (right, names) = rest.split_horizontally(472);
        qualities(&left, curves, "recall of the weight", |quality| quality.recall)?;
        qualities(&right, curves, "relative error of the output", |quality| quality.error)?;
        // Beside the charts, where no name hides a line.
        for (line, (curve, colour)) in (1..).zip(curves.iter().zip(METHODS.into_iter().cycle())) {
            let y = 24 * line;
            names.draw(&PathElement::new([(4, y), (22, y)], colour.stroke_width(2)))?;
            names.draw(&Text::new(curve.name.clone(), (30, y - 8), ("sans-serif", 14).into_font().color(&INK)))?;
        }
        Ok(())
    })
}

fn qualities(area: &Area, curves: &[quality::Curve], what: &str, value: fn(&Quality) -> f64) -> Drawn {
    let points = || curves.iter().flat_map(|curve| &curve.points);
    let most = |of: fn(f64, f64) -> f64, value: &dyn Fn(&Quality) -> f64| points().map(value).reduce(of);
    let (Some(widest), Some(highest)) = (most(f64::max, &|point| point.density), most(f64::max, &value)) else {
        return Err("there are no points".into());
    };
    let mut chart = ChartBuilder::on(area)
        .margin(10)
        .x_label_area_size(40)
        .y_label_area_size(56)
        .build_cartesian_2d(0.0..widest.max(0.01), 0.0..highest.max(0.01) * 1.05)?;
    chart.configure_mesh().light_line_style(WHITE).x_desc("density: pairs that are read").y_desc(what).draw()?;
    for (curve, colour) in curves.iter().zip(METHODS.into_iter().cycle()) {
        let line = curve.points.iter().map(|point| (point.density, value(point)));
        chart.draw_series(LineSeries::new(line, colour.stroke_width(2)).point_size(3))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Radial;

    #[test]
    fn a_mask_is_drawn_block_by_block_and_in_cells() {
        let small = BlockMask::from_grid(&[true, false, false, true], [1, 1], [2, 2]).unwrap();
        let drawn = mask(&small, "two & two").unwrap();
        assert!(drawn.starts_with("<svg") && drawn.contains("two &amp; two"));
        assert_eq!(drawn.matches("<rect").count(), 4, "paper, ground and two blocks");
        assert_eq!(mask_pixels(&small).unwrap().rgb()[..6], [31, 95, 139, 255, 255, 255]);
        let large = Radial { decay: 0.2, ..Radial::new(18, 3_840) }.plan().unwrap();
        assert!(mask(&large, "large").unwrap().len() < 2_000_000);
        assert_eq!(mask_pixels(&large).unwrap().width(), 540);
    }

    #[test]
    fn clusters_are_squares_of_colour_frame_by_frame() {
        let grid = Grid { frames: 3, height: 2, width: 3 };
        let labels: Vec<u32> = (0..18).collect();
        let picture = clusters(&labels, &grid).unwrap();
        assert_eq!((picture.width(), picture.height()), (2 * 24 - 6, 2 * 18 - 6));
        let at = |x: usize, y: usize| picture.rgb()[3 * (y * picture.width() + x)..][..3].to_vec();
        assert_eq!(at(0, 0), colour(0));
        assert_eq!(at(24 + 6, 6), colour(6 + 4), "the second frame, second row, second token");
        assert_eq!((at(20, 0), at(30, 20)), (vec![255; 3], vec![255; 3]), "between frames, and where there is none");
        let distinct: std::collections::HashSet<_> = (0..300).map(colour).collect();
        assert!(distinct.len() > 280, "{}", distinct.len());
        assert!(clusters(&labels[..17], &grid).unwrap_err().to_string().starts_with("labels has 17 tokens"));
    }

    #[test]
    fn qualities_are_a_line_for_each_method() {
        let point = |density: f64| Quality { density, recall: density, error: 1.0 - density };
        let curves = ["here", "there"].map(|name| quality::Curve::new(name, vec![point(0.1), point(0.4)]));
        let drawn = quality(&curves, "a head").unwrap();
        assert!(drawn.contains("here") && drawn.contains("there") && drawn.matches("<polyline").count() >= 4);
        assert!(quality(&[], "nothing").is_err());
    }

    #[test]
    fn every_block_lies_in_one_cell() {
        for blocks in [1, 2, 239, 240, 241, 479, 480, 540, 1_000] {
            let full = BlockMask::full([1, 1], [blocks, blocks]).unwrap();
            let cells_along = blocks.min(CELLS);
            for row in [0, cells_along / 2, cells_along - 1] {
                assert!(cells(&full, row, cells_along, cells_along).iter().all(|share| *share == 16), "{blocks}");
            }
        }
    }
}
