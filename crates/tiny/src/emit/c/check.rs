//! `check.c`, which runs the test vector and says whether every bit is right, and `example.c`, the least program.

use std::fmt::Write as _;

use super::constants::array;
use super::header::c_type;
use super::title;
use crate::emit::firmware::{Firmware, Input};
use crate::emit::vector::Vector;

/// A `main` that runs the test vector and says `ok`, or where the output differs.
pub(super) fn check(firmware: &Firmware, vector: &Vector) -> String {
    let mut text = title(firmware, "Check");
    text += "#include <string.h>\n\n#include \"check.h\"\n#include \"model.h\"\n\n";
    vectors(&mut text, firmware, vector);
    text += include_str!("check_words.c");
    if firmware.streamed {
        read_rect(&mut text, firmware);
    }
    one_run(&mut text, firmware);
    main(&mut text, firmware, vector.frames.len());
    text
}

/// Inputs and outputs of every frame.
fn vectors(text: &mut String, firmware: &Firmware, vector: &Vector) {
    for (f, frame) in vector.frames.iter().enumerate() {
        for (what, all) in [("input", &frame.inputs), ("output", &frame.outputs)] {
            for (i, bytes) in all.iter().enumerate() {
                let values: Vec<String> = bytes.iter().map(|&b| (b as i8).to_string()).collect();
                array(text, "int8_t", &format!("frame{f}_{what}{i}"), &values);
            }
        }
    }
    let frames = vector.frames.len();
    let mut table = |what: &str, count: usize| {
        let _ = writeln!(text, "static const int8_t *const frames_{what}[{frames}][{count}] = {{");
        for f in 0..frames {
            let row: Vec<String> = (0..count).map(|i| format!("frame{f}_{what}{i}")).collect();
            let _ = writeln!(text, "    {{{}}},", row.join(", "));
        }
        *text += "};\n";
    };
    table("input", firmware.inputs.len());
    table("output", firmware.outputs.len());
}

/// The callback that hands out the rows of the frame that `context` names.
fn read_rect(text: &mut String, firmware: &Firmware) {
    let images: Vec<String> = firmware.inputs.iter().map(|i| format!("{{{}, {}}}", i.image[1], i.image[2])).collect();
    let _ = write!(
        text,
        "\n/* Columns of each input, and bytes of a pixel. */\nstatic const int images[{}][2] = {{{}}};\n",
        images.len(),
        images.join(", ")
    );
    *text += include_str!("check_rect.c");
}

/// A run as the arena offers it: inputs where they lie, outputs not copied.
fn one_run(text: &mut String, firmware: &Firmware) {
    *text +=
        "\n/* One run, and the ticks that it took. */\nstatic int run(int frame, uint32_t *took)\n{\n    int error;\n";
    let mut arguments = Vec::new();
    if firmware.streamed {
        arguments.push("read_rect".to_string());
        arguments.push("(void *)(uintptr_t)frame".into());
    } else {
        for (i, input) in firmware.inputs.iter().enumerate() {
            let kind = c_type(&input.port);
            arguments.push(match input.resident {
                Some(_) => {
                    let _ =
                        writeln!(text, "    memcpy(model_input{i}(), frames_input[frame][{i}], MODEL_INPUT{i}_BYTES);");
                    "NULL".into()
                }
                None => format!("(const {kind} *)(const void *)frames_input[frame][{i}]"),
            });
        }
    }
    arguments.extend(firmware.outputs.iter().map(|_| "NULL".to_string()));
    let _ = writeln!(
        text,
        "    ticks_start();\n    error = model_run({});\n    *took = ticks();\n    return error;\n}}",
        arguments.join(", ")
    );
}

/// All frames, one after the other, and the first again from copies to copies.
fn main(text: &mut String, firmware: &Firmware, frames: usize) {
    let _ = write!(
        text,
        "\nint main(void)\n{{\n    int wrong = 0, counted = 1;\n    uint32_t most_ticks = 0, stack;\n    stack_paint();\n    for (int frame = 0; frame < {frames}; frame++) {{\n        uint32_t took = 0;\n        wrong |= run(frame, &took);\n        counted &= took != 0;\n        most_ticks = took > most_ticks ? took : most_ticks;\n"
    );
    for i in 0..firmware.outputs.len() {
        let _ = writeln!(
            text,
            "        wrong |= differs(frame, {i}, (const int8_t *)(const void *)model_output{i}(), MODEL_OUTPUT{i}_BYTES);"
        );
    }
    *text += "    }\n    stack = stack_used();\n";
    // From copies of the inputs to copies of the outputs, afresh.
    *text += "    model_reset();\n    {\n";
    for (i, output) in firmware.outputs.iter().enumerate() {
        let _ = writeln!(text, "        static {} copy{i}[MODEL_OUTPUT{i}_ELEMENTS];", c_type(&output.port));
    }
    let mut arguments = Vec::new();
    if firmware.streamed {
        arguments.push("read_rect".to_string());
        arguments.push("(void *)(uintptr_t)0".into());
    } else {
        let copied = |(i, input): (usize, &Input)| {
            format!("(const {} *)(const void *)frames_input[0][{i}]", c_type(&input.port))
        };
        arguments.extend(firmware.inputs.iter().enumerate().map(copied));
    }
    arguments.extend((0..firmware.outputs.len()).map(|i| format!("copy{i}")));
    let _ = writeln!(text, "        wrong |= model_run({});", arguments.join(", "));
    for i in 0..firmware.outputs.len() {
        let _ = writeln!(
            text,
            "        wrong |= differs(0, {i}, (const int8_t *)(const void *)copy{i}, MODEL_OUTPUT{i}_BYTES);"
        );
    }
    *text += "    }\n    if (counted) {\n        say_number(\"ticks \", most_ticks);\n    }\n    if (stack != 0) {\n        say_number(\"stack \", stack);\n    }\n    say(wrong ? \"wrong\\n\" : \"ok\\n\");\n    return wrong;\n}\n";
}

/// The least program: what it takes is what the network takes.
pub(super) fn example(firmware: &Firmware) -> String {
    let mut text = title(firmware, "The least program");
    text += "#include \"check.h\"\n#include \"model.h\"\n";
    let mut arguments = Vec::new();
    if firmware.streamed {
        text += "\n/* Where a camera would be read. */\nstatic int read_rect(void *context, int input, int row, int rows, int column, int columns, int8_t *to)\n{\n    (void)context;\n    (void)input;\n    (void)row;\n    (void)rows;\n    (void)column;\n    (void)columns;\n    (void)to;\n    return 0;\n}\n";
        arguments.extend(["read_rect".to_string(), "NULL".into()]);
    } else {
        arguments.extend(firmware.inputs.iter().map(|_| "NULL".to_string()));
    }
    arguments.extend(firmware.outputs.iter().map(|_| "NULL".to_string()));
    let _ = write!(
        text,
        "\nint main(void)\n{{\n    int error = model_run({});\n    return error != 0 ? error : *(const int8_t *)(const void *)model_output0() == 0;\n}}\n",
        arguments.join(", ")
    );
    text
}
