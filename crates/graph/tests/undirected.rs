//! Undirected graphs, each edge as two arcs: every pair of 100 sources, and arcs beside NetworkX's spanner.

use tersor_data::shared;
use tersor_data::testing::{Failure, Trials};
use tersor_graph::file::{self, ReadOptions};
use tersor_graph::sources::sample;
use tersor_graph::spanner::certified::{Effort, Settings};
use tersor_graph::spanner::check::check;
use tersor_graph::spanner::{calibrate, certified};
use tersor_graph::verify::measure;

// Arcs of NetworkX's spanner, two for each edge: the fewest that networkx 3.6.1 gave in one run for t = 7, 11, 15, 23, 31,
// 63, 127 and 255 (they were those of 255). Measured from 100 sources its stretch was at most 3 on 4elt and 4 on pgp.
//     python bench/peers/graph.py compare 4elt.graph.gz pgp.graph.gz --stretch 7 11 15 23 31 63 127 255
const NETWORKX_4ELT: usize = 69_170;
const NETWORKX_PGP: usize = 33_038;

fn main() {
    Trials::new()
        .needs(&["graph/4elt.graph.gz"])
        .test("4elt", || fewer_arcs_than("4elt.graph.gz", NETWORKX_4ELT, 3.0))
        .needs(&["graph/pgp.graph.gz"])
        .test("pgp", || fewer_arcs_than("pgp.graph.gz", NETWORKX_PGP, 4.0))
        .run()
}

/// At stretch 8, certified and calibrated: no pair above it, and fewer arcs than `networkx`. The certified one stays within
/// `stretch`, which is what NetworkX's was measured at, too.
fn fewer_arcs_than(name: &str, networkx: usize, stretch: f64) -> Result<(), Failure> {
    let path = shared::file(&format!("graph/{name}")).ok_or("absent")?;
    let graph = file::read(path, &ReadOptions::default())?.graph;
    let sources = sample(&graph, 100, 1)?;
    let settings = Settings { stretch: 8.0, effort: Effort::Fast, seed: 1 };
    let spanners =
        [(stretch, certified(&graph, &sources, &settings)?), (8.0, calibrate(&graph, &sources, &settings, true)?)];
    for (within, spanner) in spanners {
        let (thinned, arcs) = (graph.subgraph(&spanner.arcs), spanner.arcs.len());
        let measured = measure(&graph, &thinned, &sources, Some(within))?;
        println!("{name}: {arcs} arcs (NetworkX {networkx}), max {:.3}, mean {:.3}", measured.max, measured.mean);
        assert_eq!(measured.violations, 0, "{measured:?}");
        check(&graph, &thinned, &spanner.certificate(&sources), Some(&sources))??;
        assert!(arcs < networkx);
    }
    Ok(())
}
