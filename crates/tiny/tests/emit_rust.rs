//! Firmware in Rust: that it computes what `run` computes, to the bit, on the host and on emulated processors.

mod firmware;

use std::process::Command;

use firmware::{Folder, Result, asked, compile, single_operators, trained, verified, vww1_within, wake_word};
use rayon::prelude::*;
use tersor_data::shared::TINY_NETWORKS;
use tersor_data::testing::Trials;
use tersor_network::Network;
use tersor_tiny::emit::Target;
use tersor_tiny::emit::verify::PLACES;
use tersor_tiny::plan::{self, InputMode, Plan};

fn main() {
    let mut trials = Trials::new();
    for name in TINY_NETWORKS {
        let file = format!("tiny/{name}.tflite");
        trials = trials.needs(&[&file]).test(&format!("{name}_in_rust_gives_the_same_bits"), move || {
            let network = trained(name)?;
            in_rust(&network, &plan::layers(&network, 4)?, name)
        });
    }
    trials
        .needs(&["tiny/mcunet_vww1_int8.tflite"])
        .test("vww1_in_rust_in_48_kb", || vww1_in_rust(48 << 10, InputMode::Resident))
        .test("vww1_in_rust_in_32_kb", || vww1_in_rust(32 << 10, InputMode::Resident))
        .test("vww1_in_rust_in_32_kb_streamed", || vww1_in_rust(32 << 10, InputMode::Streamed))
        .needs(&[])
        .test("a_wake_word_in_rust_hears_the_same_stream", || {
            let network = wake_word()?;
            in_rust(&network, &plan::layers(&network, 4)?, "okay_nabu")
        })
        .test("single_operators_in_rust_give_the_same_bits", single_operators_in_rust)
        .run()
}

fn vww1_in_rust(sram: u64, input: InputMode) -> Result {
    let (network, plan) = vww1_within(sram, input)?;
    in_rust(&network, &plan, &format!("vww1-{sram}-{input:?}"))
}

fn in_rust(network: &Network, plan: &Plan, name: &str) -> Result {
    verified(network, plan, Target::Rust, name, places(network))
}

/// Everywhere with `TERSOR_TEST_ALL_PLACES=1`; else on the host and a Cortex-M4, where the small ones go everywhere.
fn places(network: &Network) -> &'static [&'static str] {
    let small = network.main().tensors.iter().map(|t| t.bytes()).sum::<u64>() < 300_000;
    if small || asked("TERSOR_TEST_ALL_PLACES") { &PLACES } else { &["host", "cortex-m4"] }
}

/// Cases of an operator that are tried, if not all are.
const CASES_OF_AN_OPERATOR: usize = 2;

/// Files of one operator each: a crate each, and one program that checks them all, with overflow checks.
fn single_operators_in_rust() -> Result {
    let folder = Folder::new(Target::Rust, "operators")?;
    let folder = folder.path();
    let mut crates = Vec::new();
    for key in single_operators(Target::Rust, CASES_OF_AN_OPERATOR, folder)? {
        let manifest = std::fs::read_to_string(folder.join(&key).join("Cargo.toml"))?;
        let name = manifest.lines().find_map(|l| l.strip_prefix("name = \"")).ok_or("a crate has no name")?;
        crates.push((key, name.trim_end_matches('"').to_string()));
    }
    let rustc = |arguments: &[&str]| {
        let checks = ["--edition", "2021", "-D", "warnings", "-C", "overflow-checks=on", "-C", "debug-assertions=on"];
        compile(folder, "rustc", &[&checks[..], arguments].concat())
    };
    crates.par_iter().try_for_each(|(key, name)| {
        let source = format!("{key}/src/lib.rs");
        rustc(&["--crate-type=lib", "--crate-name", name, &source])
    })?;
    let mut driver = String::new();
    for (key, _) in &crates {
        driver += &format!("#[path = \"{key}/check/vector.rs\"]\nmod check_{key};\n");
    }
    driver += "fn main() {\n";
    for (key, name) in &crates {
        driver += &format!(
            "    let mut model = {name}::Model::new();\n    model.reset();\n    for (k, frame) in \
             check_{key}::FRAMES.iter().enumerate() {{\n        assert_eq!(check_{key}::run(&mut model, frame), \
             frame.outputs, \"{key}, frame {{k}}\");\n    }}\n"
        );
    }
    std::fs::write(folder.join("driver.rs"), driver + "}\n")?;
    let mut arguments = vec!["-L".to_string(), ".".into(), "driver.rs".into()];
    for (_, name) in &crates {
        arguments.extend(["--extern".into(), format!("{name}=lib{name}.rlib")]);
    }
    rustc(&arguments.iter().map(String::as_str).collect::<Vec<_>>())?;
    let output = Command::new(folder.join("driver")).output()?;
    if output.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&output.stderr).into_owned().into()) }
}
