//! A plan as a picture: the arena over time, the bytes of each operator before and after, and what else was possible.

use plotters::coord::Shift;
use plotters::prelude::*;

use super::{Plan, Point};
use crate::error::Error;
use crate::inspect::Inspection;

const WIDTH: u32 = 960;
const ARENA: u32 = 420;
const BARS: u32 = 300;
const FRONT: u32 = 300;
const BEFORE: RGBColor = RGBColor(176, 190, 205);
const AFTER: RGBColor = RGBColor(31, 95, 139);

type Drawn<T> = Result<T, Box<dyn std::error::Error>>;
type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

/// An SVG of the arena over time, the live bytes of each operator with the file as it stands and under the plan, and the
/// Pareto front of peak and extra multiply-adds where there is one.
///
/// # Errors
/// [`Error::Drawing`] if the plan is empty.
pub fn svg(plan: &Plan, inspection: &Inspection, front: &[Point]) -> Result<String, Error> {
    if plan.order.is_empty() || plan.peak_bytes == 0 {
        return Err(Error::Drawing(format!("the plan of {} is empty", plan.file)));
    }
    let mut text = String::new();
    draw(plan, inspection, front, &mut text).map_err(|e| Error::Drawing(e.to_string()))?;
    Ok(text)
}

fn draw(plan: &Plan, inspection: &Inspection, front: &[Point], text: &mut String) -> Drawn<()> {
    let with_front = front.len() > 1;
    let height = ARENA + BARS + if with_front { FRONT } else { 0 };
    let area = SVGBackend::with_string(text, (WIDTH, height)).into_drawing_area();
    area.fill(&WHITE)?;
    let (top, rest) = area.split_vertically(ARENA);
    arena(plan, &top)?;
    let (middle, bottom) = rest.split_vertically(BARS);
    bars(plan, inspection, &middle)?;
    if with_front {
        points(plan, front, &bottom)?;
    }
    area.present()?;
    Ok(())
}

/// Every piece is a rectangle: from its first to its last position, from its first to its last byte.
fn arena(plan: &Plan, area: &Area) -> Drawn<()> {
    let file = plan.file.rsplit('/').next().unwrap_or(&plan.file);
    let steps = plan.order.len();
    let caption = format!("{file}: the arena over time, {} B", plan.peak_bytes);
    let mut chart = ChartBuilder::on(area)
        .caption(caption, ("sans-serif", 18))
        .margin(14)
        .x_label_area_size(36)
        .y_label_area_size(62)
        .build_cartesian_2d(0f64..steps as f64, 0f64..plan.peak_bytes as f64 / 1024.0)?;
    chart.configure_mesh().disable_mesh().x_desc("position in the order").y_desc("KiB").draw()?;
    chart.draw_series(plan.tensors.iter().flat_map(|piece| {
        // Neighbouring tensors get hues far apart.
        let hue = piece.index as f64 * 0.618_034 % 1.0;
        let corners = [
            (piece.first as f64, piece.offset as f64 / 1024.0),
            (piece.last as f64 + 1.0, (piece.offset + piece.bytes) as f64 / 1024.0),
        ];
        let color = HSLColor(hue, 0.45, 0.62);
        [Rectangle::new(corners, color.mix(0.75).filled()), Rectangle::new(corners, BLACK.mix(0.35).stroke_width(1))]
    }))?;
    chart.draw_series(plan.scratch.iter().filter_map(|s| {
        // Scratch is held while the step's output, which overlaps its operand, comes into being.
        let output = plan.steps.get(s.step)?.writes.first()?;
        let at = plan.tensors.get(*output)?.first as f64;
        let span = [(at, s.offset as f64 / 1024.0), (at + 1.0, (s.offset + s.bytes) as f64 / 1024.0)];
        Some(Rectangle::new(span, RED.filled()))
    }))?;
    Ok(())
}

/// Live bytes of each operator: as the file stands, and the most at any of its turns under the plan.
fn bars(plan: &Plan, inspection: &Inspection, area: &Area) -> Drawn<()> {
    let live = plan.live_bytes();
    let mut after = vec![0usize; inspection.operators.len()];
    for (&op, &bytes) in plan.order.iter().zip(&live) {
        // Overlapping pieces count once: no step takes more than the arena.
        after[op] = after[op].max(bytes.min(plan.peak_bytes));
    }
    let most = inspection.bound_bytes.max(plan.peak_bytes as u64) as f64 / 1024.0;
    let mut chart = ChartBuilder::on(area)
        .caption("SRAM of each operator: as the file stands, and planned", ("sans-serif", 16))
        .margin(14)
        .x_label_area_size(36)
        .y_label_area_size(62)
        .build_cartesian_2d(0f64..inspection.operators.len() as f64, 0f64..most * 1.05)?;
    chart.configure_mesh().disable_x_mesh().light_line_style(WHITE).x_desc("operator").y_desc("KiB").draw()?;
    let bar = |op: usize, bytes: f64, inset: f64, color: RGBColor| {
        let x = op as f64;
        Rectangle::new([(x + inset, 0.0), (x + 1.0 - inset, bytes / 1024.0)], color.filled())
    };
    chart.draw_series(inspection.operators.iter().map(|o| bar(o.index, o.live_bytes as f64, 0.05, BEFORE)))?;
    chart.draw_series(after.iter().enumerate().map(|(op, &bytes)| bar(op, bytes as f64, 0.2, AFTER)))?;
    Ok(())
}

/// Peak against extra work; the plan itself is the filled point.
fn points(plan: &Plan, front: &[Point], area: &Area) -> Drawn<()> {
    let share = |extra: u64| 100.0 * extra as f64 / plan.macs.max(1) as f64;
    let right = front.iter().map(|p| share(p.extra_macs)).fold(share(plan.extra_macs), f64::max).max(1.0);
    let top = front.iter().map(|p| p.estimated_bytes).max().unwrap_or(0).max(plan.peak_bytes) as f64 / 1024.0;
    let mut chart = ChartBuilder::on(area)
        .caption("Pareto front: peak against extra multiply-adds", ("sans-serif", 16))
        .margin(14)
        .x_label_area_size(36)
        .y_label_area_size(62)
        .build_cartesian_2d(0f64..right * 1.05, 0f64..top * 1.1)?;
    chart.configure_mesh().light_line_style(WHITE).x_desc("extra multiply-adds, %").y_desc("KiB").draw()?;
    let at = |p: &Point| (share(p.extra_macs), p.estimated_bytes as f64 / 1024.0);
    chart.draw_series(LineSeries::new(front.iter().map(at), AFTER))?;
    chart.draw_series(front.iter().map(|p| Circle::new(at(p), 3, AFTER.stroke_width(1))))?;
    let chosen = (share(plan.extra_macs), plan.peak_bytes as f64 / 1024.0);
    chart.draw_series([Circle::new(chosen, 5, AFTER.filled())])?;
    Ok(())
}
