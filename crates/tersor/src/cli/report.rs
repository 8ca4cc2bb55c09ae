//! The tour as one HTML file: the table, the reasons, the figures. It refers to nothing outside itself.
//!
//! Every text passes through maud, which escapes it. Figures are images in `data:` addresses: unlike an SVG within
//! the page, such an image runs no script, loads nothing and shares no identifiers with its neighbours.

use std::path::{Path, PathBuf};

use base64::prelude::{BASE64_STANDARD, Engine};
use maud::{DOCTYPE, Markup, PreEscaped, html};
use tersor::data::atomic;
use tersor::data::tour::{Drawing, Figure, Outcome, Visit};

use super::tour::{NO_ROOMS, Walked, ending, time_taken};

/// Writes the figures and `tour.html` into `folder`, which exists; gives the page's path.
pub fn write(walked: &Walked, folder: &Path) -> anyhow::Result<PathBuf> {
    for (_, figure) in figures(&walked.visits) {
        atomic::write(folder.join(file_name(figure)), |file| file.write_all(figure.drawing.bytes()))?;
    }
    let path = folder.join("tour.html");
    atomic::write(&path, |file| file.write_all(page(walked).into_string().as_bytes()))?;
    Ok(path)
}

fn figures(visits: &[Visit]) -> impl Iterator<Item = (&Visit, &Figure)> {
    visits.iter().flat_map(|visit| {
        let figures = if let Outcome::Shown(row) = &visit.outcome { &row.figures[..] } else { &[] };
        figures.iter().map(move |figure| (visit, figure))
    })
}

fn file_name(figure: &Figure) -> String {
    format!("{}.{}", figure.name, figure.drawing.suffix())
}

fn page(walked: &Walked) -> Markup {
    let figures: Vec<_> = figures(&walked.visits).collect();
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta http-equiv="Content-Security-Policy"
                    content="default-src 'none'; img-src data:; style-src 'unsafe-inline'";
                title { "Tersor tour" }
                style { (PreEscaped(include_str!("report.css"))) }
            }
            body {
                h1 { "Tersor tour" }
                p { "The same work with less: what each system spares on real input, and what that costs." }
                (table(&walked.visits))
                @if !figures.is_empty() {
                    h2 { "Figures" }
                    @for (visit, figure) in figures { (drawn(visit, figure)) }
                }
                footer { "Tersor " (walked.version) ", " (walked.date) ", on " (walked.machine) "." }
            }
        }
    }
}

fn table(visits: &[Visit]) -> Markup {
    if visits.is_empty() {
        return html! { p { (NO_ROOMS) "." } };
    }
    html! {
        div .wide {
            table {
                thead {
                    tr { @for name in ["Room", "System", "Spared", "Before", "After", "Cost", "Input", "Time"] {
                        th scope="col" { (name) }
                    } }
                }
                tbody { @for visit in visits { (line(visit)) } }
            }
        }
    }
}

fn line(visit: &Visit) -> Markup {
    html! {
        tr .(ending(&visit.outcome)) {
            td { (visit.room) }
            td { (visit.system) }
            @match &visit.outcome {
                Outcome::Shown(row) => {
                    td { (row.spared) }
                    td .before { (row.before) }
                    td .after { (row.after) }
                    td { (row.cost) }
                    td { (row.input) }
                }
                Outcome::Lacking(why) | Outcome::Failed(why) => {
                    td .why colspan="5" { b { (ending(&visit.outcome)) } ": " (why.trim()) }
                }
            }
            td .time .over[visit.seconds > visit.budget] { (time_taken(visit)) }
        }
    }
}

fn drawn(visit: &Visit, figure: &Figure) -> Markup {
    let media_type = match figure.drawing {
        Drawing::Svg(_) => "image/svg+xml",
        Drawing::Png(_) => "image/png",
    };
    let content = BASE64_STANDARD.encode(figure.drawing.bytes());
    html! {
        figure {
            img alt=(figure.caption) src={ "data:" (media_type) ";base64," (content) };
            figcaption { b { (visit.room) ", " (visit.system) ". " } (figure.caption) " " code { (file_name(figure)) } }
        }
    }
}

#[cfg(test)]
mod tests {
    use tersor::data::tour::Row;

    use super::*;

    const HOSTILE: &str = r#"<script src="x">&'"#;

    fn visit(outcome: Outcome) -> Visit {
        Visit { room: "tiny", system: "<b>plan", seconds: 5.0, budget: 4.0, outcome }
    }

    fn walked() -> Walked {
        let figure = |name: &str, drawing| Figure { name: name.into(), caption: HOSTILE.into(), drawing };
        let svg = format!("<svg xmlns=\"http://www.w3.org/2000/svg\">{HOSTILE}</svg>");
        let row = Row::new(HOSTILE, HOSTILE, HOSTILE, HOSTILE, HOSTILE)
            .with_figure(figure("plan", Drawing::Svg(svg)))
            .with_figure(figure("photograph", Drawing::Png(vec![0x89, b'P', b'N', b'G'])));
        Walked::now(vec![
            visit(Outcome::Shown(row)),
            visit(Outcome::Lacking(HOSTILE.into())),
            visit(Outcome::Failed(HOSTILE.into())),
        ])
    }

    #[test]
    fn the_text_of_stops_is_escaped() {
        let page = page(&walked()).into_string();
        assert!(!page.contains("<script") && !page.contains("<b>plan"), "{page}");
        let escaped = "&lt;script src=&quot;x&quot;&gt;&amp;";
        assert_eq!(page.matches(escaped).count(), 5 + 2 + 2 * 2, "cells, reasons, captions and alternative texts");
    }

    #[test]
    fn the_page_refers_to_nothing_outside() {
        let page = page(&walked()).into_string();
        assert!(!page.contains("http://") && !page.contains("https://") && !page.contains("href"), "{page}");
        let sources: Vec<_> = page.match_indices("src=\"").map(|(at, _)| &page[at + 5..]).collect();
        assert_eq!(sources.len(), 2);
        assert!(sources[0].starts_with("data:image/svg+xml;base64,PHN2Zy"), "{}", sources[0]);
        assert!(sources[1].starts_with("data:image/png;base64,iVBORw==\""), "{}", sources[1]);
    }

    #[test]
    fn figures_stand_beside_the_page_as_they_are() {
        let folder = tempfile::tempdir().unwrap();
        let walked = walked();
        let path = write(&walked, folder.path()).unwrap();
        assert_eq!(path, folder.path().join("tour.html"));
        for (_, figure) in figures(&walked.visits) {
            assert_eq!(std::fs::read(folder.path().join(file_name(figure))).unwrap(), figure.drawing.bytes());
        }
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 3);
    }

    #[test]
    fn over_budget_is_marked() {
        assert!(page(&walked()).into_string().contains("5.00 s\nover 4.00 s"));
    }
}
