//! The fast engine on every instruction set of this machine: microseconds of one run, one thread, median of 9 rounds that
//! go through all of them in turn.
//!
//!     cargo bench -p tersor-tiny --bench engine -- MODEL.tflite...
//!
//! Without a model, the six shared networks. `tersor tiny bench` holds the engine beside its peers.

use std::time::{Duration, Instant};

use tersor_data::shared;
use tersor_kernels::int8::fast::Isa;
use tersor_network::fast::{Fast, Preparation, Session};
use tersor_network::tflite;

const ROUNDS: usize = 9;
/// How long a round measures one engine.
const ROUND: Duration = Duration::from_millis(40);

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let named: Vec<_> = std::env::args().skip(1).filter(|a| !a.starts_with("--")).map(Into::into).collect();
    let models: Vec<std::path::PathBuf> = if named.is_empty() {
        let names =
            ["resnet8_cifar10", "dscnn_kws", "mobilenetv1_vww96", "autoencoder_ad", "mcunet_vww1", "mcunet_persondet"];
        names.iter().filter_map(|name| shared::file(&format!("tiny/{name}_int8.tflite"))).collect()
    } else {
        named
    };
    for model in models {
        let network = tflite::read(&model)?;
        let prepare = |&isa: &Isa| Fast::prepare(&network, &Preparation { isa, ..Preparation::default() });
        let isas = Isa::available();
        let engines = isas.iter().map(prepare).collect::<Result<Vec<Fast>, _>>()?;
        let mut sessions: Vec<Session> = engines.iter().map(Fast::session).collect();
        let mut rounds = vec![Vec::new(); isas.len()];
        for _ in 0..ROUNDS {
            for (i, engine) in engines.iter().enumerate() {
                rounds[i].push(microseconds(engine, &mut sessions[i])?);
            }
        }
        let columns = isas.iter().zip(rounds).map(|(isa, mut of)| {
            of.sort_by(f64::total_cmp);
            format!("{isa} {:9.1}", of[ROUNDS / 2])
        });
        println!("{:28} {}", network.name, columns.collect::<Vec<_>>().join("   "));
    }
    Ok(())
}

fn microseconds(engine: &Fast, session: &mut Session) -> Result<f64, tersor_network::Error> {
    let (start, mut calls) = (Instant::now(), 0);
    while calls < 3 || start.elapsed() < ROUND {
        engine.invoke(session)?;
        calls += 1;
    }
    Ok(start.elapsed().as_secs_f64() / f64::from(calls) * 1e6)
}
