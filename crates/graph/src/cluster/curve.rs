//! A run over time, as a picture: the bits sent beside those of shipping everything, and the quality of the clusters.

use std::ops::Range;

use plotters::coord::Shift;
use plotters::coord::ranged1d::{AsRangedCoord, ValueFormatter};
use plotters::prelude::*;
use serde::{Deserialize, Serialize};

use crate::Error;

/// Width and height, in pixels.
const SIZE: (i32, i32) = (1120, 440);
/// Above the two halves: the title.
const HEAD: i32 = 44;
/// Above each chart: what its lines are.
const LEGEND: i32 = 26;
const LEFT_OF_CHART: i32 = 66;
const MARGIN: i32 = 14;

const OURS: RGBColor = RGBColor(31, 95, 139);
const CENTRAL: RGBColor = RGBColor(160, 170, 180);
const AGREEMENT: RGBColor = RGBColor(200, 82, 0);
const INK: RGBColor = RGBColor(40, 48, 56);

/// Larger numbers are not drawn: they are no times and no cuts.
const MOST: f64 = 1e15;
/// From this factor between the two numbers of bits on, their axis is logarithmic.
const FAR_APART: f64 = 20.0;

type Drawn = Result<(), Box<dyn std::error::Error>>;
type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

/// What is known at one time of a run. Numbers that are not finite are not drawn.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Point {
    /// When, in the unit of the stream.
    pub at: f64,
    /// Bits sent so far.
    pub bits: u64,
    /// Bits that shipping every update would have taken so far.
    pub ship_all_bits: u64,
    /// Normalised cut of the labels, in the full graph.
    pub ncut: f64,
    /// Normalised cut of labels made from the full graph.
    pub central_ncut: f64,
    /// Adjusted Rand index between the two, at most 1.
    pub ari: f64,
}

/// An SVG of `points`, ordered by time, titled `title`: bits at the left, quality at the right.
///
/// # Errors
/// [`Error::Drawing`] if no point has a finite time.
pub fn svg(points: &[Point], title: &str) -> Result<String, Error> {
    let points: Vec<Point> = points.iter().copied().filter(|point| point.at.abs() < MOST).collect();
    let ends = points.iter().map(|point| (point.at, point.at)).reduce(|a, b| (a.0.min(b.0), a.1.max(b.1)));
    let (first, last) = ends.ok_or_else(|| Error::Drawing("there is no time to draw".into()))?;
    // A little room at the ends; much for a single point, and never less than an axis can be divided into.
    let room = if first < last { 0.03 * (last - first) } else { 0.5 };
    let room = room.max(1e-6 * first.abs().max(last.abs()));
    let mut text = String::new();
    draw(&points, first - room..last + room, title, &mut text).map_err(|error| Error::Drawing(error.to_string()))?;
    Ok(text)
}

fn draw(points: &[Point], times: Range<f64>, title: &str, text: &mut String) -> Drawn {
    let area = SVGBackend::with_string(text, (SIZE.0 as u32, SIZE.1 as u32)).into_drawing_area();
    area.fill(&WHITE)?;
    area.draw(&Text::new(title.to_owned(), (MARGIN + LEFT_OF_CHART, 14), ("sans-serif", 20).into_font().color(&INK)))?;
    let (_, below) = area.split_vertically(HEAD);
    let (left, right) = below.split_horizontally(SIZE.0 / 2 - 20);
    bits(&left, points, times.clone())?;
    quality(&right, points, times)?;
    area.present()?;
    Ok(())
}

/// The left half.
fn bits(area: &Area, points: &[Point], times: Range<f64>) -> Drawn {
    let most = points.iter().map(|point| point.bits.max(point.ship_all_bits)).max().unwrap_or(0) as f64;
    let (unit, name) = match most {
        ..1e4 => (1.0, "bit"),
        1e4..1e7 => (1e3, "kbit"),
        1e7..1e10 => (1e6, "Mbit"),
        _ => (1e9, "Gbit"),
    };
    let of =
        |bits: fn(&Point) -> u64| points.iter().map(|point| (point.at, bits(point) as f64 / unit)).collect::<Vec<_>>();
    let (mut sent, mut all) = (of(|point| point.bits), of(|point| point.ship_all_bits));
    let last = |line: &[(f64, f64)]| line.last().map_or(0.0, |point| point.1);
    let share = last(&sent) / last(&all);
    let told =
        if share.is_finite() { format!("sent: {} % of shipping all", figures(100.0 * share)) } else { "sent".into() };
    let chart = legend(area, &[(&told, OURS, 2, 210), ("shipping all", CENTRAL, 4, 0)])?;

    let far_apart = share > 0.0 && !(1.0 / FAR_APART..=FAR_APART).contains(&share);
    if far_apart {
        sent.retain(|point| point.1 > 0.0); // nothing has no logarithm
        all.retain(|point| point.1 > 0.0);
    }
    let ends = sent.iter().chain(&all).map(|point| (point.1, point.1));
    let (least, most) = ends.reduce(|a, b| (a.0.min(b.0), a.1.max(b.1))).unwrap_or((0.0, 0.0));
    let lines = [(all, CENTRAL, 4), (sent, OURS, 2)];
    match far_apart {
        true => bits_over_time(&chart, &lines, times, (least / 1.5..most * 1.5).log_scale(), name),
        false => bits_over_time(&chart, &lines, times, 0.0..if most > 0.0 { most * 1.06 } else { 1.0 }, name),
    }
}

