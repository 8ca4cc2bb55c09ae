//! How often each stretch occurs, as a picture: bars over the stretch, counts on a logarithmic axis.

use plotters::prelude::*;

use crate::Error;
use crate::verify::{BIN, Measured};

/// Width and height, in pixels.
const SIZE: (u32, u32) = (960, 420);
const BARS: RGBColor = RGBColor(31, 95, 139);
const ALLOWED: RGBColor = RGBColor(200, 82, 0);

/// An SVG of the histogram in `measured`, titled `title`, with a line at the stretch that is allowed.
///
/// # Errors
/// [`Error::Drawing`] if no pair was measured.
pub fn svg(measured: &Measured, allowed: Option<f64>, title: &str) -> Result<String, Error> {
    if measured.pairs == 0 {
        return Err(Error::Drawing("no pair was measured".into()));
    }
    let mut text = String::new();
    draw(measured, allowed, title, &mut text).map_err(|error| Error::Drawing(error.to_string()))?;
    Ok(text)
}

fn draw(
    measured: &Measured,
    allowed: Option<f64>,
    title: &str,
    text: &mut String,
) -> Result<(), Box<dyn std::error::Error>> {
    let last = measured.histogram.iter().rposition(|&count| count > 0).unwrap_or(0);
    let left_of = |bin: usize| 1.0 + BIN * bin as f64;
    let largest = left_of(last + 1);
    // The allowed stretch belongs into the picture, unless all bars would then be one.
    let right = allowed.filter(|&allowed| allowed < 20.0 * largest).map_or(largest, |allowed| allowed.max(largest));
    let right = 1.0 + (right - 1.0).max(0.5) * 1.03;
    let top = *measured.histogram.iter().max().unwrap_or(&1) as f64 * 2.0;
    let area = SVGBackend::with_string(text, SIZE).into_drawing_area();
    area.fill(&WHITE)?;
    let mut chart = ChartBuilder::on(&area)
        .caption(title, ("sans-serif", 18))
        .margin(14)
        .x_label_area_size(40)
        .y_label_area_size(72)
        .build_cartesian_2d(1.0..right, (0.7..top.max(10.0)).log_scale())?;
    chart
        .configure_mesh()
        .disable_x_mesh()
        .light_line_style(WHITE)
        .x_desc("stretch: round trip in H / round trip in G")
        .y_desc("pairs")
        .x_label_formatter(&|x| format!("{x:.1}"))
        .y_label_formatter(&|&y| if y < 1e4 { format!("{y:.0}") } else { format!("{y:.0e}") })
        .draw()?;
    let bars = measured.histogram.iter().enumerate().filter(|(_, count)| **count > 0);
    chart.draw_series(
        bars.map(|(bin, &count)| {
            Rectangle::new([(left_of(bin), 0.7), (left_of(bin + 1), count as f64)], BARS.filled())
        }),
    )?;
    if let Some(allowed) = allowed.filter(|&allowed| allowed <= right) {
        let line = [(allowed, 0.7), (allowed, top.max(10.0))];
        chart
            .draw_series([PathElement::new(line, ALLOWED.stroke_width(2))])?
            .label(format!("allowed: {allowed}"))
            .legend(|(x, y)| PathElement::new([(x, y), (x + 14, y)], ALLOWED.stroke_width(2)));
        chart
            .configure_series_labels()
            .position(SeriesLabelPosition::UpperMiddle)
            .background_style(WHITE.mix(0.85))
            .border_style(BLACK.mix(0.2))
            .label_font(("sans-serif", 14))
            .draw()?;
    }
    area.present()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Arc, Digraph, verify};

    #[test]
    fn bars_stand_where_there_are_pairs() {
        let ring: Vec<_> = (0..5).map(|v| Arc { from: v, to: (v + 1) % 5, length: 1.0 }).collect();
        let (part, _) = Digraph::from_arcs(5, ring.clone()).unwrap();
        let (whole, _) = Digraph::from_arcs(5, [ring, vec![(1, 0, 1.0).into()]].concat()).unwrap();
        let bars = |sources: &[u32], allowed| {
            let measured = verify::measure(&whole, &part, sources, allowed).unwrap();
            svg(&measured, allowed, "H against G").map(|text| text.matches("fill=\"#1F5F8B\"").count())
        };
        assert_eq!(bars(&[0, 1], Some(3.0)).unwrap(), 2);
        assert_eq!(bars(&[3], None).unwrap(), 1);
        assert!(bars(&[], None).is_err());
    }
}
