//! A run over its epochs: a table (CSV) and a picture (SVG) of loss and accuracy.

use std::fmt::Write;

use plotters::coord::Shift;
use plotters::prelude::*;

use crate::Error;
use crate::log::Epoch;

/// Width and height, in pixels.
const SIZE: (i32, i32) = (1120, 440);
/// Above the two halves: the title.
const HEAD: i32 = 44;
/// Above each chart: what its lines are.
const LEGEND: i32 = 26;
const LEFT_OF_CHART: i32 = 66;
const MARGIN: i32 = 14;

const VALIDATION: RGBColor = RGBColor(31, 95, 139);
const TRAIN: RGBColor = RGBColor(160, 170, 180);
const BEST: RGBColor = RGBColor(200, 82, 0);
const INK: RGBColor = RGBColor(40, 48, 56);

type Drawn = Result<(), Box<dyn std::error::Error>>;
type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
type Line = Vec<(f64, f64)>;

/// A line for each epoch, below a header; what was not measured is empty. Epochs count from 1 for people.
pub fn csv(history: &[Epoch]) -> String {
    let mut text =
        String::from("epoch,step,rate,train_loss,train_accuracy,validation_loss,validation_accuracy,best,seconds\n");
    let number = |value: Option<f64>| value.map(|value| value.to_string()).unwrap_or_default();
    for epoch in history {
        let Epoch { step, rate, train, validation, best, seconds, .. } = epoch;
        let train_accuracy = number(train.accuracy);
        let loss = number(validation.map(|metrics| metrics.loss));
        let accuracy = number(validation.and_then(|metrics| metrics.accuracy));
        let (number, best) = (epoch.epoch + 1, u8::from(*best));
        let _ = writeln!(
            text,
            "{number},{step},{rate},{},{train_accuracy},{loss},{accuracy},{best},{seconds:.3}",
            train.loss
        );
    }
    text
}

/// An SVG titled `title`: losses at the left, accuracies at the right, the best epoch marked.
///
/// # Errors
/// [`Error::Drawing`] if there is no epoch with a finite loss.
pub fn svg(history: &[Epoch], title: &str) -> Result<String, Error> {
    let mut text = String::new();
    draw(history, title, &mut text).map_err(|error| Error::Drawing(error.to_string()))?;
    Ok(text)
}

fn draw(history: &[Epoch], title: &str, text: &mut String) -> Drawn {
    let line = |of: &dyn Fn(&Epoch) -> Option<f64>| -> Line {
        let points = history.iter().filter_map(|epoch| Some((epoch.epoch as f64 + 1.0, of(epoch)?)));
        points.filter(|point| point.1.abs() < 1e15).collect()
    };
    let losses = [line(&|epoch| Some(epoch.train.loss)), line(&|epoch| Some(epoch.validation?.loss))];
    let accuracies = [line(&|epoch| epoch.train.accuracy), line(&|epoch| epoch.validation?.accuracy)];
    if losses.iter().all(Vec::is_empty) {
        return Err("no epoch has a finite loss".into());
    }
    let best = history.iter().rev().find(|epoch| epoch.best).map(|epoch| epoch.epoch as f64 + 1.0);
    let last = history.last().map_or(1.0, |epoch| epoch.epoch as f64 + 1.0);

    let area = SVGBackend::with_string(text, (SIZE.0 as u32, SIZE.1 as u32)).into_drawing_area();
    area.fill(&WHITE)?;
    area.draw(&Text::new(title.to_owned(), (MARGIN + LEFT_OF_CHART, 14), ("sans-serif", 20).into_font().color(&INK)))?;
    let (_, below) = area.split_vertically(HEAD);
    let (left, right) = below.split_horizontally(SIZE.0 / 2);
    chart(&left, "loss", &losses, best, last)?;
    chart(&right, "accuracy", &accuracies, best, last)?;
    area.present()?;
    Ok(())
}

