//! `model.h`: sizes, scales and shapes, and what may be called.

use std::fmt::Write as _;

use tersor_data::ElementType;

use super::title;
use crate::emit::firmware::{Firmware, Port};

/// A C identifier's type of a port's elements.
pub(super) fn c_type(port: &Port) -> &'static str {
    match port.element_type {
        ElementType::U8 => "uint8_t",
        ElementType::I16 => "int16_t",
        ElementType::U16 => "uint16_t",
        ElementType::I32 => "int32_t",
        ElementType::U32 => "uint32_t",
        ElementType::I64 => "int64_t",
        ElementType::F32 => "float",
        _ => "int8_t",
    }
}

/// Parameters of `model_run`.
pub(super) fn parameters(firmware: &Firmware) -> String {
    let mut parameters = Vec::new();
    if firmware.streamed {
        parameters.push("model_read_rect read_rect".to_string());
        parameters.push("void *context".into());
    } else {
        let input = |(i, port): (usize, &Port)| format!("const {} *input{i}", c_type(port));
        parameters.extend(firmware.inputs.iter().map(|i| &i.port).enumerate().map(input));
    }
    let output = |(i, port): (usize, &Port)| format!("{} *output{i}", c_type(port));
    parameters.extend(firmware.outputs.iter().map(|o| &o.port).enumerate().map(output));
    parameters.join(", ")
}

pub(super) fn header(firmware: &Firmware) -> String {
    let mut text = title(firmware, "Interface");
    text += "#ifndef MODEL_H\n#define MODEL_H\n\n#include <stddef.h>\n#include <stdint.h>\n\n";
    // Called from C++ too, as Arduino's programs are.
    text += "#ifdef __cplusplus\nextern \"C\" {\n#endif\n\n";
    let _ = writeln!(text, "/* Bytes of the one static arena. */\n#define MODEL_ARENA_BYTES {}", firmware.arena_bytes);
    let _ = writeln!(text, "/* Bytes of constants: weights, biases, multipliers, tables. */");
    let _ = writeln!(text, "#define MODEL_CONSTANT_BYTES {}", firmware.constant_bytes());
    let port = |text: &mut String, name: String, port: &Port| {
        let shape: Vec<String> = port.shape.iter().map(usize::to_string).collect();
        let _ = writeln!(text, "\n/* {}: {}[{}]. */", name, port.element_type.name(), shape.join("]["));
        let _ = writeln!(text, "#define {name}_BYTES {}", port.bytes);
        let _ = writeln!(text, "#define {name}_ELEMENTS {}", port.shape.iter().product::<usize>());
        for (axis, length) in port.shape.iter().enumerate() {
            let _ = writeln!(text, "#define {name}_AXIS{axis} {length}");
        }
        if let Some(q) = port.affine {
            let _ = writeln!(text, "/* real = scale * (value - zero point) */");
            let _ = writeln!(text, "#define {name}_SCALE {:e}f", q.scale as f32);
            let _ = writeln!(text, "#define {name}_ZERO_POINT ({})", q.zero_point);
        }
    };
    for (i, input) in firmware.inputs.iter().enumerate() {
        port(&mut text, format!("MODEL_INPUT{i}"), &input.port);
    }
    for (i, output) in firmware.outputs.iter().enumerate() {
        port(&mut text, format!("MODEL_OUTPUT{i}"), &output.port);
    }
    if firmware.streamed {
        text += "\n/* Writes `rows` rows from `row` and `columns` columns from `column` of input `input` to `to`, one after the\n   other, every channel. Not 0: the run ends, and gives it back. */\n";
        text += "typedef int (*model_read_rect)(void *context, int input, int row, int rows, int column, int columns,\n                               int8_t *to);\n";
    }
    text += "\n/* One run. ";
    text += match firmware.streamed {
        true => "The input is asked for in parts. ",
        false => "An input that is NULL was written to where `model_input` says. ",
    };
    text += "An output that is NULL is not\n   copied: it lies where `model_output` says until the next run. Gives 0";
    text += if firmware.streamed { ", or what `read_rect` gave. */\n" } else { ". */\n" };
    let _ = writeln!(text, "int model_run({});", parameters(firmware));
    if firmware.variables.is_empty() {
        text +=
            "\n/* Nothing lives between runs; here for programs that run any network. */\nvoid model_reset(void);\n";
    } else {
        text += "\n/* Forgets every frame: the next run is the first of a stream. Called by the first run. */\nvoid model_reset(void);\n";
    }
    for (i, input) in firmware.inputs.iter().enumerate() {
        if input.resident.is_some() && !firmware.streamed {
            let _ = writeln!(
                text,
                "\n/* Where input {i} lies in the arena: write it here, and run with NULL. A run destroys it. */\n{} *model_input{i}(void);",
                c_type(&input.port)
            );
        }
    }
    for (i, output) in firmware.outputs.iter().enumerate() {
        let kind = c_type(&output.port);
        let _ = writeln!(text, "\n/* Where output {i} lies in the arena. */\nconst {kind} *model_output{i}(void);");
    }
    text += "\n#ifdef __cplusplus\n}\n#endif\n\n#endif\n";
    text
}
