//! Growth curves: seconds against arcs, both in logarithms, with the fitted exponent beside the theory's.

use plotters::prelude::*;

use super::{Growth, Report, Row};
use crate::Error;

const SIZE: (u32, u32) = (960, 640);

type Drawn = Result<(), Box<dyn std::error::Error>>;

/// An SVG of all rows: a line for each family, method and number of threads, and the theory's slope dashed.
///
/// # Errors
/// [`Error::Drawing`] of an empty report.
pub fn svg(report: &Report) -> Result<String, Error> {
    if report.rows.is_empty() {
        return Err(Error::Drawing("nothing was measured".into()));
    }
    let mut text = String::new();
    draw(report, &mut text).map_err(|error| Error::Drawing(error.to_string()))?;
    Ok(text)
}

/// One line: what is equal along it, and its points.
struct Line<'a> {
    name: String,
    method: &'static str,
    points: Vec<(f64, f64)>,
    growth: Option<&'a Growth>,
}

fn lines<'a>(report: &'a Report, along: &'static str) -> Vec<Line<'a>> {
    let several = |of: fn(&Row) -> usize| {
        let mut values: Vec<_> = report.rows.iter().map(of).collect();
        values.sort_unstable();
        values.dedup();
        values.len() > 1
    };
    let (threads, stretches) = (several(|row| row.threads), several(|row| row.stretch.to_bits() as usize));
    let mut lines: Vec<Line<'a>> = Vec::new();
    for row in &report.rows {
        let mut name = format!("{} {}", row.family, row.method);
        if threads {
            name += &format!(", {} threads", row.threads);
        }
        if stretches && row.method == "certified" {
            name += &format!(", t = {}", row.stretch);
        }
        let other = if along == "arcs" { row.sources } else { row.arcs };
        let what = if along == "arcs" { "sources" } else { "arcs" };
        if several(if along == "arcs" { |row| row.sources } else { |row| row.arcs }) {
            name += &format!(", {other} {what}");
        }
        let point = (if along == "arcs" { row.arcs } else { row.sources } as f64, row.seconds);
        match lines.iter_mut().find(|line| line.name == name) {
            Some(line) => line.points.push(point),
            None => {
                let growth = report.growth.iter().find(|growth| {
                    growth.along == along
                        && (growth.family, growth.method, growth.threads) == (row.family, row.method, row.threads)
                        && (growth.other, growth.stretch) == (other, row.stretch)
                });
                lines.push(Line { name, method: row.method, points: vec![point], growth });
            }
        }
    }
    lines
}

fn draw(report: &Report, text: &mut String) -> Drawn {
    let along = if report.growth.iter().any(|growth| growth.along == "arcs") { "arcs" } else { "sources" };
    let lines = lines(report, along);
    let range = |of: fn(&(f64, f64)) -> f64| {
        let values = || lines.iter().flat_map(|line| line.points.iter().map(of));
        let (least, most) = (values().fold(f64::INFINITY, f64::min), values().fold(0.0, f64::max));
        (least / 1.5).max(1e-9)..(most * 1.5).max(1e-8)
    };
    let area = SVGBackend::with_string(text, SIZE).into_drawing_area();
    area.fill(&WHITE)?;
    let mut chart = ChartBuilder::on(&area)
        .caption(format!("Seconds against {along}"), ("sans-serif", 20))
        .margin(14)
        .x_label_area_size(40)
        .y_label_area_size(60)
        .build_cartesian_2d(range(|point| point.0).log_scale(), range(|point| point.1).log_scale())?;
    chart
        .configure_mesh()
        .x_desc(along)
        .y_desc("seconds")
        .x_label_formatter(&|x| format!("{x:.0e}"))
        .y_label_formatter(&|y| if *y < 0.01 { format!("{y:.0e}") } else { format!("{y}") })
        .light_line_style(WHITE)
        .draw()?;
    for (number, line) in lines.iter().enumerate() {
        let color = HSLColor(number as f64 * 0.618_034 % 1.0, 0.65, 0.42);
        let exponent = line
            .growth
            .map_or(String::new(), |growth| format!(": exponent {:.2}, theory {:.2}", growth.seconds, growth.theory));
        let width = if line.method == "certified" { 2 } else { 1 };
        chart
            .draw_series(LineSeries::new(line.points.iter().copied(), color.stroke_width(width)))?
            .label(format!("{}{exponent}", line.name))
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], color.stroke_width(width)));
        chart.draw_series(line.points.iter().map(|&point| Circle::new(point, 3, color.filled())))?;
        if let (Some(growth), Some(&(x, y)), Some(&(last, _))) = (line.growth, line.points.first(), line.points.last())
        {
            // The theory's exponent, through the first point.
            const DASHES: i32 = 24;
            let at = |part: i32| {
                let along = x * (last / x).powf(f64::from(part) / f64::from(2 * DASHES - 1));
                (along, y * (along / x).powf(growth.theory))
            };
            chart.draw_series(
                (0..DASHES)
                    .map(|dash| PathElement::new([at(2 * dash), at(2 * dash + 1)], color.mix(0.5).stroke_width(1))),
            )?;
        }
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperLeft)
        .background_style(WHITE.mix(0.85))
        .border_style(BLACK.mix(0.3))
        .label_font(("sans-serif", 13))
        .draw()?;
    area.present()?;
    Ok(())
}
