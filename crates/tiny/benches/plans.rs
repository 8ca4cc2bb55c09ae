//! What parts cost on this machine: plans on the fast engine beside its layers, microseconds of one run, one thread, median
//! of 9 rounds that go through all of them in turn.
//!
//!     cargo bench -p tersor-tiny --bench plans -- MODEL.tflite...
//!
//! Without a model, the shared networks that can be split. `extra` are the multiply-adds that patches do again.

use std::time::{Duration, Instant};

use tersor_data::{Array, shared};
use tersor_network::fast::{self, Preparation};
use tersor_network::reference::Options;
use tersor_network::{Network, tflite};
use tersor_tiny::plan::{self, InputMode, Patches, Plan, Search, fast::Executor};

const ROUNDS: usize = 9;
/// How long a round measures one plan.
const ROUND: Duration = Duration::from_millis(40);

type Result<T = ()> = std::result::Result<T, Box<dyn std::error::Error>>;

fn main() -> Result {
    let named: Vec<_> = std::env::args().skip(1).filter(|a| !a.starts_with("--")).map(Into::into).collect();
    let models: Vec<std::path::PathBuf> = if named.is_empty() {
        let names = ["resnet8_cifar10", "mobilenetv1_vww96", "mcunet_vww1", "mcunet_persondet"];
        names.iter().filter_map(|name| shared::file(&format!("tiny/{name}_int8.tflite"))).collect()
    } else {
        named
    };
    println!("{:28} {:24} {:>10} {:>8} {:>10} {:>8} {:>8}", "network", "plan", "peak", "extra", "us", "ratio", "bar");
    for model in models {
        one(&tflite::read(&model)?)?;
    }
    Ok(())
}

/// Layers, then patches and rows of the stage that row streaming chooses.
fn plans(network: &Network) -> Result<Vec<(String, Plan)>> {
    let (rows, _) = plan::search(network, Search { rows_only: true, input: InputMode::Streamed, ..Search::default() })?;
    let mut plans = vec![("layers".into(), plan::layers(network, 4)?)];
    if let Some(Patches { layer, .. }) = rows.patches {
        for (rows, columns) in [(2, 2), (3, 3), (4, 4)] {
            let patches = Patches { layer, rows, columns, streaming: false };
            let name = format!("{rows}x{columns}@{layer}");
            plans.push((name, plan::parts(network, patches, InputMode::Streamed, 4)?));
        }
        plans.push((format!("rows@{layer}"), rows));
    }
    Ok(plans)
}

fn one(network: &Network) -> Result {
    let engine = fast::Fast::prepare(network, &Preparation::default())?;
    let mut session = engine.session();
    let plans = plans(network)?;
    let executors: Vec<Executor> = plans
        .iter()
        .map(|(_, plan)| Executor::new(network, plan.clone(), Options::default()))
        .collect::<std::result::Result<_, _>>()?;
    let mut arenas: Vec<_> = executors.iter().map(|executor| executor.arena(1)).collect();
    for (executor, arena) in executors.iter().zip(&mut arenas) {
        for (i, t) in executor.stored_inputs().into_iter().enumerate() {
            let tensor = &network.main().tensors[t];
            let values: Vec<i8> = (0..tensor.len()).map(|i| (i * 89 % 251) as u8 as i8).collect();
            let array = Array::new(tensor.shape.clone(), values.into()).ok_or("the input is no int8")?;
            executor.write(arena, i, &array)?;
        }
    }
    let mut ours = Vec::new();
    let mut rounds = vec![Vec::new(); plans.len()];
    for _ in 0..ROUNDS {
        ours.push(microseconds(|| Ok(engine.invoke(&mut session)?))?);
        for (i, executor) in executors.iter().enumerate() {
            rounds[i].push(microseconds(|| Ok(executor.invoke(&mut arenas[i])?))?);
        }
    }
    let whole = median(&mut ours);
    println!("{:28} {:24} {:>10} {:>8} {whole:10.1} {:8.2}", network.name, "the engine's own layers", "", "", 1.0);
    let layers = median(&mut rounds[0]);
    for ((name, plan), times) in plans.iter().zip(&mut rounds) {
        let time = median(times);
        let extra = plan.extra_macs as f64 / plan.macs as f64;
        let bar = match plan.patches {
            Some(Patches { streaming: true, .. }) => 1.10,
            _ => (1.0 + extra) * 1.15,
        };
        let (percent, ratio) = (extra * 100.0, time / layers);
        println!("{:28} {name:24} {:10} {percent:7.1}% {time:10.1} {ratio:8.2} {bar:8.2}", "", plan.peak_bytes);
    }
    Ok(())
}

fn microseconds(mut run: impl FnMut() -> Result) -> Result<f64> {
    let (start, mut calls) = (Instant::now(), 0);
    while calls < 3 || start.elapsed() < ROUND {
        run()?;
        calls += 1;
    }
    Ok(start.elapsed().as_secs_f64() / f64::from(calls) * 1e6)
}

fn median(times: &mut [f64]) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}
