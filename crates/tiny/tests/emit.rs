//! Firmware: that every network becomes a program, and that the program computes what `run` computes, to the bit.

mod firmware;

use firmware::{Folder, Result, asked, compile, single_operators, trained, verified, vww1_within, wake_word};
use rayon::prelude::*;
use tersor_data::shared::TINY_NETWORKS;
use tersor_data::testing::Trials;
use tersor_network::Network;
use tersor_tiny::emit::Target;
use tersor_tiny::emit::firmware::{Constant, Firmware, Kind, Operand};
use tersor_tiny::emit::verify::PLACES;
use tersor_tiny::inspect;
use tersor_tiny::plan::{self, InputMode, Plan, Search};

fn main() {
    let mut trials = Trials::new();
    for name in TINY_NETWORKS {
        let file = format!("tiny/{name}.tflite");
        trials = trials
            .needs(&[&file])
            .test(&format!("{name}_is_a_program_by_layers"), move || by_layers(&trained(name)?))
            .test(&format!("{name}_in_c_gives_the_same_bits"), move || {
                let network = trained(name)?;
                verified(&network, &plan::layers(&network, 4)?, Target::C, name, &PLACES)
            });
        // Matrix products alone have no parts.
        if name != "autoencoder_ad_int8" {
            trials = trials.test(&format!("{name}_is_a_program_in_parts"), move || in_parts(&trained(name)?));
        }
    }
    trials
        .needs(&[])
        .test("a_wake_word_is_a_program_with_variables", || {
            let network = wake_word()?;
            let firmware = by_plan(&network, &plan::layers(&network, 4)?)?;
            assert!(!firmware.variables.is_empty());
            Ok(())
        })
        .test("a_wake_word_in_c_hears_the_same_stream", || {
            let network = wake_word()?;
            verified(&network, &plan::layers(&network, 4)?, Target::C, "okay_nabu", &PLACES)
        })
        .test("single_operators_in_c_give_the_same_bits", single_operators_in_c)
        .needs(&["tiny/mcunet_vww1_int8.tflite"])
        .test("vww1_in_c_in_48_kb", || vww1_in_c(48 << 10, InputMode::Resident))
        .test("vww1_in_c_in_32_kb", || vww1_in_c(32 << 10, InputMode::Resident))
        .test("vww1_in_c_in_32_kb_streamed", || vww1_in_c(32 << 10, InputMode::Streamed))
        .run()
}

fn vww1_in_c(sram: u64, input: InputMode) -> Result {
    let (network, plan) = vww1_within(sram, input)?;
    verified(&network, &plan, Target::C, &format!("vww1-{sram}-{input:?}"), &["host", "cortex-m4"])
}

/// The firmware of a plan, whose numbers lie where they must.
fn by_plan(network: &Network, plan: &Plan) -> Result<Firmware> {
    let firmware = Firmware::new(network, plan)?;
    assert_eq!(firmware.arena_bytes, plan.peak_bytes);
    assert_eq!(firmware.calls.len(), plan.steps.len());
    let arena = firmware.arena_bytes;
    for call in &firmware.calls {
        let read = call.reads.iter().filter_map(|o| if let Operand::Arena(p) = o { Some(p) } else { None });
        for place in read.chain(&call.writes) {
            assert!(place.offset + place.bytes() <= arena);
        }
        for feed in &call.feeds {
            let pixel = firmware.inputs[feed.input].image[2];
            let bytes = (feed.rows[1] - feed.rows[0]) * (feed.columns[1] - feed.columns[0]) * pixel;
            assert!(feed.offset + bytes <= arena);
        }
        if let Kind::Convolution { filter, per_group } = &firmware.operators[call.operator].kind {
            let taps = filter.rows.kernel * filter.columns.kernel;
            assert_eq!(firmware.constants[filter.weights].bytes(), filter.out_channels * taps * per_group);
        }
    }
    // The data of the file, and what requantises: never more than the plan says, but for tables.
    let tables = firmware.constants.iter().filter(|c| matches!(c, Constant::U8(_) | Constant::U16(_)));
    let tables: usize = tables.map(Constant::bytes).sum();
    assert!((firmware.constant_bytes() - tables) as u64 <= plan.flash_bytes);
    Ok(firmware)
}

