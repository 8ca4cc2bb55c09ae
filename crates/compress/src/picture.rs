//! Pictures of plans and of what pruning costs, as SVG.

use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::Color;

use crate::Error;
use crate::plan::{LayerPlan, Plan};
use crate::sensitivity::Sensitivity;

const INK: RGBColor = RGBColor(40, 48, 56);
const KEPT: RGBColor = RGBColor(31, 95, 139);
const GONE: RGBColor = RGBColor(225, 229, 233);
/// Lines of different layers and methods; after these, thinner.
const LINES: [RGBColor; 8] = [
    RGBColor(31, 95, 139),
    RGBColor(200, 82, 0),
    RGBColor(60, 130, 60),
    RGBColor(140, 60, 140),
    RGBColor(160, 120, 20),
    RGBColor(20, 140, 150),
    RGBColor(180, 40, 70),
    RGBColor(110, 110, 110),
];

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

/// Layers that are drawn one below the other; of more, the largest.
const MOST_LAYERS: usize = 32;
/// Cells of a pattern, down and across.
const CELLS: (usize, usize) = (64, 160);

/// How dense each layer is, and below it the pattern of the largest layer's connections (figure 5 of the paper).
///
/// # Errors
/// [`Error::Drawing`] for a plan without layers.
pub fn plan(plan: &Plan) -> Result<String, Error> {
    let mut layers: Vec<&LayerPlan> = plan.layers.iter().collect();
    if layers.len() > MOST_LAYERS {
        layers.sort_by_key(|layer| std::cmp::Reverse(layer.mask.len()));
        layers.truncate(MOST_LAYERS);
    }
    let Some(largest) = layers.iter().max_by_key(|layer| layer.mask.len()) else {
        return Err(Error::Drawing("the plan has no layers".into()));
    };
    let bars = 22 * layers.len() as i32 + 50;
    svg((980, (bars + 330) as u32), |area| {
        let (kept, all) = plan.counts();
        let title = format!("{}: {kept} of {all} weights stay", plan.network);
        area.draw(&Text::new(title, (20, 12), ("sans-serif", 20).into_font().color(&INK)))?;
        for (index, layer) in layers.iter().enumerate() {
            let y = 46 + 22 * index as i32;
            let density = layer.mask.density();
            let width = 420.0;
            let told = format!("{:.1} % of {}", 100.0 * density, layer.mask.len());
            area.draw(&Text::new(layer.tensor.clone(), (20, y), ("sans-serif", 14).into_font().color(&INK)))?;
            area.draw(&Rectangle::new([(300, y), (300 + width as i32, y + 15)], GONE.filled()))?;
            area.draw(&Rectangle::new([(300, y), (300 + (width * density) as i32, y + 15)], KEPT.filled()))?;
            area.draw(&Text::new(told, (735, y), ("sans-serif", 14).into_font().color(&INK)))?;
        }
        pattern(area, largest, bars)
    })
}

/// The connections of a layer, outputs down and inputs across, as shares of cells.
fn pattern(area: &Area, layer: &LayerPlan, top: i32) -> Drawn {
    let rows = layer.shape.first().copied().unwrap_or(1).max(1);
    let columns = (layer.mask.len() / rows).max(1);
    let (down, across) = (rows.min(CELLS.0), columns.min(CELLS.1));
    let mut cells = vec![(0u32, 0u32); down * across];
    for weight in 0..layer.mask.len() {
        let cell = &mut cells[weight / columns * down / rows * across + weight % columns * across / columns];
        cell.0 += u32::from(layer.mask.stays(weight));
        cell.1 += 1;
    }
    let told = format!("{}: {rows} outputs down, {columns} inputs across", layer.tensor);
    area.draw(&Text::new(told, (20, top), ("sans-serif", 14).into_font().color(&INK)))?;
    let most = cells.iter().map(|&(kept, all)| f64::from(kept) / f64::from(all.max(1))).fold(0.0, f64::max).max(1e-9);
    let (width, height) = (940.0 / across as f64, 270.0 / down as f64);
    for (index, (kept, all)) in cells.into_iter().enumerate().filter(|(_, cell)| cell.0 > 0) {
        let share = f64::from(kept) / f64::from(all.max(1)) / most;
        let x = 20.0 + width * (index % across) as f64;
        let y = f64::from(top) + 22.0 + height * (index / across) as f64;
        let corner = (x as i32, y as i32);
        let opposite = ((x + width) as i32, (y + height).ceil() as i32);
        area.draw(&Rectangle::new([corner, opposite], KEPT.mix(share).filled()))?;
    }
    Ok(())
}

