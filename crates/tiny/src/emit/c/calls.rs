//! Where is computed: tasks, which calls of the same places share, and the straight-line calls.

use std::fmt::Write as _;

use super::Printer;
use super::specialization::{as_filter, over_a_row};
use crate::emit::firmware::{Call, Kind, Operand, PairFormula, Place};
use crate::error::Error;
use crate::plan::Direction;

impl Printer<'_> {
    pub(super) fn feeds(&mut self, call: &Call) -> Result<(), Error> {
        for feed in &call.feeds {
            let input = &self.firmware.inputs[feed.input];
            let [_, columns, pixel] = input.image;
            let (i, [top, bottom], [left, right]) = (feed.input, feed.rows, feed.columns);
            let offset = feed.offset;
            if self.firmware.streamed {
                let _ = writeln!(
                    self.run,
                    "    if ((error = read_rect(context, {i}, {top}, {}, {left}, {}, arena + {offset})) != 0) {{\n        return error;\n    }}",
                    bottom - top,
                    right - left
                );
            } else if right - left == columns {
                let (from, bytes) = (top * columns * pixel, (bottom - top) * columns * pixel);
                let _ = writeln!(
                    self.run,
                    "    if (input{i} != NULL) {{\n        memcpy(arena + {offset}, (const int8_t *)input{i} + {from}, {bytes});\n    }}"
                );
            } else {
                return Err(self.fault(format!("input {i} is not streamed, and yet fed in columns {left}..{right}")));
            }
        }
        Ok(())
    }

    /// Where a call works: a task's name, printed when it is new.
    fn task(&mut self, call: &Call) -> Result<String, Error> {
        let nowhere = "{NULL, 0, 0, 0, 1}".to_string();
        let arena = |operand: Option<&Operand>| match operand {
            Some(Operand::Arena(place)) => self.place(*place),
            _ => Ok(nowhere.clone()),
        };
        let (x, second) = (arena(call.reads.first())?, arena(call.reads.get(1))?);
        let y = self.place(call.writes[0])?;
        let scratch = call.scratch.map_or("NULL".into(), |s| format!("arena + {s}"));
        let [left, right] = call.columns;
        let backward = u8::from(call.direction == Direction::Backward);
        let text = format!("{{\n    {x}, {second}, {y},\n    {left}, {right}, {scratch}, {backward},\n}}");
        let next = self.known_tasks.len();
        let tasks = &mut self.tasks;
        let task = *self.known_tasks.entry(text.clone()).or_insert_with(|| {
            let _ = writeln!(tasks, "static const struct task task{next} = {text};");
            next
        });
        Ok(format!("&task{task}"))
    }

    fn place(&self, place: Place) -> Result<String, Error> {
        let ring = self.field(place.ring, 16, "an image")?;
        // Where one row is kept, all lie there.
        let top = if ring == 1 { 0 } else { self.field(place.rows[0], 16, "an image")? };
        let left = self.field(place.columns[0], 16, "an image")?;
        let columns = self.field(place.columns[1] - place.columns[0], 16, "an image")?;
        Ok(format!("{{arena + {}, {top}, {left}, {columns}, {ring}}}", place.offset))
    }

    /// Where operand `i` begins, for kernels that see no parts.
    fn start(&mut self, call: &Call, i: usize, node: usize) -> String {
        match call.reads[i] {
            Operand::Arena(place) => format!("arena + {}", place.offset),
            Operand::Constant(id) => format!("(const int8_t *){}", self.constant(id, "operand", node)),
        }
    }

    pub(super) fn call(&mut self, call: &Call) -> Result<(), Error> {
        let firmware = self.firmware;
        let o = call.operator;
        let operator = &firmware.operators[o];
        let node = operator.node;
        let [top, bottom] = call.rows;
        let bytes = call.writes[0].pixel;
        let y = format!("arena + {}", call.writes[0].offset);
        let line = match &operator.kind {
            Kind::Convolution { filter, per_group } => {
                let (kernel, task) = (self.filter_kernel(filter, *per_group, false), self.task(call)?);
                format!("{kernel}(&operator{o}, {task}, {top}, {bottom});")
            }
            Kind::Depthwise(filter) => {
                let (kernel, task) = (self.filter_kernel(filter, 1, true), self.task(call)?);
                format!("{kernel}(&operator{o}, {task}, {top}, {bottom});")
            }
            Kind::Pool { .. } => format!("pool(&operator{o}, {}, {top}, {bottom});", self.task(call)?),
            Kind::Pair { formula, .. } => {
                let (name, formula) = match formula {
                    PairFormula::Sum(_) => ("pair_sum", "PAIR_SUM"),
                    PairFormula::Product { .. } => ("pair_product", "PAIR_PRODUCT"),
                    PairFormula::Maximum => ("pair_maximum", "PAIR_MAXIMUM"),
                    PairFormula::Minimum => ("pair_minimum", "PAIR_MINIMUM"),
                    PairFormula::Prelu { .. } => ("pair_prelu", "PAIR_PRELU"),
                };
                let parameters = "const struct pair *f, const struct task *t, int32_t top, int32_t bottom";
                let kernel = self.make(name, parameters, format!("pair(f, t, top, bottom, {formula});"));
                format!("{kernel}(&operator{o}, {}, {top}, {bottom});", self.task(call)?)
            }
            Kind::Table(answers) => {
                let answers = self.constant(*answers, "table", node);
                format!("table({answers}, {bytes}, {}, {top}, {bottom});", self.task(call)?)
            }
            Kind::Nearest { rows, columns } => {
                let (rows, columns) = (self.constant(*rows, "rows", node), self.constant(*columns, "columns", node));
                format!("nearest({rows}, {columns}, {bytes}, {}, {top}, {bottom});", self.task(call)?)
            }
            Kind::Bilinear { rows, columns } => {
                let (rows, columns) = (self.constant(*rows, "rows", node), self.constant(*columns, "columns", node));
                format!("bilinear({rows}, {columns}, {bytes}, {}, {top}, {bottom});", self.task(call)?)
            }
            Kind::Matrix { inputs, .. } if as_filter(&operator.kind).is_some() => {
                let Some(filter) = as_filter(&operator.kind) else { return Ok(()) };
                let kernel = self.filter_kernel(&filter, *inputs, false);
                let task = self.task(&over_a_row(call, &filter))?;
                format!("{kernel}(&operator{o}, {task}, 0, 1);")
            }
            Kind::Matrix { .. } => format!("matrix(&operator{o}, {}, {y});", self.start(call, 0, node)),
            Kind::Mean { .. } => format!("mean(&operator{o}, {}, {y});", self.start(call, 0, node)),
            Kind::Softmax { rows, depth, mantissa, left_shift, least_difference } => {
                let x = self.start(call, 0, node);
                format!("softmax({rows}, {depth}, {mantissa}, {left_shift}, {least_difference}, {x}, {y});")
            }
            Kind::Movement { fill, copies } => {
                let mut lines = Vec::new();
                if let Some(&byte) = fill.as_ref().and_then(|fill| fill.first()) {
                    lines.push(format!("memset({y}, {byte}, {});", call.writes[0].bytes()));
                }
                for (i, copy) in copies.iter().enumerate() {
                    let (read, write) = (self.start(call, copy.read, node), call.writes[copy.write].offset + copy.to.0);
                    let from = copy.from.0;
                    lines.push(match copy.shape.as_slice() {
                        [] => format!("memmove(arena + {write}, {read} + {from}, {});", copy.bytes),
                        _ => format!("copies(&operator{o}_{i}, {read} + {from}, arena + {write});"),
                    });
                }
                lines.join("\n    ")
            }
        };
        let _ = writeln!(self.run, "    {line}");
        Ok(())
    }
}
