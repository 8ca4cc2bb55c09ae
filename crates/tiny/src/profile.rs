//! The memory profile as a picture: live bytes of every operator, as the file stands and in place.

use plotters::prelude::*;

use crate::error::Error;
use crate::inspect::Inspection;

/// Width and height of the drawing, in pixels.
const SIZE: (u32, u32) = (960, 420);
const STANDS: RGBColor = RGBColor(176, 190, 205);
const IN_PLACE: RGBColor = RGBColor(31, 95, 139);

/// An SVG of the live bytes (KiB) over the operators, in execution order.
///
/// # Errors
/// [`Error::Drawing`] if the network has no operators.
pub fn svg(inspection: &Inspection) -> Result<String, Error> {
    let operators = &inspection.operators;
    if operators.is_empty() {
        return Err(Error::Drawing(format!("{} has no operators", inspection.file)));
    }
    let mut text = String::new();
    draw(inspection, &mut text).map_err(|e| Error::Drawing(e.to_string()))?;
    Ok(text)
}

fn draw(inspection: &Inspection, text: &mut String) -> Result<(), Box<dyn std::error::Error>> {
    let operators = &inspection.operators;
    let kib = |bytes: u64| bytes as f64 / 1024.0;
    let top = kib(inspection.bound_bytes.max(1)) * 1.08;
    let area = SVGBackend::with_string(text, SIZE).into_drawing_area();
    area.fill(&WHITE)?;
    let file = inspection.file.rsplit('/').next().unwrap_or(&inspection.file);
    let mut chart = ChartBuilder::on(&area)
        .caption(format!("{file}: bytes alive while each operator runs"), ("sans-serif", 18))
        .margin(14)
        .x_label_area_size(40)
        .y_label_area_size(62)
        .build_cartesian_2d(0f64..operators.len() as f64, 0f64..top)?;
    chart
        .configure_mesh()
        .disable_x_mesh()
        .light_line_style(WHITE)
        .x_desc("operator")
        .y_desc("KiB")
        .x_label_formatter(&|x| format!("{x:.0}"))
        .y_label_formatter(&|y| format!("{y:.0}"))
        .draw()?;
    let mut bars = |color: RGBColor, label: String, inset: f64, bytes: fn(&crate::inspect::OperatorReport) -> u64| {
        let bar = |o: &crate::inspect::OperatorReport| {
            let x = o.index as f64;
            Rectangle::new([(x + inset, 0.0), (x + 1.0 - inset, kib(bytes(o)))], color.filled())
        };
        chart.draw_series(operators.iter().map(bar)).map(|series| {
            series.label(label).legend(move |(x, y)| Rectangle::new([(x, y - 5), (x + 14, y + 5)], color.filled()));
        })
    };
    let bytes = |n: u64| format!("{n} B ({:.1} KiB)", kib(n));
    bars(STANDS, format!("as the file stands: {}", bytes(inspection.bound_bytes)), 0.05, |o| o.live_bytes)?;
    bars(IN_PLACE, format!("in place: {}", bytes(inspection.lower_bound_bytes)), 0.2, |o| o.live_bytes_in_place)?;
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperRight)
        .background_style(WHITE.mix(0.85))
        .border_style(BLACK.mix(0.2))
        .label_font(("sans-serif", 14))
        .draw()?;
    area.present()?;
    Ok(())
}