fn by_layers(network: &Network) -> Result {
    let plan = plan::layers(network, 4)?;
    let firmware = by_plan(network, &plan)?;
    assert_eq!(firmware.operators.len(), firmware.calls.len());
    assert!(firmware.inputs.iter().all(|input| input.resident.is_some()));
    let feeds: usize = firmware.calls.iter().map(|c| c.feeds.len()).sum();
    assert_eq!(feeds, network.main().inputs.len());
    // Of trained int8 networks, every sum is far from 32 bits.
    let inspection = inspect::inspect(network);
    assert!(inspection.runnable);
    Ok(())
}

fn in_parts(network: &Network) -> Result {
    for input in [InputMode::Streamed, InputMode::Resident] {
        for rows_only in [true, false] {
            let (plan, _) = plan::search(network, Search { input, rows_only, ..Search::default() })?;
            let firmware = by_plan(network, &plan)?;
            if asked("TERSOR_TEST_SHOW") {
                let (calls, operators) = (firmware.calls.len(), firmware.operators.len());
                println!("{}: {input:?} {rows_only}: {calls} calls of {operators} operators", firmware.name);
            }
            // Every row of the input is fed once, but for patches, which overlap.
            let rows: usize = firmware.calls.iter().flat_map(|c| &c.feeds).map(|f| f.rows[1] - f.rows[0]).sum();
            assert!(rows >= firmware.inputs[0].image[0].min(1));
        }
    }
    Ok(())
}

/// Cases of an operator that are tried, if not all are.
const CASES_OF_AN_OPERATOR: usize = 3;

/// Files of one operator each, all in one program, on the host under sanitizers.
fn single_operators_in_c() -> Result {
    let folder = Folder::new(Target::C, "operators")?;
    let folder = folder.path();
    let units = single_operators(Target::C, CASES_OF_AN_OPERATOR, folder)?;
    // Each case is a unit of its own, under names of its own.
    let public = ["main", "model_run", "model_reset"].map(String::from).into_iter();
    let ports = (0..8).flat_map(|i| [format!("model_input{i}"), format!("model_output{i}")]);
    let public: Vec<String> = public.chain(ports).collect();
    let mut driver = String::from("#include <stdio.h>\n");
    for key in &units {
        let renamed = public.iter().map(|name| format!("#define {name} {name}_{key}\n"));
        let unit: String = renamed.collect();
        let unit = format!("{unit}#include \"{key}/model.c\"\n#include \"{key}/check.c\"\n");
        std::fs::write(folder.join(format!("{key}.c")), unit)?;
        driver += &format!("int main_{key}(void);\n");
    }
    driver += "int main(void)\n{\n    int wrong = 0;\n";
    for key in &units {
        driver += &format!("    if (main_{key}()) {{ wrong = 1; printf(\"^ {key}\\n\"); }}\n");
    }
    driver += "    return wrong;\n}\n";
    std::fs::write(folder.join("driver.c"), driver)?;
    let strict =
        ["-std=c99", "-pedantic", "-Wall", "-Wextra", "-Wconversion", "-Werror", "-fsanitize=address,undefined"];
    units.par_iter().try_for_each(|key| {
        let (from, to) = (format!("{key}.c"), format!("{key}.o"));
        let unit = ["-fno-sanitize-recover=undefined", "-I", key, "-c", &from, "-o", &to];
        compile(folder, "gcc", &[&strict[..], &unit].concat())
    })?;
    let objects: Vec<String> = units.iter().map(|key| format!("{key}.o")).collect();
    let objects: Vec<&str> = objects.iter().map(String::as_str).collect();
    let host = format!("{}/host.c", units.first().ok_or("no case was tried")?);
    let linked = ["-fsanitize=address,undefined", "driver.c", &host, "-o", "driver"];
    compile(folder, "gcc", &[&linked[..], &objects].concat())?;
    let output = std::process::Command::new(folder.join("driver")).output()?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    let wrong: Vec<&str> = said.lines().filter(|line| *line != "ok").collect();
    if output.status.success() { Ok(()) } else { Err(wrong.join("\n").into()) }
}
