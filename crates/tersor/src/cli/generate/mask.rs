//! `tersor generate mask`: which blocks of keys each block of queries reads.

use std::path::PathBuf;
use std::time::Instant;

use anyhow::bail;
use clap::Args;
use serde::Serialize;

use super::{Plan, Planned, RadialFlags, draw, ends_in, line, told};
use crate::cli::quantity::seconds;
use crate::cli::show::{BadUsage, Output, check_outputs};

/// Plan the radial mask of a video, and tell what it reads
///
/// Wan and HunyuanVideo see a clip of P pictures of H x W pixels as 1 + P/4 frames of (H/16) x (W/16) tokens: 69 pictures
/// of 768 x 1280 are --frames 18 --tokens-per-frame 3840. Any number of tokens in a frame will do.
#[derive(Args)]
pub struct Mask {
    /// Frames of tokens
    #[arg(long, value_name = "F")]
    frames: usize,
    /// Tokens in a frame
    #[arg(long, value_name = "S")]
    tokens_per_frame: usize,
    #[command(flatten)]
    radial: RadialFlags,
    /// Write the mask: .npy is the boolean grid of blocks (with --exact of tokens), .json the plan itself
    #[arg(short, long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Draw the mask: an .svg, or a .png of one pixel for each block
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
    #[command(flatten)]
    output: Output,
}

/// What was planned.
#[derive(Serialize)]
struct Report<'a> {
    frames: usize,
    tokens_per_frame: usize,
    text: usize,
    block: String,
    decay: f64,
    family: &'static str,
    #[serde(flatten)]
    plan: Planned,
    /// To plan, without writing.
    seconds: f64,
    out: Option<&'a PathBuf>,
    svg: Option<&'a PathBuf>,
}

impl Mask {
    pub fn run(self) -> anyhow::Result<()> {
        let Self { frames, tokens_per_frame, radial, out, svg, output } = self;
        check_outputs(&[], &[out.as_ref(), svg.as_ref()])?;
        if let Some(out) = out.as_ref().filter(|out| !ends_in(out, "npy") && (radial.exact || !ends_in(out, "json"))) {
            let formats = if radial.exact { "an exact mask is an .npy" } else { "a mask is an .npy or a .json" };
            bail!(BadUsage(format!("{}: {formats}", out.display())));
        }
        if let Some(svg) = svg.as_ref().filter(|svg| !ends_in(svg, "svg") && !ends_in(svg, "png")) {
            bail!(BadUsage(format!("{}: a picture is an .svg or a .png", svg.display())));
        }
        if radial.exact {
            let unused = radial.unused(RadialFlags::OF_EXACT);
            if !unused.is_empty() {
                output.note(&format!("an exact mask is of the video's single tokens: {} not used", unused.join(", ")));
            }
        }
        let start = Instant::now();
        let plan = radial.plan(frames, tokens_per_frame)?;
        let planned = start.elapsed().as_secs_f64();
        let report = Report {
            frames,
            tokens_per_frame,
            text: radial.text,
            block: radial.block.to_string(),
            decay: radial.decay,
            family: radial.family.0.name(),
            plan: plan.in_numbers()?,
            seconds: planned,
            out: out.as_ref(),
            svg: svg.as_ref(),
        };
        // First what may find the mask too large.
        if let Some(file) = &svg {
            let share = 100.0 * report.plan.density;
            draw(file, &plan, &format!("{frames} frames of {tokens_per_frame} tokens: {share:.2} % is read"))?;
        }
        match (&plan, &out) {
            (Plan::Exact(mask), Some(file)) => mask.write_npy(file)?,
            (Plan::Blocks(_, mask), Some(file)) if ends_in(file, "npy") => mask.write_npy(file)?,
            (Plan::Blocks(_, mask), Some(file)) => mask.write_json(file)?,
            (_, None) => {}
        }
        output.show(&report, || {
            let mut text = String::new();
            told(&mut text, &report.plan);
            line(&mut text, "planned in", &seconds(planned));
            for (file, what) in [(report.out, "the mask"), (report.svg, "its picture")] {
                if let Some(file) = file {
                    line(&mut text, "written", &format!("{}: {what}", file.display()));
                }
            }
            text
        })
    }
}
