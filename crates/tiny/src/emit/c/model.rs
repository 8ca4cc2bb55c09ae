//! `model.c`: constants, the arena, operators, tasks, and the functions of the header.

use std::fmt::Write as _;

use super::header::{c_type, parameters};
use super::{Printer, title};
use crate::emit::firmware::Initial;
use crate::error::Error;

impl Printer<'_> {
    pub(super) fn model(&mut self) -> Result<String, Error> {
        let firmware = self.firmware;
        for (o, operator) in firmware.operators.iter().enumerate() {
            self.operator(o, operator)?;
        }
        for call in &firmware.calls {
            self.feeds(call)?;
            if firmware.operators.len() == firmware.calls.len() {
                let operator = &firmware.operators[call.operator];
                let _ = writeln!(self.run, "    /* Operator {}: {} */", operator.node, operator.name);
            }
            self.call(call)?;
        }
        let mut text = title(firmware, "Program");
        text += "#include \"model.h\"\n\n#include \"kernels.h\"\n\n";
        text +=
            "#if defined(__GNUC__)\n#define ALIGNED __attribute__((aligned(8)))\n#else\n#define ALIGNED\n#endif\n\n";
        let mut reset = String::new();
        for variable in &firmware.variables {
            let (name, offset, bytes) = (&variable.name.replace("*/", "* /"), variable.offset, variable.bytes);
            let _ = writeln!(reset, "    /* {name} */");
            let _ = match variable.initial {
                Initial::Fill(byte) => writeln!(reset, "    memset(arena + {offset}, {byte}, {bytes});"),
                Initial::Bytes(id) => {
                    let from = self.constant(id, "initial", 0);
                    writeln!(reset, "    memcpy(arena + {offset}, {from}, {bytes});")
                }
            };
        }
        text += "/* Flash. */\n";
        text += &self.constants;
        let _ = writeln!(text, "\n/* SRAM: the plan's peak. */\nstatic int8_t arena[MODEL_ARENA_BYTES] ALIGNED;\n");
        text += "/* What is computed. */\n";
        text += &self.operators;
        text += "\n/* Where. */\n";
        text += &self.tasks;
        if firmware.variables.is_empty() {
            text += "\nvoid model_reset(void)\n{\n}\n";
        } else {
            let _ =
                write!(text, "\nstatic uint8_t started;\n\nvoid model_reset(void)\n{{\n{reset}    started = 1;\n}}\n");
        }
        for (i, input) in firmware.inputs.iter().enumerate() {
            if let Some(offset) = input.resident.filter(|_| !firmware.streamed) {
                let kind = c_type(&input.port);
                let _ = write!(
                    text,
                    "\n{kind} *model_input{i}(void)\n{{\n    return ({kind} *)(void *)(arena + {offset});\n}}\n"
                );
            }
        }
        for (i, output) in firmware.outputs.iter().enumerate() {
            let (kind, offset) = (c_type(&output.port), output.offset);
            let _ = write!(
                text,
                "\nconst {kind} *model_output{i}(void)\n{{\n    return (const {kind} *)(const void *)(arena + {offset});\n}}\n"
            );
        }
        let _ = write!(text, "\nint model_run({})\n{{\n", parameters(firmware));
        if firmware.streamed {
            text += "    int error;\n";
        }
        if !firmware.variables.is_empty() {
            text += "    if (!started) {\n        model_reset();\n    }\n";
        }
        text += &self.run;
        for (i, output) in firmware.outputs.iter().enumerate() {
            let (offset, bytes) = (output.offset, output.port.bytes);
            let _ = writeln!(
                text,
                "    if (output{i} != NULL) {{\n        memcpy(output{i}, arena + {offset}, {bytes});\n    }}"
            );
        }
        text += "    return 0;\n}\n";
        Ok(text)
    }
}