type Line = (Vec<(f64, f64)>, RGBColor, u32);

fn bits_over_time<Y>(area: &Area, lines: &[Line], times: Range<f64>, bits: Y, unit: &str) -> Drawn
where
    Y: AsRangedCoord<Value = f64>,
    Y::CoordDescType: ValueFormatter<f64>,
{
    let whole = lines.iter().flat_map(|line| &line.0).all(|point| point.0.fract() == 0.0);
    let mut chart = ChartBuilder::on(area)
        .margin_left(MARGIN)
        .margin_right(MARGIN)
        .margin_top(6)
        .x_label_area_size(42)
        .y_label_area_size(LEFT_OF_CHART)
        .build_cartesian_2d(times, bits)?;
    chart
        .configure_mesh()
        .disable_x_mesh()
        .light_line_style(WHITE)
        .x_labels(6)
        .x_desc("time")
        .y_desc(unit)
        .x_label_formatter(&|&x| time(x, whole))
        .y_label_formatter(&|&y| plain(y))
        .axis_desc_style(("sans-serif", 15).into_font().color(&INK))
        .draw()?;
    for (line, colour, width) in lines {
        chart.draw_series(
            LineSeries::new(line.iter().copied(), style(*colour, *width)).point_size(dot(lines[0].0.len())),
        )?;
    }
    Ok(())
}

/// The right half: cuts by the left axis, agreement by the right one.
fn quality(area: &Area, points: &[Point], times: Range<f64>) -> Drawn {
    let lines = [
        ("normalised cut", OURS, 2, 134),
        ("centralised", CENTRAL, 4, 112),
        ("adjusted Rand index (right axis)", AGREEMENT, 2, 0),
    ];
    let chart = legend(area, &lines)?;
    let of = |value: fn(&Point) -> f64, range: Range<f64>| {
        let all = points.iter().map(|point| (point.at, value(point)));
        all.filter(|point| range.contains(&point.1)).collect::<Vec<_>>()
    };
    let (ours, central) = (of(|point| point.ncut, 0.0..MOST), of(|point| point.central_ncut, 0.0..MOST));
    let agreement = of(|point| point.ari, -1.0..1.0 + 1e-9);
    let most = ours.iter().chain(&central).map(|point| point.1).fold(0.0, f64::max);
    let cuts = 0.0..if most > 0.0 { most * 1.12 } else { 1.0 };
    let worst = agreement.iter().map(|point| point.1).fold(0.0, f64::min);
    let whole = points.iter().all(|point| point.at.fract() == 0.0);
    let mut chart = ChartBuilder::on(&chart)
        .margin_left(MARGIN)
        .margin_right(8)
        .margin_top(6)
        .x_label_area_size(42)
        .y_label_area_size(LEFT_OF_CHART)
        .right_y_label_area_size(58)
        .build_cartesian_2d(times.clone(), cuts)?
        .set_secondary_coord(times, worst * 1.1..1.06);
    chart
        .configure_mesh()
        .disable_x_mesh()
        .light_line_style(WHITE)
        .x_labels(6)
        .x_desc("time")
        .y_desc("normalised cut")
        .x_label_formatter(&|&x| time(x, whole))
        .y_label_formatter(&|&y| plain(y))
        .axis_desc_style(("sans-serif", 15).into_font().color(&INK))
        .draw()?;
    chart
        .configure_secondary_axes()
        .y_labels(6)
        .y_desc("adjusted Rand index")
        .y_label_formatter(&|&y| plain(y))
        .axis_desc_style(("sans-serif", 15).into_font().color(&AGREEMENT))
        .label_style(("sans-serif", 12).into_font().color(&AGREEMENT))
        .draw()?;
    let size = dot(points.len());
    chart.draw_series(LineSeries::new(central, style(CENTRAL, 4)).point_size(size))?;
    chart.draw_series(LineSeries::new(ours, style(OURS, 2)).point_size(size))?;
    chart.draw_secondary_series(LineSeries::new(agreement, style(AGREEMENT, 2)).point_size(size))?;
    Ok(())
}

