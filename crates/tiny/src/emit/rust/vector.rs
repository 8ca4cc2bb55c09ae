//! `check/vector.rs`: the test vector.

use std::fmt::Write as _;

use super::constants::{signed, wrapped};
use crate::emit::firmware::Firmware;
use crate::emit::vector::Vector;

/// Statics of every frame, and a function that runs the crate `name` on one.
pub(super) fn vectors(f: &Firmware, name: &str, vector: &Vector) -> String {
    let mut text = format!("//! Inputs of every value, and the outputs that they must give.\n\nuse {name}::Model;\n\n");
    text.push_str("/// One run.\npub struct Frame {\n");
    for (i, input) in f.inputs.iter().enumerate() {
        let _ = writeln!(text, "    /// Input {i}.\n    pub input{i}: [i8; {}],", input.port.bytes);
    }
    let _ = writeln!(text, "    /// What must come out.\n    pub outputs: [&'static [i8]; {}],\n}}\n", f.outputs.len());
    let inputs: Vec<String> = (0..f.inputs.len()).map(|i| format!("&frame.input{i}")).collect();
    let _ = writeln!(
        text,
        "/// Runs the model on a frame.\npub fn run<'m>(model: &'m mut Model, frame: &Frame) -> [&'m [i8]; {}] {{\n    model.run({})\n}}\n",
        f.outputs.len(),
        inputs.join(", ")
    );
    let section = "#[cfg_attr(target_os = \"none\", link_section = \".vector\")]\n";
    for (k, frame) in vector.frames.iter().enumerate() {
        for (i, output) in frame.outputs.iter().enumerate() {
            text.push_str(section);
            let _ = writeln!(text, "static OUTPUT{k}_{i}: [i8; {}] = {};", output.len(), wrapped(&signed(output)));
        }
    }
    let _ = writeln!(
        text,
        "\n/// Frames, one after the other.\n{section}#[rustfmt::skip]\npub static FRAMES: [Frame; {}] = [",
        vector.frames.len()
    );
    for (k, frame) in vector.frames.iter().enumerate() {
        text.push_str("    Frame {\n");
        for (i, input) in frame.inputs.iter().enumerate() {
            let _ = writeln!(text, "        input{i}: {},", wrapped(&signed(input)));
        }
        let outputs: Vec<String> = (0..frame.outputs.len()).map(|i| format!("&OUTPUT{k}_{i}")).collect();
        let _ = writeln!(text, "        outputs: [{}],\n    }},", outputs.join(", "));
    }
    text + "];\n"
}