/// One half: the lines of training and validation over epochs.
fn chart(area: &Area, what: &str, [train, validation]: &[Line; 2], best: Option<f64>, last: f64) -> Drawn {
    let values = || train.iter().chain(validation).map(|point| point.1);
    let (least, most) = (values().fold(f64::INFINITY, f64::min), values().fold(f64::NEG_INFINITY, f64::max));
    if least > most {
        return Ok(()); // nothing of this kind was measured
    }
    let room = (0.06 * (most - least)).max(1e-9 * most.abs()).max(1e-9);
    let (above, below) = area.split_vertically(LEGEND);
    let told = |at: f64, line: &Line| {
        line.iter().find(|point| point.0 == at).map_or(String::new(), |point| format!(" {}", figures(point.1)))
    };
    let mut names = vec![(format!("training{}", told(last, train)), TRAIN, 4)];
    if !validation.is_empty() {
        names.push((format!("validation{}", told(last, validation)), VALIDATION, 2));
    }
    if let Some(at) = best.filter(|_| !validation.is_empty()) {
        names.push((format!("best, epoch {at}:{}", told(at, validation)), BEST, 2));
    }
    let mut x = MARGIN + LEFT_OF_CHART;
    for (name, colour, width) in names {
        above.draw(&PathElement::new([(x, 12), (x + 20, 12)], colour.stroke_width(width)))?;
        above.draw(&Text::new(name.clone(), (x + 27, 4), ("sans-serif", 14).into_font().color(&INK)))?;
        x += 50 + 7 * name.chars().count() as i32;
    }
    let mut chart = ChartBuilder::on(&below)
        .margin_left(MARGIN)
        .margin_right(MARGIN)
        .margin_top(6)
        .x_label_area_size(42)
        .y_label_area_size(LEFT_OF_CHART)
        .build_cartesian_2d(0.9..last.max(1.1) + 0.1, least - room..most + room)?;
    chart
        .configure_mesh()
        .disable_x_mesh()
        .light_line_style(WHITE)
        .x_labels(8)
        .x_desc("epoch")
        .y_desc(what)
        .x_label_formatter(&|&x| if (x - x.round()).abs() < 1e-6 { format!("{x:.0}") } else { String::new() })
        .y_label_formatter(&|&y| figures(y))
        .axis_desc_style(("sans-serif", 15).into_font().color(&INK))
        .draw()?;
    let dot = if last <= 60.0 { 3 } else { 0 };
    for (line, colour, width) in [(train, TRAIN, 4), (validation, VALIDATION, 2)] {
        let style = ShapeStyle { color: colour.to_rgba(), filled: true, stroke_width: width };
        chart.draw_series(LineSeries::new(line.iter().copied(), style).point_size(dot))?;
    }
    let marked = validation.iter().filter(|point| Some(point.0) == best);
    chart.draw_series(marked.map(|&point| Circle::new(point, 6, BEST.stroke_width(2))))?;
    Ok(())
}

/// A number by four figures at most.
fn figures(number: f64) -> String {
    let digits = if number == 0.0 { 0 } else { (3.0 - number.abs().log10().floor()).clamp(0.0, 9.0) as usize };
    let text = format!("{number:.digits$}");
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::metric::Metrics;

    fn epoch(number: u64, loss: f64, accuracy: Option<f64>) -> Epoch {
        let metrics = |loss| Metrics { loss, accuracy, examples: 10 };
        let validation = Some(metrics(loss + 0.1));
        let (rate, seconds) = (0.1, 1.5 * number as f64);
        Epoch {
            epoch: number,
            step: 5 * (number + 1),
            rate,
            train: metrics(loss),
            validation,
            best: number == 1,
            seconds,
        }
    }

    #[test]
    fn the_table_has_a_line_an_epoch() {
        let mut history = vec![epoch(0, 2.0, Some(0.5)), epoch(1, 1.5, Some(0.75))];
        history[0].validation = None;
        let expected = "epoch,step,rate,train_loss,train_accuracy,validation_loss,validation_accuracy,best,seconds\n\
                        1,5,0.1,2,0.5,,,0,0.000\n\
                        2,10,0.1,1.5,0.75,1.6,0.75,1,1.500\n";
        assert_eq!(csv(&history), expected);
    }

    #[test]
    fn both_halves_are_drawn_and_the_best_epoch_is_marked() {
        let history: Vec<_> = (0..5).map(|n| epoch(n, 2.0 / (n + 1) as f64, Some(n as f64 / 5.0))).collect();
        let text = svg(&history, "lenet5 <fashion>").unwrap();
        for told in ["lenet5 &lt;fashion&gt;", "loss", "accuracy", "validation", "best, epoch 2"] {
            assert!(text.contains(told), "{told}");
        }
        assert_eq!(text.matches("<circle").count(), 2 * (5 + 5 + 1));
        assert!(svg(&[], "").is_err());
    }

    proptest! {
        #[test]
        fn any_history_is_a_picture_or_an_error(
            raw in prop::collection::vec((any::<f64>(), prop::option::of(any::<f64>())), 0..6),
        ) {
            let history: Vec<_> = raw.iter().zip(0..).map(|(&(loss, accuracy), n)| epoch(n, loss, accuracy)).collect();
            let drawn = svg(&history, "");
            prop_assert_eq!(drawn.is_ok(), history.iter().any(|epoch| epoch.train.loss.abs() < 1e15));
        }
    }
}