/// Writes what lines mean above a chart, each name with its colour, its width and the room that it takes; gives what is
/// left for the chart.
fn legend<'a>(area: &Area<'a>, lines: &[(&str, RGBColor, u32, i32)]) -> Result<Area<'a>, Box<dyn std::error::Error>> {
    let (above, chart) = area.split_vertically(LEGEND);
    let mut x = MARGIN + LEFT_OF_CHART;
    for &(name, colour, width, room) in lines {
        above.draw(&PathElement::new([(x, 12), (x + 20, 12)], colour.stroke_width(width)))?;
        above.draw(&Text::new(name.to_owned(), (x + 27, 4), ("sans-serif", 14).into_font().color(&INK)))?;
        x += room;
    }
    Ok(chart)
}

/// The radius of a dot at each of so many points.
fn dot(points: usize) -> u32 {
    if points <= 60 { 3 } else { 0 }
}

/// A label of the axis of times: if those are whole, so are the labels.
fn time(at: f64, whole: bool) -> String {
    if whole && (at - at.round()).abs() > 1e-6 { String::new() } else { plain(at) }
}

/// A line with filled dots.
fn style(colour: RGBColor, width: u32) -> ShapeStyle {
    ShapeStyle { color: colour.to_rgba(), filled: true, stroke_width: width }
}

/// A number with at most four digits after the point, more only where it is small.
fn plain(number: f64) -> String {
    let digits = if number == 0.0 { 0 } else { (3.0 - number.abs().log10()).clamp(4.0, 12.0) as usize };
    let text = format!("{number:.digits$}");
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

/// A number by its first two figures.
fn figures(number: f64) -> String {
    match number {
        10.0.. => format!("{number:.0}"),
        1.0.. => format!("{number:.1}"),
        _ => format!("{number:.2}"),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn run(times: u64, factor: u64) -> Vec<Point> {
        let point = |t: u64| Point {
            at: t as f64,
            bits: 60_000 + 9_000 * t,
            ship_all_bits: (60_000 + 9_000 * t) * factor * t / (t + 3),
            ncut: 0.30 + 0.2 / t as f64,
            central_ncut: 0.29 + 0.2 / t as f64,
            ari: 1.0 - 0.3 / (t * t) as f64,
        };
        (1..=times).map(point).collect()
    }

    #[test]
    fn both_halves_show_their_lines_and_the_unit() {
        let text = svg(&run(20, 7), "sbm, 4 sites").unwrap();
        for told in ["sbm, 4 sites", "kbit", "% of shipping all", "normalised cut", "adjusted Rand index"] {
            assert!(text.contains(told), "{told}");
        }
        assert!(!svg(&run(20, 7), "").unwrap().contains("Mbit"));
        assert!(svg(&run(20, 900), "").unwrap().contains("Mbit"));
    }

    #[test]
    fn one_point_is_a_picture_and_none_is_an_error() {
        let dots = |points: &[Point]| svg(points, "").map(|text| text.matches("<circle").count());
        assert_eq!((dots(&run(1, 7)).unwrap(), dots(&run(2, 7)).unwrap()), (5, 10));
        assert!(matches!(svg(&[], ""), Err(Error::Drawing(_))));
        let mut partly = run(3, 7);
        (partly[0].at, partly[1].ncut, partly[2].ari) = (f64::NAN, f64::INFINITY, f64::NAN);
        assert_eq!(dots(&partly).unwrap(), 2 * 5 - 2);
        assert!(svg(&partly[..1], "").is_err());
    }

    proptest! {
        #[test]
        fn any_points_are_a_picture_or_an_error(
            raw in prop::collection::vec((any::<f64>(), any::<u64>(), any::<u64>(), any::<f64>(), any::<f64>(), any::<f64>()), 0..6),
            at in prop::option::of(-1e9..1e9),
        ) {
            let point = |(time, bits, ship_all_bits, ncut, central_ncut, ari)| {
                Point { at: at.unwrap_or(time), bits, ship_all_bits, ncut, central_ncut, ari }
            };
            let points: Vec<Point> = raw.into_iter().map(point).collect();
            prop_assert_eq!(svg(&points, "").is_ok(), points.iter().any(|point| point.at.abs() < MOST));
        }
    }
}