/// A line with its name.
#[derive(Debug, Clone)]
pub struct Line {
    /// In the legend.
    pub name: String,
    /// x and y.
    pub points: Vec<(f64, f64)>,
}

/// Lines over one axis.
///
/// # Errors
/// [`Error::Drawing`] if there is no finite point.
pub fn lines(title: &str, across: &str, up: &str, lines: &[Line]) -> Result<String, Error> {
    let points = || lines.iter().flat_map(|line| line.points.iter().copied()).filter(|(x, y)| (x + y).is_finite());
    let range = |of: fn((f64, f64)) -> f64| {
        let (least, most) = points().map(of).fold((f64::INFINITY, f64::NEG_INFINITY), |(a, b), v| (a.min(v), b.max(v)));
        let room = (0.04 * (most - least)).max(1e-9);
        (least - room)..(most + room)
    };
    if points().next().is_none() {
        return Err(Error::Drawing("there is no point to draw".into()));
    }
    svg((900, 520), |area| {
        let mut chart = ChartBuilder::on(area)
            .caption(title, ("sans-serif", 20).into_font().color(&INK))
            .margin(14)
            .x_label_area_size(42)
            .y_label_area_size(60)
            .build_cartesian_2d(range(|p| p.0), range(|p| p.1))?;
        chart.configure_mesh().light_line_style(WHITE).x_desc(across).y_desc(up).draw()?;
        for (index, line) in lines.iter().enumerate() {
            let colour = LINES[index % LINES.len()];
            let again = index / LINES.len() % 2 == 1;
            let points = line.points.iter().copied().filter(|(x, y)| (x + y).is_finite());
            let style = colour.stroke_width(if again { 1 } else { 2 });
            chart
                .draw_series(LineSeries::new(points.clone(), style).point_size(3))?
                .label(line.name.clone())
                .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], style));
        }
        chart
            .configure_series_labels()
            .background_style(WHITE.mix(0.85))
            .border_style(GONE)
            .position(SeriesLabelPosition::UpperLeft)
            .label_font(("sans-serif", 13))
            .draw()?;
        Ok(())
    })
}

/// Curves of error over the share of a layer that is removed (figure 6 of the paper).
///
/// # Errors
/// [`Error::Drawing`] if there is no layer.
pub fn sensitivity(scan: &Sensitivity) -> Result<String, Error> {
    let of_layer = |curve: &crate::sensitivity::Curve| Line {
        name: curve.tensor.clone(),
        points: std::iter::once((0.0, scan.error))
            .chain(curve.points.iter().map(|point| (100.0 * (1.0 - point.density), point.error)))
            .collect(),
    };
    // Of very many layers the most and the least sensitive are told apart; the others would hide them.
    let mut curves: Vec<_> = scan.layers.iter().collect();
    if curves.len() > 16 {
        let harm = |curve: &&crate::sensitivity::Curve| curve.points.iter().map(|point| point.loss).sum::<f64>();
        curves.sort_by(|a, b| harm(b).total_cmp(&harm(a)));
        let least = curves.split_off(curves.len() - 8);
        curves.truncate(8);
        curves.extend(least);
    }
    let drawn: Vec<Line> = curves.into_iter().map(of_layer).collect();
    let title = format!("{}: each layer pruned alone, not retrained", scan.network);
    lines(&title, "weights removed, %", "wrong answers, %", &drawn)
}
