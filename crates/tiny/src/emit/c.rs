//! The program in C99.
//!
//! `model.h` (sizes, scales, shapes, what may be called), `model.c` (constants, arena, calls), `kernels.h` (the kernels
//! that are used, put together from the files in `c/`); beside them a check against the test vector, and what builds it for
//! the host and for a Cortex-M in qemu.
//!
//! | file | idea |
//! | --- | --- |
//! | `c/header.rs` | `model.h`: what the firmware's user sees |
//! | `c/model.rs` | `model.c`, put together from the next three |
//! | `c/constants.rs` | what lies in Flash, and numbers as C writes them |
//! | `c/operators.rs` | what is computed: a structure for each operator |
//! | `c/calls.rs` | where: the tasks, and the straight-line calls |
//! | `c/specialization.rs` | which kernel computes a convolution, and how its weights lie for it |
//! | `c/check.rs` | the program that checks the test vector, and the least one |
//! | `c/*.h`, `c/*.c`, `c/link.ld` | the kernels, and what is the same for every network |

mod calls;
mod check;
mod constants;
mod header;
mod model;
mod operators;
mod specialization;

use std::collections::{BTreeSet, HashMap};
use std::fmt::Write as _;

use self::check::{check, example};
use self::constants::Form;
use self::header::header;
use super::firmware::{ConstantId, Firmware};
use super::vector::Vector;
use crate::error::Error;

/// The sources of the kernels, in the order in which they build on each other.
const KERNELS: [(&str, &str); 17] = [
    ("arithmetic", include_str!("c/arithmetic.h")),
    ("sum", include_str!("c/sum.h")),
    ("window", include_str!("c/window.h")),
    ("filter", include_str!("c/filter.h")),
    ("dot", include_str!("c/dot.h")),
    ("convolution", include_str!("c/convolution.h")),
    ("convolution_any", include_str!("c/convolution_any.h")),
    ("depthwise", include_str!("c/depthwise.h")),
    ("matrix", include_str!("c/matrix.h")),
    ("pool", include_str!("c/pool.h")),
    ("pair", include_str!("c/pair.h")),
    ("table", include_str!("c/table.h")),
    ("mean", include_str!("c/mean.h")),
    ("softmax", include_str!("c/softmax.h")),
    ("nearest", include_str!("c/nearest.h")),
    ("bilinear", include_str!("c/bilinear.h")),
    ("movement", include_str!("c/movement.h")),
];

/// Files that are the same for every network.
const FIXED: [(&str, &str); 4] = [
    ("check.h", include_str!("c/check.h")),
    ("host.c", include_str!("c/host.c")),
    ("startup.c", include_str!("c/startup.c")),
    ("link.ld", include_str!("c/link.ld")),
];

/// The files of the program.
///
/// # Errors
/// [`Error::Emit`] if a size is beyond the fields of the program, or an input cannot be fed.
pub(super) fn print(firmware: &Firmware, vector: &Vector) -> Result<Vec<(String, String)>, Error> {
    let mut printer = Printer::new(firmware);
    let model = printer.model()?;
    let mut files = vec![
        ("model.h".into(), header(firmware)),
        ("model.c".into(), model),
        ("kernels.h".into(), printer.kernels()),
        ("check.c".into(), check(firmware, vector)),
        ("example.c".into(), example(firmware)),
        ("Makefile".into(), super::verify::makefile()),
    ];
    files.extend(super::verify::memories());
    files.extend(FIXED.map(|(name, text)| (name.into(), text.into())));
    Ok(files)
}

/// What stands at the top of every file.
fn title(firmware: &Firmware, what: &str) -> String {
    let file = std::path::Path::new(&firmware.name).file_name().and_then(|f| f.to_str()).unwrap_or("a network");
    format!("/* {} of {}, written by `tersor tiny emit`. */\n", what, file.replace("*/", "* /"))
}

/// What a printed program consists of, gathered call by call.
struct Printer<'f> {
    firmware: &'f Firmware,
    /// Constants that are printed.
    names: HashMap<(ConstantId, Form), String>,
    /// Sources that are used.
    used: BTreeSet<&'static str>,
    /// Kernels made from bodies: name, and the call of the body.
    made: Vec<(String, String)>,
    constants: String,
    operators: String,
    tasks: String,
    known_tasks: HashMap<String, usize>,
    run: String,
    kernel_rows: usize,
}

impl<'f> Printer<'f> {
    fn new(firmware: &'f Firmware) -> Self {
        Self {
            firmware,
            names: HashMap::new(),
            used: BTreeSet::from(["arithmetic"]),
            made: Vec::new(),
            constants: String::new(),
            operators: String::new(),
            tasks: String::new(),
            known_tasks: HashMap::new(),
            run: String::new(),
            kernel_rows: 1,
        }
    }

    fn fault(&self, why: String) -> Error {
        Error::Emit { network: self.firmware.name.clone(), why }
    }

    /// A number for a field of `bits`, without a sign.
    fn field(&self, value: usize, bits: u32, what: &str) -> Result<usize, Error> {
        let most = 1usize << bits;
        if value < most { Ok(value) } else { Err(self.fault(format!("{what} of {value} is beyond {bits} bits"))) }
    }

    fn kernels(&self) -> String {
        let mut text = title(self.firmware, "Kernels");
        let _ = writeln!(text, "#define MOST_KERNEL_ROWS {}\n", self.kernel_rows);
        KERNELS.iter().filter(|(name, _)| self.used.contains(name)).for_each(|(_, source)| text += source);
        text += "\n/* The classes of shapes that this network has. */\n";
        self.made.iter().for_each(|(_, definition)| text += definition);
        text
    }
}
