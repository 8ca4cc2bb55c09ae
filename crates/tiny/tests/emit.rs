//! Firmware: that every network becomes a program, and that the program computes what `run` computes, to the bit.

use tersor_data::fetch::{self, Cache};
use tersor_data::shared;
use tersor_data::testing::{Failure, Skip, Trials};
use tersor_network::Network;
use tersor_tiny::emit::firmware::{Constant, Firmware, Kind, Operand};
use tersor_tiny::emit::{Target, emit, verify};
use tersor_tiny::plan::{self, InputMode, Plan, Search};
use tersor_tiny::{inspect, network};

type Result<T = ()> = std::result::Result<T, Failure>;

const NETWORKS: [&str; 6] = [
    "resnet8_cifar10_int8",
    "dscnn_kws_int8",
    "mobilenetv1_vww96_int8",
    "autoencoder_ad_int8",
    "mcunet_vww1_int8",
    "mcunet_persondet_int8",
];

fn main() {
    let mut trials = Trials::new();
    for name in NETWORKS {
        let file = format!("tiny/{name}.tflite");
        trials = trials
            .needs(&[&file])
            .test(&format!("{name}_is_a_program_by_layers"), move || by_layers(&shared_network(name)?))
            .test(&format!("{name}_in_c_gives_the_same_bits"), move || {
                let network = shared_network(name)?;
                verified(&network, &plan::layers(&network, 4)?, Target::C, &format!("c-{name}"))
            });
        // Matrix products alone have no parts.
        if name != "autoencoder_ad_int8" {
            trials = trials.test(&format!("{name}_is_a_program_in_parts"), move || in_parts(&shared_network(name)?));
        }
    }
    trials
        .needs(&[])
        .test("a_wake_word_is_a_program_with_variables", || {
            let network = wake_word("okay_nabu")?;
            let firmware = by_plan(&network, &plan::layers(&network, 4)?)?;
            assert!(!firmware.variables.is_empty());
            Ok(())
        })
        .run()
}

fn shared_network(name: &str) -> Result<Network> {
    let file = shared::file(&format!("tiny/{name}.tflite")).ok_or_else(|| format!("{name} is absent"))?;
    Ok(network::read(file)?)
}

/// The wake-word model `name`, downloaded if need be.
fn wake_word(name: &str) -> Result<Network> {
    let entry = name.replace('_', "-");
    match fetch::get(&entry, &Cache::new()?, &|_| ()) {
        Ok(path) => Ok(network::read(path)?),
        Err(e @ (tersor_data::Error::Download { .. } | tersor_data::Error::NoTool { .. })) => {
            Err(Skip(format!("{entry} could not be had: {e}")).into())
        }
        Err(e) => Err(e.into()),
    }
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
            if std::env::var_os("TERSOR_TEST_SHOW").is_some() {
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

/// Written, compiled and run wherever this machine can; skipped where it can nowhere.
fn verified(network: &Network, plan: &Plan, target: Target, name: &str) -> Result {
    let emission = emit(network, plan, target)?;
    // Kept for whoever wants to look: TERSOR_TEST_EMIT names a folder.
    let temporary = tempfile::tempdir()?;
    let kept = std::env::var_os("TERSOR_TEST_EMIT").map(|folder| std::path::PathBuf::from(folder).join(name));
    let folder = kept.unwrap_or_else(|| temporary.path().into());
    emission.write(&folder)?;
    let runs = verify::verify(&emission, &folder)?;
    let mut missing = Vec::new();
    for run in &runs {
        if std::env::var_os("TERSOR_TEST_SHOW").is_some() {
            println!("{name}: {run:?}");
        }
        if let Some(wrong) = &run.wrong {
            return Err(format!("{}: {wrong}", run.place).into());
        }
        missing.extend(run.missing.as_ref().map(|what| format!("{}: {what}", run.place)));
        if let Some(arena) = run.arena_bytes {
            assert_eq!(arena, plan.peak_bytes as u64, "{}", run.place);
        }
        if let (Some(code), Some(constants)) = (run.code_bytes, run.constant_bytes) {
            assert!(code + constants <= plan.flash_bytes + 24 * 1024, "{}: {code} + {constants}", run.place);
        }
    }
    if missing.is_empty() { Ok(()) } else { Err(Skip(missing.join("; ")).into()) }
}
