//! Growth curves: bits against sites, vertices and updates, a panel each, both axes in logarithms.

use plotters::prelude::*;

use super::{Along, Growth};
use crate::Error;

const PANEL: (u32, u32) = (520, 460);

type Drawn = Result<(), Box<dyn std::error::Error>>;

/// An SVG with a panel for each quantity.
///
/// # Errors
/// [`Error::Drawing`] if there is nothing to draw.
pub fn svg(growth: &[Growth]) -> Result<String, Error> {
    let of = |along| growth.iter().filter(|growth| growth.along == along).collect::<Vec<_>>();
    let panels: Vec<_> = [Along::Sites, Along::Vertices, Along::Updates].map(|along| (along, of(along))).into();
    let panels: Vec<_> = panels.into_iter().filter(|panel| !panel.1.is_empty()).collect();
    if panels.is_empty() {
        return Err(Error::Drawing("nothing was measured at three points".into()));
    }
    let mut text = String::new();
    draw(&panels, &mut text).map_err(|error| Error::Drawing(error.to_string()))?;
    Ok(text)
}

fn draw(panels: &[(Along, Vec<&Growth>)], text: &mut String) -> Drawn {
    let size = (PANEL.0 * panels.len() as u32, PANEL.1);
    let area = SVGBackend::with_string(text, size).into_drawing_area();
    area.fill(&WHITE)?;
    for (area, (along, lines)) in area.split_evenly((1, panels.len())).into_iter().zip(panels) {
        let range = |of: fn(&(f64, f64)) -> f64, above: f64| {
            let values = || lines.iter().flat_map(|line| line.points.iter().map(of));
            values().fold(f64::INFINITY, f64::min) / 1.4..values().fold(0.0, f64::max) * above
        };
        let mut chart = ChartBuilder::on(&area)
            .caption(format!("Bits against {}", along.name()), ("sans-serif", 18))
            .margin(14)
            .x_label_area_size(40)
            .y_label_area_size(64)
            .build_cartesian_2d(range(|p| p.0, 1.4).log_scale(), range(|p| p.1, 6.0).log_scale())?;
        chart
            .configure_mesh()
            .x_desc(along.name())
            .y_desc("bits")
            .x_label_formatter(&|x| if *x < 1e4 { format!("{x:.0}") } else { format!("{x:.0e}") })
            .y_label_formatter(&|y| format!("{y:.0e}"))
            .light_line_style(WHITE)
            .draw()?;
        for (number, line) in lines.iter().enumerate() {
            let color = HSLColor(number as f64 * 0.618_034 % 1.0, 0.65, 0.42);
            let name = format!("{}, {}: exponent {:.2}", line.input, line.model.name(), line.exponent);
            chart
                .draw_series(LineSeries::new(line.points.iter().copied(), color.stroke_width(2)))?
                .label(name)
                .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], color.stroke_width(2)));
            chart.draw_series(line.points.iter().map(|&point| Circle::new(point, 3, color.filled())))?;
        }
        chart
            .configure_series_labels()
            .position(SeriesLabelPosition::UpperLeft)
            .background_style(WHITE.mix(0.85))
            .border_style(BLACK.mix(0.3))
            .label_font(("sans-serif", 12))
            .draw()?;
    }
    area.present()?;
    Ok(())
}
